//! `--key vlan`: networks with the same addresses under different VLAN tags.

mod common;

use common::said::{MS, START_NS, Said, WHOLE, conversation, read, write};
use craft::{Capture, Flow, Ip, Link, LinkType, SYN, Tcp};
use serde_json::{Value, json};

fn said(capture: &Capture, key: &str) -> Said {
    let dir = tempfile::tempdir().expect("a folder");
    let file = write(dir.path(), "capture.pcap", capture, |_| true);
    read(&["--key", key, "--seed", "1"], &[file])
}

/// The same conversation in both networks, 10 ms a frame; frame `at` has the tags of `of(network, at)`.
fn both(v6: bool, of: impl Fn(usize, usize) -> Vec<u16>) -> Capture {
    let mut all = Capture::new("both", LinkType::Ethernet);
    for network in 0..2 {
        let start_ns = START_NS + i64::try_from(network).expect("small") * 3 * MS;
        let own = conversation(v6, start_ns);
        for (at, mut frame) in own.frames.into_iter().enumerate() {
            for tag in of(network, at).into_iter().rev() {
                let [high, low] = tag.to_be_bytes();
                frame.bytes.splice(12..12, [0x81, 0, high, low]);
            }
            all.push(frame.ts_ns, frame.bytes);
        }
    }
    all.sort();
    all
}

#[test]
fn the_same_conversation_in_two_networks_is_two() {
    // Networks that differ in one tag, in the number of tags, or in the inner one.
    let networks: [[&[u16]; 2]; 4] = [
        [&[10], &[20]],
        [&[], &[10]],
        [&[10], &[10, 20]],
        [&[7, 1], &[7, 2]],
    ];
    for (v6, tags) in [false, true]
        .into_iter()
        .flat_map(|v6| networks.map(|tags| (v6, tags)))
    {
        let capture = both(v6, |network, _| tags[network].to_vec());
        let told = said(&capture, "vlan");
        assert_eq!(told.flows(), [WHOLE, WHOLE], "{tags:?}");
        let vlans: Vec<Value> = told
            .records("new_connection")
            .map(|one| one["vlan"].clone())
            .collect();
        let expected = tags.map(|tags| {
            if tags.is_empty() {
                Value::Null
            } else {
                json!(tags)
            }
        });
        assert_eq!(vlans, expected);
        assert_eq!(told.count("established_connections"), 2);
        // By addresses each packet of the second network is a copy of one in the first.
        let told = said(&capture, "addresses");
        assert_eq!(told.count("new_connections"), 1, "{tags:?}");
    }
}

#[test]
fn a_trunk_shows_both_sides_with_different_tags() {
    let server = [1, 4, 6];
    let capture = both(false, |_, at| {
        vec![if server.contains(&at) { 20 } else { 10 }]
    });
    assert_eq!(said(&capture, "addresses").count("answered_connections"), 1);
    assert_eq!(said(&capture, "vlan").count("answered_connections"), 0);
}

#[test]
fn a_scan_in_one_network_is_none_in_another() {
    let probes = |networks: &[u16]| {
        let mut capture = Capture::new("probes", LinkType::Ethernet);
        for (at, vlan) in (0_u16..8).zip(networks.iter().cycle()) {
            let flow = Flow::v4([192, 0, 2, 9], 4000 + at, [198, 51, 100, 9], 1 + at);
            let ip = Ip::new(flow.src, flow.dst, 6).bytes(&Tcp::new(flow, SYN, 1).bytes());
            capture.push(
                START_NS + i64::from(at) * MS,
                Link::ethernet().vlan(*vlan).frame(&ip),
            );
        }
        capture
    };
    // Eight ports in four networks: two in each.
    let spread = probes(&[10, 20, 30, 40]);
    assert_eq!(said(&spread, "addresses").records("alert").count(), 3);
    assert_eq!(said(&spread, "vlan").records("alert").count(), 0);
    let two = probes(&[10, 20]);
    let alerts: Vec<Value> = said(&two, "vlan").records("alert").collect();
    let vlans: Vec<_> = alerts.iter().map(|alert| alert["vlan"].clone()).collect();
    assert_eq!(vlans, [json!([10]), json!([20]), json!([10]), json!([20])]);
    assert!(
        alerts
            .iter()
            .all(|alert| alert["synledger"]["scan"]["ports"] == 4)
    );
    let alerts: Vec<Value> = said(&two, "addresses").records("alert").collect();
    assert!(alerts.iter().all(|alert| alert.get("vlan").is_none()));
}
