//! Answers that come before their SYN.

use super::handshakes::{data, orders};
use super::*;
use crate::flow::record::{ConnState, EndReason};

/// SYN, SYN+ACK, ACK and data each way, of client number 10 and server number 20, a microsecond apart.
fn conversation() -> [Packet; 5] {
    [
        data(0, true, S, (10, 0), 0),
        data(1_000, false, S | A, (20, 11), 0),
        data(2_000, true, A, (11, 21), 0),
        data(3_000, true, A | PSH, (11, 21), 5),
        data(4_000, false, A | PSH, (21, 16), 9),
    ]
}

/// Outcomes, early packets, and the only record.
fn told(packets: &[Packet]) -> ([u64; 4], FlowRecord) {
    let (said, counts) = play(packets);
    let records = records(&said);
    assert_eq!(records.len(), 1, "{records:#?}");
    let told = [
        counts.new_connections,
        counts.answered_connections,
        counts.established_connections,
        counts.packets_early,
    ];
    assert_eq!((counts.packets_waiting, counts.midstream_flows), (0, 0));
    (told, records[0])
}

#[test]
fn whatever_waits_for_its_syn_is_accounted_as_if_it_had_come_behind_it() {
    let whole = conversation();
    let (_, ordered) = told(&whole);
    // How many of the packets behind the SYN come before it.
    for before in 1..=4 {
        let mut packets = whole;
        packets[..=before].rotate_left(1);
        for (i, packet) in (0..).zip(&mut packets) {
            packet.ts_ns = i * 1_000;
        }
        let (outcomes, record) = told(&packets);
        assert_eq!(outcomes, [1, 1, 1, before as u64]);
        assert_eq!(record.conn_state, ordered.conn_state);
        assert_eq!((record.orig, record.resp), (ordered.orig, ordered.resp));
        assert_eq!(record.history, ordered.history, "{before}");
    }
}

#[test]
fn a_handshake_may_come_in_any_order() {
    let [syn, answer, ack, up, down] = conversation();
    for order in orders([syn, answer, ack]) {
        let mut packets = [&order[..], &[up, down]].concat();
        for (i, packet) in (0..).zip(&mut packets) {
            packet.ts_ns = i * 1_000;
        }
        let before = order.iter().position(|packet| *packet == syn);
        let early = before.expect("it is one of them") as u64;
        let (outcomes, record) = told(&packets);
        assert_eq!(outcomes, [1, 1, 1, early], "{order:?}");
        assert_eq!((record.orig.packets, record.resp.packets), (3, 2));
        // The number of an ACK names its SYN.
        let other = data(0, true, A, (12, 21), 0);
        let (_, counts) = play(&[other, answer, syn]);
        assert_eq!((counts.packets_early, counts.midstream_flows), (2, 0));
        let (_, counts) = play(&[other, syn, answer]);
        assert_eq!((counts.packets_early, counts.midstream_flows), (0, 1));
    }
}

#[test]
fn a_refusal_waits_too() {
    let (syn, refusal) = (
        data(1_000, true, S, (10, 0), 0),
        data(0, false, R | A, (0, 11), 0),
    );
    let (said, counts) = play(&[refusal, syn]);
    let record = records(&said)[0];
    assert_eq!((counts.refused_connections, counts.packets_early), (1, 1));
    assert_eq!(
        (record.conn_state, record.reason),
        (ConnState::Rej, EndReason::Refused)
    );
    let error = |seq| unreachable(0, D, seq);
    let (_, counts) = play(&[error(10), syn]);
    assert_eq!((counts.icmp_refused, counts.packets_early), (1, 1));
    let (_, counts) = play(&[error(11), syn]);
    assert_eq!(
        (counts.icmp_refused, counts.packets_early),
        (0, 0),
        "another SYN"
    );
}

#[test]
fn an_answer_waits_for_a_second_and_for_its_own_syn_only() {
    let answered = |answer: Packet, after: i64| {
        let (_, counts) = play(&[answer, data(after, true, S, (10, 0), 0)]);
        (counts.answered_connections, counts.midstream_flows)
    };
    let answer = data(0, false, S | A, (20, 11), 0);
    assert_eq!(answered(answer, SECOND - 1), (1, 0));
    assert_eq!(answered(answer, SECOND), (0, 1));
    assert_eq!(answered(data(0, false, S | A, (20, 12), 0), 1), (0, 1));
    // A flow whose SYN was missed is as it would be without the wait.
    let rest = &conversation()[1..];
    let (said, counts) = play(rest);
    let record = records(&said)[0];
    assert_eq!((counts.midstream_flows, counts.packets_early), (1, 0));
    assert_eq!((record.orig.packets, record.resp.packets), (2, 2));
    assert_eq!((record.start_ns, record.midstream), (1_000, true));
}

#[test]
fn what_waited_makes_no_deadline_earlier() {
    // The second waits while the first has opened a flow, which goes on.
    let packets = [
        data(0, true, A, (11, 21), 0),
        data(900_000_000, true, A | F, (11, 21), 0),
        data(1_500_000_000, false, A | F, (21, 12), 0),
        segment(10 * SECOND, (7, 7), (8, 8), S, 1, 0),
    ];
    let (said, _) = play(&packets);
    let ended = said.iter().find_map(|(when, event)| match event {
        FlowEvent::Ended(record) if record.midstream => Some((*when, record.reason)),
        _ => None,
    });
    let deadline = When::Deadline(6_500_000_000);
    assert_eq!(ended, Some((deadline, EndReason::Fin)));
}

#[test]
fn a_flood_of_answers_without_a_syn_waits_in_bounded_room() {
    let limits = Limits {
        others: 30_000,
        ..ROOMY
    };
    let trace: Vec<_> = (0..20_000_u32)
        .map(|i| {
            let source = (3, u16::try_from(i % 60_000).expect("below 60,000"));
            let packet = segment(i64::from(i), source, C, S | A, i, 77);
            (packet, i64::from(i))
        })
        .collect();
    let (_, counts) = run(&trace, limits, [1, 1], |_| false);
    assert_eq!(
        (counts.midstream_flows, counts.packets_waiting),
        (20_000, 0)
    );
    assert_eq!(counts.packets_pushed_out, 20_000 - 2_048);
}
