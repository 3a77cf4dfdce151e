//! Five seconds without a frame: the record, its cause, and the metric.

use super::sensor::{METRICS, Sensor, metrics, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use crate::common::synledger;
use nix::sys::signal::Signal;
use serde_json::Value;

/// The `synledger` object of the only record with this word.
fn only<'a>(eve: &'a [Value], word: &str) -> &'a Value {
    let own = |record: &&Value| record["synledger"]["event"] == word;
    let mut all = of_type(eve, "lifecycle").filter(own);
    let found = all.next().unwrap_or_else(|| panic!("no {word}"));
    assert_eq!(all.next(), None, "{word} once");
    &found["synledger"]
}

#[test]
fn a_link_that_is_down_is_named_and_the_first_frame_ends_the_silence() {
    with_veth(|veth| {
        ip("link set lo up");
        ip(&format!("link set {SENDER} down"));
        let sensor = Sensor::start(&["--workers", "1", "--metrics", METRICS]);
        let line = format!(
            "synledger: nothing has come on {SENSOR} for 5 s: its link is down: `ip link set dev {SENSOR} up`"
        );
        sensor.wait_for_stderr(&line);
        let silence = format!("synledger_seconds_since_last_frame{{interface=\"{SENSOR}\"}} ");
        let seconds = || {
            let told = metrics();
            let value = told.split(&silence).nth(1).expect("the metric");
            let value = value.lines().next().expect("a value");
            value.parse::<f64>().expect("a number")
        };
        sensor.wait_for("a metric of five seconds", || seconds() >= 5.0);
        ip(&format!("link set {SENDER} up"));
        crate::common::netns::wait_for_link();
        Sender::new(veth).send(&frame(flow(1, 1024, 1, 443), 1));
        sensor.wait_for_event("frames_back");
        sensor.wait_for("a metric that starts again", || seconds() < 5.0);
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let record = only(&ended.eve, "no_frames");
        assert_eq!(record["cause"], "link_down");
        assert_eq!(record["in_iface"], SENSOR);
        assert!(record["silent_s"].as_f64().expect("known") >= 5.0);
        only(&ended.eve, "frames_back");
    });
}

#[test]
fn nothing_by_the_interfaces_own_counters_in_a_namespace_is_called_that() {
    with_veth(|_| {
        let sensor = Sensor::start(&["--workers", "1", "-q"]);
        sensor.wait_for_event("no_frames");
        let ended = sensor.stop(Signal::SIGINT);
        let record = only(&ended.eve, "no_frames");
        assert_eq!(record["cause"], "namespace", "{record}");
        assert_eq!(record["unseen_rx_packets"], 0);
        let text =
            ended.lines("Sensor no_frames: nothing has come on sensor for 5 s: nor by its own");
        assert_eq!(text.len(), 1, "{}", ended.text);
        assert_eq!(ended.stderr, "", "quiet");
    });
}

#[test]
fn a_bridge_and_its_port_are_a_blind_spot_that_run_and_check_name() {
    with_veth(|_| {
        ip("link add br0 type bridge");
        ip(&format!("link set {SENSOR} master br0"));
        ip("link set br0 up");
        ip("link add tunnel type vxlan id 7 dstport 4789 dev br0");
        ip("link set tunnel up");
        let both = format!("{SENSOR},br0");
        let sensor = Sensor::start_on(&[&both], "1");
        let ended = sensor.stop(Signal::SIGINT);
        let spots = [
            "sensor and br0 are both watched, and frames of sensor pass br0, too",
            "br0 is a bridge",
            "tunnels that are not watched: tunnel",
        ];
        let check = synledger()
            .args(["check", "--no-config", "--listen", "0", "-i", &both])
            .output()
            .expect("it runs");
        let findings = String::from_utf8_lossy(&check.stdout).into_owned();
        for spot in spots {
            let line = format!("Sensor blind_spot: blind spot: {spot}. ");
            assert_eq!(ended.lines(&line).len(), 1, "{spot}: {}", ended.text);
            assert!(findings.contains(spot), "{findings}");
        }
    });
}

#[test]
fn check_names_an_interface_on_which_nothing_comes() {
    with_veth(|_| {
        let check = synledger()
            .args(["check", "--no-config", "--listen", "300ms", "-i", SENSOR])
            .output()
            .expect("it runs");
        let findings = String::from_utf8_lossy(&check.stdout).into_owned();
        let idle = "note  sensor: nothing came while this listened, nor by its own counters";
        assert!(findings.contains(idle), "{findings}");
    });
}
