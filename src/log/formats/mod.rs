//! Formats render records: one file or folder each.

pub(crate) mod append;
pub mod context;
pub(crate) mod eve;
pub(crate) mod flow_id;
pub mod framing;
pub mod interfaces;
pub(crate) mod ipfix;
mod journald;
pub(crate) mod members;
mod piece;
pub(crate) mod rows;
#[cfg(test)]
pub(crate) mod samples;
mod sentence;
pub(crate) mod siphash;
pub(crate) mod stamp;
pub(crate) mod syslog;
pub mod text;
#[cfg(test)]
mod twins;
pub(crate) mod window;
pub(crate) mod zeek;

use super::event::Event;
use super::notice::Notice;
use crate::books::record_kind::EventKind;
use context::Context;
use framing::{Messaging, Transport};
use text::TextFormat;

/// Every format that `--output` knows, by its word.
pub static FORMATS: [&Registered; 10] = [
    &text::TEXT,
    &eve::EVE,
    &zeek::ZEEK,
    &zeek::ZEEK_JSON,
    &ipfix::IPFIX,
    &ipfix::netflow9::NETFLOW9,
    &syslog::SYSLOG,
    &syslog::CEF,
    &journald::JOURNALD,
    &rows::PARQUET,
];

/// Renders records: lines with their newline, or what a [`framing::Framing`] joins.
pub trait Format: Send {
    /// Appends the record of a shard's event, which was due at `due_ns`.
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, due_ns: i64);

    /// Appends a record of the sensor; the log was at `stamp_ns`.
    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64);
}

/// Registry entry of a format.
#[derive(Debug)]
pub struct Registered {
    /// Its word in `--output`.
    pub word: &'static str,
    /// A few words for the help of `--output`.
    pub about: &'static str,
    /// Kinds of records that it can render.
    pub renders: &'static [EventKind],
    /// Kinds that it gets without `events=`.
    pub events: &'static [EventKind],
    /// Whether flows that last make an interim record a minute without `--active-timeout`.
    pub parts: bool,
    /// Whether its records name services of this host.
    pub services: bool,
    /// Its kind of sink.
    pub sink_kind: SinkKind,
    /// Makes a renderer for one output.
    pub open: fn(&Context, &OutputTraits) -> Box<dyn Format>,
}

impl PartialEq for Registered {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Eq for Registered {}

/// The kind of sink that a format needs.
#[derive(Clone, Copy, Debug)]
pub enum SinkKind {
    /// Lines to one file or stream.
    Lines,
    /// Files in a folder, each with a header and a footer.
    Files(&'static [Stream]),
    /// Messages to a collector or a socket.
    Messages(&'static Messaging),
    /// Segments of rows in a spool, for another program.
    Segments,
}

/// One file of a format with several: `NAME.log`.
#[derive(Debug)]
pub struct Stream {
    /// Name without `.log`.
    pub name: &'static str,
    /// Kinds of records in it.
    pub events: &'static [EventKind],
    /// Appends the header of a file that is opened at this time, ns since the Unix epoch.
    pub begin: fn(&mut Vec<u8>, i64),
    /// Appends the footer of a file that is closed at this time.
    pub end: fn(&mut Vec<u8>, i64),
}

impl Registered {
    /// Buffers of an output: one for each open file.
    pub fn buffers(&self) -> usize {
        match self.sink_kind {
            SinkKind::Lines | SinkKind::Messages(_) | SinkKind::Segments => 1,
            SinkKind::Files(streams) => streams.len(),
        }
    }

    /// Its syntax in `--output`.
    pub fn forms(&self) -> String {
        let word = self.word;
        match self.sink_kind {
            SinkKind::Lines => format!("{word}:- {word}:PATH"),
            SinkKind::Files(_) => format!("{word}:DIR"),
            SinkKind::Messages(messaging) => messaging.forms(word),
            SinkKind::Segments => format!("{word}:DIR {word}:s3://BUCKET/PREFIX"),
        }
    }
}

/// Properties of an output that its format depends on.
#[derive(Clone, Copy, Debug)]
pub struct OutputTraits {
    /// `--text-format`.
    pub text_format: Option<TextFormat>,
    /// A terminal or an inherited stream, which a person may read.
    pub person: bool,
    /// Its number in the books.
    pub output: usize,
    /// How its messages travel; `None`: it has lines.
    pub transport: Option<Transport>,
}
