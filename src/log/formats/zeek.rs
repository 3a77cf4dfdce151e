//! Zeek's logs as tab-separated values or JSON: `conn.log` has flow records, `notice.log` detections, `stats.log` the books.
//!
//! Field names, types and order are Zeek's (base/protocols/conn, base/frameworks/notice, with the field of the
//! community-id plugin). Fields that the sensor does not know are unset: services, tunnels. As in Zeek, the duration and
//! bytes of a flow are unset if it has no duration, and the bytes of TCP are those of its sequence numbers: with gaps, and
//! once each.

use super::context::Context;
use super::window::{Scratch, Window};
use super::{Format, Registered, SinkKind, Stream, append, flow_id, siphash, text};
use crate::books::record_kind::EventKind;
use crate::flow::record::{FiveTuple, FlowRecord, Volume};
use crate::inspect::detection::{Detection, Evidence};
use crate::log::event::{Body, Event};
use crate::log::notice::Notice;
use crate::log::sinks::rotation::NameStamp;
use json::Json;
use stats::STATS;
use std::io::Write as _;

/// `zeek:DIR`.
pub static ZEEK: Registered = Registered {
    word: "zeek",
    about: "conn.log (flow records), notice.log (scans) and stats.log in a folder, as Zeek writes them",
    renders: &RENDERS,
    events: &[EventKind::Alert, EventKind::Flow],
    parts: false,
    services: false,
    sink_kind: SinkKind::Files(&STREAMS),
    open: |context, _| Box::new(Zeek::new(context.clone())),
};

/// `zeek-json:DIR`.
pub static ZEEK_JSON: Registered = Registered {
    word: "zeek-json",
    about: "the same files with JSON lines",
    renders: &RENDERS,
    events: &[EventKind::Alert, EventKind::Flow],
    parts: false,
    services: false,
    sink_kind: SinkKind::Files(&JSON_STREAMS),
    open: |context, _| Box::new(Json::new(Zeek::new(context.clone()))),
};

const RENDERS: [EventKind; 3] = [EventKind::Alert, EventKind::Flow, EventKind::Stats];

static STREAMS: [Stream; 3] = [
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
    Stream {
        name: "stats",
        events: &[EventKind::Stats],
        begin: |out, opened_ns| begin(out, "stats", STATS, opened_ns),
        end,
    },
];

/// The same files without header and footer.
static JSON_STREAMS: [Stream; 3] = {
    const fn plain(name: &'static str, events: &'static [EventKind]) -> Stream {
        Stream {
            name,
            events,
            begin: |_, _| (),
            end: |_, _| (),
        }
    }
    [
        plain("conn", &[EventKind::Flow]),
        plain("notice", &[EventKind::Alert]),
        plain("stats", &[EventKind::Stats]),
    ]
};

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
    ("ip_proto", "count"),
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
    scratch: Scratch,
}

/// A row: each value, then a tab.
struct Row<'a, 'b>(&'a mut Window<'b>);

impl<'b> Row<'_, 'b> {
    #[inline(always)]
    fn put(&mut self, value: impl FnOnce(&mut Window<'b>)) -> &mut Self {
        value(self.0);
        self.0.put(b"\t");
        self
    }

    #[inline(always)]
    fn word(&mut self, word: &'static str) -> &mut Self {
        self.put(|window| window.word(word))
    }

    #[inline(always)]
    fn unset(&mut self, fields: usize) -> &mut Self {
        (0..fields).for_each(|_| self.0.put(b"-\t"));
        self
    }

    #[inline(always)]
    fn int(&mut self, value: u64) -> &mut Self {
        self.put(|window| window.int(value))
    }

    /// A time or an interval: seconds with six decimals.
    #[inline(always)]
    fn seconds(&mut self, ns: i64) -> &mut Self {
        self.put(|window| {
            let micros = ns.div_euclid(1000);
            if micros < 0 {
                window.put(b"-");
            }
            window.seconds(micros.unsigned_abs());
        })
    }
}

impl Zeek {
    fn new(context: Context) -> Self {
        let mut peer = Vec::new();
        escaped(&mut peer, &context.host);
        Self {
            context,
            peer,
            scratch: Scratch::new(),
        }
    }

    fn flow(&mut self, out: &mut Vec<u8>, flow: &FlowRecord) {
        let tuple = &flow.tuple;
        let direction = (self.context.direction)(tuple.src, tuple.dst);
        self.scratch.append(out, |window| {
            let ids = flow_id::ids(tuple, flow.isn);
            let mut row = Row(window);
            row.seconds(flow.since_ns);
            row.put(|window| window.put(&uid(flow, ids.flow_id)));
            for (address, port) in [(tuple.src, tuple.src_port), (tuple.dst, tuple.dst_port)] {
                row.put(|window| window.ip(address));
                row.put(|window| window.port(port));
            }
            row.word(proto(tuple)).unset(1);
            let lasted_ns = flow.end_ns.saturating_sub(flow.since_ns);
            if lasted_ns > 0 {
                row.seconds(lasted_ns);
                row.int(size(&flow.orig));
                row.int(size(&flow.resp));
            } else {
                row.unset(3);
            }
            row.word(flow.conn_state.word());
            row.put(|window| window.put(locals(direction)));
            row.int(missed(flow));
            row.put(|window| match flow.history.len() {
                0 => window.put(b"-"),
                len => window.put_first(&flow.history.letters, len),
            });
            row.int(flow.orig.packets).int(flow.orig.ip_bytes);
            row.int(flow.resp.packets).int(flow.resp.ip_bytes);
            row.unset(1).int(tuple.proto.into());
            window.put(&ids.community_id);
            window.put(b"\n");
        });
    }

    fn detection(&mut self, out: &mut Vec<u8>, detection: &Detection) {
        let about = detection.kind.about();
        let unset = |out: &mut Vec<u8>| out.push(b'-');
        self.scratch.append(out, |window| {
            Row(window).seconds(detection.ts_ns).unset(8);
        });
        let proto = about.proto.to_lowercase();
        let _ = write!(out, "{proto}\t{}\t", about.zeek_note);
        text::sentence(out, detection);
        let Evidence {
            refused,
            unanswered,
            answered,
            pending,
            ..
        } = detection.evidence;
        let (phase, proof) = (detection.phase, detection.proof);
        let _ = write!(out, "\t{phase}");
        if let Some(verdict) = detection.verdict {
            let _ = write!(
                out,
                "; verdict: {verdict}; proof of the source: {proof}; {refused} refused, {unanswered} unanswered, \
                 {answered} answered, {pending} may still answer"
            );
        }
        out.push(b'\t');
        match detection.subject.src() {
            Some(src) => append::ip(out, src),
            None => unset(out),
        }
        out.push(b'\t');
        append::ip(out, detection.subject.dst());
        out.push(b'\t');
        match detection.subject.port() {
            Some(port) => append::int(out, port),
            None => unset(out),
        }
        let _ = write!(out, "\t{}\t", detection.extent.count());
        out.extend_from_slice(&self.peer);
        out.extend_from_slice(b"\tNotice::ACTION_LOG\t(empty)\t0.000000\t-\t-\t-\t-\t-\n");
    }
}

impl Format for Zeek {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, _: i64) {
        match &event.body {
            Body::Flow(flow) => self.flow(out, flow),
            Body::Alert(detection) => self.detection(out, detection),
            Body::NewConnection(_) | Body::Folded(_) => {
                unreachable!("`renders` names flows, alerts and statistics alone")
            }
        }
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, _: i64) {
        let Notice::Stats { ts_ns, stats } = notice else {
            unreachable!("`renders` names flows, alerts and statistics alone")
        };
        self.scratch.append(out, |window| {
            Row(window).seconds(*ts_ns);
        });
        out.extend_from_slice(&self.peer);
        stats::rest_of_row(out, stats);
    }
}

/// Payload by sequence numbers.
fn size(side: &Volume) -> u64 {
    let once = side.payload_bytes.saturating_sub(side.retransmitted_bytes);
    once.saturating_add(side.missed_bytes)
}

/// Zeek reports no gaps of a connection whose beginning was not seen (`report_gaps_for_partial`).
fn missed(flow: &FlowRecord) -> u64 {
    match flow.midstream {
        true => 0,
        false => (flow.orig.missed_bytes).saturating_add(flow.resp.missed_bytes),
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

/// `local_orig` and `local_resp` of a direction.
fn locals(direction: &str) -> &'static [u8; 3] {
    match direction {
        "in" => b"F\tT",
        "out" => b"T\tF",
        "local" => b"T\tT",
        "transit" => b"F\tF",
        _ => b"-\t-",
    }
}

/// A flow's uid in Zeek's form: `C` and 17 letters and digits. The same flow has the same uid in every run.
fn uid(flow: &FlowRecord, flow_id: u64) -> [u8; 18] {
    const KEY: [u64; 2] = [0x7379_6e6c_6564_6765, 0x7a65_656b_5f75_6964];
    /// Numbers of ten letters.
    const TEN: u128 = 62_u128.pow(10);
    let words = [
        flow_id,
        flow.start_ns.cast_unsigned(),
        flow.id.into(),
        u64::from(flow.joined) | 25 << 56,
    ];
    let hash = siphash::wide_of_words(KEY, words);
    let mut uid = [b'C'; 18];
    // The low letters come first; divisions of 128 bits are few.
    let parts = [(hash % TEN, 1..11), (hash / TEN % TEN, 11..18)];
    for (number, place) in parts {
        let mut left = u64::try_from(number).expect("below 2^64");
        for letters in uid[place].chunks_mut(2) {
            let [high, low] = PAIRS[(left % 3844) as usize];
            left /= 3844;
            letters[0] = low;
            if let Some(second) = letters.get_mut(1) {
                *second = high;
            }
        }
    }
    uid
}

static PAIRS: [[u8; 2]; 3844] =
    flow_id::pairs(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

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

mod json;
mod stats;
#[cfg(test)]
mod tests;
