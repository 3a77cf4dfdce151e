//! The record of an ended flow, from its volumes on: bounded parts only.

use crate::flow::conn::TCP;
use crate::flow::record::{EndReason, FlowRecord};
use crate::log::formats::scratch::Scratch;
use crate::log::formats::stamp::Stamp;

/// Appends `,"flow":{…}` and, for TCP, `,"tcp":{…}`.
pub fn volumes(scratch: &mut Scratch, flow: &FlowRecord, start: &mut Stamp, end: &mut Stamp) {
    scratch.put(b",\"flow\":{\"pkts_toserver\":");
    scratch.int(flow.orig.packets);
    scratch.put(b",\"pkts_toclient\":");
    scratch.int(flow.resp.packets);
    scratch.put(b",\"bytes_toserver\":");
    scratch.int(flow.orig.bytes);
    scratch.put(b",\"bytes_toclient\":");
    scratch.int(flow.resp.bytes);
    scratch.put(b",\"start\":\"");
    start.put_micros(scratch, flow.start_ns);
    scratch.put(b"\",\"end\":\"");
    end.put_micros(scratch, flow.end_ns);
    let second = |ts_ns: i64| ts_ns.div_euclid(1_000_000_000);
    let age = second(flow.end_ns) - second(flow.start_ns);
    scratch.put(b"\",\"age\":");
    scratch.int(age.max(0).unsigned_abs());
    scratch.put(b",\"state\":\"");
    scratch.word(state(flow));
    scratch.put(b"\",\"reason\":\"");
    scratch.word(reason(flow.reason));
    scratch.put(b"\"}");
    if flow.tuple.proto == TCP {
        let (orig, resp) = (flow.orig.tcp_flags, flow.resp.tcp_flags);
        scratch.put(b",\"tcp\":{\"tcp_flags\":\"");
        scratch.hex_byte(orig | resp);
        scratch.put(b"\",\"tcp_flags_ts\":\"");
        scratch.hex_byte(orig);
        scratch.put(b"\",\"tcp_flags_tc\":\"");
        scratch.hex_byte(resp);
        scratch.put(b"\"}");
    }
}

/// Appends `,"synledger":{…}`: the members that Suricata does not have.
pub fn ours(scratch: &mut Scratch, flow: &FlowRecord, direction: &'static str) {
    scratch.put(b",\"synledger\":{\"isn\":");
    scratch.int(u64::from(flow.isn));
    scratch.put(b",\"direction\":\"");
    scratch.word(direction);
    scratch.put(b"\",\"conn_state\":\"");
    scratch.word(flow.conn_state.word());
    scratch.put(b"\",\"history\":\"");
    for letter in flow.history.written() {
        scratch.put(&[letter]);
    }
    scratch.put(b"\",\"basis\":\"");
    scratch.word(flow.basis.word());
    scratch.put(b"\",\"end_reason\":\"");
    scratch.word(flow.reason.word());
    scratch.put(b"\",\"payload_bytes_toserver\":");
    scratch.int(flow.orig.payload_bytes);
    scratch.put(b",\"payload_bytes_toclient\":");
    scratch.int(flow.resp.payload_bytes);
    scratch.put(b",\"gso\":");
    scratch.boolean(flow.gso);
    scratch.put(b",\"midstream\":");
    scratch.boolean(flow.midstream);
    scratch.put(b",\"preexisting\":");
    scratch.boolean(flow.preexisting);
    scratch.put(b",\"fragmented\":");
    scratch.boolean(flow.fragmented);
    scratch.put(b",\"saturated\":");
    scratch.boolean(flow.saturated);
    scratch.put(b",\"shed\":");
    scratch.boolean(flow.shed);
    scratch.put(b"}");
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
