//! Where records go: each sink carries what a format has rendered, one file a sink.
//!
//! A sink says what became of the records it took; what an output was offered and what it did not ask for is kept
//! above, in [`crate::log::outputs`], once for all sinks.

pub mod descriptor;
pub mod files;
pub mod lines;
pub mod recovery;
pub mod rotation;
pub mod spec;

use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::{EventKind, KINDS};
use crate::log::formats::Carrier;
use descriptor::OpenError;
use files::Files;
use lines::{Lines, Patience};
use recovery::Recovery;
use spec::OutputSpec;

/// A record on its way: its kind, and how many attempts it stands for (0: it is one record, written as it is).
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: EventKind,
    /// Attempts that a fold stands for.
    pub folded: u64,
}

/// Now, by two clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Where the log stands, nanoseconds since the Unix epoch: files are rotated by it.
    pub log_ns: i64,
    /// The logger's clock, for tries and waits.
    pub now_ns: i64,
}

/// What became of the records that a sink took, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Records written.
    pub written: [u64; KINDS],
    /// Attempts that the folds written stand for.
    pub folded: u64,
    /// Records dropped, by cause.
    pub dropped: [[u64; KINDS]; CAUSES],
    /// Records that wait.
    pub pending: [u64; KINDS],
}

/// Carries records. Nothing here blocks a live run.
pub trait Sink: Send {
    /// Where to append a record; `None` if it is dropped (and counted).
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>>;

    /// Says that what was appended since [`Sink::admit`] is this record, whole. True: [`Sink::take_recovery`] has
    /// something to tell.
    fn commit(&mut self, entry: Entry, at: Moment) -> bool;

    /// Hands on what waits.
    fn flush(&mut self, at: Moment);

    /// Hands on what waits, and drops what is not taken: nothing is pending afterwards.
    fn finish(&mut self, at: Moment);

    /// Begins anew, after a rotation by another program.
    ///
    /// # Errors
    ///
    /// What cannot be opened; the sink stays as it was.
    fn reopen(&mut self, at: Moment) -> Result<(), OpenError>;

    /// Says how long records wait for whoever takes them.
    fn set_patience(&mut self, patience: Patience);

    /// What was lost, once after records were taken again.
    fn take_recovery(&mut self) -> Option<Recovery>;

    /// Why the last try took less than all; `None` while everything is taken.
    fn blocked(&self) -> Option<Cause>;

    /// Whoever read standard output has left.
    fn is_closed(&self) -> bool;

    /// A person is at the other end.
    fn is_terminal(&self) -> bool;

    /// What became of the records.
    fn carried(&self) -> Carried;
}

/// Opens the sink of an output.
///
/// # Errors
///
/// The system's answer, with what helps.
pub fn open(spec: &OutputSpec) -> Result<Box<dyn Sink>, OpenError> {
    Ok(match spec.format.carrier {
        Carrier::Lines => Box::new(Lines::open(&spec.target)?),
        Carrier::Files(streams) => Box::new(Files::open(&spec.target, streams, spec.rotation)?),
    })
}

/// Whether [`open`] would succeed; nothing is created or changed.
///
/// # Errors
///
/// As [`open`].
pub fn would_open(spec: &OutputSpec) -> Result<(), OpenError> {
    match spec.format.carrier {
        Carrier::Lines => descriptor::would_open(&spec.target),
        Carrier::Files(_) => files::would_open(&spec.target),
    }
}
