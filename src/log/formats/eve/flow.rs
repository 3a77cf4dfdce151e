//! The record of an ended flow, from its volumes on: it has no part of unknown length, and stands in a room
//! before it is moved to the line.

use crate::flow::conn::TCP;
use crate::flow::record::{EndReason, FlowRecord};
use crate::log::formats::scratch::Room;
use crate::log::formats::stamp::Stamp;

/// Puts `,"flow":{…}` and, for TCP, `,"tcp":{…}`; the stamps remember the last seconds.
pub fn volumes(room: &mut Room, flow: &FlowRecord, start: &mut Stamp, end: &mut Stamp) {
    room.put(b",\"flow\":{\"pkts_toserver\":");
    room.int(flow.orig.packets);
    room.put(b",\"pkts_toclient\":");
    room.int(flow.resp.packets);
    room.put(b",\"bytes_toserver\":");
    room.int(flow.orig.bytes);
    room.put(b",\"bytes_toclient\":");
    room.int(flow.resp.bytes);
    room.put(b",\"start\":\"");
    start.put_micros(room, flow.start_ns);
    room.put(b"\",\"end\":\"");
    end.put_micros(room, flow.end_ns);
    let second = |ts_ns: i64| ts_ns.div_euclid(1_000_000_000);
    let age = second(flow.end_ns) - second(flow.start_ns);
    room.put(b"\",\"age\":");
    room.int(age.max(0).unsigned_abs());
    room.put(b",\"state\":\"");
    room.word(state(flow));
    room.put(b"\",\"reason\":\"");
    room.word(reason(flow.reason));
    room.put(b"\"}");
    if flow.tuple.proto == TCP {
        let (orig, resp) = (flow.orig.tcp_flags, flow.resp.tcp_flags);
        room.put(b",\"tcp\":{\"tcp_flags\":\"");
        room.hex_byte(orig | resp);
        room.put(b"\",\"tcp_flags_ts\":\"");
        room.hex_byte(orig);
        room.put(b"\",\"tcp_flags_tc\":\"");
        room.hex_byte(resp);
        room.put(b"\"}");
    }
}

/// Puts `,"synledger":{…}`: what Suricata does not have.
pub fn ours(room: &mut Room, flow: &FlowRecord, direction: &'static str) {
    room.put(b",\"synledger\":{\"isn\":");
    room.int(u64::from(flow.isn));
    room.put(b",\"direction\":\"");
    room.word(direction);
    room.put(b"\",\"conn_state\":\"");
    room.word(flow.conn_state.word());
    room.put(b"\",\"history\":\"");
    for letter in flow.history.written() {
        room.put(&[letter]);
    }
    room.put(b"\",\"basis\":\"");
    room.word(flow.basis.word());
    room.put(b"\",\"end_reason\":\"");
    room.word(flow.reason.word());
    room.put(b"\",\"payload_bytes_toserver\":");
    room.int(flow.orig.payload_bytes);
    room.put(b",\"payload_bytes_toclient\":");
    room.int(flow.resp.payload_bytes);
    room.put(b",\"gso\":");
    room.boolean(flow.gso);
    room.put(b",\"midstream\":");
    room.boolean(flow.midstream);
    room.put(b",\"preexisting\":");
    room.boolean(flow.preexisting);
    room.put(b",\"fragmented\":");
    room.boolean(flow.fragmented);
    room.put(b",\"saturated\":");
    room.boolean(flow.saturated);
    room.put(b",\"shed\":");
    room.boolean(flow.shed);
    room.put(b"}");
}

/// Suricata's flow states.
fn state(flow: &FlowRecord) -> &'static str {
    match flow.reason {
        EndReason::Fin | EndReason::Rst | EndReason::Refused => "closed",
        _ if flow.resp.packets > 0 => "established",
        _ => "new",
    }
}

/// Suricata's flow end reasons; it has none for a close, whose flows time out in state `closed`.
fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Evicted => "forced",
        EndReason::Eof => "shutdown",
        EndReason::Fin
        | EndReason::Rst
        | EndReason::Refused
        | EndReason::Unanswered
        | EndReason::Timeout => "timeout",
    }
}
