//! What README lists as detected, and what it lists as not detected: a capture of each.

mod common;

use common::{NANOS, synledger};
use craft::{ACK, Capture, FIN, Flow, Ip, Link, LinkType, PSH, RST, SYN, Tcp, URG, Udp, icmp};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
const START_NS: i64 = 1_700_000_000 * SECOND;
const XMAS: u8 = FIN | PSH | URG;

/// A packet and its time behind the first.
type Timed = (i64, Vec<u8>);

/// A flow, by the last octets of source and destination, and a port.
fn flow(src: u8, dst: u8, port: u16) -> Flow {
    Flow::v4([192, 0, 2, src], 40_000, [198, 51, 100, dst], port)
}

fn octet(n: u16) -> u8 {
    n.to_be_bytes()[1]
}

fn packet(flow: Flow, proto: u8, payload: &[u8]) -> Vec<u8> {
    Ip::new(flow.src, flow.dst, proto).bytes(payload)
}

fn tcp(flow: Flow, flags: u8) -> Vec<u8> {
    packet(flow, 6, &segment(flow, flags))
}

fn segment(flow: Flow, flags: u8) -> Vec<u8> {
    let (seq, ack) = (u32::from(flow.dst_port), 7);
    let segment = Tcp::new(flow, flags, seq);
    match flags & ACK {
        0 => segment.bytes(),
        _ => segment.ack(ack).bytes(),
    }
}

/// The RST of a host that has no connection for a segment of [`tcp`] with ACK.
fn reset(flow: Flow) -> Vec<u8> {
    packet(
        flow.reversed(),
        6,
        &Tcp::new(flow.reversed(), RST, 7).bytes(),
    )
}

fn udp(flow: Flow) -> Vec<u8> {
    packet(flow, 17, &Udp::new(flow, b"x").bytes())
}

/// Port unreachable, of the host that got a datagram of [`udp`].
fn unreachable(flow: Flow) -> Vec<u8> {
    let error = icmp::error((flow.dst, flow.src), 3, 3, &udp(flow), 28);
    packet(flow.reversed(), 1, &error)
}

fn ping(flow: Flow, number: u16) -> Vec<u8> {
    let ends = (flow.src, flow.dst);
    packet(flow, 1, &icmp::echo(ends, false, 1, number, b""))
}

/// Titles of the detections that `read` reports for these packets.
fn detections(packets: &[Timed]) -> Vec<String> {
    let lines = alerts(packets);
    let titles = lines
        .iter()
        .filter_map(|line| line.split_once(" detected: "))
        .filter_map(|(before, _)| before.split_once(": "))
        .map(|(_, title)| title.to_owned());
    titles.collect()
}

/// Lines about detections.
fn alerts(packets: &[Timed]) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("probes.pcap");
    let mut capture = Capture::new("probes", LinkType::Ethernet);
    for (at_ns, packet) in packets {
        capture.push(START_NS + at_ns, Link::ethernet().frame(packet));
    }
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture file");
    let read = synledger()
        .args([
            "read",
            "--output",
            "text:-,events=alert",
            "--text-format=short",
        ])
        .arg(&file)
        .output()
        .expect("it starts");
    assert!(read.status.success(), "{read:?}");
    let books = String::from_utf8_lossy(&read.stderr);
    assert!(
        books.contains(&format!("{} packets, 0 frames not decoded", packets.len())),
        "{books}"
    );
    let text = String::from_utf8_lossy(&read.stdout);
    text.lines().map(str::to_owned).collect()
}

/// `count` packets, one each `step_ns`, the n-th made of n from 1 on.
fn series(count: u16, step_ns: i64, make: impl Fn(u16) -> Vec<u8>) -> Vec<Timed> {
    let number = (1..=count).zip(0..);
    number.map(|(n, at)| (at * step_ns, make(n))).collect()
}

/// From source `n` of many to a port of one host.
fn many(n: u16, port: u16) -> Flow {
    let [high, low] = n.to_be_bytes();
    Flow::v4([10, 0, high, low], 40_000, [198, 51, 100, 1], port)
}

/// Probes of 20 ports of one host, one each `step_ns`.
fn ports(step_ns: i64, probe: impl Fn(Flow) -> Vec<u8>) -> Vec<Timed> {
    series(20, step_ns, |port| probe(flow(1, 1, port)))
}

/// The same, each answered within 10 ms.
fn answered(
    step_ns: i64,
    probe: impl Fn(Flow) -> Vec<u8>,
    answer: impl Fn(Flow) -> Vec<u8>,
) -> Vec<Timed> {
    let mut packets = ports(step_ns, probe);
    packets.extend(
        ports(step_ns, answer)
            .into_iter()
            .map(|(at, packet)| (at + 10 * MS, packet)),
    );
    packets.sort_by_key(|(at, _)| *at);
    packets
}

#[test]
fn every_scan_that_the_readme_lists_is_detected_as_its_kind() {
    let syn = |flow| tcp(flow, SYN);
    for (name, packets, kind) in [
        (
            "SYNs to 4 ports",
            series(4, 0, |port| syn(flow(1, 1, port))),
            "Port scan",
        ),
        (
            "4 within 57 s",
            series(4, 19 * SECOND, |port| syn(flow(1, 1, port))),
            "Port scan",
        ),
        (
            "25 hosts",
            series(25, 2 * SECOND, |host| syn(flow(1, octet(host), 22))),
            "Host sweep",
        ),
        ("FIN", ports(0, |flow| tcp(flow, FIN)), "Stealth scan"),
        ("NULL", ports(0, |flow| tcp(flow, 0)), "Stealth scan"),
        ("XMAS", ports(0, |flow| tcp(flow, XMAS)), "Stealth scan"),
        ("PSH", ports(0, |flow| tcp(flow, PSH)), "Stealth scan"),
        (
            "ACK, reset",
            answered(SECOND, |flow| tcp(flow, ACK), reset),
            "Stealth scan",
        ),
        (
            "FIN+ACK, reset",
            answered(SECOND, |flow| tcp(flow, FIN | ACK), reset),
            "Stealth scan",
        ),
        (
            "10 UDP ports",
            series(10, SECOND, |port| udp(flow(1, 1, port))),
            "UDP scan",
        ),
        ("one SYN in 21 s", ports(21 * SECOND, syn), "Slow scan"),
        (
            "one SYN in 40 min",
            series(20, 2400 * SECOND, |host| syn(flow(1, octet(host), host))),
            "Slow scan",
        ),
        (
            "5 sources",
            series(40, SECOND, |port| syn(flow(octet(port % 5 + 1), 1, port))),
            "Distributed scan",
        ),
        (
            "empty UDP from a service's port",
            series(20, 0, |n| {
                let flow = flow(1, 1, 1023 + n).from_port(53);
                packet(flow, 17, &Udp::new(flow, b"").bytes())
            }),
            "UDP scan",
        ),
    ] {
        let found = detections(&packets);
        assert!(found.iter().any(|title| title == kind), "{name}: {found:?}");
    }
}

#[test]
fn a_syn_with_fin_is_a_port_scan_and_a_stealth_scan() {
    let found = detections(&ports(0, |flow| tcp(flow, SYN | XMAS)));
    assert_eq!(found, ["Stealth scan", "Port scan"]);
}

#[test]
fn every_flood_that_the_readme_lists_is_detected_as_its_kind() {
    // A resolver's answers to a question that somebody else asked.
    let reflected = |n: u16| udp(many(n, 1024 + n).from_port(53));
    type Make<'a> = &'a dyn Fn(u16) -> Vec<u8>;
    let of = [
        ("SYN flood", 1000, &|n| tcp(many(n, 80), SYN) as _),
        ("RST flood", 5000, &|n| tcp(many(n, 80), RST) as _),
        ("UDP flood", 10_000, &|n| udp(many(n, 99)) as _),
        ("UDP flood", 10_000, &reflected),
        ("ICMP flood", 1000, &|n| ping(many(n, 0), n) as _),
    ] as [(&str, u16, Make<'_>); 5];
    for (kind, least, make) in of {
        assert_eq!(detections(&series(least, 0, make)), [kind]);
        let fewer = detections(&series(least - 1, 0, make));
        assert!(fewer.is_empty(), "one fewer: {fewer:?}");
    }
}

#[test]
fn syns_spread_over_ports_are_no_syn_flood_but_a_distributed_scan_once_they_have_failed() {
    const STEP_NS: i64 = SECOND / 50_000;
    let spread = |n: u16| many(n, 1 + n % 10_000);
    let syns = series(50_000, STEP_NS, |n| tcp(spread(n), SYN));
    let resets = series(50_000, STEP_NS, |n| {
        let flow = spread(n).reversed();
        let ack = u32::from(flow.src_port) + 1;
        packet(flow, 6, &Tcp::new(flow, RST | ACK, 0).ack(ack).bytes())
    });
    let mut refused = [&syns[..], &resets].concat();
    refused.sort_by_key(|(at_ns, _)| *at_ns);
    assert_eq!(detections(&refused), ["Distributed scan"]);
    // While SYNs come, nobody knows yet that the newest ports are silent.
    assert_eq!(detections(&syns), [""; 0]);
    let last = (7 * SECOND, tcp(many(9, 9), SYN));
    let decided = [&syns[..], &[last]].concat();
    assert_eq!(detections(&decided), ["Distributed scan"]);
}

#[test]
fn floods_of_segments_that_no_rule_counts_give_no_alert() {
    for flags in [SYN | ACK, ACK, ACK | PSH, FIN | ACK, FIN, 0] {
        let at_one = series(50_000, 20_000, |n| tcp(many(n, 80), flags));
        let spread = series(50_000, 20_000, |n| tcp(many(n, 1 + n % 10_000), flags));
        for packets in [at_one, spread] {
            let found = detections(&packets);
            assert!(found.is_empty(), "{flags:#x}: {found:?}");
        }
    }
}

#[test]
fn probes_that_nothing_tells_from_honest_packets_give_no_alert() {
    let with_data = |flow: Flow| {
        let data = Tcp::new(flow, ACK, u32::from(flow.dst_port))
            .ack(7)
            .data(b"x");
        packet(flow, 6, &data.bytes())
    };
    // Probes, or what a resolver answers to questions that somebody asked in the target's name.
    let from_service = |flow: Flow| flow.to_port(1023 + flow.dst_port).from_port(53);
    for (name, packets) in [
        ("ACK without answer", ports(0, |flow| tcp(flow, ACK))),
        (
            "FIN+ACK without answer",
            ports(0, |flow| tcp(flow, FIN | ACK)),
        ),
        ("ACK with data, reset", answered(SECOND, with_data, reset)),
        (
            "SYN+ACK, reset",
            answered(SECOND, |flow| tcp(flow, SYN | ACK), reset),
        ),
        ("RST", ports(0, |flow| tcp(flow, RST))),
        (
            "UDP from a service's port",
            ports(0, |flow| udp(from_service(flow))),
        ),
        (
            "UDP from a service's port, refused",
            answered(
                SECOND,
                |flow| udp(from_service(flow)),
                |flow| unreachable(from_service(flow)),
            ),
        ),
    ] {
        let found = detections(&packets);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn a_resolver_that_answers_when_nobody_waits_any_more_is_no_scanner() {
    let answer = |n: u16| flow(1, 1, 20_000 + n).from_port(53);
    // While the flow of the question is held, and when it has ended.
    for late_ns in [6 * SECOND, 61 * SECOND] {
        let mut packets = Vec::new();
        for n in 0..20 {
            let asked_ns = i64::from(n) * SECOND;
            packets.extend([
                (asked_ns, udp(answer(n).reversed())),
                (asked_ns + late_ns, udp(answer(n))),
                (asked_ns + late_ns + MS, unreachable(answer(n))),
            ]);
        }
        packets.sort_by_key(|(at_ns, _)| *at_ns);
        let found = detections(&packets);
        assert!(found.is_empty(), "{late_ns}: {found:?}");
    }
}

#[test]
fn protocols_and_wrappings_that_no_rule_reads_give_no_alert() {
    let sctp = |flow: Flow| {
        let [src, dst] = [flow.src_port, flow.dst_port].map(u16::to_be_bytes);
        // Ports, tag, checksum, then an INIT chunk.
        let init = [src.as_slice(), &dst, &[0; 8], &[1, 0, 0, 20], &[1; 16]].concat();
        packet(flow, 132, &init)
    };
    // IPv4 in IPv4.
    let tunnelled = |inner: Vec<u8>| packet(flow(2, 2, 0), 4, &inner);
    for (name, packets) in [
        ("SCTP", ports(0, sctp)),
        (
            "a ping sweep",
            series(50, 0, |host| ping(flow(1, octet(host), 0), host)),
        ),
        (
            "UDP, one port of 50 hosts",
            series(50, 0, |host| udp(flow(1, octet(host), 53))),
        ),
        (
            "FIN, one port of 50 hosts",
            series(50, 0, |host| tcp(flow(1, octet(host), 22), FIN)),
        ),
        (
            "SYNs in a tunnel",
            ports(0, |flow| tunnelled(tcp(flow, SYN))),
        ),
        (
            "FINs in a tunnel",
            ports(0, |flow| tunnelled(tcp(flow, FIN))),
        ),
        (
            "datagrams in a tunnel",
            ports(0, |flow| tunnelled(udp(flow))),
        ),
    ] {
        let found = detections(&packets);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn of_probes_in_tiny_fragments_only_syns_are_detected() {
    let cut = |flags| {
        let whole = ports(SECOND, |_| Vec::new());
        let pieces = whole.into_iter().zip(1..).flat_map(|((at, _), port)| {
            let flow = flow(1, 1, port);
            let ip = Ip::new(flow.src, flow.dst, 6).id(port.into());
            let pieces = ip.fragments(&segment(flow, flags), &[8]);
            pieces.into_iter().map(move |piece| (at, piece))
        });
        pieces.collect::<Vec<Timed>>()
    };
    assert_eq!(detections(&cut(SYN)), ["Port scan"]);
    assert!(detections(&cut(FIN)).is_empty());
}

#[test]
fn scans_below_every_threshold_give_no_alert() {
    let open = |flow: Flow| {
        let seq = u32::from(flow.dst_port);
        let answer = Tcp::new(flow.reversed(), SYN | ACK, 7).ack(seq + 1);
        packet(flow.reversed(), 6, &answer.bytes())
    };
    let syn = |flow| tcp(flow, SYN);
    let hour = 3600 * SECOND;
    for (name, packets) in [
        ("one SYN an hour", ports(hour, syn)),
        (
            "one SYN in 21 s, all answered",
            answered(21 * SECOND, syn, open),
        ),
        ("one FIN in 31 s", ports(31 * SECOND, |flow| tcp(flow, FIN))),
        ("one datagram in 7 s", ports(7 * SECOND, udp)),
        (
            "each of 40 sources tries another host",
            series(40, SECOND, |n| syn(flow(octet(n), octet(n), n))),
        ),
    ] {
        let found = detections(&packets);
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn an_idle_scan_is_told_of_the_host_whose_address_it_uses() {
    // The target sees SYNs of the idle host (2) alone; the scanner (1) asks that host for its IP identifiers.
    let mut packets = ports(SECOND, |probed| {
        tcp(
            Flow {
                src: flow(2, 1, 0).src,
                ..probed
            },
            SYN,
        )
    });
    packets.extend(series(20, SECOND, |n| {
        tcp(flow(1, 2, 80).from_port(50_000 + n), SYN | ACK)
    }));
    packets.sort_by_key(|(at, _)| *at);
    let found = alerts(&packets);
    assert!(
        found
            .iter()
            .any(|line| line.contains("Port scan detected: 192.0.2.2 -> ")),
        "{found:?}"
    );
    assert!(
        !found.iter().any(|line| line.contains("192.0.2.1 ")),
        "{found:?}"
    );
}
