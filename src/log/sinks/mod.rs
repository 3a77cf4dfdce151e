//! Sinks carry rendered records to files and streams: one file each, a `SinkKind` that formats name, and an arm in
//! [`open`].
//!
//! A sink counts what became of the records it accepted. [`crate::log::outputs`] counts what each output was offered
//! and did not ask for.

pub mod archive;
pub(crate) mod descriptor;
pub mod endpoint;
pub(crate) mod files;
pub(crate) mod gone;
pub(crate) mod lines;
mod messages;
pub(crate) mod recovery;
pub(crate) mod rotating;
pub(crate) mod rotation;
pub mod segments;
pub mod spec;
pub mod spool;
mod torn;

use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::{EventKind, KINDS};
use crate::log::formats::SinkKind;
use archive::Archive;
use descriptor::{Descriptor, OpenError};
use files::Files;
use lines::{Lines, Patience};
use messages::Messages;
use recovery::Recovery;
use rotating::Rotating;
use segments::Segments;
use spec::{OutputSpec, Target};

/// The kind and weight of a record.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Kind of the record.
    pub kind: EventKind,
    /// Attempts that it folds; 0: it is no fold.
    pub folded: u64,
}

impl Entry {
    /// Records that are lost with it.
    fn records(self) -> u64 {
        self.folded.max(1)
    }
}

/// The current time, by two clocks, ns since the Unix epoch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Time of the log: files are rotated by it.
    pub log_ns: i64,
    /// Clock of the logger, for retries and waits.
    pub now_ns: i64,
}

/// Counts of the records that a sink accepted, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Carried {
    /// Records written.
    pub written: [u64; KINDS],
    /// Attempts in written folds.
    pub folded: u64,
    /// Records dropped, by cause.
    pub dropped: [[u64; KINDS]; CAUSES],
    /// Records that are buffered.
    pub pending: [u64; KINDS],
}

/// Carries records. No method blocks a live run.
pub trait Sink: Send {
    /// The buffer to append a record to; `None` if the record is dropped, which is counted.
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>>;

    /// Ends the record that was appended since [`Sink::admit`]. True: [`Sink::take_recovery`] has a report.
    fn commit(&mut self, entry: Entry, at: Moment) -> bool;

    /// Writes what is buffered.
    fn flush(&mut self, at: Moment);

    /// Writes what is buffered and drops the rest: afterwards nothing is pending.
    fn finish(&mut self, at: Moment);

    /// Writes what the file takes at once and drops the rest: afterwards nothing is pending. Waits for nobody.
    fn close(&mut self, at: Moment);

    /// Opens the files again, after another program has rotated them.
    ///
    /// # Errors
    ///
    /// The file that cannot be opened; the sink stays as it was.
    fn reopen(&mut self, at: Moment) -> Result<(), OpenError>;

    /// Sets how long records wait for a slow reader.
    fn set_patience(&mut self, patience: Patience);

    /// The losses of an outage, once after it has ended.
    fn take_recovery(&mut self) -> Option<Recovery>;

    /// Bytes of a record that an earlier run left without its end, and that were cut off since the last call.
    fn take_torn(&mut self) -> Option<u64> {
        None
    }

    /// The cause of the current outage; `None`: the last write succeeded.
    fn blocked(&self) -> Option<Cause>;

    /// Whether the reader of standard output has closed it.
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether it is a terminal.
    fn is_terminal(&self) -> bool {
        false
    }

    /// Counts of the accepted records.
    fn carried(&self) -> Carried;
}

/// Opens the sink of the output with this number; its closed files belong to `archive`.
///
/// # Errors
///
/// The system's error, with a hint.
pub fn open(
    spec: &OutputSpec,
    archive: &Archive,
    output: usize,
) -> Result<Box<dyn Sink>, OpenError> {
    let rotation = spec.rotation;
    if let SinkKind::Files(streams) = spec.format.sink_kind {
        let files = Files::open(&spec.target, streams, rotation, (archive, output))?;
        return Ok(Box::new(files));
    }
    if let (SinkKind::Messages(how), Target::Collector(endpoint)) =
        (spec.format.sink_kind, &spec.target)
    {
        return Ok(Box::new(Messages::open(spec, endpoint, how)?));
    }
    if let Some(spool) = &spec.spool {
        return Ok(Box::new(Segments::open(spool)?));
    }
    can_rotate(spec)?;
    let lines = Lines::open(&spec.target)?;
    Ok(match &spec.target {
        Target::Path(path) if rotation.is_on() => {
            let shelf = archive.add(Rotating::names(path), output, rotation);
            Box::new(Rotating::new(lines, path, rotation, shelf))
        }
        _ => Box::new(lines),
    })
}

/// Refuses to rotate a device, a pipe or a socket.
fn can_rotate(spec: &OutputSpec) -> Result<(), OpenError> {
    match (&spec.target, spec.format.sink_kind) {
        (Target::Path(path), SinkKind::Lines) if spec.rotation.is_on() => {
            descriptor::is_plain_or_missing(path)
        }
        _ => Ok(()),
    }
}

/// Makes the file or spool of an output that is missing; files in a folder are made with their first record.
///
/// # Errors
///
/// As [`open`].
pub fn create(spec: &OutputSpec) -> Result<(), OpenError> {
    if let Some(spool) = &spec.spool {
        return segments::create(spool);
    }
    match (spec.format.sink_kind, &spec.target) {
        (SinkKind::Lines, Target::Path(path)) if path.symlink_metadata().is_err() => {
            Descriptor::open(path).map(drop)
        }
        _ => Ok(()),
    }
}

/// Whether [`open`] would succeed; nothing is created, changed or locked. A folder that a sensor has locked is no
/// error, so that `check` can run beside that sensor.
///
/// # Errors
///
/// As [`open`].
pub fn would_open(spec: &OutputSpec) -> Result<(), OpenError> {
    if let Some(spool) = &spec.spool {
        return segments::would_open(spool);
    }
    can_rotate(spec)?;
    match spec.format.sink_kind {
        SinkKind::Lines => descriptor::would_open(&spec.target),
        SinkKind::Files(_) => descriptor::would_hold_files(spec.target.path()),
        SinkKind::Messages(_) | SinkKind::Segments => Ok(()),
    }
}
