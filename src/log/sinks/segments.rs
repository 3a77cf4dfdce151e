//! Segments of rows in a spool, for a program that delivers them.
//!
//! A segment is written as `NUMBER.open`, and renamed to `NUMBER.rows` at its size, its age or the end of the run. One
//! of a killed run is renamed by the next, never appended to: its reader keeps the rows before a torn end. What waits is
//! bounded: a full spool takes no new record, so what is delivered has no gap but one that the books count, at its end.
//!
//! The folder is locked while the output is open: a second sensor would close the first one's open segment.

use super::descriptor::{self, Descriptor, OpenError};
use super::lines::{Lines, Patience, RETRY_NS};
use super::recovery::{Recovery, cause_of};
use super::spec::Target;
use super::spool::Spool;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::KINDS;
use crate::log::formats::rows;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Ending of the segment that is written.
const OPEN: &str = "open";
/// Ending of closed segments.
const CLOSED: &str = "rows";

/// The segments of one output.
pub struct Segments {
    /// Locked. The lock ends with the descriptor.
    _lock: File,
    folder: PathBuf,
    spool: Spool,
    sensor: String,
    /// The buffer, kept from segment to segment; `None` before the first.
    lines: Option<Lines>,
    open: Option<Opened>,
    /// Number of the next segment.
    next: u64,
    /// Bytes of all other files in the spool, when it was last looked.
    waiting_bytes: u64,
    looked_ns: i64,
    patience: Option<Patience>,
    live: bool,
    /// No segment can be opened, or the spool is full; and the time of the last try.
    refused: Option<(Recovery, i64)>,
    recovered: Option<Recovery>,
    dropped: [[u64; KINDS]; CAUSES],
}

/// The open segment.
#[derive(Clone, Copy)]
struct Opened {
    number: u64,
    at_ns: i64,
}

/// Makes the spool; the folder above it must be there.
///
/// # Errors
///
/// It cannot be made, or what has its name is no folder that may be written.
pub fn create(spool: &Spool) -> Result<(), OpenError> {
    let folder = spool.folder();
    match DirBuilder::new().mode(0o750).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError::of(&folder, error))
        }
        _ => descriptor::would_hold_files(&folder),
    }
}

/// Whether [`Segments::open`] would succeed; nothing is made.
///
/// # Errors
///
/// As [`Segments::open`].
pub fn would_open(spool: &Spool) -> Result<(), OpenError> {
    let folder = spool.folder();
    match folder.exists() {
        true => descriptor::would_hold_files(&folder),
        false => descriptor::would_hold_files(super::spec::folder(&folder)),
    }
}

/// Number of a segment, closed or not, by its name.
fn number_of(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.parse().ok()
}

impl Segments {
    /// Opens a spool, and closes the segment of a killed run.
    ///
    /// # Errors
    ///
    /// The spool cannot be made, read, written or locked.
    pub fn open(spool: &Spool) -> Result<Self, OpenError> {
        create(spool)?;
        let folder = spool.folder();
        let error = |source| OpenError::of(&folder, source);
        let lock = descriptor::lock_folder(&folder)?;
        let mut last = 0;
        for entry in fs::read_dir(&folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let Some(number) = number_of(&path) else {
                continue;
            };
            last = last.max(number);
            if path.extension().is_some_and(|ending| ending == OPEN) {
                fs::rename(&path, path.with_extension(CLOSED)).map_err(error)?;
            }
        }
        let mut segments = Self {
            _lock: lock,
            sensor: spool.sensor_name().to_owned(),
            spool: spool.clone(),
            lines: None,
            open: None,
            next: last + 1,
            waiting_bytes: 0,
            looked_ns: i64::MIN,
            patience: None,
            live: false,
            refused: None,
            recovered: None,
            dropped: [[0; KINDS]; CAUSES],
            folder: folder.clone(),
        };
        segments.waiting_bytes = segments.look().map_err(error)?;
        Ok(segments)
    }

    fn path(&self, number: u64, ending: &str) -> PathBuf {
        self.folder.join(format!("{number:010}.{ending}"))
    }

    /// Bytes of all files in the spool but the open segment.
    fn look(&self) -> io::Result<u64> {
        let open = self.open.map(|open| open.number);
        let mut sum = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let number = number_of(&entry.path());
            // One that was delivered meanwhile has no size.
            if (open.is_none() || number != open)
                && let Ok(about) = entry.metadata()
            {
                sum += about.len();
            }
        }
        Ok(sum)
    }

    /// Bytes of the open segment.
    fn open_bytes(&self) -> u64 {
        let lines = self.lines.as_ref().filter(|_| self.open.is_some());
        lines.map_or(0, Lines::size)
    }

    fn is_full(&self) -> bool {
        self.waiting_bytes + self.open_bytes() >= self.spool.bytes_max
    }

    /// Whether the open segment is to be closed before a record of this moment. Times of a capture close none.
    fn is_due(&self, at: Moment) -> bool {
        let Some(open) = self.open else { return false };
        let is_old = self.live && at.log_ns.saturating_sub(open.at_ns) >= self.spool.age_ns;
        is_old || self.open_bytes() >= self.spool.segment_bytes
    }

    fn begin(&mut self, at: Moment) -> Result<(), OpenError> {
        let path = self.path(self.next, OPEN);
        let (file, _) = Descriptor::open(&path)?;
        match &mut self.lines {
            Some(lines) => lines.go_on_in(file),
            none => {
                let mut lines = Lines::new(Target::Path(path), file);
                if let Some(patience) = &self.patience {
                    lines.set_patience(patience.clone());
                }
                *none = Some(lines);
            }
        }
        let lines = self.lines.as_mut().expect("just made");
        lines.append(|out| rows::head(out, &self.sensor));
        self.open = Some(Opened {
            number: self.next,
            at_ns: at.log_ns,
        });
        self.next += 1;
        Ok(())
    }

    /// Closes the open segment once everything is written; it stays open while bytes are buffered.
    fn end(&mut self, at: Moment) {
        let (Some(open), Some(lines)) = (self.open, &mut self.lines) else {
            return;
        };
        lines.flush(at);
        if lines.waiting_bytes() > 0 {
            return;
        }
        self.waiting_bytes += lines.size();
        self.open = None;
        // If this fails, the next run closes it.
        let _ = fs::rename(self.path(open.number, OPEN), self.path(open.number, CLOSED));
    }

    /// Makes sure that a segment is open for the next record.
    fn ready(&mut self, at: Moment) -> Result<(), Cause> {
        if self.is_due(at) {
            self.end(at);
        }
        if self.open.is_some() && !self.is_full() {
            return Ok(());
        }
        if let Some((recovery, tried_ns)) = &self.refused
            && at.now_ns.abs_diff(*tried_ns) < RETRY_NS
        {
            return Err(recovery.cause);
        }
        let result = self.make_room(at);
        match (&result, self.refused.take()) {
            (Ok(()), Some((recovery, _))) => recovery.join(&mut self.recovered),
            (Ok(()), None) => {}
            (Err(cause), refused) => {
                let fresh = Recovery {
                    since_ns: at.now_ns,
                    cause: *cause,
                    lost: [0; KINDS],
                };
                let (mut recovery, _) = refused.unwrap_or((fresh, 0));
                recovery.cause = *cause;
                self.refused = Some((recovery, at.now_ns));
            }
        }
        result
    }

    /// Opens a segment, if the spool has room.
    fn make_room(&mut self, at: Moment) -> Result<(), Cause> {
        let io = |error: io::Error| cause_of(error.kind());
        if self.is_full() {
            self.waiting_bytes = self.look().map_err(io)?;
            self.looked_ns = at.now_ns;
            if self.is_full() {
                // What is written so far can be delivered meanwhile.
                self.end(at);
                return Err(Cause::DiskFull);
            }
        }
        match self.open {
            Some(_) => Ok(()),
            None => self.begin(at).map_err(|error| io(error.into())),
        }
    }

    fn refuse(&mut self, entry: Entry, cause: Cause) {
        let (kind, records) = (entry.kind as usize, entry.records());
        self.dropped[cause as usize][kind] += records;
        if let Some((recovery, _)) = &mut self.refused {
            recovery.lost[kind] += records;
        }
    }

    /// `write` writes what is left, or drops it.
    fn end_with(&mut self, at: Moment, write: fn(&mut Lines, Moment)) {
        if let Some(lines) = &mut self.lines {
            write(lines, at);
        }
        self.end(at);
    }
}

impl Sink for Segments {
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        if let Err(cause) = self.ready(at) {
            self.refuse(entry, cause);
            return None;
        }
        self.lines.as_mut()?.admit(entry, at)
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        let lines = self.lines.as_mut();
        lines.is_some_and(|lines| lines.commit(entry, at)) || self.recovered.is_some()
    }

    fn flush(&mut self, at: Moment) {
        if let Some(lines) = &mut self.lines {
            lines.flush(at);
        }
        if self.live && self.is_due(at) {
            self.end(at);
        }
        // Delivered segments leave the spool without a word.
        if at.now_ns.saturating_sub(self.looked_ns).unsigned_abs() >= RETRY_NS
            && let Ok(bytes) = self.look()
        {
            (self.waiting_bytes, self.looked_ns) = (bytes, at.now_ns);
        }
    }

    fn finish(&mut self, at: Moment) {
        self.end_with(at, Lines::finish);
    }

    fn close(&mut self, at: Moment) {
        self.end_with(at, Lines::close);
    }

    fn reopen(&mut self, at: Moment) -> Result<(), OpenError> {
        self.end(at);
        Ok(())
    }

    fn set_patience(&mut self, patience: Patience) {
        self.live = matches!(patience, Patience::Live);
        if let Some(lines) = &mut self.lines {
            lines.set_patience(patience.clone());
        }
        self.patience = Some(patience);
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        let own = self.recovered.take();
        own.or_else(|| self.lines.as_mut()?.take_recovery())
    }

    fn blocked(&self) -> Option<Cause> {
        let refused = self.refused.as_ref().map(|(recovery, _)| recovery.cause);
        refused.or_else(|| self.lines.as_ref()?.blocked())
    }

    fn carried(&self) -> Carried {
        let lines = self.lines.as_ref().map(Lines::carried);
        let mut sum = lines.unwrap_or_default();
        sum.add(&Carried {
            dropped: self.dropped,
            ..Carried::default()
        });
        sum
    }
}

#[cfg(test)]
mod tests;
