//! How records become bytes: one file or folder a format.

pub mod append;
pub mod context;
pub mod eve;
pub mod flow_id;
pub mod interfaces;
#[cfg(test)]
pub(crate) mod samples;
pub mod scratch;
pub mod stamp;
pub mod text;
pub mod zeek;

use super::event::Event;
use super::notice::Notice;
use crate::books::record_kind::EventKind;
use context::Context;
use std::fmt;
use text::TextFormat;

/// Every format that `--output` knows, by its word.
pub static FORMATS: [&Registered; 3] = [&text::TEXT, &eve::EVE, &zeek::ZEEK];

/// Renders records, each with its newline.
pub trait Format: Send {
    /// Appends the record of a shard's event, which was due at `due_ns`.
    fn event(&mut self, out: &mut Vec<u8>, event: &Event, due_ns: i64);

    /// Appends a record of the sensor's own. It stands where the log was at `stamp_ns`.
    fn notice(&mut self, out: &mut Vec<u8>, notice: &Notice, stamp_ns: i64);
}

/// A format as the registry has it.
#[derive(Debug)]
pub struct Registered {
    /// Its word in `--output`.
    pub word: &'static str,
    /// What it is, in a few words for the help of `--output`.
    pub about: &'static str,
    /// What it can carry.
    pub carries: &'static [EventKind],
    /// What it is given without `events=`.
    pub events: &'static [EventKind],
    /// What carries it.
    pub carrier: Carrier,
    /// A renderer for one output.
    pub open: fn(&Context, &Wish) -> Box<dyn Format>,
}

impl PartialEq for Registered {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl Eq for Registered {}

impl fmt::Display for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)
    }
}

/// What carries the records of a format.
#[derive(Clone, Copy, Debug)]
pub enum Carrier {
    /// Lines to one file or stream.
    Lines,
    /// Files in a folder, each with a beginning and an end.
    Files(&'static [Stream]),
}

/// One of the files of a format that has several: `NAME.log`.
#[derive(Debug)]
pub struct Stream {
    /// The name.
    pub name: &'static str,
    /// What goes there.
    pub events: &'static [EventKind],
    /// Appends what a file begins with; it is opened at this moment, ns since the Unix epoch.
    pub begin: fn(&mut Vec<u8>, i64),
    /// Appends what a file ends with.
    pub end: fn(&mut Vec<u8>, i64),
}

impl Registered {
    /// Buffers that an output of it takes: one for each file that it writes at once.
    pub fn buffers(&self) -> usize {
        match self.carrier {
            Carrier::Lines => 1,
            Carrier::Files(streams) => streams.len(),
        }
    }

    /// Its forms in `--output`.
    pub fn forms(&self) -> String {
        let word = self.word;
        match self.carrier {
            Carrier::Lines => format!("{word}:- {word}:PATH"),
            Carrier::Files(_) => format!("{word}:DIR"),
        }
    }
}

/// What is known of an output when its format is opened.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// `--text-format`.
    pub text_format: Option<TextFormat>,
    /// A person may read it: a terminal, or a stream that the program was started with.
    pub person: bool,
}
