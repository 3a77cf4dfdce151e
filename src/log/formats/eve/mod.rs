//! JSON lines with Suricata's EVE names; members that Suricata does not have are under `synledger`.
//!
//! ICMP flows carry `icmp_type` (and `icmp_code` where the type has no counterpart) instead of ports,
//! other protocols without ports carry none.
//!
//! Alerts: `gid` [`GID`]; `signature_id` is ten times the number of the kind (port_scan 100) plus the
//! phase (1 started, 2 continues, 3 ended), so 1001, 1002 and 1003. A number is never reused; `rev` grows when a rule's meaning changes. They have no `flow_id`: a scan is many flows.

use super::append;
use super::context::Context;
use super::flow_id::{self, Ids};
use super::interfaces::Rendered;
use super::piece::{EMPTY, Piece};
use super::stamp::Stamp;
use super::window::{Scratch, Window};
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
    parts: false,
    services: true,
    sink_kind: SinkKind::Lines,
    events: &EventKind::ALL,
    open: |context, _| Box::new(Eve::new(context.clone())),
};

/// Renders EVE lines.
#[derive(Clone)]
pub struct Eve {
    context: Context,
    /// `,"host":"…"`, rendered once.
    host: Piece,
    interfaces: Rendered,
    /// Of responders that are seen at another interface.
    responders: Rendered,
    stamp: Stamp,
    start: Stamp,
    end: Stamp,
    scratch: Scratch,
}

impl Eve {
    pub fn new(context: Context) -> Self {
        let mut host = b",\"host\":".to_vec();
        append::json_string(&mut host, &context.host);
        Self {
            interfaces: Rendered::members(context.interfaces.clone()),
            responders: Rendered::members_of_responders(context.interfaces.clone()),
            context,
            host: Piece::new(host),
            stamp: Stamp::iso(),
            start: Stamp::iso(),
            end: Stamp::iso(),
            scratch: Scratch::new(),
        }
    }

    /// Appends the members that all records begin with, then what `more` puts; it gets the interface's name and the
    /// parts of the renderer that are still free.
    #[inline(always)]
    fn begin(
        &mut self,
        out: &mut Vec<u8>,
        event: &Event,
        interface: Option<u16>,
        more: impl FnOnce(&mut Window<'_>, &Piece, [&mut Stamp; 2]),
    ) {
        let of_a_frame = !event.step.is_end() && !matches!(event.body, Body::Folded(_));
        let frame = (self.context.frames && of_a_frame).then_some(event.position);
        let name = interface.map_or(&EMPTY, |index| self.interfaces.name(index));
        self.scratch.append(out, |window| {
            open(window, &mut self.stamp, &self.host, event.ts_ns());
            if let Some(number) = frame {
                window.put(b",\"pcap_cnt\":");
                window.int(number);
            }
            more(window, name, [&mut self.start, &mut self.end]);
        });
    }

    fn direction(&self, tuple: &FiveTuple) -> &'static str {
        (self.context.direction)(tuple.src, tuple.dst)
    }

    fn connection(&mut self, out: &mut Vec<u8>, event: &Event, attempt: &Attempt) {
        let direction = self.direction(&attempt.tuple);
        let more = |window: &mut Window<'_>, name: &Piece, _: [&mut Stamp; 2]| {
            let ids = flow_id::ids(&attempt.tuple, attempt.isn);
            head(window, &ids, name);
            window.put(b",\"event_type\":\"new_connection\"");
            vlan(window, &attempt.vlan, attempt.vlan_count);
            endpoints(window, &attempt.tuple, &ids);
            window.put(b",\"synledger\":{\"isn\":");
            window.int(u64::from(attempt.isn));
            window.put(b",\"direction\":\"");
            window.word(direction);
            window.put(b"\",\"odd\":");
            window.boolean(attempt.odd);
            window.put(b"}}\n");
        };
        self.begin(out, event, Some(attempt.interface), more);
        self.service(out, &attempt.tuple);
    }

    /// Folded attempts. A fold of several ports has no `dest_port`, a fold of several destinations no `dest_ip`.
    fn fold(&mut self, out: &mut Vec<u8>, fold: &Fold) {
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

    fn flow(&mut self, out: &mut Vec<u8>, event: &Event, flow: &FlowRecord) {
        let direction = self.direction(&flow.tuple);
        let more = |window: &mut Window<'_>, name: &Piece, [start, end]: [&mut Stamp; 2]| {
            let ids = flow_id::ids(&flow.tuple, flow.isn);
            head(window, &ids, name);
            window.put(b",\"event_type\":\"flow\"");
            vlan(window, &flow.vlan, flow.vlan_count);
            endpoints(window, &flow.tuple, &ids);
            flow::volumes(window, flow, start, end);
            flow::ours(window, flow, direction, start);
            window.put(b"}\n");
        };
        self.begin(out, event, Some(flow.interface), more);
        if flow.interface_resp != flow.interface {
            let name = self.responders.name(flow.interface_resp);
            add_to_ours(out, |out| out.extend_from_slice(name.text()));
        }
        self.service(out, &flow.tuple);
    }

    /// Adds the service that a record's destination is, if this host has it.
    #[inline(always)]
    fn service(&self, out: &mut Vec<u8>, tuple: &FiveTuple) {
        if let Some(services) = &self.context.services {
            services::of_destination(out, services, tuple);
        }
    }

    fn alert(&mut self, out: &mut Vec<u8>, detection: &Detection) {
        let (src, dst) = (detection.subject.src(), detection.subject.dst());
        out.extend_from_slice(b",\"event_type\":\"alert\"");
        let (tags, count) = (&detection.vlan, detection.vlan_count);
        self.scratch.append(out, |window| vlan(window, tags, count));
        if let Some(src) = src {
            let _ = write!(out, r#","src_ip":"{src}""#);
        }
        let _ = write!(out, r#","dest_ip":"{dst}""#);
        if let Some(port) = detection.subject.port() {
            let _ = write!(out, ",\"dest_port\":{port}");
        }
        alert::signature(out, detection);
        alert::scan(out, detection, &mut self.start);
        if let Some(services) = &self.context.services {
            services::of_detection(out, services, detection);
        }
        out.push(b'}');
    }
}

impl Format for Eve {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        match &event.body {
            Body::NewConnection(attempt) => return self.connection(out, event, attempt),
            Body::Flow(flow) => return self.flow(out, event, flow),
            Body::Alert(detection) => {
                let interface = Some(detection.interface);
                self.begin(out, event, interface, |window, name, _| window.piece(name));
                self.alert(out, detection);
            }
            Body::Folded(fold) => {
                self.begin(out, event, None, |_, _, _| ());
                self.fold(out, fold);
            }
        }
        out.extend_from_slice(b"}\n");
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, _: i64) {
        self.scratch.append(out, |window| {
            open(window, &mut self.stamp, &self.host, notice.ts_ns());
        });
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
            Notice::Block(record) => block::members(out, record, &mut self.start),
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Adds members to `synledger`, which is the last one of a whole record.
fn add_to_ours(out: &mut Vec<u8>, add: impl FnOnce(&mut Vec<u8>)) {
    const END: &[u8] = b"}}\n";
    debug_assert!(out.ends_with(END), "`synledger` is the last member");
    out.truncate(out.len() - END.len());
    add(out);
    out.extend_from_slice(END);
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    append::json_string(out, name);
    out.push(b':');
    append::json(out, &value.to_string());
}

/// Appends the members that every record begins with.
#[inline(always)]
fn open(window: &mut Window<'_>, stamp: &mut Stamp, host: &Piece, ts_ns: i64) {
    window.put(b"{\"timestamp\":\"");
    stamp.put_micros(window, ts_ns);
    window.put(b"\"");
    window.piece(host);
}

#[inline(always)]
fn head(window: &mut Window<'_>, ids: &Ids, interface: &Piece) {
    window.put(b",\"flow_id\":");
    window.int(ids.flow_id);
    window.piece(interface);
}

#[inline(always)]
fn vlan(window: &mut Window<'_>, tags: &[u16; 2], count: u8) {
    let tags = &tags[..usize::from(count).min(tags.len())];
    for (i, tag) in tags.iter().enumerate() {
        window.word(if i == 0 { ",\"vlan\":[" } else { "," });
        window.int(u64::from(*tag));
    }
    if !tags.is_empty() {
        window.put(b"]");
    }
}

#[inline(always)]
fn endpoints(window: &mut Window<'_>, tuple: &FiveTuple, ids: &Ids) {
    let ports = flow_id::has_ports(tuple.proto);
    window.put(b",\"src_ip\":\"");
    window.ip(tuple.src);
    window.put(b"\"");
    if ports {
        window.put(b",\"src_port\":");
        window.port(tuple.src_port);
    }
    window.put(b",\"dest_ip\":\"");
    window.ip(tuple.dst);
    window.put(b"\"");
    if ports {
        window.put(b",\"dest_port\":");
        window.port(tuple.dst_port);
    }
    window.put(b",\"proto\":\"");
    match proto_word(tuple.proto) {
        Some(word) => window.word(word),
        None => window.int(u64::from(tuple.proto)),
    }
    window.put(b"\"");
    if flow_id::is_icmp(tuple.proto) {
        window.put(b",\"icmp_type\":");
        window.int(u64::from(tuple.src_port));
        if flow_id::icmp_counterpart(tuple.proto, tuple.src_port).is_none() {
            window.put(b",\"icmp_code\":");
            window.int(u64::from(tuple.dst_port));
        }
    }
    window.put(b",\"community_id\":\"");
    window.put(&ids.community_id);
    window.put(b"\"");
}

mod alert;
pub(crate) use alert::{evidence_of as evidence, severity};
mod block;
mod flow;
mod services;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
