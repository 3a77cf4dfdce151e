//! A connection that is answered and alive is one flow, however long it lasts.

use super::handshakes::data;
use super::*;
use crate::flow::record::{Basis, ConnState, EndReason};

const HOUR: i64 = 3_600 * SECOND;

/// Says what comes of packets while only those that open, answer or end a connection are captured, but for the time
/// from `heard` on.
fn unheard(packets: &[Packet], heard: i64, last_ns: i64) -> Vec<FlowRecord> {
    let mut flows = Flows::new(ROOMY, [1, 1]);
    let mut said = Vec::new();
    flows.hear_all(false);
    let mut now_heard = false;
    for packet in packets {
        if !now_heard && packet.ts_ns >= heard {
            flows.expire(heard, &mut |when, event| said.push((when, event)));
            flows.hear_all(true);
            now_heard = true;
        }
        feed_batch(
            &mut flows,
            &[(*packet, packet.ts_ns)],
            |_, _, _| (),
            &mut said,
        );
    }
    flows.expire(last_ns, &mut |when, event| said.push((when, event)));
    flows.finish(&mut |when, event| said.push((when, event)));
    assert_eq!(flows.held(), [0; 3]);
    records(&said)
}

fn opening() -> [Packet; 2] {
    [
        data(0, true, S, (10, 0), 0),
        data(2, false, S | A, (20, 11), 0),
    ]
}

fn closing(at: i64) -> [Packet; 2] {
    [
        data(at, true, A | F, (5_011, 9_021), 0),
        data(at + 1, false, A | F, (9_021, 5_012), 0),
    ]
}

#[test]
fn an_unproven_connection_that_goes_on_is_one_flow() {
    // All that the server sends goes another way.
    let talk = (1..100_u32).map(|i| {
        let acks = (11 + i * 10, 500 + i * 100);
        data(i64::from(i) * 60 * SECOND, true, A | PSH, acks, 10)
    });
    let packets: Vec<_> = opening().into_iter().chain(talk).collect();
    let (said, counts) = play(&packets);
    let told = records(&said);
    assert_eq!((told.len(), counts.midstream_flows), (1, 0));
    assert_eq!((told[0].orig.packets, told[0].resp.packets), (100, 1));
    assert_eq!((told[0].isn, told[0].midstream), (10, false));
    assert_eq!(
        (told[0].basis, told[0].conn_state),
        (Basis::Synack, ConnState::S1)
    );
}

#[test]
fn it_ends_when_it_is_idle_or_closed_like_any_other() {
    let alive = |at| data(at, true, A, (11, 500), 0);
    let other = segment(1000 * SECOND, (7, 7), (8, 8), S, 1, 0);
    for (rest, reason, end_ns) in [
        (vec![alive(9 * SECOND)], EndReason::Timeout, 309 * SECOND),
        (
            vec![alive(9 * SECOND), closing(SECOND * 200)[0]],
            EndReason::Timeout,
            500 * SECOND,
        ),
        (
            [&[alive(9 * SECOND)], &closing(SECOND * 20)[..]].concat(),
            EndReason::Fin,
            25 * SECOND + 1,
        ),
        (
            [&[alive(9 * SECOND)], &closing(SECOND * 200)[..]].concat(),
            EndReason::Fin,
            205 * SECOND + 1,
        ),
    ] {
        let (said, _) = play(&[&opening()[..], &rest, &[other]].concat());
        let ended = said.iter().find_map(|(when, event)| match event {
            FlowEvent::Ended(record) if record.isn == 10 => Some((*when, record.reason)),
            _ => None,
        });
        assert_eq!(ended, Some((When::Deadline(end_ns), reason)));
    }
}

#[test]
fn a_server_that_nobody_acknowledges_keeps_no_flow() {
    let again = |at: i64| data(at * SECOND, false, S | A, (20, 11), 0);
    let packets = [&opening()[..], &[again(1), again(3), again(7)]].concat();
    let last = segment(131 * SECOND, (7, 7), (8, 8), S, 1, 0);
    let (said, _) = play(&[&packets[..], &[last]].concat());
    assert_eq!(records(&said)[0].reason, EndReason::Timeout);
    let told = unheard(&packets, i64::MAX, 131 * SECOND);
    assert_eq!(told[0].reason, EndReason::Timeout);
}

#[test]
fn silence_says_nothing_where_data_is_not_captured() {
    for hours in [1, 30, 119] {
        let packets = [&opening()[..], &closing(hours * HOUR)].concat();
        let told = unheard(&packets, i64::MAX, hours * HOUR + 6 * SECOND);
        assert_eq!(told.len(), 1, "{hours} h");
        let record = &told[0];
        assert_eq!((record.orig.packets, record.resp.packets), (2, 2));
        assert_eq!(
            (record.reason, record.conn_state),
            (EndReason::Fin, ConnState::Sf)
        );
        assert_eq!(record.basis, Basis::Synack);
    }
    let told = unheard(&opening(), i64::MAX, 121 * HOUR);
    assert_eq!(told[0].reason, EndReason::Timeout);
}

#[test]
fn a_proven_connection_outlasts_the_time_in_which_its_data_was_shed() {
    let ack = data(4, true, A, (11, 21), 0);
    let later = |seconds| data(HOUR + seconds * SECOND, true, A | PSH, (11, 21), 5);
    let open = [&opening()[..], &[ack]].concat();
    let spoken = [&open[..], &[later(0), later(299)]].concat();
    let told = unheard(&spoken, HOUR, HOUR + 600 * SECOND);
    assert_eq!((told.len(), told[0].orig.packets), (1, 4));
    assert_eq!(
        (told[0].basis, told[0].reason),
        (Basis::Handshake, EndReason::Timeout)
    );
    // Silent for 300 s after the time: it ends, and what comes then is another flow.
    let silent = [&open[..], &[later(-1), later(301)]].concat();
    let told = unheard(&silent, HOUR - SECOND, HOUR + 700 * SECOND);
    assert_eq!(told.len(), 2, "{told:?}");
}

#[test]
fn a_flood_that_only_silence_calls_alive_displaces_no_connection() {
    let limits = Limits {
        others: 64,
        ..ROOMY
    };
    let mut flows = Flows::new(limits, [1, 1]);
    flows.hear_all(false);
    let mut said = Vec::new();
    let last_ns = 140 * SECOND;
    for number in 0..1000_u16 {
        let (client, ts_ns) = ((9, number), i64::from(number));
        let syn = segment(ts_ns, client, D, S, 10, 0);
        let cookie = segment(ts_ns, D, client, S | A, 20, 11);
        for packet in [syn, cookie] {
            feed_batch(&mut flows, &[(packet, ts_ns)], |_, _, _| (), &mut said);
        }
    }
    flows.expire(last_ns, &mut |when, event| said.push((when, event)));
    let gone: Vec<_> = records(&said)
        .iter()
        .map(|record| record.tuple.src_port)
        .collect();
    assert_eq!(gone, (64..1000).collect::<Vec<_>>(), "the first ones stay");
    assert_eq!(flows.counts().evicted_others, 0);
    flows.counts().check().expect("the books close");
}
