//! The promises of the stage, one by one.

use super::super::record::{Basis, ConnState, EndReason, FlowEvent, FlowRecord, Outcome, When};
use super::super::{Flows, Limits};
use super::handshakes::data;
use super::*;

fn letters(record: &FlowRecord) -> String {
    let letters = record.history.letters.iter().filter(|letter| **letter != 0);
    letters.map(|letter| char::from(*letter)).collect()
}

#[test]
fn a_handshake_with_both_fins_is_sf() {
    let (said, counts) = play(&[
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, S | A, 20, 11),
        segment(2, C, D, A, 11, 21),
        segment(3, C, D, A | F, 11, 21),
        segment(4, D, C, A | F, 21, 12),
        segment(5 + 6 * SECOND, (3, 3), (4, 4), S, 1, 0),
    ]);
    let record = records(&said)[0];
    assert_eq!(letters(&record), "ShAFf");
    assert_eq!(
        (record.conn_state, record.reason),
        (ConnState::Sf, EndReason::Fin)
    );
    assert_eq!((record.orig.packets, record.resp.packets), (3, 2));
    assert_eq!(record.basis, Basis::Handshake);
    assert_eq!(
        (
            counts.answered_connections,
            counts.established_connections,
            counts.new_connections
        ),
        (1, 1, 2)
    );
    assert!(said.contains(&(When::Deadline(4 + 5 * SECOND), FlowEvent::Ended(record))));
}

#[test]
fn a_syn_counts_anew_exactly_at_the_horizon() {
    let again = |at| play(&[segment(0, C, D, S, 0, 0), segment(at, C, D, S, 0, 0)]).1;
    assert_eq!(again(130 * SECOND - 1).new_connections, 1);
    assert_eq!(again(130 * SECOND).new_connections, 2);
}

#[test]
fn resets_and_unreachables_refuse() {
    let (said, counts) = play(&[
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, R | A, 0, 11),
        segment(2, C, (2, 81), S, 10, 0),
        unreachable(3, (2, 81), 10),
    ]);
    let refusals = said.iter().filter(|(_, event)| {
        matches!(
            event,
            FlowEvent::Outcome {
                outcome: Outcome::Refused,
                ..
            }
        )
    });
    assert_eq!(
        (
            refusals.count(),
            counts.refused_connections,
            counts.icmp_refused
        ),
        (2, 2, 1)
    );
    let states: Vec<_> = records(&said).iter().map(|r| r.conn_state).collect();
    assert_eq!(states, [ConnState::Rej, ConnState::S0]);
}

#[test]
fn as_in_zeek_an_empty_datagram_is_data_and_icmp_has_no_history() {
    let udp = |src_port, dst_port| {
        Transport::Udp(Udp {
            src_port,
            dst_port,
            payload_len: 0,
        })
    };
    let echo = Icmp {
        v6: false,
        kind: 8,
        code: 0,
        id: 7,
        payload_len: 56,
        quoted: None,
    };
    let (said, _) = play(&[
        packet(0, host(1), host(2), udp(1000, 53)),
        packet(1, host(2), host(1), udp(53, 1000)),
        packet(2, host(1), host(3), Transport::Icmp(echo)),
    ]);
    let mut found: Vec<_> = records(&said)
        .iter()
        .map(|record| (record.tuple.proto, letters(record)))
        .collect();
    found.sort();
    assert_eq!(found, [(1, String::new()), (17, "Dd".to_owned())]);
}

#[test]
fn a_flood_displaces_no_proven_connection() {
    let limits = Limits {
        attempts: 64,
        established: 16,
        others: 64,
        fragments: 4,
        parts: false,
    };
    let mut trace = vec![
        (segment(0, C, D, S, 10, 0), 0),
        (segment(1, D, C, S | A, 20, 11), 1),
        (segment(2, C, D, A, 11, 21), 2),
    ];
    for i in 0..5000_u16 {
        let at = 3 + i64::from(i);
        let flags = [S, A, S | A][usize::from(i % 3)];
        trace.push((segment(at, (3, i), D, flags, u32::from(i), 5), at));
    }
    let (said, counts) = run(&trace, limits, [3, 9], |_| false);
    assert!(counts.evicted_attempts > 1000 && counts.evicted_others > 1000);
    assert_eq!(counts.evicted_established, 0);
    let proven = |r: &&FlowRecord| r.basis == Basis::Handshake && r.reason == EndReason::Eof;
    assert_eq!(records(&said).iter().filter(proven).count(), 1);
}

#[test]
fn a_syn_cut_in_two_is_joined_in_either_order() {
    let head = Transport::TinyFragment {
        id: 5,
        head: [3, 232, 0, 80, 0, 0, 0, 10],
    };
    let tail = Transport::SecondFragment {
        id: 5,
        tail: [0, 0, 0, 0, 0x50, S],
        payload_len: 12,
    };
    for halves in [[head, tail], [tail, head]] {
        let mut flows = Flows::new(ROOMY, [0, 0]);
        let mut attempts = 0;
        let mut on = |at: i64, transport| {
            let packet = packet(at, host(1), host(2), transport);
            flows.on_packet(&packet, at, &mut |_, event| {
                attempts += u32::from(matches!(event, FlowEvent::Attempt(_)));
            })
        };
        assert_eq!(on(0, halves[0]), None);
        let joined = on(1, halves[1]).expect("a header");
        assert_eq!(
            (joined.key.src_port(), joined.key.dst_port(), joined.seq),
            (1000, 80, 10)
        );
        assert!(joined.is_touch() && joined.payload_len == 0);
        assert_eq!(on(2, halves[0]), None);
        assert_eq!(on(3 + 30 * SECOND, halves[1]), None, "halves wait 30 s");
        assert_eq!(attempts, 1);
    }
}

#[test]
fn a_listed_connection_is_flagged_preexisting() {
    let mut flows = Flows::new(ROOMY, [0, 0]);
    flows.preexisting([((host(2), 80).into(), (host(1), 1000).into())]);
    let mut said = Vec::new();
    for from in [C, (1, 1001)] {
        let packet = segment(0, from, D, A, 1, 1);
        flows.on_packet(&packet, 0, &mut |_, _| ());
    }
    flows.finish(&mut |when, event| said.push((when, event)));
    let flags: Vec<_> = records(&said)
        .iter()
        .map(|r| (r.midstream, r.preexisting))
        .collect();
    assert_eq!(flags, [(true, true), (true, false)]);
}

#[test]
fn a_budget_is_kept() {
    for mib in [4_u64, 64, 256] {
        let limits = Limits::from_bytes(mib << 20, mib % 2 == 0);
        let used = limits.memory_bytes();
        assert!(
            used <= mib << 20 && used > (mib << 20) - (mib << 20) / 16,
            "{mib} MiB: {used}"
        );
    }
}

#[test]
fn times_at_the_ends_of_the_scale_do_no_harm() {
    let stamps = [i64::MIN, -1, 0, 1 << 40, i64::MAX - 1, i64::MAX, i64::MIN];
    let mut now = i64::MIN;
    let mut trace = Vec::new();
    for (i, at) in stamps.into_iter().enumerate() {
        now = now.max(at);
        let port = 1000 + u16::from(i % 2 == 0);
        trace.push((segment(at, (1, port), D, S, 1, 0), now));
        trace.push((segment(at, D, (1, port), S | A, 1, 2), now));
        trace.push((segment(at, (1, port), D, A, 2, 2), now));
        trace.push((segment(at, (1, 9), D, A, 2, 2), now));
    }
    let (said, _) = run(&trace, ROOMY, [1, 2], |_| true);
    let (other, _) = run(&trace, ROOMY, [1, 2], |_| false);
    assert_eq!(sorted(&said), sorted(&other));
}

#[test]
fn a_simultaneous_open_is_two_attempts_and_one_connection() {
    let (said, counts) = play(&[
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, S, 20, 0),
        segment(2, C, D, S | A, 10, 21),
        segment(3, D, C, S | A, 20, 11),
        segment(4, C, D, A, 11, 21),
    ]);
    assert_eq!(
        (
            counts.new_connections,
            counts.established_connections,
            counts.flows_merged
        ),
        (2, 1, 1)
    );
    let record = records(&said)[0];
    assert_eq!((record.tuple.src, record.start_ns), (host(1), 0));
    assert_eq!((record.orig.packets, record.resp.packets), (3, 2));
}

#[test]
fn ports_used_again_end_the_old_connection_when_the_new_one_is_proven() {
    let (said, counts) = play(&[
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, S | A, 20, 11),
        segment(2, C, D, A, 11, 21),
        segment(3, C, D, S, 500, 0),
        segment(4, D, C, A, 21, 11),
        segment(5, D, C, S | A, 700, 501),
        segment(6, C, D, A, 501, 701),
        segment(7, C, D, A, 501, 701),
    ]);
    assert_eq!(
        (counts.new_connections, counts.established_connections),
        (2, 2)
    );
    let [old, new] = records(&said)[..] else {
        panic!("two records");
    };
    assert_eq!(
        (old.isn, old.reason, old.resp.packets),
        (10, EndReason::Timeout, 2)
    );
    assert_eq!(
        (new.isn, new.reason, new.orig.packets),
        (500, EndReason::Eof, 3)
    );
}

#[test]
fn each_direction_is_accounted_where_it_was_seen_first() {
    let elsewhere = |mut packet: Packet| {
        packet.interface = 7;
        packet
    };
    let answer = segment(2, D, C, S | A, 20, 11);
    let client = |at| data(at, true, A, (11, 21), 5);
    let server = |at| data(at, false, A, (21, 16), 9);
    // As on a router: each frame twice. As on a tap: the answers elsewhere. Copies of one direction only.
    for (first, second) in [(0, 7), (7, 0)] {
        let at = |mut packet: Packet, interface| {
            packet.interface = interface;
            packet
        };
        let (said, counts) = play(&[
            segment(0, C, D, S, 10, 0),
            elsewhere(segment(1, C, D, S, 10, 0)),
            at(answer, first),
            at(answer, second),
            client(3),
            elsewhere(client(3)),
            at(server(4), first),
            at(server(4), second),
            client(5),
            at(server(6), first),
        ]);
        assert_eq!((counts.new_connections, counts.syn_other_interface), (1, 1));
        let outcomes = (counts.answered_connections, counts.established_connections);
        assert_eq!(outcomes, (1, 1));
        assert_eq!(counts.packets_other_interface, 3);
        assert_eq!(counts.syn_retransmitted, 0);
        let record = records(&said)[0];
        assert_eq!((record.interface, record.interface_resp), (0, first));
        assert_eq!((record.orig.packets, record.resp.packets), (3, 3));
    }
}

#[test]
fn a_flow_without_a_handshake_has_an_interface_a_direction_too() {
    let at = |packet: Packet, interface| Packet {
        interface,
        ..packet
    };
    let udp = |ts, from: (u8, u16), to: (u8, u16)| {
        let transport = Transport::Udp(Udp {
            src_port: from.1,
            dst_port: to.1,
            payload_len: 1,
        });
        packet(ts, host(from.0), host(to.0), transport)
    };
    let midstream = |ts, from, to| segment(ts, from, to, A, 1, 1);
    for of in [udp, midstream] {
        let (said, counts) = play(&[
            at(of(0, C, D), 3),
            at(of(1, D, C), 4),
            at(of(2, D, C), 3),
            at(of(3, C, D), 4),
            at(of(4, C, D), 3),
            at(of(5, D, C), 4),
        ]);
        assert_eq!(counts.packets_other_interface, 2);
        let record = records(&said)[0];
        assert_eq!((record.interface, record.interface_resp), (3, 4));
        assert_eq!((record.orig.packets, record.resp.packets), (2, 2));
    }
}

#[test]
fn a_late_answer_reopens_an_attempt() {
    let (said, counts) = play(&[
        segment(0, C, D, S, 10, 0),
        segment(6 * SECOND, D, C, S | A, 20, 11),
        segment(6 * SECOND + 1, C, D, A, 11, 21),
    ]);
    assert_eq!(
        (
            counts.new_connections,
            counts.flows_reopened,
            counts.established_connections
        ),
        (1, 1, 1)
    );
    let ends: Vec<_> = records(&said)
        .iter()
        .map(|r| (r.reason, r.conn_state, r.reopened))
        .collect();
    assert_eq!(
        ends,
        [
            (EndReason::Unanswered, ConnState::S0, false),
            (EndReason::Eof, ConnState::S1, true)
        ]
    );
}

#[test]
fn a_table_holds_what_it_has_room_for_before_it_evicts() {
    let limits = Limits {
        attempts: 20_000,
        ..ROOMY
    };
    let mut flows = Flows::new(limits, [3, 4]);
    let syn = |i: u32| {
        let [_, _, a, b] = i.to_be_bytes();
        let port = u16::try_from(i % 60_000).expect("below") + 1000;
        segment(i64::from(i), (a, port), (b, 80), S, i, 0)
    };
    let feed = |flows: &mut Flows, numbers: std::ops::Range<u32>| {
        for i in numbers {
            flows.on_packet(&syn(i), i64::from(i), &mut |_, _| ());
        }
    };
    feed(&mut flows, 0..20_000);
    let early = flows.counts().evicted_attempts;
    assert!(
        early * 1000 <= 20_000,
        "{early} of 20000 had to leave early"
    );
    feed(&mut flows, 20_000..60_000);
    assert_eq!(flows.held()[0], 20_000);
    assert_eq!(flows.counts().evicted_attempts, 40_000);
    // Those that left were the oldest, but for the few that shared full buckets.
    let before = flows.counts().syn_retransmitted;
    feed(&mut flows, 45_000..60_000);
    let known = flows.counts().syn_retransmitted - before;
    assert!(known > 14_500, "{known} of the newest 15000 are known");
    flows.counts().check().expect("the books close");
}
