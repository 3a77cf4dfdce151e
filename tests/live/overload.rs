//! Overload: data is shed first, and no attempt or refusal is lost.
//!
//! The backlog does not depend on the machine's speed: the sensor is stopped while its rings fill, then goes on.

use super::conversation::Conversation;
use super::sensor::{Sensor, attempts, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::with_veth;
use craft::{ACK, FIN, PSH, RST, SYN};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::thread::sleep;
use std::time::Duration;

/// Fills the rings of a stopped sensor, then lets it go on: its backlog is then both large and late.
fn fall_behind(sensor: &Sensor, fill: impl FnOnce()) {
    sensor.signal(Signal::SIGSTOP);
    fill();
    sleep(LATE);
    sensor.signal(Signal::SIGCONT);
}

/// A frame that has waited so long is late at any block timeout of these tests: late is two timeouts of at most 100 ms,
/// and 5 ms.
const LATE: Duration = Duration::from_millis(400);

/// Totals of the last record of statistics.
fn totals(eve: &[Value]) -> Value {
    let last = of_type(eve, "stats").last().expect("the last books");
    assert_eq!(last["synledger"]["final"], true);
    last["synledger"]["totals"]["books"].clone()
}

fn of_rings(totals: &Value, class: &str, field: &str) -> u64 {
    let rings = totals["rings"].as_array().expect("rings").iter();
    let rings = rings.filter(|ring| ring["class"] == class);
    rings
        .map(|ring| ring[field].as_u64().expect("a count"))
        .sum()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

/// Changes of the shedding level in the log: level and direction.
fn steps(eve: &[Value]) -> Vec<(u64, String)> {
    of_type(eve, "lifecycle")
        .map(|record| &record["synledger"])
        .filter(|ours| ours["event"] == "degradation")
        .map(|ours| {
            let direction = ours["direction"].as_str().expect("a word");
            assert!(
                ours["reason"].is_string() && ours["open_ratio"].is_number(),
                "{ours}"
            );
            assert_eq!(ours["trouble"], Value::Null, "{ours}");
            (number(&ours["level"]), direction.to_owned())
        })
        .collect()
}

fn assert_steps_are_counted(eve: &[Value], totals: &Value) {
    let steps = steps(eve);
    let logged = |wanted: &str| steps.iter().filter(|(_, way)| way == wanted).count() as u64;
    for way in ["up", "down"] {
        let counted = totals[format!("shed_{way}")]
            .as_object()
            .expect("levels")
            .values();
        assert_eq!(
            counted.map(number).sum::<u64>(),
            logged(way),
            "{way}: {steps:?}"
        );
    }
}

/// Connections that open before the load and end after it.
struct Held(Vec<Conversation>);

impl Held {
    fn begin(sender: &Sender, count: u16) -> Self {
        let connections = (0..count).map(|n| Conversation::new(flow(5, 20_000 + n, 1, 443)));
        let held = Self(connections.collect());
        held.0
            .iter()
            .flat_map(Conversation::handshake)
            .for_each(|frame| sender.send(&frame));
        held
    }

    fn end(&self, sender: &Sender, sent: u32) {
        for connection in &self.0 {
            sender.send(&connection.up(FIN | ACK, 1 + sent, 1, b""));
            sender.send(&connection.down(FIN | ACK, 1, 2 + sent, b""));
        }
    }

    /// Each has its flow record, thanks to its control packets, with at most the packets sent.
    fn assert_exact(&self, eve: &[Value], packets: u64) {
        let ours =
            |record: &&Value| number(&record["src_port"]) >= 20_000 && record["dest_port"] == 443;
        let flows: Vec<&Value> = of_type(eve, "flow").filter(ours).collect();
        assert_eq!(flows.len(), self.0.len());
        for flow in flows {
            let more = &flow["synledger"];
            assert_eq!(
                (&more["conn_state"], &more["basis"]),
                (&Value::from("SF"), &Value::from("handshake")),
                "{flow}"
            );
            assert!(number(&flow["flow"]["pkts_toserver"]) <= packets, "{flow}");
            assert!(
                number(&more["payload_bytes_toserver"]) <= packets * 1400,
                "{flow}"
            );
            assert_eq!(flow["flow"]["pkts_toclient"], 2, "{flow}");
        }
    }
}

const HELD: u16 = 40;

#[test]
fn data_overload_costs_neither_an_attempt_nor_a_refusal() {
    with_veth(|veth| {
        const OPENED: u32 = 2000;
        /// More than the data ring of 32 MiB takes.
        const ROUNDS: u32 = 800;
        // The open ring of 16 MiB has 256 blocks of 64 KiB: it lasts for 256 block timeouts.
        let args = "--workers 1 --ring-mib 64 --capture full --block-kib 64 --block-timeout-ms 100";
        let sensor = Sensor::start(&args.split(' ').collect::<Vec<_>>());
        let sender = Sender::new(veth);
        let held = Held::begin(&sender, HELD);
        let bulk: Vec<u8> = vec![b'.'; 1400];
        let send_bulk = |round: u32| {
            for connection in &held.0 {
                sender.send(&connection.up(PSH | ACK, 1 + round * 1400, 1, &bulk));
            }
        };
        fall_behind(&sensor, || {
            (0..ROUNDS).for_each(send_bulk);
            for from in 0..OPENED {
                let connection = Conversation::new(flow(1000 + from, 1024, 2, 80));
                sender.send(&connection.up(SYN, 0, 0, b""));
                sender.send(&connection.down(RST | ACK, 0, 1, b""));
            }
        });
        sensor.wait_for_event("degradation");
        // The kernel probably sheds these.
        send_bulk(ROUNDS);
        let (sent, opened) = (ROUNDS + 1, OPENED);
        held.end(&sender, sent * 1400);
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
        let totals = totals(&ended.eve);
        for class in ["open", "control"] {
            assert_eq!(of_rings(&totals, class, "tp_drops"), 0, "{}", ended.stderr);
        }
        let all = u64::from(opened) + u64::from(HELD);
        assert_eq!(number(&totals["new_connections"]), all, "{}", ended.stderr);
        assert_eq!(attempts(&ended.eve).len() as u64, all, "{}", ended.stderr);
        assert_eq!(number(&totals["refused_connections"]), u64::from(opened));
        let shed_or_dropped = of_rings(&totals, "data", "tp_drops")
            + of_rings(&totals, "data", "shed_data")
            + totals["shed_in_kernel"].as_u64().unwrap_or(0);
        assert!(shed_or_dropped > 0, "{}", ended.stderr);
        assert_eq!(
            steps(&ended.eve)[0],
            (1, "up".to_owned()),
            "{}",
            ended.stderr
        );
        assert_steps_are_counted(&ended.eve, &totals);
        assert!(
            ended.stderr.contains("sheds more, level 0 to 1"),
            "{}",
            ended.stderr
        );
        held.assert_exact(&ended.eve, 3 + u64::from(sent));
        let shed = of_type(&ended.eve, "flow").filter(|flow| flow["synledger"]["shed"] == true);
        assert!(shed.count() >= usize::from(HELD), "{}", ended.stderr);
        eprintln!(
            "{opened} attempts and refusals beside {} data packets, {shed_or_dropped} shed or dropped; {}",
            sent * u32::from(HELD),
            totals["shed_spent_seconds"]
        );
    });
}

/// Standard error has the number of frames that full rings dropped.
fn assert_loss_is_reported(stderr: &str, lost: u64) {
    let line = |line: &&str| line.starts_with(&format!("missed: {lost} of "));
    let missed = stderr.lines().find(line).unwrap_or_default();
    let dropped = missed.contains(" frames (") && missed.contains("dropped by full rings");
    assert_eq!(dropped, lost > 0, "{stderr}");
}

#[test]
fn every_attempt_of_an_overload_is_written_folded_or_counted_as_lost() {
    with_veth(|veth| {
        /// More than the open ring of 4 MiB holds; the ring holds more than the first batch that is read.
        const SYNS: u32 = 60_000;
        let args = ["--workers", "1", "--ring-mib", "16", "--fold", "1000000"];
        let sensor = Sensor::start(&args);
        let sender = Sender::new(veth);
        let held = Held::begin(&sender, HELD);
        fall_behind(&sensor, || {
            for from in 0..SYNS {
                let flow = flow(1000 + from, 1024, (from % 200) as u8, 80);
                sender.send(&frame(flow, from));
            }
            held.end(&sender, 0);
        });
        sensor.wait_for_event("degradation");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
        let totals = totals(&ended.eve);
        let lost = of_rings(&totals, "open", "tp_drops");
        assert_eq!(
            of_rings(&totals, "control", "tp_drops"),
            0,
            "{}",
            ended.stderr
        );
        let output = &totals["outputs"][0];
        let of_output = |what: &str| number(&output[what]["connection"]);
        let dropped = output["dropped"].as_object().expect("causes").values();
        let dropped: u64 = dropped.map(|cause| number(&cause["connection"])).sum();
        let (written, folded) = (of_output("written"), of_output("folded"));
        let sent = u64::from(SYNS) + u64::from(HELD);
        assert_eq!(written + folded + dropped + lost, sent, "{}", ended.stderr);
        let each = [written, folded, lost];
        assert!(!each.contains(&0), "{each:?}: {}", ended.stderr);
        assert_loss_is_reported(&ended.stderr, lost);
        let own = attempts(&ended.eve);
        assert_eq!(own.len() as u64, written);
        assert!(
            own.windows(2).all(|pair| pair[0] != pair[1]),
            "one line an attempt"
        );
        assert!(!steps(&ended.eve).is_empty());
        assert_steps_are_counted(&ended.eve, &totals);
        held.assert_exact(&ended.eve, 3);
        // There is little data here, so it is kept, and flow counters are exact.
        let kept = of_type(&ended.eve, "lifecycle")
            .filter(|record| record["synledger"]["event"] == "degradation")
            .all(|record| record["synledger"]["data_kept"] == true);
        assert!(kept, "{}", ended.stderr);
        assert_eq!(totals["shed_in_kernel"].as_u64().unwrap_or(0), 0);
        let whole = of_type(&ended.eve, "flow").filter(|flow| flow["flow"]["pkts_toserver"] == 3);
        assert_eq!(whole.count(), usize::from(HELD), "{}", ended.stderr);
        eprintln!(
            "{sent} attempts: {written} written, {folded} folded, {dropped} dropped by the log, {lost} lost in class open; {}",
            totals["shed_spent_seconds"]
        );
    });
}
