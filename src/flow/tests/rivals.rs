//! Two connections on the same ports at once.

use super::handshakes::data;
use super::*;
use crate::flow::record::EndReason;

/// The numbers of a client and a server.
type Numbers = (u32, u32);

fn open((client, server): Numbers, at: i64) -> [Packet; 3] {
    let next = (client.wrapping_add(1), server.wrapping_add(1));
    [
        data(at, true, S, (client, 0), 0),
        data(at + 2, false, S | A, (server, next.0), 0),
        data(at + 4, true, A, next, 0),
    ]
}

/// So many segments of `len` bytes each way.
fn talk((client, server): Numbers, at: i64, count: u32, len: u32) -> Vec<Packet> {
    let base = (client.wrapping_add(1), server.wrapping_add(1));
    let pair = |i: u32| {
        let done = i * len;
        let (up, down) = (base.0.wrapping_add(done), base.1.wrapping_add(done));
        let at = at + i64::from(i) * 4;
        [
            data(at, true, A | PSH, (up, down), len),
            data(at + 2, false, A | PSH, (down, up.wrapping_add(len)), len),
        ]
    };
    (0..count).flat_map(pair).collect()
}

fn interleaved(one: &[Packet], other: &[Packet]) -> Vec<Packet> {
    let mut all = [one, other].concat();
    all.sort_by_key(|packet| packet.ts_ns);
    all
}

/// Client number, payload each way and reason of each record, by client number.
fn told(packets: &[Packet]) -> Vec<(u32, u64, u64, EndReason)> {
    let (said, counts) = play(packets);
    assert_eq!(counts.established_connections, 2);
    let of = |r: &FlowRecord| (r.isn, r.orig.payload_bytes, r.resp.payload_bytes, r.reason);
    let mut told: Vec<_> = records(&said).iter().map(of).collect();
    told.sort_unstable_by_key(|one| one.0);
    told
}

#[test]
fn both_sides_of_a_firewall_that_changes_numbers_are_two_connections() {
    for (one, other) in [
        ((10, 20), (5_000_000, 7_000_000)),
        ((u32::MAX - 3, 20), (1 << 31, 1 << 30)),
    ] {
        let inner = [&open(one, 0)[..], &talk(one, 10, 40, 7)].concat();
        let outer = [&open(other, 1)[..], &talk(other, 11, 40, 9)].concat();
        let mut expected = vec![
            (one.0, 280, 280, EndReason::Eof),
            (other.0, 360, 360, EndReason::Eof),
        ];
        expected.sort_unstable_by_key(|one| one.0);
        assert_eq!(told(&interleaved(&inner, &outer)), expected);
    }
}

#[test]
fn one_of_two_connections_on_the_same_ports_may_close_and_the_other_goes_on() {
    let (one, other) = ((10, 20), (5_000_000, 7_000_000));
    let closing = [
        data(50, true, A | F, (11, 21), 0),
        data(52, false, A | F, (21, 12), 0),
        data(54, true, A, (12, 22), 0),
    ];
    let inner = [&open(one, 0)[..], &closing].concat();
    let outer = [&open(other, 1)[..], &talk(other, 101, 3, 9)].concat();
    let expected = [
        (10, 0, 0, EndReason::Fin),
        (5_000_000, 27, 27, EndReason::Eof),
    ];
    let mut packets = interleaved(&inner, &outer);
    packets.push(data(10 * SECOND, false, A, (7_000_028, 5_000_028), 0));
    assert_eq!(told(&packets), expected);
}

#[test]
fn a_silent_connection_ends_when_a_new_one_on_its_ports_is_proven() {
    let (one, other) = ((10, 20), (5_000_000, 7_000_000));
    let first = [&open(one, 0)[..], &talk(one, 10, 2, 7)].concat();
    let second = [&open(other, SECOND)[..], &talk(other, SECOND + 10, 2, 9)].concat();
    let expected = [
        (10, 14, 14, EndReason::Timeout),
        (5_000_000, 18, 18, EndReason::Eof),
    ];
    assert_eq!(told(&[first, second].concat()), expected);
}

/// A connection whose SYN was missed, or whose attempt is long over, while somebody sends a SYN on its ports.
#[test]
fn a_syn_on_the_ports_of_a_flow_that_is_not_proven_takes_none_of_its_segments() {
    let flow = (3_111_222_333, 777_000_111);
    for isn in [10, 1 << 31] {
        let syn = data(40, true, S, (isn, 0), 0);
        let packets = [&talk(flow, 0, 5, 7)[..], &[syn], &talk(flow, 50, 5, 9)].concat();
        let (said, counts) = play(&packets);
        let payload = |r: &FlowRecord| (r.midstream, r.orig.payload_bytes, r.resp.payload_bytes);
        let mut told: Vec<_> = records(&said).iter().map(payload).collect();
        told.sort_unstable();
        assert_eq!(told, [(false, 0, 0), (true, 80, 80)]);
        assert_eq!(
            (counts.answered_connections, counts.midstream_flows),
            (0, 1)
        );
    }
}
