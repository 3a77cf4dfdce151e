//! VLAN and QinQ tags.

use super::conversation::{Conversation, write};
use super::sensor::{METRICS, Sensor, attempts, metrics, of_type, records};
use super::traffic::{Sender, flow};
use crate::common::netns::{ip, with_veth};
use crate::common::{read_logs, syn};
use craft::{ACK, Flow, Link};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[test]
fn tagged_frames_are_counted_once_each() {
    with_veth(|veth| {
        let links = [
            (Link::ethernet(), Value::Null),
            (Link::ethernet().vlan(7), json!([7])),
            (Link::ethernet().qinq(8, 9), json!([8, 9])),
            (Link::ethernet().vlan(10).vlan(11), json!([10, 11])),
        ];
        let sensor = Sensor::start(&["--workers", "3"]);
        let sender = Sender::new(veth);
        for (from, (link, _)) in (0..).zip(&links) {
            for port in [443, 444, 445] {
                let v4 = flow(from, port, 1, port);
                sender.send(&link.frame(&syn(v4, from)));
            }
            let [_, _, _, host] = from.to_be_bytes();
            let v6 = Flow::v6(
                [0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(host)],
                1024,
                [0x2001, 0xdb8, 0, 0, 0, 0, 1, 1],
                443,
            );
            sender.send(&link.frame(&syn(v6, from)));
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), 16, "{}", ended.stderr);
        assert_eq!(
            ended.lines(": New connection: ").len(),
            16,
            "{}",
            ended.text
        );
        for (_, tags) in links {
            let tagged = |record: &&Value| record["vlan"] == tags;
            let count = of_type(&ended.eve, "new_connection").filter(tagged).count();
            assert_eq!(count, 4, "vlan {tags}: {:?}", attempts(&ended.eve));
        }
    });
}

/// Connections over IPv4 and IPv6 behind tags of each kind, with the expected `vlan` member.
pub fn conversations() -> Vec<(Conversation, Value)> {
    let links = [
        (Link::ethernet(), Value::Null),
        (Link::ethernet().vlan(7), json!([7])),
        (Link::ethernet().qinq(8, 9), json!([8, 9])),
        (Link::ethernet().vlan(10).vlan(11), json!([10, 11])),
        // An 802.1p priority tag without a VLAN; then priority bits, which are no part of the VLAN.
        (Link::ethernet().vlan(5 << 13), json!([0])),
        (
            Link::ethernet().qinq(3 << 13 | 12, 1 << 12 | 13),
            json!([12, 13]),
        ),
    ];
    let mut all = Vec::new();
    for (host, (link, tags)) in (1_u16..).zip(links) {
        let v4 = flow(u32::from(host), 40_000, 1, 443);
        let client = [0x2001, 0xdb8, 0, 0, 0, 0, 0, host];
        let v6 = Flow::v6(client, 40_000, [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1], 443);
        for flow in [v4, v6] {
            let connection = Conversation::new(flow);
            let link = link.clone();
            all.push((Conversation { link, ..connection }, tags.clone()));
        }
    }
    all
}

/// One line for each `new_connection` and each `flow` record.
fn opened_and_ended(eve: &[Value]) -> Vec<String> {
    let mut all = Vec::new();
    for kind in ["new_connection", "flow"] {
        for record in of_type(eve, kind) {
            let ours = &record["synledger"];
            let payload = ["payload_bytes_toserver", "payload_bytes_toclient"];
            let words = ["basis", "conn_state", "history", "end_reason", "isn"];
            let about = ["event_type", "src_ip", "dest_ip", "dest_port", "vlan"];
            let packets = ["pkts_toserver", "pkts_toclient"];
            let line = [
                about.map(|name| record[name].to_string()).to_vec(),
                words.map(|name| ours[name].to_string()).to_vec(),
                payload.map(|name| ours[name].to_string()).to_vec(),
                packets
                    .map(|name| record["flow"][name].to_string())
                    .to_vec(),
            ];
            all.push(line.concat().join(" "));
        }
    }
    all.sort();
    all
}

fn expected(conversations: &[(Conversation, Value)]) -> Vec<String> {
    let mut all = Vec::new();
    for (connection, tags) in conversations {
        let (from, to, isn) = (connection.flow.src, connection.flow.dst, connection.isn);
        let ends = format!("\"{from}\" \"{to}\" 443 {tags}");
        all.push(format!(
            "\"new_connection\" {ends} null null null null {isn} null null null null"
        ));
        all.push(format!(
            "\"flow\" {ends} \"handshake\" \"SF\" \"ShADadFf\" \"fin\" {isn} 9500 8003 9 7"
        ));
    }
    all.sort();
    all
}

#[test]
fn tagged_connections_are_whole_and_have_their_bytes() {
    with_veth(|veth| {
        let all = conversations();
        let frames: Vec<Vec<Vec<u8>>> = all
            .iter()
            .map(|(connection, _)| connection.whole(&[100, 1400, 8000], &[3, 8000]))
            .collect();
        let sensor = Sensor::start(&["--workers", "3"]);
        let sender = Sender::new(veth);
        // Interleaved: the next frame of each connection in turn.
        let longest = frames.iter().map(Vec::len).max().expect("frames");
        let order: Vec<Vec<u8>> = (0..longest)
            .flat_map(|at| frames.iter().filter_map(move |one| one.get(at).cloned()))
            .collect();
        order.iter().for_each(|frame| sender.send(frame));
        // A flow ends 5 s after its last FIN.
        sensor.wait_for("end of each flow", || {
            sensor.content("log.txt").matches(": Flow ended: ").count() == all.len()
        });
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), order.len() as u64, "{}", ended.stderr);
        assert_eq!(ended.number("answered, ", " established"), 12);
        assert_eq!(opened_and_ended(&ended.eve), expected(&all));
        eprintln!("tagged: {} connections, {} frames", all.len(), order.len());
    });
}

/// Bytes of frames each way, by the client's address.
fn frame_bytes(eve: &[Value]) -> BTreeMap<String, (u64, u64)> {
    let bytes = |flow: &Value| {
        let number = |name: &str| flow["flow"][name].as_u64().expect("a number");
        let client = flow["src_ip"].as_str().expect("an address").to_owned();
        (client, (number("bytes_toserver"), number("bytes_toclient")))
    };
    of_type(eve, "flow").map(bytes).collect()
}

/// The kernel removes the outer tag from a frame; its bytes were on the wire and count.
#[test]
fn a_tag_counts_in_the_bytes_of_a_flow() {
    with_veth(|veth| {
        let all = conversations();
        let mut expected = BTreeMap::new();
        let mut frames = Vec::new();
        for (connection, _) in &all {
            let (up, down) = (
                connection.up(ACK, 1, 1, b"").len(),
                connection.down(ACK, 1, 1, b"").len(),
            );
            let (up, down) = (9 * up as u64 + 9500, 7 * down as u64 + 8003);
            expected.insert(connection.flow.src.to_string(), (up, down));
            frames.extend(connection.whole(&[100, 1400, 8000], &[3, 8000]));
        }
        let dir = tempfile::tempdir().expect("a folder");
        let (_, eve, _) = read_logs(dir.path(), &[], &[write(dir.path(), &frames)]);
        let read = frame_bytes(&records(&String::from_utf8_lossy(&eve)));
        assert_eq!(read, expected, "by read");
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        frames.iter().for_each(|frame| sender.send(frame));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(frame_bytes(&ended.eve), expected, "live");
    });
}

/// A SYN that the fanout program cannot parse comes in another class: while this counter grows, dropped data frames may
/// have held attempts.
#[test]
fn a_syn_in_another_class_is_counted_with_its_cause() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "2", "--metrics", METRICS]);
        let sender = Sender::new(veth);
        for (from, link) in (0..).zip([Link::ethernet(), Link::ethernet().pppoe(1)]) {
            sender.send(&link.frame(&syn(flow(from, 1024, 1, 443), from)));
        }
        sensor.wait_for("attempts in the metrics", || {
            metrics().contains("synledger_new_connections_total 2")
        });
        let metrics = metrics();
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let one = "\nsynledger_syn_outside_class_total 1\n";
        assert!(metrics.contains(one), "{metrics}");
        let last = of_type(&ended.eve, "stats").last().expect("a record");
        let causes = &last["synledger"]["books"]["syn_outside_class"];
        assert_eq!(causes["pppoe"], 1, "{causes}");
    });
}
