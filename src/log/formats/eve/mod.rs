//! JSON lines with Suricata's EVE names; whatever Suricata does not have lies under `synledger`.
//!
//! ICMP flows carry `icmp_type` (and `icmp_code` where the type has no counterpart) instead of ports,
//! other protocols without ports carry none.
//!
//! Alerts: `gid` [`GID`]; `signature_id` is ten times the number of the kind (port_scan 100) plus the
//! phase (1 started, 2 continues, 3 ended), so 1001, 1002 and 1003. A number is never used again for
//! something else; `rev` grows when a rule's meaning changes. They have no `flow_id`: a scan is many flows.

use super::append;
use super::context::Context;
use super::flow_id;
use super::interfaces::Rendered;
use super::scratch::Room;
use super::stamp::Stamp;
use super::{Carrier, Format, Registered};
use crate::books::record_kind::EventKind;
use crate::flow::record::{Attempt, FiveTuple, FlowRecord, proto_word};
use crate::inspect::detection::Detection;
use crate::log::event::{Body, Event};
use crate::log::fold::Fold;
use crate::log::notice::{self, Notice};
use serde_json::Value;

/// The generator id of every alert: apart from Suricata's own (1 to 3) and Snort's preprocessors (below 500).
pub const GID: u32 = 5973;

/// `eve:TARGET`.
pub static EVE: Registered = Registered {
    word: "eve",
    about: "JSON lines as Suricata's EVE has them",
    carries: &EventKind::ALL,
    carrier: Carrier::Lines,
    events: &EventKind::ALL,
    open: |context, _| Box::new(Eve::new(context.clone())),
};

/// Renders EVE lines.
#[derive(Clone)]
pub struct Eve {
    context: Context,
    /// `,"host":"…"`, rendered once.
    host: Vec<u8>,
    interfaces: Rendered,
    room: Room,
    stamp: Stamp,
    start: Stamp,
    end: Stamp,
}

impl Eve {
    /// A renderer; it remembers the last seconds.
    pub fn new(context: Context) -> Self {
        let mut host = b",\"host\":".to_vec();
        append::json_string(&mut host, &context.host);
        Self {
            interfaces: Rendered::members(context.interfaces.clone()),
            context,
            host,
            room: Room::default(),
            stamp: Stamp::iso(),
            start: Stamp::iso(),
            end: Stamp::iso(),
        }
    }

    fn open(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        self.room.put(b"{\"timestamp\":\"");
        self.stamp.put_micros(&mut self.room, ts_ns);
        self.room.put(b"\"");
        self.room.flush(out);
        out.extend_from_slice(&self.host);
    }

    fn interface(&mut self, out: &mut Vec<u8>, index: u16) {
        out.extend_from_slice(self.interfaces.name(index));
    }

    fn direction(&self, tuple: &FiveTuple) -> &'static str {
        (self.context.direction)(tuple.src, tuple.dst)
    }

    fn connection(&mut self, out: &mut Vec<u8>, attempt: &Attempt) {
        self.head(
            out,
            attempt.interface,
            flow_id::flow_id(&attempt.tuple, attempt.isn),
        );
        let direction = self.direction(&attempt.tuple);
        let room = &mut self.room;
        room.put(b",\"event_type\":\"new_connection\"");
        vlan(room, &attempt.vlan, attempt.vlan_count);
        endpoints(room, out, &attempt.tuple);
        room.put(b",\"synledger\":{\"isn\":");
        room.int(u64::from(attempt.isn));
        room.put(b",\"direction\":\"");
        room.word(direction);
        room.put(b"\",\"odd\":");
        room.boolean(attempt.odd);
        room.put(b"}");
        room.flush(out);
    }

    /// Many new connections to one destination; what the table of folds had no room to keep apart has no
    /// `dest_port`, or no `dest_ip` either.
    fn fold(&mut self, out: &mut Vec<u8>, fold: &Fold) {
        event_type(out, "new_connections");
        if let Some(dst) = fold.target.dst {
            out.extend_from_slice(b",\"dest_ip\":\"");
            append::ip(out, dst);
            out.push(b'"');
        }
        if let Some(port) = fold.target.port {
            number(out, "dest_port", u64::from(port));
        }
        word(out, "proto", "TCP");
        out.extend_from_slice(b",\"synledger\":{\"fold\":{\"count\":");
        append::int(out, fold.count);
        out.extend_from_slice(b",\"first\":\"");
        self.start.append_micros(out, fold.first_ns);
        out.extend_from_slice(b"\",\"last\":\"");
        self.end.append_micros(out, fold.last_ns);
        out.push(b'"');
        number(out, "sources", fold.sources.estimate());
        out.extend_from_slice(b",\"sources_error_pct\":3.25");
        if fold.target.port.is_none() {
            number(out, "ports", fold.ports.estimate());
        }
        out.extend_from_slice(b",\"top_sources\":[");
        for (i, sender) in fold.senders.top(usize::MAX).iter().enumerate() {
            out.extend_from_slice(if i > 0 { b",{" } else { b"{" });
            out.extend_from_slice(b"\"prefix\":\"");
            append::ip(out, sender.prefix.address());
            out.push(b'/');
            append::int(out, sender.prefix.length());
            out.push(b'"');
            number(out, "count", sender.count);
            number(out, "error", sender.error);
            out.push(b'}');
        }
        out.push(b']');
        word(out, "reason", fold.reason());
        number(out, "pressure", fold.pressure);
        out.extend_from_slice(b"}}");
    }

    fn head(&mut self, out: &mut Vec<u8>, interface: u16, flow_id: u64) {
        self.room.put(b",\"flow_id\":");
        self.room.int(flow_id);
        self.room.flush(out);
        self.interface(out, interface);
    }

    fn flow(&mut self, out: &mut Vec<u8>, flow: &FlowRecord) {
        let id = flow_id::flow_id(&flow.tuple, flow.isn);
        self.head(out, flow.interface, id);
        let direction = self.direction(&flow.tuple);
        let room = &mut self.room;
        room.put(b",\"event_type\":\"flow\"");
        vlan(room, &flow.vlan, flow.vlan_count);
        endpoints(room, out, &flow.tuple);
        room.flush(out);
        flow::volumes(room, flow, &mut self.start, &mut self.end);
        room.flush(out);
        flow::ours(room, flow, direction);
        room.flush(out);
    }

    fn alert(&mut self, out: &mut Vec<u8>, detection: &Detection) {
        self.interface(out, detection.interface);
        event_type(out, "alert");
        out.extend_from_slice(b",\"src_ip\":\"");
        append::ip(out, detection.subject.src());
        out.extend_from_slice(b"\",\"dest_ip\":\"");
        append::ip(out, detection.subject.dst());
        out.push(b'"');
        if let Some(port) = detection.subject.port() {
            number(out, "dest_port", u64::from(port));
        }
        alert::signature(out, detection);
        alert::scan(out, detection, &mut self.start);
    }
}

impl Format for Eve {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        self.open(out, notice::ts_ns(event));
        let of_a_frame = !event.step.is_end() && !matches!(event.body, Body::Folded(_));
        if self.context.frames && of_a_frame {
            number(out, "pcap_cnt", event.position);
        }
        match &event.body {
            Body::NewConnection(attempt) => self.connection(out, attempt),
            Body::Flow(flow) => self.flow(out, flow),
            Body::Alert(detection) => self.alert(out, detection),
            Body::Folded(fold) => self.fold(out, fold),
        }
        out.extend_from_slice(b"}\n");
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, _: i64) {
        self.open(out, notice.ts_ns());
        match notice {
            Notice::Lifecycle {
                word,
                text,
                details,
                ..
            } => {
                event_type(out, "lifecycle");
                out.extend_from_slice(b",\"synledger\":{\"event\":");
                append::json_string(out, word);
                out.extend_from_slice(b",\"message\":");
                append::json_string(out, text);
                for (name, value) in details {
                    out.push(b',');
                    member(out, name, value);
                }
                out.push(b'}');
            }
            Notice::Stats { stats, .. } => {
                event_type(out, "stats");
                for (name, value) in stats::members(stats) {
                    out.push(b',');
                    member(out, name, &value);
                }
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn name(out: &mut Vec<u8>, name: &'static str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, key: &'static str, value: u64) {
    name(out, key);
    append::int(out, value);
}

fn flag(out: &mut Vec<u8>, key: &'static str, value: bool) {
    name(out, key);
    append::boolean(out, value);
}

/// A string of our own, which needs no escapes.
fn word(out: &mut Vec<u8>, key: &'static str, value: &'static str) {
    name(out, key);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

fn event_type(out: &mut Vec<u8>, value: &'static str) {
    word(out, "event_type", value);
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    append::json_string(out, name);
    out.push(b':');
    serde_json::to_writer(out, value).expect("a Value has string keys and a Vec takes every byte");
}

fn vlan(room: &mut Room, tags: &[u16; 2], count: u8) {
    let tags = &tags[..usize::from(count).min(tags.len())];
    for (i, tag) in tags.iter().enumerate() {
        room.word(if i == 0 { ",\"vlan\":[" } else { "," });
        room.int(u64::from(*tag));
    }
    if !tags.is_empty() {
        room.put(b"]");
    }
}

/// Goes on in the room; what has no short form makes it move to `out` before.
fn endpoints(room: &mut Room, out: &mut Vec<u8>, tuple: &FiveTuple) {
    let ports = flow_id::has_ports(tuple.proto);
    room.put(b",\"src_ip\":\"");
    room.ip(tuple.src, out);
    room.put(b"\"");
    if ports {
        room.put(b",\"src_port\":");
        room.int(u64::from(tuple.src_port));
    }
    room.put(b",\"dest_ip\":\"");
    room.ip(tuple.dst, out);
    room.put(b"\"");
    if ports {
        room.put(b",\"dest_port\":");
        room.int(u64::from(tuple.dst_port));
    }
    room.put(b",\"proto\":\"");
    match proto_word(tuple.proto) {
        Some(word) => room.word(word),
        None => room.int(u64::from(tuple.proto)),
    }
    room.put(b"\"");
    if flow_id::is_icmp(tuple.proto) {
        room.put(b",\"icmp_type\":");
        room.int(u64::from(tuple.src_port));
        if flow_id::icmp_counterpart(tuple.proto, tuple.src_port).is_none() {
            room.put(b",\"icmp_code\":");
            room.int(u64::from(tuple.dst_port));
        }
    }
    room.put(b",\"community_id\":\"");
    room.put(&flow_id::community_id(tuple));
    room.put(b"\"");
}

mod alert;
pub mod flow;
pub mod stats;
#[cfg(test)]
mod tests;
