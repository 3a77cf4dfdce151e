//! What proves a handshake, what answers an attempt, and what never does.

use super::*;
use crate::flow::record::{Basis, ConnState, EndReason};

/// A segment with payload, of the client (seq 10) or the server (seq 20).
pub(super) fn data(
    ts_ns: i64,
    by_client: bool,
    flags: u8,
    (seq, ack): (u32, u32),
    len: u32,
) -> Packet {
    let (from, to) = if by_client { (C, D) } else { (D, C) };
    let mut data = segment(ts_ns, from, to, flags, seq, ack);
    if let Transport::Tcp(tcp) = &mut data.transport {
        tcp.payload_len = len;
    }
    data
}

/// Answered and established connections of a SYN with number 10 and what follows.
fn outcomes(rest: &[Packet]) -> (u64, u64) {
    let mut all = vec![segment(0, C, D, S, 10, 0)];
    all.extend_from_slice(rest);
    let (_, counts) = play(&all);
    (counts.answered_connections, counts.established_connections)
}

#[test]
fn a_client_proves_the_handshake_by_a_number_that_the_server_was_seen_to_send() {
    let answer = |len| data(1, false, S | A, (20, 11), len);
    let banner = |len| data(2, false, A, (21, 11), len);
    let client = |flags, ack| data(3, true, flags, (11, ack), 0);
    for flags in [A, A | PSH, A | F, A | R] {
        let proves = |rest: &[Packet]| outcomes(rest) == (1, 1);
        assert!(proves(&[answer(0), client(flags, 21)]), "{flags}");
        assert!(
            proves(&[answer(6), client(flags, 21)]),
            "a part of its data"
        );
        assert!(proves(&[answer(6), client(flags, 27)]), "all of its data");
        assert!(proves(&[answer(0), banner(9), client(flags, 30)]));
        assert!(proves(&[answer(0), banner(9), client(flags, 21)]));
        assert!(proves(&[
            answer(0),
            banner(9),
            banner(9),
            client(flags, 30)
        ]));
        let fails = |rest: &[Packet]| outcomes(rest) == (1, 0);
        for guess in [20, 0, 22, 1 << 20, 1 << 24, 1 << 30, 1 << 31, u32::MAX] {
            assert!(fails(&[answer(0), client(flags, guess)]), "{guess}");
        }
        assert!(fails(&[answer(6), client(flags, 28)]));
        assert!(fails(&[answer(0), banner(9), client(flags, 31)]));
        assert!(
            fails(&[answer(0), banner(9), banner(9), client(flags, 39)]),
            "a copy"
        );
        let far = data(3, true, flags, (11 + (1 << 31), 21), 0);
        assert!(fails(&[answer(0), far]), "not in the client's window");
    }
    assert_eq!(outcomes(&[answer(0), client(R, 21)]), (1, 0), "no ACK");
    assert_eq!(outcomes(&[answer(0), client(S | A, 21)]), (1, 0));
}

#[test]
fn a_reset_that_repeats_a_guess_is_nothing_that_the_server_sent() {
    let answer = segment(1, D, C, S | A, 20, 11);
    for guess in [22, 5_000, 1 << 29] {
        let client = data(2, true, A, (11, guess), 0);
        let repeats = segment(3, D, C, R, guess, 0);
        assert_eq!(outcomes(&[answer, client, repeats, client]), (1, 0));
    }
}

/// A firewall or a closed port answers a segment without ACK so (RFC 9293, 3.10.7.1), others any segment.
#[test]
fn a_reset_that_is_made_of_the_clients_numbers_proves_nothing() {
    let answer = segment(1, D, C, S | A, 20, 11);
    for (flags, ack) in [(0, 0), (PSH, 0), (F, 0), (A, 5_000), (A | F, 1 << 31)] {
        let client = data(2, true, flags, (11, ack), 5);
        let acked = 16 + u32::from(flags & F != 0);
        let reset = data(3, false, R | A, (ack, acked), 0);
        assert_eq!(outcomes(&[answer, client, reset]), (1, 0), "{flags}");
    }
    // It ends the attempt all the same.
    let client = data(2, true, A, (11, 5_000), 5);
    let reset = data(3, false, R | A, (5_000, 16), 0);
    let (said, _) = play(&[segment(0, C, D, S, 10, 0), answer, client, reset]);
    let record = records(&said)[0];
    assert_eq!(
        (record.conn_state, record.reason),
        (ConnState::Rstr, EndReason::Rst)
    );
}

/// A server acknowledges a spoofed SYN with the numbers of the connection that it has on these ports, or had lately.
#[test]
fn a_server_that_speaks_of_an_older_connection_answers_and_proves_nothing() {
    for (seq, ack) in [(777_000, 900_000_000), (1 << 31, 3_111_222_333)] {
        let challenge = data(9, false, A, (seq, ack), 0);
        let speech = data(10, false, A | PSH, (seq, ack), 500);
        let far = [1 << 30, 1 << 31, 3 << 30].map(|seq| data(2, true, A, (seq, 5_000), 1));
        let spoofed = [&far[..], &[challenge, speech, challenge]].concat();
        assert_eq!(outcomes(&spoofed), (0, 0), "{seq} {ack}");
    }
    // Numbers that are near on one side only.
    let request = data(1, true, A | PSH, (11, 21), 50);
    for (seq, ack) in [(21 + (1 << 17), 61), (21, 62), (21 + (1 << 31), 61)] {
        let answer = data(2, false, A, (seq, ack), 0);
        assert_eq!(outcomes(&[request, answer]), (0, 0), "{seq} {ack}");
    }
    let near = data(2, false, A, (5_000, 61), 0);
    assert_eq!(outcomes(&[request, near]), (1, 0));
}

#[test]
fn a_second_synack_moves_no_number_that_is_believed() {
    let (first, second) = (
        data(1, false, S | A, (20, 11), 0),
        data(2, false, S | A, (5_000, 11), 0),
    );
    for guess in [22, 100, 5_000, 5_001] {
        let client = data(3, true, A, (11, guess), 0);
        assert_eq!(outcomes(&[first, second, client]), (1, 0), "{guess}");
    }
    let right = data(3, true, A, (11, 21), 0);
    assert_eq!(outcomes(&[first, second, right]), (1, 1));
}

#[test]
fn a_server_that_acknowledges_what_the_client_sent_has_accepted_the_handshake() {
    let answer = segment(1, D, C, S | A, 20, 11);
    // Its number lies beyond what was seen of the server: alone it proves nothing.
    let fin = data(2, true, A | F, (5_000, 90_000), 0);
    let server = |flags, ack| data(3, false, flags, (90_000, ack), 0);
    for flags in [A, A | F] {
        assert_eq!(outcomes(&[answer, fin, server(flags, 5_001)]), (1, 1));
        assert_eq!(outcomes(&[answer, fin, server(flags, 5_000)]), (1, 1));
        for other in [10, 11, 5_002, 1 << 31, u32::MAX] {
            assert_eq!(outcomes(&[answer, fin, server(flags, other)]), (1, 0));
        }
    }
    assert_eq!(outcomes(&[answer, fin, server(F, 5_001)]), (1, 0), "no ACK");
    let reset = data(3, false, A | R, (21, 5_001), 0);
    assert_eq!(outcomes(&[answer, fin, reset]), (1, 1));
    let in_syn = data(0, true, S, (10, 0), 100);
    let acks_it = data(3, false, A, (21, 111), 0);
    assert_eq!(
        outcomes(&[in_syn, answer, acks_it]),
        (1, 0),
        "data of the SYN"
    );
}

#[test]
fn what_the_server_sends_is_an_answer_where_its_synack_was_not_seen() {
    for (flags, len) in [(A, 100), (A | PSH, 1), (A | F, 0)] {
        let speaks = data(1, false, flags, (21, 11), len);
        assert_eq!(outcomes(&[speaks]), (1, 0));
        let (said, _) = play(&[segment(0, C, D, S, 10, 0), speaks]);
        assert_eq!(records(&said)[0].basis, Basis::Data);
        let end = 21 + len + u32::from(flags & F != 0);
        assert_eq!(outcomes(&[speaks, data(2, true, A, (11, end), 0)]), (1, 1));
        assert_eq!(
            outcomes(&[speaks, data(2, true, A, (11, end + 1), 0)]),
            (1, 0)
        );
    }
    assert_eq!(
        outcomes(&[data(1, false, A, (21, 11), 0)]),
        (0, 0),
        "a bare ACK"
    );
    assert_eq!(
        outcomes(&[data(1, false, A, (21, 12), 9)]),
        (0, 0),
        "of another"
    );
    // An HTTP request whose SYN+ACK and bare ACK were lost.
    let request = data(1, true, A | PSH, (11, 21), 50);
    assert_eq!(
        outcomes(&[request, data(2, false, A, (21, 61), 700)]),
        (1, 1)
    );
}

#[test]
fn the_order_of_answer_and_acknowledgment_does_not_matter() {
    for len in [0, 6] {
        let answer = data(1, false, S | A, (20, 11), len);
        for ack in [21, 21 + len] {
            assert_eq!(outcomes(&[data(1, true, A, (11, ack), 0), answer]), (1, 1));
        }
        for guess in [20, 22 + len, 1 << 31] {
            assert_eq!(
                outcomes(&[data(1, true, A, (11, guess), 0), answer]),
                (1, 0)
            );
        }
    }
}

/// All orders of three.
pub(super) fn orders(three: [Packet; 3]) -> [[Packet; 3]; 6] {
    let places = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    places.map(|places| places.map(|at: usize| three[at]))
}

#[test]
fn the_order_of_banner_and_acknowledgment_does_not_matter() {
    for len in [0, 6] {
        let answer = data(1, false, S | A, (20, 11), len);
        let banner = data(1, false, A | PSH, (21 + len, 11), 9);
        let client = |ack| data(1, true, A, (11, ack), 0);
        for ack in [22 + len, 30 + len] {
            for order in orders([answer, banner, client(ack)]) {
                assert_eq!(outcomes(&order), (1, 1), "{ack}: {order:?}");
            }
        }
        for guess in [20, 31 + len, 1 << 31] {
            for order in orders([answer, banner, client(guess)]) {
                assert_eq!(outcomes(&order), (1, 0), "{guess}: {order:?}");
            }
            // What bears the guessed number itself sends nothing before it, and what names another SYN is another's.
            let answer = segment(1, D, C, S | A, 20, 11);
            let bare = data(1, false, A, (guess, 11), 0);
            let other = data(1, false, A, (guess - 1, 500), 9);
            for late in [bare, other] {
                assert_eq!(outcomes(&[answer, client(guess), late]), (1, 0), "{late:?}");
            }
        }
    }
}

#[test]
fn a_blind_ack_proves_nothing() {
    let (said, counts) = play(&[
        segment(0, C, D, S, 10, 0),
        segment(1, D, C, S | A, 20, 11),
        segment(2, C, D, A, 11, 22),
        segment(3, C, D, A, 12, 20),
        segment(4, C, D, R, 11, 0),
    ]);
    assert_eq!(counts.established_connections, 0);
    let record = records(&said)[0];
    assert_eq!(
        (record.conn_state, record.basis),
        (ConnState::Rsto, Basis::Synack)
    );
}
