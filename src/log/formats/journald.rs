//! Entries of systemd's journal, by its native protocol: one record, one entry, each member a field.
//!
//! `NAME=VALUE` and a newline; a value with a newline in it has its length instead (systemd's JOURNAL_NATIVE_PROTOCOL).

use super::framing::{Messaging, Single, Transport};
use super::members::{self, Members, Name, Nature, Value};
use super::sentence::Sentences;
use super::{Format, Registered, SinkKind, append};
use crate::books::record_kind::EventKind;
use crate::log::event::Event;
use crate::log::notice::Notice;

/// `journald:` and `journald:unix://SOCKET`.
pub static JOURNALD: Registered = Registered {
    word: "journald",
    about: "entries of systemd's journal with fields (SYNLEDGER_...)",
    renders: &EventKind::ALL,
    events: &[EventKind::Alert, EventKind::Lifecycle, EventKind::Block],
    parts: false,
    services: false,
    sink_kind: SinkKind::Messages(&Messaging {
        transports: &[Transport::Unix],
        port: 0,
        socket: Some("/run/systemd/journal/socket"),
        templates: false,
        framing: |_| Box::new(Single::default()),
    }),
    open: |context, traits| {
        Box::new(Journald {
            sentences: Sentences::new(context, traits),
        })
    },
};

struct Journald {
    sentences: Sentences,
}

/// Appends what every entry has.
fn head(out: &mut Vec<u8>, nature: Nature, sentence: &[u8]) {
    let priority = nature.severity.number();
    field(out, b"MESSAGE", |out| out.extend_from_slice(sentence));
    field(out, b"PRIORITY", |out| append::int(out, priority));
    field(out, b"SYSLOG_IDENTIFIER", |out| {
        out.extend_from_slice(b"synledger");
    });
}

impl Format for Journald {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, due_ns: i64) {
        let (sentence, around) = self.sentences.of_event(event, due_ns);
        head(out, members::nature_of_event(event), sentence);
        members::of_event(&mut Fields(out), event, around);
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64) {
        let sentence = self.sentences.of_notice(notice, stamp_ns);
        head(out, members::nature_of_notice(notice), sentence);
        members::of_notice(&mut Fields(out), notice);
    }
}

/// Appends members as fields of an entry.
struct Fields<'a>(&'a mut Vec<u8>);

impl Members for Fields<'_> {
    fn member(&mut self, name: &'static Name, value: Value<'_>) {
        self.0.extend_from_slice(b"SYNLEDGER_");
        let word = name.word.bytes().map(|byte| byte.to_ascii_uppercase());
        self.0.extend(word);
        value_of(self.0, |out| match value {
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
            Value::Number(number) => append::int(out, number),
            Value::Address(address) => append::ip(out, address),
            Value::Time(ts_ns) => append::int(out, ts_ns.div_euclid(1000)),
        });
    }
}

fn field(out: &mut Vec<u8>, name: &[u8], put: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name);
    value_of(out, put);
}

/// Appends the value of a field whose name was appended.
fn value_of(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'=');
    let start = out.len();
    put(out);
    if out[start..].contains(&b'\n') {
        // A newline and the length, little endian, in place of the `=`.
        let len = (out.len() - start) as u64;
        out[start - 1] = b'\n';
        out.extend_from_slice(&len.to_le_bytes());
        out[start..].rotate_right(size_of::<u64>());
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_with_a_newline_has_its_length() {
        let mut out = Vec::new();
        field(&mut out, b"A", |out| out.extend_from_slice(b"one"));
        field(&mut out, b"B", |out| out.extend_from_slice(b"x\ny"));
        assert_eq!(out, b"A=one\nB\n\x03\0\0\0\0\0\0\0x\ny\n");
    }
}
