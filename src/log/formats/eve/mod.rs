//! JSON lines with Suricata's EVE names; members that Suricata does not have are under `synledger`.
//!
//! ICMP flows carry `icmp_type` (and `icmp_code` where the type has no counterpart) instead of ports,
//! other protocols without ports carry none.
//!
//! Alerts: `gid` [`GID`]; `signature_id` is ten times the number of the kind (port_scan 100) plus the
//! phase (1 started, 2 continues, 3 ended), so 1001, 1002 and 1003. A number is never reused; `rev` grows when a rule's meaning changes. They have no `flow_id`: a scan is many flows.

use super::append;
use super::context::Context;
use super::flow_id;
use super::interfaces::Rendered;
use super::scratch::Scratch;
use super::stamp::Stamp;
use super::{Format, Registered, SinkKind};
use crate::books::record_kind::EventKind;
use crate::flow::record::{Attempt, FiveTuple, FlowRecord, proto_word};
use crate::inspect::detection::Detection;
use crate::log::event::{Body, Event};
use crate::log::fold::Fold;
use crate::log::fold::sketch::{PrefixCount, SOURCES_ERROR_PCT};
use crate::log::notice::Notice;
use serde_json::Value;
use std::io::Write as _;

/// The generator id of every alert: apart from Suricata's own (1 to 3) and Snort's preprocessors (below 500).
pub const GID: u32 = 5973;

/// `eve:TARGET`.
pub static EVE: Registered = Registered {
    word: "eve",
    about: "JSON lines as Suricata's EVE has them",
    renders: &EventKind::ALL,
    sink_kind: SinkKind::Lines,
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
    scratch: Scratch,
    stamp: Stamp,
    start: Stamp,
    end: Stamp,
}

impl Eve {
    pub fn new(context: Context) -> Self {
        let mut host = b",\"host\":".to_vec();
        append::json_string(&mut host, &context.host);
        Self {
            interfaces: Rendered::members(context.interfaces.clone()),
            context,
            host,
            scratch: Scratch::default(),
            stamp: Stamp::iso(),
            start: Stamp::iso(),
            end: Stamp::iso(),
        }
    }

    fn open(&mut self, out: &mut Vec<u8>, ts_ns: i64) {
        self.scratch.put(b"{\"timestamp\":\"");
        self.stamp.put_micros(&mut self.scratch, ts_ns);
        self.scratch.put(b"\"");
        self.scratch.text(&self.host, out);
    }

    fn interface(&mut self, out: &mut Vec<u8>, index: u16) {
        self.scratch.text(self.interfaces.name(index), out);
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
        let scratch = &mut self.scratch;
        scratch.put(b",\"event_type\":\"new_connection\"");
        vlan(scratch, &attempt.vlan, attempt.vlan_count);
        endpoints(scratch, out, &attempt.tuple);
        scratch.put(b",\"synledger\":{\"isn\":");
        scratch.int(u64::from(attempt.isn));
        scratch.put(b",\"direction\":\"");
        scratch.word(direction);
        scratch.put(b"\",\"odd\":");
        scratch.boolean(attempt.odd);
        scratch.put(b"}");
    }

    /// Folded attempts. A fold of several ports has no `dest_port`, a fold of several destinations no `dest_ip`.
    fn fold(&mut self, out: &mut Vec<u8>, fold: &Fold) {
        self.scratch.flush(out);
        out.extend_from_slice(b",\"event_type\":\"new_connections\"");
        if let Some(dst) = fold.target.dst {
            let _ = write!(out, ",\"dest_ip\":\"{dst}\"");
        }
        if let Some(port) = fold.target.port {
            let _ = write!(out, ",\"dest_port\":{port}");
        }
        let count = fold.count;
        let _ = write!(
            out,
            r#","proto":"TCP","synledger":{{"fold":{{"count":{count},"first":""#
        );
        self.start.append_micros(out, fold.first_ns);
        out.extend_from_slice(b"\",\"last\":\"");
        self.end.append_micros(out, fold.last_ns);
        let sources = fold.sources.estimate();
        let _ = write!(
            out,
            r#"","sources":{sources},"sources_error_pct":{SOURCES_ERROR_PCT}"#
        );
        if fold.target.port.is_none() {
            let _ = write!(out, ",\"ports\":{}", fold.ports.estimate());
        }
        out.extend_from_slice(b",\"top_sources\":[");
        for (i, sender) in fold.senders.top(usize::MAX).iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let PrefixCount {
                prefix,
                count,
                error,
            } = sender;
            let _ = write!(
                out,
                r#"{comma}{{"prefix":"{prefix}","count":{count},"error":{error}}}"#
            );
        }
        let (reason, pressure) = (fold.reason(), fold.pressure);
        let _ = write!(out, r#"],"reason":"{reason}","pressure":{pressure}}}}}"#);
    }

    fn head(&mut self, out: &mut Vec<u8>, interface: u16, flow_id: u64) {
        self.scratch.put(b",\"flow_id\":");
        self.scratch.int(flow_id);
        self.interface(out, interface);
    }

    fn flow(&mut self, out: &mut Vec<u8>, flow: &FlowRecord) {
        let id = flow_id::flow_id(&flow.tuple, flow.isn);
        self.head(out, flow.interface, id);
        let direction = self.direction(&flow.tuple);
        let scratch = &mut self.scratch;
        scratch.put(b",\"event_type\":\"flow\"");
        vlan(scratch, &flow.vlan, flow.vlan_count);
        endpoints(scratch, out, &flow.tuple);
        flow::volumes(scratch, flow, &mut self.start, &mut self.end);
        flow::ours(scratch, flow, direction);
    }

    fn alert(&mut self, out: &mut Vec<u8>, detection: &Detection) {
        self.interface(out, detection.interface);
        self.scratch.flush(out);
        let (src, dst) = (detection.subject.src(), detection.subject.dst());
        let _ = write!(
            out,
            r#","event_type":"alert","src_ip":"{src}","dest_ip":"{dst}""#
        );
        if let Some(port) = detection.subject.port() {
            let _ = write!(out, ",\"dest_port\":{port}");
        }
        alert::signature(out, detection);
        alert::scan(out, detection, &mut self.start);
    }
}

impl Format for Eve {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        self.open(out, event.ts_ns());
        let of_a_frame = !event.step.is_end() && !matches!(event.body, Body::Folded(_));
        if self.context.frames && of_a_frame {
            self.scratch.put(b",\"pcap_cnt\":");
            self.scratch.int(event.position);
        }
        match &event.body {
            Body::NewConnection(attempt) => self.connection(out, attempt),
            Body::Flow(flow) => self.flow(out, flow),
            Body::Alert(detection) => self.alert(out, detection),
            Body::Folded(fold) => self.fold(out, fold),
        }
        self.scratch.put(b"}\n");
        self.scratch.flush(out);
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, _: i64) {
        self.open(out, notice.ts_ns());
        self.scratch.flush(out);
        match notice {
            Notice::Lifecycle {
                word,
                text,
                details,
                ..
            } => {
                out.extend_from_slice(b",\"event_type\":\"lifecycle\",\"synledger\":{\"event\":");
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
                out.extend_from_slice(b",\"event_type\":\"stats\"");
                for (name, value) in stats::members(stats) {
                    out.push(b',');
                    member(out, name, &value);
                }
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    append::json_string(out, name);
    out.push(b':');
    append::json(out, &value.to_string());
}

fn vlan(scratch: &mut Scratch, tags: &[u16; 2], count: u8) {
    let tags = &tags[..usize::from(count).min(tags.len())];
    for (i, tag) in tags.iter().enumerate() {
        scratch.word(if i == 0 { ",\"vlan\":[" } else { "," });
        scratch.int(u64::from(*tag));
    }
    if !tags.is_empty() {
        scratch.put(b"]");
    }
}

/// Appends to the scratch buffer; an IPv6 address flushes it to `out` first.
fn endpoints(scratch: &mut Scratch, out: &mut Vec<u8>, tuple: &FiveTuple) {
    let ports = flow_id::has_ports(tuple.proto);
    scratch.put(b",\"src_ip\":\"");
    scratch.ip(tuple.src, out);
    scratch.put(b"\"");
    if ports {
        scratch.put(b",\"src_port\":");
        scratch.int(u64::from(tuple.src_port));
    }
    scratch.put(b",\"dest_ip\":\"");
    scratch.ip(tuple.dst, out);
    scratch.put(b"\"");
    if ports {
        scratch.put(b",\"dest_port\":");
        scratch.int(u64::from(tuple.dst_port));
    }
    scratch.put(b",\"proto\":\"");
    match proto_word(tuple.proto) {
        Some(word) => scratch.word(word),
        None => scratch.int(u64::from(tuple.proto)),
    }
    scratch.put(b"\"");
    if flow_id::is_icmp(tuple.proto) {
        scratch.put(b",\"icmp_type\":");
        scratch.int(u64::from(tuple.src_port));
        if flow_id::icmp_counterpart(tuple.proto, tuple.src_port).is_none() {
            scratch.put(b",\"icmp_code\":");
            scratch.int(u64::from(tuple.dst_port));
        }
    }
    scratch.put(b",\"community_id\":\"");
    scratch.put(&flow_id::community_id(tuple));
    scratch.put(b"\"");
}

mod alert;
mod flow;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
