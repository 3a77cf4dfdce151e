//! syslog (RFC 5424) with structured data, and CEF in syslog messages: one record, one message.
//!
//! Datagrams over UDP (RFC 5426), octet counting over TCP (RFC 6587, 3.4.1). Whoever reads a socket such as /dev/log
//! (rsyslogd, journald) expects what syslog(3) writes there, `<PRI>NAME[PID]: `, and stamps it: so that is the header
//! there, and structured data is the beginning of the message.

use super::context::Context;
use super::framing::{Messaging, Single, Transport};
use super::members::{self, Members, Name, Nature, Severity, Value};
use super::sentence::Sentences;
use super::stamp::Stamp;
use super::{Format, OutputTraits, Registered, SinkKind, append};
use crate::books::record_kind::EventKind;
use crate::log::event::Event;
use crate::log::notice::Notice;

/// `syslog:udp://HOST`, `syslog:tcp://HOST`, `syslog:/dev/log`.
pub static SYSLOG: Registered = Registered {
    word: "syslog",
    about: "syslog messages with structured data (RFC 5424); over TCP with octet counting",
    renders: &EventKind::ALL,
    events: &[EventKind::Alert, EventKind::Lifecycle, EventKind::Block],
    parts: false,
    services: false,
    sink_kind: SinkKind::Messages(&MESSAGING),
    open: |context, traits| Box::new(Syslog::new(context, traits, Body::StructuredData)),
};

/// `cef:udp://HOST`, `cef:tcp://HOST`, `cef:/dev/log`.
pub static CEF: Registered = Registered {
    word: "cef",
    about: "ArcSight's Common Event Format in syslog messages",
    renders: &EventKind::ALL,
    events: &[EventKind::Alert, EventKind::Block],
    parts: false,
    services: false,
    sink_kind: SinkKind::Messages(&MESSAGING),
    open: |context, traits| Box::new(Syslog::new(context, traits, Body::Cef)),
};

static MESSAGING: Messaging = Messaging {
    transports: &[Transport::Udp, Transport::Tcp, Transport::Unix],
    port: 514,
    socket: None,
    templates: false,
    framing: |framed| {
        let counted = framed.transport == Transport::Tcp;
        Box::new(Single { counted })
    },
};

/// Facility `daemon`.
const FACILITY: u8 = 3;
/// Most bytes of a message: what rsyslog takes unless told otherwise.
const MESSAGE_MAX: usize = 8000;

/// What stands behind the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    StructuredData,
    Cef,
}

struct Syslog {
    sentences: Sentences,
    envelope: Envelope,
}

/// What stands around members and sentence.
struct Envelope {
    body: Body,
    /// Whether the header is that of syslog(3).
    is_local: bool,
    /// ` HOST APP PROCID `, with its spaces; `APP[PROCID]:` in a header of syslog(3).
    sender: Vec<u8>,
    stamp: Stamp,
}

impl Syslog {
    fn new(context: &Context, traits: &OutputTraits, body: Body) -> Self {
        let (host, process) = (printable(&context.host, 255), std::process::id());
        let is_local = traits.transport == Some(Transport::Unix);
        let sender = match is_local {
            true => format!("synledger[{process}]:"),
            false => format!(" {host} synledger {process} "),
        };
        Self {
            sentences: Sentences::new(context, traits),
            envelope: Envelope {
                body,
                is_local,
                sender: sender.into_bytes(),
                stamp: Stamp::iso(),
            },
        }
    }
}

impl Envelope {
    /// Appends a message: header, members and sentence.
    fn message(
        &mut self,
        out: &mut Vec<u8>,
        (nature, ts_ns): (Nature, i64),
        sentence: &[u8],
        put: impl FnOnce(&mut Writer<'_>),
    ) {
        let start = out.len();
        out.push(b'<');
        append::int(out, FACILITY * 8 + nature.severity.number());
        if self.is_local {
            out.push(b'>');
            out.extend_from_slice(&self.sender);
        } else {
            out.extend_from_slice(b">1 ");
            self.stamp.append_utc(out, ts_ns);
            out.extend_from_slice(&self.sender);
            out.extend_from_slice(nature.word.as_bytes());
        }
        match self.body {
            Body::StructuredData => {
                // Without a number of our own: that of examples (RFC 5612).
                out.extend_from_slice(b" [synledger@32473");
                put(&mut Writer {
                    out,
                    body: self.body,
                });
                out.extend_from_slice(b"] ");
                out.extend_from_slice(sentence);
            }
            Body::Cef => {
                if !self.is_local {
                    out.extend_from_slice(b" -");
                }
                out.extend_from_slice(b" CEF:0|synledger|synledger|");
                out.extend_from_slice(env!("CARGO_PKG_VERSION").as_bytes());
                out.push(b'|');
                out.extend_from_slice(nature.word.as_bytes());
                out.push(b'|');
                out.extend_from_slice(nature.title.as_bytes());
                out.push(b'|');
                append::int(out, cef_severity(nature.severity));
                out.push(b'|');
                let mut writer = Writer {
                    out,
                    body: self.body,
                };
                put(&mut writer);
                writer.out.extend_from_slice(b"msg=");
                escape(writer.out, sentence, b"\\=");
            }
        }
        cut(out, start + MESSAGE_MAX);
    }
}

impl Format for Syslog {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, due_ns: i64) {
        let (sentence, around) = self.sentences.of_event(event, due_ns);
        let what = (members::nature_of_event(event), event.ts_ns());
        let put = |to: &mut Writer<'_>| members::of_event(to, event, around);
        self.envelope.message(out, what, sentence, put);
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64) {
        let sentence = self.sentences.of_notice(notice, stamp_ns);
        let what = (members::nature_of_notice(notice), notice.ts_ns());
        let put = |to: &mut Writer<'_>| members::of_notice(to, notice);
        self.envelope.message(out, what, sentence, put);
    }
}

/// Appends members as structured data, or as an extension of CEF.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    body: Body,
}

impl Members for Writer<'_> {
    fn member(&mut self, name: &'static Name, value: Value<'_>) {
        let out = &mut *self.out;
        match self.body {
            Body::StructuredData => {
                out.push(b' ');
                out.extend_from_slice(name.word.as_bytes());
                out.extend_from_slice(b"=\"");
                put(out, value, b"\"\\]");
                out.push(b'"');
            }
            Body::Cef => {
                if let Some(label) = name.label {
                    out.extend_from_slice(name.cef.as_bytes());
                    out.extend_from_slice(b"Label=");
                    out.extend_from_slice(label.as_bytes());
                    out.push(b' ');
                }
                out.extend_from_slice(name.cef.as_bytes());
                out.push(b'=');
                put(out, value, b"\\=");
                out.push(b' ');
            }
        }
    }
}

fn put<const COUNT: usize>(out: &mut Vec<u8>, value: Value<'_>, escaped: &[u8; COUNT]) {
    match value {
        Value::Text(text) => escape(out, text.as_bytes(), escaped),
        Value::Number(number) => append::int(out, number),
        Value::Address(address) => append::ip(out, address),
        Value::Time(ts_ns) => append::int(out, ts_ns.div_euclid(1_000_000)),
    }
}

/// Appends text with a backslash before these bytes, and a space for each control character.
fn escape<const COUNT: usize>(out: &mut Vec<u8>, text: &[u8], escaped: &[u8; COUNT]) {
    let is_plain = |byte: u8| !byte.is_ascii_control() & !escaped.contains(&byte);
    // Nearly every text: one copy, after a look at all bytes at once.
    if text.iter().fold(true, |all, &byte| all & is_plain(byte)) {
        return out.extend_from_slice(text);
    }
    for &byte in text {
        if escaped.contains(&byte) {
            out.push(b'\\');
        }
        out.push(if byte.is_ascii_control() { b' ' } else { byte });
    }
}

/// Cuts a message that is too long between two letters.
fn cut(out: &mut Vec<u8>, end: usize) {
    if out.len() <= end {
        return;
    }
    let is_inside = |byte: u8| byte & 0xc0 == 0x80;
    let end = (0..=end).rev().find(|&at| !is_inside(out[at]));
    out.truncate(end.unwrap_or(0));
}

/// CEF's: 0 to 10.
fn cef_severity(severity: Severity) -> u8 {
    match severity {
        Severity::Warning => 7,
        Severity::Notice => 4,
        Severity::Info => 1,
    }
}

/// Text of a header: printable ASCII without spaces, `-` if there is none.
fn printable(text: &str, most: usize) -> String {
    let letters = text.chars().filter(char::is_ascii_graphic).take(most);
    let kept: String = letters.collect();
    if kept.is_empty() { "-".into() } else { kept }
}
