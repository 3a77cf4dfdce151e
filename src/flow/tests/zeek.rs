//! Zeek's states and letters: at least one case each, with the expected value by hand from Zeek's documentation
//! (`base/protocols/conn/main.zeek`) and its `TCPSessionAdapter.cc`.

use super::super::record::{ConnState, FlowRecord};
use super::*;

fn letters(record: &FlowRecord) -> String {
    let letters = record.history.letters.iter().filter(|letter| **letter != 0);
    letters.map(|letter| char::from(*letter)).collect()
}

fn data(mut segment: Packet, len: u32) -> Packet {
    if let Transport::Tcp(tcp) = &mut segment.transport {
        tcp.payload_len = len;
    }
    segment
}

/// A handshake, and what follows it.
fn shaken(more: &[Packet]) -> Vec<Packet> {
    let mut all = vec![
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, S | A, 20, 11),
        segment(2, C, D, A, 11, 21),
    ];
    all.extend(more);
    all
}

fn only_record(packets: &[Packet]) -> FlowRecord {
    let all = records(&play(packets).0);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

/// From the client: bytes `from..to` of its stream.
fn sends(ts_ns: i64, from: u32, to: u32) -> Packet {
    data(segment(ts_ns, C, D, A, 11 + from, 21), to - from)
}

/// From the server: it has all below `upto`.
fn acknowledges(ts_ns: i64, upto: u32) -> Packet {
    segment(ts_ns, D, C, A, 21, 11 + upto)
}

#[test]
fn every_state_has_its_history() {
    use ConnState::*;
    let syn = segment(0, C, D, S, 10, 0);
    let synack = segment(1, D, C, S | A, 20, 11);
    let cases: [(ConnState, &str, Vec<Packet>); 13] = [
        (S0, "S", vec![syn]),
        (S1, "ShA", shaken(&[])),
        (
            Sf,
            "ShAFf",
            shaken(&[
                segment(3, C, D, F | A, 11, 21),
                segment(4, D, C, F | A, 21, 12),
            ]),
        ),
        (Rej, "Sr", vec![syn, segment(1, D, C, R | A, 0, 11)]),
        (S2, "ShAF", shaken(&[segment(3, C, D, F | A, 11, 21)])),
        (S3, "ShAf", shaken(&[segment(3, D, C, F | A, 21, 11)])),
        (Rsto, "ShAR", shaken(&[segment(3, C, D, R | A, 11, 21)])),
        (Rstr, "ShAr", shaken(&[segment(3, D, C, R | A, 21, 11)])),
        (Rstos0, "SR", vec![syn, segment(1, C, D, R, 11, 0)]),
        (
            Rstrh,
            "^hr",
            vec![synack, segment(2 * SECOND, D, C, R | A, 21, 11)],
        ),
        (Sh, "SF", vec![syn, segment(1, C, D, F, 11, 0)]),
        (
            Shr,
            "^hf",
            vec![synack, segment(2 * SECOND, D, C, F | A, 21, 11)],
        ),
        (Oth, "D", vec![sends(0, 0, 9)]),
    ];
    assert_eq!(cases.len(), ConnState::COUNT);
    for (state, history, packets) in cases {
        let record = only_record(&packets);
        assert_eq!(record.conn_state, state, "{history}");
        assert_eq!(letters(&record), history, "{state}");
    }
}

#[test]
fn every_letter_has_the_case_of_the_side_that_sends() {
    let syn = segment(0, C, D, S, 10, 0);
    let fin_with_reset = |ts_ns, from, to, seq, ack| segment(ts_ns, from, to, F | R | A, seq, ack);
    // From the server: bytes `from..to` of its stream. The client has all below `upto`.
    let serves =
        |ts_ns, from: u32, to: u32| data(segment(ts_ns, D, C, A, 21 + from, 11), to - from);
    let takes = |ts_ns, upto: u32| segment(ts_ns, C, D, A, 11, 21 + upto);
    for (history, packets) in [
        ("Sr", vec![syn, segment(1, D, C, R | A, 0, 11)]),
        ("SR", vec![syn, segment(1, C, D, R, 11, 0)]),
        ("ShAf", shaken(&[segment(3, D, C, F | A, 21, 11)])),
        ("ShAF", shaken(&[segment(3, C, D, F | A, 11, 21)])),
        ("ShAa", shaken(&[acknowledges(3, 0)])),
        ("ShAd", shaken(&[serves(3, 0, 9)])),
        ("ShAD", shaken(&[sends(3, 0, 9)])),
        ("ShAdt", shaken(&[serves(3, 0, 9), serves(4, 0, 9)])),
        ("ShADT", shaken(&[sends(3, 0, 9), sends(4, 0, 9)])),
        (
            "ShAdg",
            shaken(&[serves(3, 0, 9), serves(4, 20, 30), takes(5, 30)]),
        ),
        (
            "ShADaG",
            shaken(&[sends(3, 0, 9), sends(4, 20, 30), acknowledges(5, 30)]),
        ),
        ("ShAi", shaken(&[fin_with_reset(3, D, C, 21, 11)])),
        ("ShAI", shaken(&[fin_with_reset(3, C, D, 11, 21)])),
        ("ShAq", shaken(&[segment(3, D, C, S | F | A, 21, 11)])),
        ("ShAQ", shaken(&[segment(3, C, D, S | F | A, 11, 21)])),
    ] {
        assert_eq!(letters(&only_record(&packets)), history);
    }
}

#[test]
fn either_side_may_be_the_one_that_ends() {
    use ConnState::*;
    let synack = segment(0, D, C, S | A, 20, 11);
    let later = 2 * SECOND;
    let closes = |first: (u8, u16), then: (u8, u16)| {
        let fin = |ts_ns, from: (u8, u16), to, numbers: (u32, u32)| {
            segment(ts_ns, from, to, F | A, numbers.0, numbers.1)
        };
        match first == C {
            true => shaken(&[fin(3, first, then, (11, 21)), fin(4, then, first, (21, 12))]),
            false => shaken(&[fin(3, first, then, (21, 11)), fin(4, then, first, (11, 22))]),
        }
    };
    for (state, history, packets) in [
        (Sf, "ShAFf", closes(C, D)),
        (Sf, "ShAfF", closes(D, C)),
        // Nothing follows the server's SYN+ACK, whose question was not seen.
        (Oth, "^h", vec![synack]),
        (
            Shr,
            "^hf",
            vec![synack, segment(later, D, C, F | A, 21, 11)],
        ),
        (
            Rstrh,
            "^hr",
            vec![synack, segment(later, D, C, R | A, 21, 11)],
        ),
        // Both sides of a connection whose beginning was not seen.
        (Oth, "Dd", vec![sends(0, 0, 9), data(acknowledges(1, 9), 7)]),
        (Oth, "DFf", {
            let ends = segment(2 * SECOND, D, C, F | A, 21, 21);
            vec![sends(0, 0, 9), segment(SECOND, C, D, F | A, 20, 21), ends]
        }),
    ] {
        let record = only_record(&packets);
        assert_eq!(letters(&record), history, "{state}");
        assert_eq!(record.conn_state, state, "{history}");
    }
}

/// `tcp_attempt_delay`, `tcp_close_delay`, `tcp_reset_delay` and the inactivity time-outs of base/init-bare.zeek.
#[test]
fn time_outs_are_zeeks_defaults() {
    use crate::flow::conn::{LINGER_NS, OTHER_IDLE_NS};
    use crate::time::durations::{TCP_IDLE_NS, UNANSWERED_NS};
    assert_eq!((UNANSWERED_NS, LINGER_NS), (5 * SECOND, 5 * SECOND));
    assert_eq!((TCP_IDLE_NS, OTHER_IDLE_NS), (300 * SECOND, 60 * SECOND));
}

#[test]
fn every_letter_has_its_packet() {
    let again: Vec<Packet> = (0..10).map(|nth| sends(10 + nth, 0, 10)).collect();
    for (history, more) in [
        ("ShAD", vec![sends(3, 0, 10)]),
        ("ShADa", vec![sends(3, 0, 10), acknowledges(4, 10)]),
        ("ShAd", vec![data(acknowledges(3, 0), 7)]),
        // Sent twice, and ten times.
        ("ShADT", vec![sends(3, 0, 10), sends(4, 0, 10)]),
        ("ShADTT", [&[sends(3, 0, 10)], &again[..]].concat()),
        // Half of it is new: no retransmission.
        ("ShAD", vec![sends(3, 0, 10), sends(4, 5, 15)]),
        // Received, but not seen.
        (
            "ShADaG",
            vec![sends(3, 0, 10), sends(4, 20, 30), acknowledges(5, 30)],
        ),
        // Late, not missing: what comes late counts as sent again, as in Zeek.
        (
            "ShADTa",
            vec![
                sends(3, 0, 10),
                sends(4, 20, 30),
                sends(5, 10, 20),
                acknowledges(6, 30),
            ],
        ),
        ("ShAI", vec![segment(3, C, D, F | R | A, 11, 21)]),
        ("ShAi", vec![segment(3, D, C, F | R | A, 21, 11)]),
        ("ShAQ", vec![segment(3, C, D, S | F | A, 11, 21)]),
        // Data of a FIN is no letter of its own.
        ("ShAF", vec![data(segment(3, C, D, F | A, 11, 21), 5)]),
    ] {
        assert_eq!(letters(&only_record(&shaken(&more))), history);
    }
}

#[test]
fn sequence_numbers_tell_what_was_sent_again_and_what_is_missing() {
    let volume = |more: &[Packet]| {
        let orig = only_record(&shaken(more)).orig;
        let sent = (orig.retransmitted_packets, orig.retransmitted_bytes);
        (orig.payload_bytes, sent, orig.missed_bytes)
    };
    assert_eq!(volume(&[sends(3, 0, 10)]), (10, (0, 0), 0));
    assert_eq!(volume(&[sends(3, 0, 10), sends(4, 5, 15)]), (20, (0, 5), 0));
    assert_eq!(volume(&[sends(3, 0, 10), sends(4, 2, 9)]), (17, (1, 7), 0));
    let hole = [sends(3, 0, 10), sends(4, 30, 40)];
    assert_eq!(volume(&hole), (20, (0, 0), 20));
    let with = |more: &[Packet]| volume(&[&hole[..], more].concat());
    // From the left, in pieces; then all of it once more.
    assert_eq!(with(&[sends(5, 10, 15)]), (25, (1, 0), 15));
    assert_eq!(with(&[sends(5, 10, 15), sends(6, 15, 30)]), (40, (2, 0), 0));
    let filled = [sends(5, 10, 15), sends(6, 15, 30), sends(7, 0, 40)];
    assert_eq!(with(&filled), (80, (3, 40), 0));
    // A second hole behind the first; both are filled.
    let second = [sends(5, 50, 60), sends(6, 10, 30), sends(7, 40, 50)];
    assert_eq!(with(&second), (60, (2, 0), 0));
    // What was acknowledged stays missing, even if it is seen later.
    let late = [acknowledges(5, 40), sends(6, 10, 30)];
    assert_eq!(with(&late), (40, (1, 20), 20));
    // Modulo 2^32.
    let near_the_end = |ts_ns, from: u32, to: u32| {
        let seq = (u32::MAX - 19).wrapping_add(from);
        data(segment(ts_ns, C, D, A, seq, 21), to - from)
    };
    let packets = [
        segment(0, C, D, S, u32::MAX - 20, 0),
        segment(1, D, C, S | A, 20, u32::MAX - 19),
        segment(2, C, D, A, u32::MAX - 19, 21),
        near_the_end(3, 0, 15),
        near_the_end(4, 15, 30),
        near_the_end(5, 40, 50),
        near_the_end(6, 15, 30),
    ];
    let orig = only_record(&packets).orig;
    assert_eq!((orig.payload_bytes, orig.missed_bytes), (55, 10));
    assert_eq!(orig.retransmitted_bytes, 15);
    assert_eq!((orig.bytes, orig.ip_bytes), (6 * 60, 6 * 40));
}
