//! `check` listens, and says whether `--key vlan` suits an interface.

use super::conversation::Conversation;
use super::traffic::{Sender, flow};
use crate::common::netns::{SENSOR, Veth, with_veth};
use crate::common::{CHECK, synledger};
use craft::Link;
use serde_json::Value;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

/// A connection of one pair of hosts behind this link header.
fn conversation(link: Link, port: u16, isn: u32) -> Vec<Vec<u8>> {
    let connection = Conversation {
        link,
        flow: flow(5, port, 9, 443),
        isn,
        server_isn: !isn,
    };
    connection.whole(&[100], &[1000])
}

/// Findings about tags of one `check` with each of `--key`, while these frames are sent again and again.
fn findings(veth: Veth, frames: &[Vec<u8>]) -> [Vec<Value>; 2] {
    findings_within(veth, frames, "1s")
}

fn findings_within(veth: Veth, frames: &[Vec<u8>], time: &str) -> [Vec<Value>; 2] {
    let start = |key: &str| {
        let mut command = synledger();
        command.args(CHECK).args(["-i", SENSOR, "--json"]);
        command.args(["--listen", time, "--key", key]);
        let child = command.stdout(Stdio::piped()).spawn();
        child.expect("the program starts")
    };
    let mut children = ["addresses", "vlan"].map(start);
    let sender = Sender::new(veth);
    let runs = |child: &mut Child| child.try_wait().expect("a child").is_none();
    while children.iter_mut().any(runs) {
        frames.iter().for_each(|frame| sender.send(frame));
        thread::sleep(Duration::from_millis(10));
    }
    children.map(|child| {
        let output = child.wait_with_output().expect("its output");
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let all = found["findings"].as_array().expect("a list").iter();
        let about = |one: &&Value| {
            let what = one["what"].as_str().expect("text");
            ["VLAN", "listened"].iter().any(|word| what.contains(word))
        };
        all.filter(about).cloned().collect()
    })
}

/// The level, the text and the change of the only finding.
#[track_caller]
fn only(found: &[Value]) -> [&str; 3] {
    assert_eq!(found.len(), 1, "{found:#?}");
    ["level", "what", "change"].map(|name| found[0][name].as_str().expect("text"))
}

#[test]
fn check_suggests_tags_as_a_key_for_two_tenants_with_the_same_addresses() {
    with_veth(|veth| {
        let mut frames = conversation(Link::ethernet().vlan(10), 40_000, 1_000);
        frames.extend(conversation(
            Link::ethernet().qinq(20, 7),
            40_001,
            5_000_000,
        ));
        let [plain, by_vlan] = findings(veth, &frames);
        let what = format!(
            "{SENSOR}: connections between 10.0.0.5 and 198.51.100.9 under VLAN 10 and under VLAN 20.7, none of them under both"
        );
        assert_eq!(only(&plain), ["note", &what, "--key vlan"]);
        let what = format!("{what}: --key vlan tells them apart");
        assert_eq!(only(&by_vlan), ["ok", &what, ""]);
    });
}

#[test]
fn check_suggests_tags_as_a_key_where_an_address_has_two_owners() {
    with_veth(|veth| {
        let arp = |vlan: u8, host: u8| {
            let hardware = [2, 0, 0, 0, 0, host];
            let head = [0x81, 0, 0, vlan, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
            let address = [10, 0, 0, 5];
            let (sender, target) = ([&hardware[..], &address].concat(), [0; 6]);
            [&[0xff; 6][..], &hardware, &head, &sender, &target, &address].concat()
        };
        let [plain, _] = findings(veth, &[arp(10, 1), arp(20, 2)]);
        let what = format!(
            "{SENSOR}: 10.0.0.5 is 02:00:00:00:00:01 under VLAN 10 and 02:00:00:00:00:02 under VLAN 20"
        );
        assert_eq!(only(&plain), ["note", &what, "--key vlan"]);
    });
}

#[test]
fn check_speaks_against_tags_as_a_key_on_a_trunk() {
    with_veth(|veth| {
        let mut frames = conversation(Link::ethernet().vlan(10), 40_000, 1_000);
        frames.extend(conversation(Link::ethernet().vlan(20), 40_000, 1_000));
        let [plain, by_vlan] = findings(veth, &frames);
        let what = format!(
            "{SENSOR}: a connection between 10.0.0.5 and 198.51.100.9 under VLAN 10 and under VLAN 20"
        );
        assert_eq!(only(&plain), ["note", &what, ""]);
        assert_eq!(only(&by_vlan), ["warn", &what, "--key addresses"]);
        let unheard = findings_within(veth, &frames, "0");
        assert_eq!(unheard.concat(), Vec::<Value>::new());
    });
}

#[test]
fn check_says_that_a_link_has_no_tags() {
    with_veth(|veth| {
        let mut frames = conversation(Link::ethernet(), 40_000, 1_000);
        frames.extend(conversation(Link::ethernet(), 40_001, 5_000_000));
        for found in findings(veth, &frames) {
            let [level, what, change] = only(&found);
            assert_eq!((level, change), ("ok", ""));
            assert!(
                what.starts_with(&format!("{SENSOR}: no VLAN tag in ")),
                "{what}"
            );
        }
    });
}
