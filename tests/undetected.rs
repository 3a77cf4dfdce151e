//! Probes that README lists as a port scan, and those that it lists as not detected yet.

mod common;

use common::{NANOS, synledger};
use craft::{ACK, Capture, FIN, Flow, Ip, Link, LinkType, PSH, SYN, Tcp, URG, Udp};

const SECOND: i64 = 1_000_000_000;
const START_NS: i64 = 1_700_000_000 * SECOND;

/// A flow, by the last octets of source and destination, and a port.
fn flow(src: u8, dst: u8, port: u16) -> Flow {
    Flow::v4([192, 0, 2, src], 40_000, [198, 51, 100, dst], port)
}

fn tcp(flow: Flow, flags: u8) -> Vec<u8> {
    Ip::new(flow.src, flow.dst, 6).bytes(&Tcp::new(flow, flags, u32::from(flow.dst_port)).bytes())
}

/// Number of detections that `read` reports for these packets, each with its second.
fn detections(packets: &[(i64, Vec<u8>)]) -> usize {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("probes.pcap");
    let mut capture = Capture::new("probes", LinkType::Ethernet);
    for (at_s, packet) in packets {
        capture.push(START_NS + at_s * SECOND, Link::ethernet().frame(packet));
    }
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture file");
    let read = synledger()
        .arg("read")
        .arg(&file)
        .output()
        .expect("it starts");
    assert!(read.status.success(), "{read:?}");
    let text = String::from_utf8_lossy(&read.stdout);
    text.matches(" detected: ").count()
}

/// Probes of 20 ports, one each `step_s`.
fn ports(step_s: i64, probe: impl Fn(u16) -> Vec<u8>) -> Vec<(i64, Vec<u8>)> {
    let number = (1..=20).zip(0..);
    number.map(|(port, n)| (n * step_s, probe(port))).collect()
}

#[test]
fn syns_of_one_source_to_four_ports_within_a_minute_are_a_scan() {
    assert_eq!(detections(&ports(0, |port| tcp(flow(1, 1, port), SYN))), 1);
    assert_eq!(
        detections(&ports(19, |port| tcp(flow(1, 1, port), SYN))),
        1,
        "4 within 57 s"
    );
    let odd = FIN | SYN | PSH | URG;
    assert_eq!(
        detections(&ports(0, |port| tcp(flow(1, 1, port), odd))),
        1,
        "SYN with other flags"
    );
}

#[test]
fn probes_that_are_not_detected_yet_give_no_alert() {
    for (name, flags) in [
        ("FIN", FIN),
        ("NULL", 0),
        ("XMAS", FIN | PSH | URG),
        ("ACK", ACK),
        ("SYN+ACK", SYN | ACK),
    ] {
        assert_eq!(
            detections(&ports(0, |port| tcp(flow(1, 1, port), flags))),
            0,
            "{name}"
        );
    }
    let udp = |port| {
        let flow = flow(1, 1, port);
        Ip::new(flow.src, flow.dst, 17).bytes(&Udp::new(flow, b"x").bytes())
    };
    assert_eq!(detections(&ports(0, udp)), 0, "UDP");
    assert_eq!(
        detections(&ports(20, |port| tcp(flow(1, 1, port), SYN))),
        0,
        "slower"
    );
    let octet = |port: u16| port.to_be_bytes()[1];
    assert_eq!(
        detections(&ports(0, |port| tcp(flow(1, octet(port), 22), SYN))),
        0,
        "one port, many hosts"
    );
    assert_eq!(
        detections(&ports(0, |port| tcp(flow(octet(port), 1, port), SYN))),
        0,
        "many sources"
    );
    // IPv4 in IPv4.
    let tunnel = |port| {
        let inner = tcp(flow(1, 1, port), SYN);
        let outer = flow(2, 2, 0);
        Ip::new(outer.src, outer.dst, 4).bytes(&inner)
    };
    assert_eq!(detections(&ports(0, tunnel)), 0, "through a tunnel");
}
