//! The record of an ended flow, from its volumes on: bounded parts only.

use crate::flow::conn::TCP;
use crate::flow::record::{EndReason, FlowRecord};
use crate::log::formats::stamp::Stamp;
use crate::log::formats::window::Window;

/// Appends `,"flow":{…}` and, for TCP, `,"tcp":{…}`.
#[inline(always)]
pub fn volumes(window: &mut Window<'_>, flow: &FlowRecord, start: &mut Stamp, end: &mut Stamp) {
    window.put(b",\"flow\":{\"pkts_toserver\":");
    window.int(flow.orig.packets);
    window.put(b",\"pkts_toclient\":");
    window.int(flow.resp.packets);
    window.put(b",\"bytes_toserver\":");
    window.int(flow.orig.bytes);
    window.put(b",\"bytes_toclient\":");
    window.int(flow.resp.bytes);
    window.put(b",\"start\":\"");
    start.put_micros(window, flow.start_ns);
    window.put(b"\",\"end\":\"");
    end.put_micros(window, flow.end_ns);
    let second = |ts_ns: i64| ts_ns.div_euclid(1_000_000_000);
    let age = second(flow.end_ns) - second(flow.start_ns);
    window.put(b"\",\"age\":");
    window.int(age.max(0).unsigned_abs());
    window.put(b",\"state\":\"");
    window.word(state(flow));
    window.put(b"\",\"reason\":\"");
    window.word(reason(flow.reason));
    window.put(b"\"}");
    if flow.tuple.proto == TCP {
        let (orig, resp) = (flow.orig.tcp_flags, flow.resp.tcp_flags);
        window.put(b",\"tcp\":{\"tcp_flags\":\"");
        window.hex_byte(orig | resp);
        window.put(b"\",\"tcp_flags_ts\":\"");
        window.hex_byte(orig);
        window.put(b"\",\"tcp_flags_tc\":\"");
        window.hex_byte(resp);
        window.put(b"\"}");
    }
}

/// Appends `,"synledger":{…}`: the members that Suricata does not have.
#[inline(always)]
pub fn ours(
    window: &mut Window<'_>,
    flow: &FlowRecord,
    direction: &'static str,
    since: &mut Stamp,
) {
    window.put(b",\"synledger\":{\"isn\":");
    window.int(u64::from(flow.isn));
    window.put(b",\"direction\":\"");
    window.word(direction);
    window.put(b"\",\"conn_state\":\"");
    window.word(flow.conn_state.word());
    window.put(b"\",\"history\":\"");
    window.put_first(&flow.history.letters, flow.history.len());
    window.put(b"\",\"basis\":\"");
    window.word(flow.basis.word());
    window.put(b"\",\"end_reason\":\"");
    window.word(flow.end_word());
    window.put(b"\",\"payload_bytes_toserver\":");
    window.int(flow.orig.payload_bytes);
    window.put(b",\"payload_bytes_toclient\":");
    window.int(flow.resp.payload_bytes);
    let (gso, seen_late) = (flow.gso, flow.midstream | flow.preexisting);
    // Of most flows none is set: one text.
    if !(gso | seen_late | flow.fragmented | flow.saturated | flow.shed) {
        window.put(
            b",\"gso\":false,\"midstream\":false,\"preexisting\":false,\"fragmented\":false,\"saturated\":false,\
              \"shed\":false",
        );
    } else {
        for (member, set) in [
            (",\"gso\":", gso),
            (",\"midstream\":", flow.midstream),
            (",\"preexisting\":", flow.preexisting),
            (",\"fragmented\":", flow.fragmented),
            (",\"saturated\":", flow.saturated),
            (",\"shed\":", flow.shed),
        ] {
            window.word(member);
            window.boolean(set);
        }
    }
    window.put(b",\"ip_bytes_toserver\":");
    window.int(flow.orig.ip_bytes);
    window.put(b",\"ip_bytes_toclient\":");
    window.int(flow.resp.ip_bytes);
    if flow.orig.is_irregular() | flow.resp.is_irregular() {
        irregular(window, flow);
    }
    if let Some(tunnel) = flow.inside.tunnel() {
        window.put(b",\"tunnel\":\"");
        window.word(tunnel.word());
        window.put(b"\"");
    }
    if flow.interim | (flow.part > 0) {
        window.put(b",\"interim\":");
        window.boolean(flow.interim);
        window.put(b",\"part\":");
        window.int(flow.part.into());
        window.put(b",\"since\":\"");
        since.put_micros(window, flow.since_ns);
        window.put(b"\"");
    }
    window.put(b"}");
}

/// What was sent again and what is missing; most flows have nothing of it.
#[inline(never)]
fn irregular(window: &mut Window<'_>, flow: &FlowRecord) {
    let (orig, resp) = (&flow.orig, &flow.resp);
    for (member, count) in [
        (
            ",\"retransmitted_pkts_toserver\":",
            orig.retransmitted_packets,
        ),
        (
            ",\"retransmitted_pkts_toclient\":",
            resp.retransmitted_packets,
        ),
        (
            ",\"retransmitted_bytes_toserver\":",
            orig.retransmitted_bytes,
        ),
        (
            ",\"retransmitted_bytes_toclient\":",
            resp.retransmitted_bytes,
        ),
        (",\"missed_bytes_toserver\":", orig.missed_bytes),
        (",\"missed_bytes_toclient\":", resp.missed_bytes),
    ] {
        window.word(member);
        window.int(count);
    }
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
