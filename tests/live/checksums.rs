//! `--checksums verify` on a veth pair: checksums that are not computed yet, that are, and that are wrong.

use super::lockstep::{Closer, talk};
use super::peer::Peer;
use super::sensor::{Ended, Sensor, of_type};
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use craft::{Flow, Ip, Link, RST, SYN, Tcp};
use nix::sys::signal::Signal;
use packet::TxSocket;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

const OURS: [u8; 4] = [192, 0, 2, 1];

fn ethtool(words: &str) -> bool {
    let status = Command::new("ethtool").args(words.split(' ')).output();
    status.is_ok_and(|output| output.status.success())
}

/// A segment from a host that does not exist, whose checksum is right or not.
fn segment(port: u16, flags: u8, bad: bool) -> Vec<u8> {
    let flow = Flow::v4([198, 51, 100, 9], port, OURS, 443);
    let mut tcp = Tcp::new(flow, flags, 7).bytes();
    tcp[17] ^= u8::from(bad);
    Link::ethernet().frame(&Ip::new(flow.src, flow.dst, 6).bytes(&tcp))
}

fn books(ended: &Ended) -> Value {
    let last = of_type(&ended.eve, "stats").last().expect("the last books");
    last["synledger"]["totals"]["books"].clone()
}

/// A connection of real stacks, and frames of a raw sender's, whose checksums nobody leaves to a NIC.
fn watched(offload: bool, depth: &str) -> Option<Ended> {
    let client = Peer::new();
    ip(&format!("address add 192.0.2.1/24 dev {SENSOR}"));
    client.run(|| ip(&format!("address add 192.0.2.2/24 dev {SENDER}")));
    if !offload {
        let off = |end: &str| ethtool(&format!("-K {end} tx off gso off tso off gro off"));
        if !off(SENSOR) || !client.run(move || off(SENDER)) {
            eprintln!("skipped: ethtool turns no offload off");
            return None;
        }
    }
    let sensor = Sensor::start(&[
        "--checksums",
        "verify",
        "--capture",
        depth,
        "--workers",
        "2",
    ]);
    let target = SocketAddr::from((Ipv4Addr::from(OURS), 8080));
    let listener = TcpListener::bind(target).expect("a listener");
    talk(&client, target, &listener, &[(3, 1000)], Closer::Client);
    client.run(|| {
        let index = nix::net::if_::if_nametoindex(SENDER).expect("it is here");
        let sender = TxSocket::open(index).expect("a sender opens");
        for frame in [
            segment(1, SYN, false),
            segment(2, SYN, true),
            segment(1, RST, true),
        ] {
            sender.send(&frame).expect("a frame is sent");
        }
    });
    Some(sensor.stop(Signal::SIGINT))
}

fn assert_judged(ended: &Ended, many: &str, none: &str) {
    ended.assert_exact();
    let books = books(ended);
    let outcome = |word: &str| books["checksums"][word].as_u64().expect("a count");
    assert!(outcome(many) >= 8, "{many}: {books:#}");
    assert_eq!(outcome(none), 0, "{none}: {books:#}");
    assert_eq!(books["unread_frames"]["bad_tcp_checksum"], 2, "{books:#}");
    assert_eq!(books["misrouted_frames"], 0, "{books:#}");
    // The connection, and the SYN that is right; its forged RST refused nothing.
    assert_eq!(ended.lines(": New connection: ").len(), 2, "{}", ended.text);
    assert_eq!(
        ended.lines("192.0.2.1:443 TCP S0 ").len(),
        1,
        "{}",
        ended.text
    );
}

#[test]
fn what_is_not_computed_yet_passes_and_what_is_wrong_does_not() {
    with_veth(|_| {
        if let Some(ended) = watched(true, "headers") {
            assert_judged(&ended, "pending", "fragment");
            // The raw sender's SYN.
            let right = &books(&ended)["checksums"]["right"];
            assert!(right.as_u64() >= Some(1), "{right}");
        }
    });
    with_veth(|_| {
        if let Some(ended) = watched(false, "full") {
            assert_judged(&ended, "right", "pending");
            assert_eq!(books(&ended)["checksums"]["cut"], 0);
        }
    });
    // Headers alone: the segment of 1000 bytes is cut.
    with_veth(|_| {
        if let Some(ended) = watched(false, "headers") {
            assert_judged(&ended, "right", "pending");
            assert!(books(&ended)["checksums"]["cut"].as_u64() >= Some(1));
        }
    });
}
