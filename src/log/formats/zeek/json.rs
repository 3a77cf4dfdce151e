//! The rows of Zeek's logs as JSON lines, as Zeek writes them with `LogAscii::use_json`: a member for each field that is
//! set, named as the column.

use super::{CONN, Field, NOTICE, STATS, Zeek};
use crate::log::event::{Body, Event};
use crate::log::formats::{Format, append};
use crate::log::notice::Notice;

/// Renders rows as JSON.
pub(super) struct Json {
    rows: Zeek,
    row: Vec<u8>,
}

impl Json {
    pub fn new(rows: Zeek) -> Self {
        let row = Vec::new();
        Self { rows, row }
    }

    fn put(&mut self, out: &mut Vec<u8>, fields: &[Field]) {
        let row = String::from_utf8_lossy(&self.row);
        let values = row.strip_suffix('\n').unwrap_or(&row).split('\t');
        out.push(b'{');
        let set = fields.iter().zip(values).filter(|(_, text)| *text != "-");
        for (nth, ((name, kind), text)) in set.enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            append::json_string(out, name);
            out.push(b':');
            value(out, kind, text);
        }
        out.extend_from_slice(b"}\n");
        self.row.clear();
    }
}

/// Appends a value that is set.
fn value(out: &mut Vec<u8>, kind: &str, text: &str) {
    match kind {
        "time" | "interval" | "double" | "count" | "port" => out.extend_from_slice(text.as_bytes()),
        "bool" => out.extend_from_slice(if text == "T" { b"true" } else { b"false" }),
        _ if kind.starts_with("set[") => {
            out.push(b'[');
            let members = text.split(',').filter(|_| text != "(empty)");
            for (nth, member) in members.enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                append::json_string(out, &plain(member));
            }
            out.push(b']');
        }
        _ if text == "(empty)" => out.extend_from_slice(b"\"\""),
        _ => append::json_string(out, &plain(text)),
    }
}

/// A string of a row without its `\xHH`.
fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (after.strip_prefix(b"x"))
            .and_then(|hex| std::str::from_utf8(hex.get(..2)?).ok())
            .filter(|_| *first == b'\\')
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = &after[if escaped.is_some() { 3 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Format for Json {
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, due_ns: i64) {
        self.rows.event(&mut self.row, event, due_ns);
        let fields = match event.body {
            Body::Alert(_) => NOTICE,
            _ => CONN,
        };
        self.put(out, fields);
    }

    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64) {
        self.rows.notice(&mut self.row, notice, stamp_ns);
        self.put(out, STATS);
    }
}
