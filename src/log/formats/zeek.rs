//! Zeek's logs as tab-separated values: `conn.log` has flow records, `notice.log` detections.
//!
//! Field names, types and order are Zeek's (base/protocols/conn, base/frameworks/notice, with the field of the
//! community-id plugin). Fields that the sensor does not know are unset: services, bytes of IP, gaps. As in Zeek, the
//! duration and bytes of a flow are unset if it has no duration.

use super::context::Context;
use super::{Format, Registered, SinkKind, Stream, append, flow_id, text};
use crate::books::record_kind::EventKind;
use crate::flow::record::{FiveTuple, FlowRecord};
use crate::inspect::detection::{Detection, Evidence};
use crate::log::event::{Body, Event};
use crate::log::notice::Notice;
use crate::log::sinks::rotation::NameStamp;
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

/// `zeek:DIR`.
pub static ZEEK: Registered = Registered {
    word: "zeek",
    about: "conn.log (flow records) and notice.log (scans) in a folder, as Zeek writes them",
    renders: &[EventKind::Alert, EventKind::Flow],
    events: &[EventKind::Alert, EventKind::Flow],
    services: false,
    sink_kind: SinkKind::Files(&STREAMS),
    open: |context, _| Box::new(Zeek::new(context.clone())),
};

static STREAMS: [Stream; 2] = [
    Stream {
        name: "conn",
        events: &[EventKind::Flow],
        begin: |out, opened_ns| begin(out, "conn", CONN, opened_ns),
        end,
    },
    Stream {
        name: "notice",
        events: &[EventKind::Alert],
        begin: |out, opened_ns| begin(out, "notice", NOTICE, opened_ns),
        end,
    },
];

/// Name and type of a field.
type Field = (&'static str, &'static str);

const CONN: &[Field] = &[
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("proto", "enum"),
    ("service", "string"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("conn_state", "string"),
    ("local_orig", "bool"),
    ("local_resp", "bool"),
    ("missed_bytes", "count"),
    ("history", "string"),
    ("orig_pkts", "count"),
    ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"),
    ("resp_ip_bytes", "count"),
    ("tunnel_parents", "set[string]"),
    ("community_id", "string"),
];

const NOTICE: &[Field] = &[
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("fuid", "string"),
    ("file_mime_type", "string"),
    ("file_desc", "string"),
    ("proto", "enum"),
    ("note", "enum"),
    ("msg", "string"),
    ("sub", "string"),
    ("src", "addr"),
    ("dst", "addr"),
    ("p", "port"),
    ("n", "count"),
    ("peer_descr", "string"),
    ("actions", "set[enum]"),
    ("email_dest", "set[string]"),
    ("suppress_for", "interval"),
    ("remote_location.country_code", "string"),
    ("remote_location.region", "string"),
    ("remote_location.city", "string"),
    ("remote_location.latitude", "double"),
    ("remote_location.longitude", "double"),
];

fn begin(out: &mut Vec<u8>, path: &str, fields: &[Field], opened_ns: i64) {
    let columns = |which: fn(&Field) -> &'static str| {
        let all: Vec<&str> = fields.iter().map(which).collect();
        all.join("\t")
    };
    let (names, types) = (columns(|field| field.0), columns(|field| field.1));
    let opened = NameStamp(opened_ns);
    let header = format!(
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t{path}\n#open\t{opened}\n\
         #fields\t{names}\n#types\t{types}\n"
    );
    out.extend_from_slice(header.as_bytes());
}

fn end(out: &mut Vec<u8>, closed_ns: i64) {
    let line = format!("#close\t{}\n", NameStamp(closed_ns));
    out.extend_from_slice(line.as_bytes());
}

/// Renders rows.
struct Zeek {
    context: Context,
    /// The sensor's name, escaped.
    peer: Vec<u8>,
}

/// A row: each value, then a tab.
struct Row<'a>(&'a mut Vec<u8>);

impl Row<'_> {
    fn put(&mut self, value: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        value(self.0);
        self.0.push(b'\t');
        self
    }

    fn word(&mut self, word: &str) -> &mut Self {
        self.put(|out| out.extend_from_slice(word.as_bytes()))
    }

    fn unset(&mut self, fields: usize) -> &mut Self {
        (0..fields).for_each(|_| self.0.extend_from_slice(b"-\t"));
        self
    }

    fn int(&mut self, value: u64) -> &mut Self {
        self.put(|out| append::int(out, value))
    }

    /// A time or an interval: seconds with six decimals.
    fn seconds(&mut self, ns: i64) -> &mut Self {
        self.put(|out| {
            let micros = ns.div_euclid(1000);
            if micros < 0 {
                out.push(b'-');
            }
            append::int(out, micros.unsigned_abs() / 1_000_000);
            out.push(b'.');
            append::padded(out, micros.unsigned_abs(), 6);
        })
    }

    /// Ends the row in place of its last tab.
    fn end(&mut self) {
        if let Some(last) = self.0.last_mut() {
            *last = b'\n';
        }
    }
}

impl Zeek {
    fn new(context: Context) -> Self {
        let mut peer = Vec::new();
        escaped(&mut peer, &context.host);
        Self { context, peer }
    }

    fn flow(&self, out: &mut Vec<u8>, flow: &FlowRecord) {
        let tuple = &flow.tuple;
        let mut row = Row(out);
        row.seconds(flow.start_ns);
        row.put(|out| uid(out, flow));
        for (address, port) in [(tuple.src, tuple.src_port), (tuple.dst, tuple.dst_port)] {
            row.put(|out| append::ip(out, address));
            row.int(u64::from(port));
        }
        row.word(proto(tuple)).unset(1);
        let lasted_ns = flow.end_ns.saturating_sub(flow.start_ns);
        if lasted_ns > 0 {
            row.seconds(lasted_ns);
            row.int(flow.orig.payload_bytes);
            row.int(flow.resp.payload_bytes);
        } else {
            row.unset(3);
        }
        row.word(flow.conn_state.word());
        match (self.context.direction)(tuple.src, tuple.dst) {
            "in" => row.word("F").word("T"),
            "out" => row.word("T").word("F"),
            "local" => row.word("T").word("T"),
            "transit" => row.word("F").word("F"),
            _ => row.unset(2),
        };
        row.unset(1);
        let history: Vec<u8> = flow.history.written().collect();
        match history.is_empty() {
            true => row.unset(1),
            false => row.put(|out| out.extend_from_slice(&history)),
        };
        row.int(flow.orig.packets).unset(1);
        row.int(flow.resp.packets).unset(2);
        row.put(|out| out.extend_from_slice(&flow_id::community_id(tuple)));
        row.end();
    }

    fn detection(&self, out: &mut Vec<u8>, detection: &Detection) {
        let mut row = Row(out);
        row.seconds(detection.ts_ns).unset(8);
        let about = detection.kind.about();
        row.word(&about.proto.to_lowercase()).word(about.zeek_note);
        row.put(|out| text::sentence(out, detection));
        let Evidence {
            refused,
            unanswered,
            answered,
            pending,
            ..
        } = detection.evidence;
        let (phase, proof) = (detection.phase, detection.proof);
        match detection.verdict {
            Some(verdict) => row.word(&format!(
                "{phase}; verdict: {verdict}; proof of the source: {proof}; {refused} refused, {unanswered} unanswered, \
                 {answered} answered, {pending} may still answer"
            )),
            None => row.word(phase.word()),
        };
        match detection.subject.src() {
            Some(src) => row.put(|out| append::ip(out, src)),
            None => row.unset(1),
        };
        row.put(|out| append::ip(out, detection.subject.dst()));
        match detection.subject.port() {
            Some(port) => row.int(u64::from(port)),
            None => row.unset(1),
        };
        row.int(detection.extent.count());
        row.put(|out| out.extend_from_slice(&self.peer));
        row.word("Notice::ACTION_LOG").word("(empty)").seconds(0);
        row.unset(5).end();
    }
}

impl Format for Zeek {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        match &event.body {
            Body::Flow(flow) => self.flow(out, flow),
            Body::Alert(detection) => self.detection(out, detection),
            Body::NewConnection(_) | Body::Folded(_) => {
                unreachable!("`renders` names flows and alerts alone")
            }
        }
    }

    fn notice(&mut self, _: &mut Vec<u8>, _: &Notice, _: i64) {
        unreachable!("`renders` names flows and alerts alone")
    }
}

/// Zeek's transport_proto.
fn proto(tuple: &FiveTuple) -> &'static str {
    match tuple.proto {
        6 => "tcp",
        17 => "udp",
        1 | 58 => "icmp",
        _ => "unknown_transport",
    }
}

/// A flow's uid in Zeek's form: `C` and 17 letters and digits. The same flow has the same uid in every run.
fn uid(out: &mut Vec<u8>, flow: &FlowRecord) {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hasher = SipHasher13::new_with_keys(0x7379_6e6c_6564_6765, 0x7a65_656b_5f75_6964);
    let id = flow_id::flow_id(&flow.tuple, flow.isn);
    for number in [id, flow.start_ns.cast_unsigned(), u64::from(flow.id)] {
        hasher.write_u64(number);
    }
    hasher.write_u8(u8::from(flow.joined));
    let mut left = hasher.finish128().as_u128();
    out.push(b'C');
    for _ in 0..17 {
        out.push(LETTERS[(left % 62) as usize]);
        left /= 62;
    }
}

/// A string as Zeek writes it: backslashes, control characters and non-ASCII bytes are `\xHH`. A string that would
/// look unset or empty is escaped, too.
fn escaped(out: &mut Vec<u8>, text: &str) {
    match text {
        "" => out.extend_from_slice(b"(empty)"),
        "-" => out.extend_from_slice(b"\\x2d"),
        "(empty)" => out.extend_from_slice(b"\\x28empty)"),
        _ => {
            for &byte in text.as_bytes() {
                if byte == b'\\' || !(byte.is_ascii_graphic() || byte == b' ') {
                    out.extend_from_slice(b"\\x");
                    append::hex_byte(out, byte);
                } else {
                    out.push(byte);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
