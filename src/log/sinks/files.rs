//! Files in a folder, each with a header and a footer.
//!
//! A stream's file is created with its first record, as `NAME.log`. Rotation closes it and renames it to
//! `NAME.2026-11-29-05-00-00.log`, the time at which it was opened. A `NAME.log` of a killed run is renamed in the
//! same way, never appended to. With `rotate=` it is then the archiver's. A file that cannot be written (full disk) is
//! not closed: records are buffered, and dropped and counted once the buffer is full, as for lines.
//!
//! The folder is locked while the output is open: a second sensor would rename the first one's open files.

use super::archive::{Archive, Names, Shelf};
use super::descriptor::{self, Descriptor, OpenError};
use super::lines::{Lines, Patience, RETRY_NS};
use super::recovery::{Recovery, cause_of};
use super::rotation::Rotation;
use super::spec::Target;
use super::torn::Tail;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::{EventKind, KINDS};
use crate::log::formats::Stream;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

/// The files of one output.
pub struct Files {
    /// Locked, so that no other sensor renames or removes files there. The lock ends with the descriptor.
    _folder: File,
    streams: Vec<StreamFile>,
    /// Index of the stream of each kind.
    of_kind: [Option<usize>; KINDS],
    rotation: Rotation,
    live: bool,
}

/// One stream, and its file while one is open.
struct StreamFile {
    stream: &'static Stream,
    folder: PathBuf,
    /// The buffer, kept from file to file; `None` before the first file.
    lines: Option<Lines>,
    open: Option<Opened>,
    patience: Option<Patience>,
    /// The outage if no file could be opened, and the time of the last try.
    refused: Option<(Recovery, i64)>,
    recovered: Option<Recovery>,
    /// Bytes of records that were cut off.
    torn: Option<u64>,
    dropped: [[u64; KINDS]; CAUSES],
    /// Its closed files.
    shelf: Shelf,
}

#[derive(Clone, Copy)]
struct Opened {
    at_ns: i64,
    /// Bytes appended so far.
    bytes: u64,
    /// Length of the buffer before the current record.
    mark: usize,
    /// To be ended, whatever the rotation.
    ending: bool,
    /// Bytes of the footer, once it is appended: no record follows.
    footer: usize,
}

impl Opened {
    /// Appends the footer, once.
    fn append_footer(&mut self, stream: &Stream, lines: &mut Lines, at: Moment) {
        if self.footer == 0 {
            self.footer = lines.append(|out| (stream.end)(out, at.log_ns));
        }
    }
}

impl Files {
    /// Files of these streams in an existing folder, for the output with this number.
    ///
    /// # Errors
    ///
    /// The folder is missing, not readable or writable, or another sensor has locked it.
    pub fn open(
        target: &Target,
        streams: &'static [Stream],
        rotation: Rotation,
        (archive, output): (&Archive, usize),
    ) -> Result<Self, OpenError> {
        let folder = target.path();
        descriptor::would_hold_files(folder)?;
        let locked = descriptor::lock_folder(folder)?;
        let file_of = |stream: &'static Stream| StreamFile {
            shelf: archive.add(Names::of_stream(folder, stream.name), output, rotation),
            stream,
            folder: folder.to_owned(),
            lines: None,
            open: None,
            patience: None,
            refused: None,
            recovered: None,
            torn: None,
            dropped: [[0; KINDS]; CAUSES],
        };
        let of_kind = |kind| streams.iter().position(|one| one.events.contains(&kind));
        Ok(Self {
            _folder: locked,
            of_kind: EventKind::ALL.map(of_kind),
            streams: streams.iter().map(file_of).collect(),
            rotation,
            live: false,
        })
    }

    /// Ends all files with their footers; `end` writes what is left, or drops it.
    fn end_all(&mut self, at: Moment, end: fn(&mut Lines, Moment)) {
        for stream in &mut self.streams {
            let (Some(open), Some(lines)) = (&mut stream.open, &mut stream.lines) else {
                continue;
            };
            open.ending = true;
            open.append_footer(stream.stream, lines, at);
            end(lines, at);
            // A file without its footer keeps its name: the next run renames it.
            if self.rotation.is_on() && lines.blocked().is_none() {
                stream.end(at);
            }
        }
    }

    fn of(&mut self, entry: Entry) -> Option<&mut StreamFile> {
        let index = self.of_kind[entry.kind as usize]?;
        self.streams.get_mut(index)
    }
}

impl StreamFile {
    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.stream.name))
    }

    /// Renames the file that a former run left.
    fn set_aside(&mut self) -> Result<(), OpenError> {
        let path = self.path();
        let Ok(about) = path.symlink_metadata() else {
            return Ok(());
        };
        if !about.is_file() || about.len() == 0 {
            // An empty file is as good as none; links, folders and devices are refused by open.
            return Ok(());
        }
        let age = about.modified().ok();
        let since = age.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let ns = since.and_then(|since| i64::try_from(since.as_nanos()).ok());
        if let Ok(file) = OpenOptions::new().append(true).open(&path)
            && let Tail::Cut(bytes) = descriptor::mend(&path, &file, true)
        {
            *self.torn.get_or_insert(0) += bytes;
        }
        let begun_ns = ns.unwrap_or(0);
        let aside = self.shelf.put(&path, begun_ns);
        let place = aside.map_err(|source| OpenError::of(&path, source))?;
        self.shelf.closed(place, begun_ns);
        Ok(())
    }

    fn begin(&mut self, at: Moment) -> Result<(), OpenError> {
        self.set_aside()?;
        let path = self.path();
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
        let before = lines.waiting_bytes();
        lines.append(|out| (self.stream.begin)(out, at.log_ns));
        let bytes = (lines.waiting_bytes() - before) as u64;
        self.open = Some(Opened {
            at_ns: at.log_ns,
            bytes,
            mark: 0,
            ending: false,
            footer: 0,
        });
        Ok(())
    }

    /// Closes the file once everything is written; false while bytes are buffered.
    fn end(&mut self, at: Moment) -> bool {
        let (Some(opened), Some(lines)) = (&mut self.open, &mut self.lines) else {
            return true;
        };
        opened.ending = true;
        lines.flush(at);
        if lines.waiting_bytes() == 0 {
            opened.append_footer(self.stream, lines, at);
            lines.flush(at);
        }
        if lines.waiting_bytes() > 0 {
            return false;
        }
        let opened_ns = opened.at_ns;
        let path = self.path();
        // A file that another program has moved stays where it is.
        if self.lines.as_ref().is_some_and(|lines| lines.is_at(&path)) {
            // If the rename fails, the next file renames it.
            match self.shelf.put(&path, opened_ns) {
                Ok(place) => {
                    self.shelf.closed(place, opened_ns);
                    self.shelf.succeed(&path);
                }
                Err(error) => self.shelf.fail(&path, &error),
            }
        }
        self.open = None;
        true
    }

    /// Makes sure that a file is open for the next record.
    fn ready(&mut self, rotation: &Rotation, at: Moment) -> Result<(), Cause> {
        let due = self
            .open
            .as_ref()
            .is_some_and(|open| open.ending || rotation.is_due(open.at_ns, open.bytes, at.log_ns));
        if due && !self.end(at) {
            // The disk is full: records go on in this file, as far as the buffer has room, and it is ended later.
            let (Some(lines), Some(open)) = (&mut self.lines, &mut self.open) else {
                return Err(Cause::Io);
            };
            if !lines.take_back(open.footer) {
                return Err(lines.blocked().unwrap_or(Cause::Io));
            }
            open.footer = 0;
        }
        if self.open.is_some() {
            return Ok(());
        }
        if let Some((recovery, tried_ns)) = &self.refused
            && at.now_ns.abs_diff(*tried_ns) < RETRY_NS
        {
            return Err(recovery.cause);
        }
        match self.begin(at) {
            Ok(()) => {
                if let Some((recovery, _)) = self.refused.take() {
                    recovery.join(&mut self.recovered);
                }
                Ok(())
            }
            Err(error) => {
                let cause = cause_of(error.kind());
                let fresh = Recovery {
                    since_ns: at.now_ns,
                    cause,
                    lost: [0; KINDS],
                };
                let (recovery, tried_ns) = self.refused.get_or_insert((fresh, at.now_ns));
                (recovery.cause, *tried_ns) = (cause, at.now_ns);
                Err(cause)
            }
        }
    }

    fn drop_entry(&mut self, entry: Entry, cause: Cause) {
        if let (Some(lines), Some(_)) = (&mut self.lines, &self.open) {
            return lines.drop_entry(entry, cause);
        }
        let (kind, records) = (entry.kind as usize, entry.records());
        self.dropped[cause as usize][kind] += records;
        if let Some((recovery, _)) = &mut self.refused {
            recovery.lost[kind] += records;
        }
    }

    fn admit(&mut self, rotation: &Rotation, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        if let Err(cause) = self.ready(rotation, at) {
            self.drop_entry(entry, cause);
            return None;
        }
        let (lines, open) = (self.lines.as_mut()?, self.open.as_mut()?);
        let out = lines.admit(entry, at)?;
        open.mark = out.len();
        Some(out)
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        let (Some(lines), Some(open)) = (&mut self.lines, &mut self.open) else {
            return false;
        };
        open.bytes += lines.appended_since(open.mark) as u64;
        lines.commit(entry, at) || self.recovered.is_some()
    }
}

impl Sink for Files {
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        let rotation = self.rotation;
        self.of(entry)?.admit(&rotation, entry, at)
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        let stream = self.of(entry);
        stream.is_some_and(|stream| stream.commit(entry, at))
    }

    fn flush(&mut self, at: Moment) {
        let (rotation, live) = (self.rotation, self.live);
        for stream in &mut self.streams {
            if let Some(lines) = &mut stream.lines {
                lines.flush(at);
            }
            // Live, the time of the log advances without records: a file ends in a silent hour, too.
            let Some(open) = stream.open else { continue };
            if let Some(lines) = stream.lines.as_mut().filter(|_| live) {
                if lines.waiting_bytes() == 0 && lines.is_removed(at.now_ns) {
                    // The next record begins another, or counts as lost.
                    stream.open = None;
                    continue;
                }
                let total = lines.written_bytes();
                stream.shelf.report(open.at_ns, total, at.now_ns);
            }
            if open.ending || live && rotation.is_due(open.at_ns, open.bytes, at.log_ns) {
                stream.end(at);
            }
        }
    }

    fn finish(&mut self, at: Moment) {
        self.end_all(at, Lines::finish);
    }

    fn close(&mut self, at: Moment) {
        self.end_all(at, Lines::close);
    }

    fn reopen(&mut self, at: Moment) -> Result<(), OpenError> {
        for stream in &mut self.streams {
            stream.end(at);
        }
        Ok(())
    }

    fn set_patience(&mut self, patience: Patience) {
        self.live = matches!(patience, Patience::Live);
        for stream in &mut self.streams {
            if let Some(lines) = &mut stream.lines {
                lines.set_patience(patience.clone());
            }
            stream.patience = Some(patience.clone());
        }
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.streams.iter_mut().find_map(|stream| {
            let own = stream.recovered.take();
            own.or_else(|| stream.lines.as_mut()?.take_recovery())
        })
    }

    fn take_torn(&mut self) -> Option<u64> {
        let mut streams = self.streams.iter_mut();
        streams.find_map(|stream| stream.torn.take())
    }

    fn blocked(&self) -> Option<Cause> {
        self.streams.iter().find_map(|stream| {
            let refused = stream.refused.as_ref().map(|(recovery, _)| recovery.cause);
            refused.or_else(|| stream.lines.as_ref()?.blocked())
        })
    }

    fn carried(&self) -> Carried {
        let mut sum = Carried::default();
        for stream in &self.streams {
            sum.add(&Carried {
                dropped: stream.dropped,
                ..Carried::default()
            });
            if let Some(lines) = &stream.lines {
                sum.add(&lines.carried());
            }
        }
        sum
    }
}

impl Carried {
    /// Adds the counts of another sink.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut [u64; KINDS], more: &[u64; KINDS]| {
            sum.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        };
        add(&mut self.written, &other.written);
        add(&mut self.pending, &other.pending);
        self.folded += other.folded;
        for (sum, more) in self.dropped.iter_mut().zip(&other.dropped) {
            add(sum, more);
        }
    }
}

#[cfg(test)]
mod tests;
