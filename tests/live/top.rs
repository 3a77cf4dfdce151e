//! `synledger top` asks a running sensor: who tried, where, which scans go on.

use super::block::{block, out};
use super::sensor::Sensor;
use super::traffic::{Sender, frame};
use crate::common::netns::{SENSOR, ip, with_veth};
use crate::common::synledger;
use craft::Flow;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

const US: [u8; 4] = [10, 9, 0, 2];
const SCANNER: [u8; 4] = [198, 51, 100, 7];
const SCANNED_PORTS: u16 = 12;

fn top(socket: &Path, words: &[&str]) -> Output {
    let mut command = synledger();
    command.arg("top").args(words).arg("--socket").arg(socket);
    command.output().expect("it starts")
}

fn json(socket: &Path) -> Value {
    serde_json::from_str(&out(&top(socket, &["--once", "--json"]))).expect("JSON")
}

/// SYNs of a scanner to several ports, and of a client to one.
fn frames(round: u16) -> Vec<Vec<u8>> {
    let port = |at| 1000 + SCANNED_PORTS * round + at;
    let scan = (0..SCANNED_PORTS).map(|at| frame(Flow::v4(SCANNER, 40_000 + at, US, port(at)), 7));
    let client = Flow::v4([203, 0, 113, 9], 50_000 + round, US, 443);
    scan.chain([frame(client, 9)]).collect()
}

#[test]
fn it_shows_who_tries_which_ports_and_which_scans_go_on() {
    with_veth(|veth| {
        ip("link set lo up");
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("sock");
        let path = socket.display().to_string();
        let sensor = Sensor::start(&["--status-socket", &path]);
        let before = json(&socket);
        assert_eq!(
            before["counters"]["blocks"],
            Value::Null,
            "nothing is blocked"
        );
        assert_eq!(before["health"]["books_closed"], true, "{before}");
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut round = 0;
        let seen = loop {
            Sender::exchange(veth, US, &frames(round));
            round += 1;
            let seen = json(&socket);
            let has_rate = seen["rates"]["connections"].as_f64() > Some(0.0);
            if has_rate && seen["log"]["scans"][0]["src"] == "198.51.100.7" {
                break seen;
            }
            assert!(Instant::now() < deadline, "{seen}");
        };
        let log = &seen["log"];
        assert_eq!(log["sources"][0]["src"], "198.51.100.7", "{seen}");
        let client = log["sources"].as_array().expect("a list").iter();
        let client = client.filter(|row| row["src"] == "203.0.113.9");
        let tried: u64 = client.filter_map(|row| row["attempts"].as_u64()).sum();
        assert!((1..=u64::from(round)).contains(&tried), "{seen}");
        let all = log["attempts"].as_u64().expect("a number");
        assert!(all <= u64::from(round * (SCANNED_PORTS + 1)), "{seen}");
        assert_eq!(log["scans"][0]["kind"], "port_scan");
        let screen = out(&top(&socket, &["--once"]));
        for part in [
            "synledger ",
            "books closed",
            "198.51.100.7",
            "port_scan",
            "worker 0: ",
        ] {
            assert!(screen.contains(part), "{part:?} is missing:\n{screen}");
        }
        let refused = block(&socket, &["list"], "");
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(says.contains("runs without --block"), "{says}");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let gone = top(&socket, &["--once"]);
        let says = String::from_utf8_lossy(&gone.stderr).into_owned();
        assert_eq!(gone.status.code(), Some(1), "{says}");
        assert!(
            says.contains("start `synledger run` with --status-socket"),
            "{says}"
        );
    });
}
