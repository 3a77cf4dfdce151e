use super::*;
use crate::capture::tunnels::Inside;
use crate::decode::packet::tcp_flags::PSH;
use crate::decode::packet::{Fragment, Reach, Transport};

const CLIENT: [u8; 4] = [10, 0, 0, 5];
const SERVER: [u8; 4] = [10, 0, 0, 9];

/// A segment to or from the server, under these tags.
fn segment(tags: &[u16], port: u16, up: bool, flags: u8, (seq, ack): (u32, u32)) -> Packet {
    let tcp = Tcp {
        src_port: if up { port } else { 443 },
        dst_port: if up { 443 } else { port },
        seq,
        ack,
        flags,
        payload_len: if flags & PSH == 0 { 0 } else { 100 },
    };
    let [src, dst] = if up {
        [CLIENT, SERVER]
    } else {
        [SERVER, CLIENT]
    };
    let tag = |at: usize| tags.get(at).copied().unwrap_or_default();
    Packet {
        ts_ns: 0,
        wire_len: 60,
        ip_len: 40,
        interface: 0,
        vlan: [tag(0), tag(1)],
        vlan_count: u8::try_from(tags.len().min(2)).expect("small"),
        src: src.into(),
        dst: dst.into(),
        fragment: Fragment::Whole,
        reach: Reach::Plain,
        inside: Inside::NONE,
        gso: false,
        transport: Transport::Tcp(tcp),
    }
}

/// SYN, SYN+ACK and a request; each direction under its own tags.
fn connection(up: &[u16], down: &[u16], port: u16, isn: u32) -> Vec<Packet> {
    let server_isn = isn ^ 0x5555_5555;
    vec![
        segment(up, port, true, SYN, (isn, 0)),
        segment(down, port, false, SYN | ACK, (server_isn, isn + 1)),
        segment(up, port, true, PSH | ACK, (isn + 1, server_isn + 1)),
    ]
}

fn heard(packets: &[Vec<Packet>]) -> Heard {
    let mut heard = Heard::default();
    packets
        .iter()
        .flatten()
        .for_each(|packet| heard.on_packet(packet));
    heard
}

fn judged(packets: &[Vec<Packet>], by_vlan: bool) -> Finding {
    finding("eth0", &heard(packets), by_vlan)
}

#[track_caller]
fn assert_says(found: Finding, level: Level, what: &str, change: &str) {
    assert_eq!((found.level, found.change.as_str()), (level, change));
    assert_eq!(found.what, what);
}

const NOTHING: &str = "eth0: VLAN tags were seen, and nothing suggests another `--key`";

#[test]
fn hosts_with_the_same_addresses_suggest_the_tags_as_a_key() {
    let tenants = [
        connection(&[10], &[10], 40_000, 1),
        connection(&[20, 7], &[20, 7], 40_001, 99),
    ];
    let what = "eth0: connections between 10.0.0.5 and 10.0.0.9 under VLAN 10 and under VLAN 20.7, none of them under both";
    assert_says(judged(&tenants, false), Level::Note, what, "--key vlan");
    let what = format!("{what}: --key vlan tells them apart");
    assert_says(judged(&tenants, true), Level::Ok, &what, "");
    let native = [
        connection(&[], &[], 40_000, 1),
        connection(&[20], &[20], 40_001, 99),
    ];
    let what = "eth0: connections between 10.0.0.5 and 10.0.0.9 under no VLAN and under VLAN 20, none of them under both";
    assert_says(judged(&native, false), Level::Note, what, "--key vlan");
}

#[test]
fn one_connection_under_two_tags_speaks_against_it() {
    let what = "eth0: a connection between 10.0.0.5 and 10.0.0.9 under VLAN 10 and under VLAN 20";
    let both_sides = [
        connection(&[20], &[20], 40_000, 1),
        connection(&[10], &[10], 40_000, 1),
    ];
    // A mirror port that shows only what a switch receives.
    let split = [connection(&[10], &[20], 40_000, 1)];
    // Another connection of the pair has no copies.
    let lossy = [&both_sides[..], &[connection(&[10], &[10], 40_001, 7)]].concat();
    for packets in [&both_sides[..], &split[..], &lossy[..]] {
        assert_says(judged(packets, false), Level::Note, what, "");
        assert_says(judged(packets, true), Level::Warn, what, "--key addresses");
    }
    // The copy of one segment is enough, and each of its fields counts.
    let one = |port, seq, ack, flags| vec![segment(&[20], port, true, flags, (seq, ack))];
    let first = vec![segment(&[10], 40_000, true, ACK, (1, 2))];
    let with = |other| judged(&[first.clone(), other], false).level;
    assert_eq!(with(one(40_000, 1, 2, ACK)), Level::Note);
    for other in [
        one(40_001, 1, 2, ACK),
        one(40_000, 9, 2, ACK),
        one(40_000, 1, 9, ACK),
        one(40_000, 1, 2, ACK | FIN),
        one(40_000, 1, 2, ACK | PSH),
    ] {
        assert_eq!(with(other), Level::Ok);
    }
}

#[test]
fn what_proves_neither_suggests_nothing() {
    let few = [
        connection(&[10], &[10], 40_000, 1),
        connection(&[20], &[20], 40_001, 99)[..2].to_vec(),
    ];
    assert_says(judged(&few, false), Level::Ok, NOTHING, "");
    // The same segment again is one.
    let again = [few.as_slice(), &few].concat();
    assert_says(judged(&again, false), Level::Ok, NOTHING, "");
    // A firewall that changes sequence numbers: the ports are the same.
    let changed = [
        connection(&[10], &[10], 40_000, 1),
        connection(&[20], &[20], 40_000, 99),
    ];
    assert_says(judged(&changed, false), Level::Ok, NOTHING, "");
    // A priority is no network.
    let priority = [
        connection(&[], &[], 40_000, 1),
        connection(&[0], &[0], 40_001, 99),
    ];
    assert_says(judged(&priority, false), Level::Ok, NOTHING, "");
    let untagged = [
        connection(&[], &[], 40_000, 1),
        connection(&[], &[], 40_001, 99),
    ];
    let packets = untagged.concat().len();
    let what = format!("eth0: no VLAN tag in {packets} packets: any `--key` is right");
    assert_says(judged(&untagged, false), Level::Ok, &what, "");
    assert_says(judged(&untagged, true), Level::Ok, &what, "");
    let what = "eth0: nothing was heard that speaks for a `--key`";
    assert_says(judged(&[], false), Level::Ok, what, "");
}

fn claims(all: &[(&[u16], [u8; 4], u8)]) -> Finding {
    let mut heard = Heard::default();
    for (tags, sender, hardware) in all {
        let mut stack = Stack::default();
        tags.iter().for_each(|tag| stack.push(*tag));
        heard.on_arp(stack, (*sender).into(), [2, 0, 0, 0, 0, *hardware]);
    }
    finding("eth0", &heard, false)
}

#[test]
fn an_address_with_an_owner_in_each_network_suggests_the_tags_as_a_key() {
    let owners: [(&[u16], _, _); 2] = [(&[10], CLIENT, 1), (&[20], CLIENT, 2)];
    let what =
        "eth0: 10.0.0.5 is 02:00:00:00:00:01 under VLAN 10 and 02:00:00:00:00:02 under VLAN 20";
    assert_says(claims(&owners), Level::Note, what, "--key vlan");
    let and = |other| claims(&[owners[0], owners[1], other]);
    // A router answers for every host of another network, a bridge passes packets on.
    assert_says(and((&[20], SERVER, 2)), Level::Ok, NOTHING, "");
    assert_says(and((&[20], CLIENT, 1)), Level::Ok, NOTHING, "");
    for none in [
        [(&[10][..], CLIENT, 1), (&[20][..], CLIENT, 1)],
        [(&[10], CLIENT, 1), (&[10], CLIENT, 2)],
        [(&[10], CLIENT, 1), (&[20], SERVER, 2)],
        [(&[10], [0; 4], 1), (&[20], [0; 4], 2)],
    ] {
        assert_says(claims(&none), Level::Ok, NOTHING, "");
    }
    let priority = claims(&[(&[], CLIENT, 1), (&[0], CLIENT, 2)]);
    let what = "eth0: no VLAN tag in 2 packets: any `--key` is right";
    assert_says(priority, Level::Ok, what, "");
}

#[test]
fn memory_is_bounded_and_keeps_pairs_with_several_tags() {
    let mut heard = heard(&[
        connection(&[10], &[10], 40_000, 1),
        connection(&[20], &[20], 40_001, 99),
    ]);
    let mut held_max = 0;
    for at in 0..100_000_u32 {
        let mut packet = segment(&[10], 40_000, true, SYN, (at, 0));
        // A scan of the whole network, then a download: neither displaces the pair above.
        if at < 50_000 {
            packet.dst = Ipv4Addr::from_bits(0x0b00_0000 + at).into();
        }
        heard.on_packet(&packet);
        held_max = held_max.max(heard.segments);
        if at % 1_000 == 0 {
            let lists = heard.pairs.values().flatten();
            let held: usize = lists.map(|(_, segments)| segments.len()).sum();
            assert_eq!(heard.segments, held);
        }
        assert!(heard.pairs.len() <= SEGMENTS_MAX);
        if at % 100 == 0 {
            heard.on_arp(Stack::default(), Ipv4Addr::from_bits(at + 1), [2; 6]);
        }
    }
    assert_eq!(held_max, SEGMENTS_MAX);
    assert_eq!(heard.arp.len(), 1_000);
    assert!(finding("eth0", &heard, false).change == "--key vlan");
    // A copy of a segment that was kept is seen however much was heard since.
    heard.on_packet(&segment(&[20], 40_000, true, SYN, (1, 0)));
    assert!(heard.joined.is_some());
}
