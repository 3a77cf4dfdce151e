//! Lines to a file that is rotated: closed under another name between two lines, and begun anew.
//!
//! The logger's thread renames and opens; what is closed is the archiver's. A file that cannot be rotated goes on. Where
//! a limit of bytes is set, it does so up to twice its size: then records are dropped and counted, so that the log does
//! not fill the disk.

use super::archive::{Names, Shelf};
use super::descriptor::{Descriptor, OpenError};
use super::lines::{Lines, Patience, RETRY_NS};
use super::recovery::Recovery;
use super::rotation::Rotation;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::KINDS;
use std::io;
use std::path::{Path, PathBuf};

/// A file, and those that it was before.
pub struct Rotating {
    lines: Lines,
    path: PathBuf,
    rotation: Rotation,
    shelf: Shelf,
    /// When the open file was begun.
    begun_ns: Option<i64>,
    /// [`Lines::file_number`] of that file.
    file: u64,
    live: bool,
    /// When a rotation failed.
    failed_ns: Option<i64>,
    /// Records are dropped, because the file cannot be rotated.
    refused: Option<Recovery>,
    recovered: Option<Recovery>,
    dropped: [[u64; KINDS]; CAUSES],
}

impl Rotating {
    /// Rotates the file at `path`, to which `lines` go.
    pub fn new(lines: Lines, path: &Path, rotation: Rotation, shelf: Shelf) -> Self {
        let begun_ns = lines.made_ns().filter(|_| lines.size() > 0);
        Self {
            file: lines.file_number(),
            lines,
            path: path.to_owned(),
            rotation,
            shelf,
            begun_ns,
            live: false,
            failed_ns: None,
            refused: None,
            recovered: None,
            dropped: [[0; KINDS]; CAUSES],
        }
    }

    /// The names of files that `path` was before.
    pub fn names(path: &Path) -> Names {
        Names::of_file(path)
    }

    /// Whether the file ends before a record of this moment.
    fn is_due(&mut self, at: Moment) -> bool {
        if self.file != self.lines.file_number() {
            // Another program has rotated or removed it.
            self.file = self.lines.file_number();
            self.begun_ns = None;
        }
        let begun_ns = *self.begun_ns.get_or_insert(at.log_ns);
        let size = self.lines.size();
        self.rotation.is_due(begun_ns, size, at.log_ns)
    }

    /// Ends the file, if everything is written and it can be renamed; else it goes on.
    fn rotate(&mut self, at: Moment) {
        let recently = |failed_ns: i64| at.now_ns.abs_diff(failed_ns) < RETRY_NS;
        if self.failed_ns.is_some_and(recently) {
            return;
        }
        if self.lines.size() == 0 {
            self.begun_ns = Some(at.log_ns);
            return;
        }
        self.lines.flush(at);
        if self.lines.waiting_bytes() > 0 {
            return;
        }
        match self.begin_anew(at) {
            Ok(()) => {
                self.failed_ns = None;
                self.begun_ns = Some(at.log_ns);
                self.file = self.lines.file_number();
                self.shelf.succeed(&self.path);
                if let Some(refused) = self.refused.take() {
                    refused.join(&mut self.recovered);
                }
            }
            Err(error) => {
                self.failed_ns = Some(at.now_ns);
                self.shelf.fail(&self.path, &error);
            }
        }
    }

    fn begin_anew(&mut self, at: Moment) -> io::Result<()> {
        let begun_ns = self.begun_ns.unwrap_or(at.log_ns);
        let place = match self.lines.is_at(&self.path) {
            true => Some(self.shelf.put(&self.path, begun_ns)?),
            // A file that another program has moved stays where it is.
            false => None,
        };
        match Descriptor::open(&self.path) {
            Ok((file, _)) => self.lines.go_on_in(file),
            Err(error) => {
                if let Some(place) = place {
                    // If that fails too, it goes on under its new name.
                    let _ = self.shelf.take_back(place, &self.path);
                }
                return Err(error.into());
            }
        }
        if let Some(place) = place {
            self.shelf.closed(place, begun_ns);
        }
        Ok(())
    }

    /// Whether the file has no room for another record.
    fn is_full(&self) -> bool {
        let full = |bytes: u64| self.lines.size() / 2 >= bytes;
        self.rotation.bytes.is_some_and(full) && self.shelf.is_limited()
    }

    fn refuse(&mut self, entry: Entry, at: Moment) {
        let (kind, records) = (entry.kind as usize, entry.records());
        let refused = self.refused.get_or_insert(Recovery {
            since_ns: at.now_ns,
            cause: Cause::Io,
            lost: [0; KINDS],
        });
        refused.lost[kind] += records;
        self.dropped[Cause::Io as usize][kind] += records;
    }
}

impl Sink for Rotating {
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        if self.is_due(at) {
            self.rotate(at);
            if self.is_full() {
                self.refuse(entry, at);
                return None;
            }
        }
        self.lines.admit(entry, at)
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        self.lines.commit(entry, at) || self.recovered.is_some()
    }

    fn flush(&mut self, at: Moment) {
        self.lines.flush(at);
        // Live, the time of the log advances without records: a file ends in a silent hour, too.
        if self.live && self.is_due(at) {
            self.rotate(at);
        }
        if let Some(begun_ns) = self.begun_ns.filter(|_| self.live) {
            let total = self.lines.written_bytes();
            self.shelf.report(begun_ns, total, at.now_ns);
        }
    }

    fn finish(&mut self, at: Moment) {
        self.lines.finish(at);
    }

    fn close(&mut self, at: Moment) {
        self.lines.close(at);
    }

    /// For another program that rotates, too.
    fn reopen(&mut self, at: Moment) -> Result<(), OpenError> {
        self.lines.reopen(at)
    }

    fn set_patience(&mut self, patience: Patience) {
        self.live = matches!(patience, Patience::Live);
        self.lines.set_patience(patience);
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovered.take().or_else(|| self.lines.take_recovery())
    }

    fn take_torn(&mut self) -> Option<u64> {
        self.lines.take_torn()
    }

    fn blocked(&self) -> Option<Cause> {
        let refused = self.refused.as_ref().map(|refused| refused.cause);
        refused.or_else(|| self.lines.blocked())
    }

    fn carried(&self) -> Carried {
        let mut sum = self.lines.carried();
        sum.add(&Carried {
            dropped: self.dropped,
            ..Carried::default()
        });
        sum
    }
}

#[cfg(test)]
mod tests;
