//! Lines to a file descriptor: opened safely, buffered, counted only once write(2) took them.
//!
//! A file that takes no more (full disk, I/O error) is tried again once a second, a pipe or terminal whose
//! reader is slow at each flush. Until then up to [`BUFFER_MAX`] bytes wait; further lines are dropped and
//! counted by kind and cause. A line of which a part was written is completed first, so lines never mix.

use super::descriptor::{Descriptor, OpenError};
use super::recovery::{Recovery, cause_of};
use super::spec::Target;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::{EventKind, KINDS};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A buffer this full is written.
const FLUSH_AT: usize = 64 << 10;
/// What a sink holds while its file takes nothing.
pub const BUFFER_MAX: usize = 1 << 20;
/// What was written leaves the buffer at this size, so that little is moved often.
const SPENT_MAX: usize = BUFFER_MAX / 4;
const RETRY_NS: u64 = 1_000_000_000;

/// How long lines wait for the reader of a pipe or terminal.
#[derive(Clone, Debug)]
pub enum Patience {
    /// `run`: not at all. Nothing but the end of the run, which waits for a second, may hold up other outputs.
    Live,
    /// `read`: until they are taken, or until this is set; then for a second.
    Reader(Arc<AtomicBool>),
}

/// Waits that are left once patience has an end.
#[derive(Debug)]
struct Allowance {
    /// Waits in which nothing happened: a second.
    idle: u16,
    /// Waits in all, for a reader that takes a little each time: ten seconds at most.
    all: u16,
}

impl Allowance {
    const WAIT: Duration = Duration::from_millis(10);
    const FULL: Self = Self {
        idle: 100,
        all: 1000,
    };
    const NONE: Self = Self { idle: 0, all: 0 };
}

struct Trouble {
    recovery: Recovery,
    tried_ns: i64,
}

#[derive(Clone, Copy)]
struct Line {
    /// Where in the buffer it ends.
    end: usize,
    kind: EventKind,
    /// Attempts that a fold stands for; 0: one record, written as it is.
    folded: u64,
}

impl Line {
    /// Records that are lost with it.
    fn records(&self) -> u64 {
        self.folded.max(1)
    }
}

/// Lines on their way to one file descriptor.
pub struct Lines {
    target: Target,
    file: Descriptor,
    patience: Patience,
    allowance: Allowance,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were written.
    spent: usize,
    lines: VecDeque<Line>,
    /// The first unwritten byte continues a line that is partly in the file.
    mid_line: bool,
    trouble: Option<Trouble>,
    recovered: Option<Recovery>,
    closed: bool,
    written: [u64; KINDS],
    folded: u64,
    dropped: [[u64; KINDS]; CAUSES],
}

impl Lines {
    /// Opens a target. Files are created with mode 0640 and appended to; a last line without its
    /// newline, as a full disk leaves it, is ended first.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for symbolic links, directories, block devices, and whatever open(2) refuses.
    pub fn open(target: &Target) -> Result<Self, OpenError> {
        let (file, torn) = match target {
            Target::Stdout => (Descriptor::inherited("-", io::stdout())?, false),
            Target::Stderr => (Descriptor::inherited("/dev/stderr", io::stderr())?, false),
            Target::Path(path) => Descriptor::open(path)?,
        };
        Ok(Self::new(target.clone(), file, torn))
    }

    /// A sink that writes to an open descriptor and treats it as standard output.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::new(Target::Stdout, Descriptor::of(fd), false)
    }

    /// Lines to an open file, which began empty.
    pub(super) fn of_file(path: PathBuf, file: Descriptor) -> Self {
        Self::new(Target::Path(path), file, false)
    }

    /// Bytes that were appended since the buffer was so long.
    pub(super) fn appended_since(&self, mark: usize) -> usize {
        self.buffer.len().saturating_sub(mark)
    }

    fn new(target: Target, file: Descriptor, torn: bool) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_MAX + SPENT_MAX);
        if torn {
            buffer.push(b'\n');
        }
        Self {
            target,
            file,
            patience: Patience::Reader(Arc::default()),
            allowance: Allowance::FULL,
            buffer,
            spent: 0,
            lines: VecDeque::with_capacity(BUFFER_MAX / 64),
            mid_line: false,
            trouble: None,
            recovered: None,
            closed: false,
            written: [0; KINDS],
            folded: 0,
            dropped: [[0; KINDS]; CAUSES],
        }
    }

    /// Bytes that a sink takes.
    pub fn memory_bytes() -> u64 {
        (BUFFER_MAX + SPENT_MAX + BUFFER_MAX / 64 * size_of::<Line>()) as u64
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.spent
    }

    /// Where to append a line of this kind; `None` if it is dropped (and counted).
    pub fn admit(&mut self, kind: EventKind, now_ns: i64) -> Option<&mut Vec<u8>> {
        self.admit_fold(kind, 0, now_ns)
    }

    /// The same for a line that stands for `folded` records.
    pub fn admit_fold(
        &mut self,
        kind: EventKind,
        folded: u64,
        now_ns: i64,
    ) -> Option<&mut Vec<u8>> {
        let line = Line {
            end: 0,
            kind,
            folded,
        };
        if self.waiting_bytes() >= BUFFER_MAX {
            self.flush(now_ns);
        }
        if self.closed {
            self.drop_line(&line, Cause::Closed);
            return None;
        }
        match &self.trouble {
            Some(trouble) if self.waiting_bytes() >= BUFFER_MAX => {
                let cause = trouble.recovery.cause;
                self.drop_line(&line, cause);
                None
            }
            _ => Some(&mut self.buffer),
        }
    }

    /// Says that what was appended since [`Lines::admit`] is one line of this kind.
    pub fn commit(&mut self, kind: EventKind, now_ns: i64) {
        self.commit_fold(kind, 0, now_ns);
    }

    /// The same for a line that stands for `folded` records.
    pub fn commit_fold(&mut self, kind: EventKind, folded: u64, now_ns: i64) {
        let end = self.buffer.len();
        self.lines.push_back(Line { end, kind, folded });
        if self.waiting_bytes() >= FLUSH_AT {
            self.flush(now_ns);
        }
    }

    /// Writes what waits, unless a failure is less than a second ago. A reader that was slow is asked again at
    /// the next `now_ns`: that costs one call.
    pub fn flush(&mut self, now_ns: i64) {
        let may = self.trouble.as_ref().is_none_or(|trouble| {
            let passed_ns = now_ns.abs_diff(trouble.tried_ns);
            let slow = trouble.recovery.cause == Cause::Slow;
            passed_ns >= RETRY_NS || (slow && passed_ns > 0)
        });
        if may {
            self.write_out(now_ns);
        }
    }

    /// Writes what waits; what cannot be written within a second is dropped. All such waits together take a
    /// second when nobody reads.
    pub fn finish(&mut self, now_ns: i64) {
        if matches!(self.patience, Patience::Live) {
            self.set_patience(Patience::Reader(Arc::new(AtomicBool::new(true))));
        }
        self.write_out(now_ns);
        let cause = self.cause();
        self.drop_waiting(usize::MAX, cause);
    }

    /// Opens the path anew (after a rotation); the old file gets what waits first. Standard output stays.
    ///
    /// # Errors
    ///
    /// As [`Lines::open`]; the old file stays in use.
    pub fn reopen(&mut self, now_ns: i64) -> Result<(), OpenError> {
        let Target::Path(path) = self.target.clone() else {
            return Ok(());
        };
        self.write_out(now_ns);
        let (file, torn) = Descriptor::open(&path)?;
        self.go_on_in(file);
        if torn {
            self.buffer.insert(self.spent, b'\n');
            self.lines.iter_mut().for_each(|line| line.end += 1);
        }
        self.write_out(now_ns);
        Ok(())
    }

    /// Writes to another file from now on. A line of which the old one has a part is lost.
    pub(super) fn go_on_in(&mut self, file: Descriptor) {
        if self.mid_line {
            let cause = self.cause();
            self.drop_waiting(1, cause);
        }
        self.file = file;
    }

    /// Counts a record that finds no way into the file at hand.
    pub(super) fn lose(&mut self, entry: Entry, cause: Cause) {
        let Entry { kind, folded } = entry;
        self.drop_line(
            &Line {
                end: 0,
                kind,
                folded,
            },
            cause,
        );
    }

    /// Whether its file is the one of this name.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.file.is_at(path)
    }

    /// Appends what is no record: the beginning or the end of a file. Between lines only.
    pub(super) fn append(&mut self, bytes: impl FnOnce(&mut Vec<u8>)) {
        bytes(&mut self.buffer);
    }

    /// Records that wait, by kind.
    pub fn pending(&self) -> [u64; KINDS] {
        let mut count = [0; KINDS];
        self.lines
            .iter()
            .for_each(|line| count[line.kind as usize] += line.records());
        count
    }

    fn cause(&self) -> Cause {
        let trouble = self.trouble.as_ref();
        trouble.map_or(Cause::Closed, |trouble| trouble.recovery.cause)
    }

    fn drop_line(&mut self, line: &Line, cause: Cause) {
        self.dropped[cause as usize][line.kind as usize] += line.records();
        if let Some(trouble) = &mut self.trouble {
            trouble.recovery.lost[line.kind as usize] += line.records();
        }
    }

    /// Drops the first `count` lines that wait.
    fn drop_waiting(&mut self, count: usize, cause: Cause) {
        let count = count.min(self.lines.len());
        let mut end = self.spent;
        for line in self.lines.drain(..count).collect::<Vec<_>>() {
            end = line.end;
            self.drop_line(&line, cause);
        }
        let all = self.lines.is_empty();
        self.spend(if all { self.buffer.len() } else { end });
        self.mid_line = false;
    }

    /// The buffer up to `end` is done with.
    fn spend(&mut self, end: usize) {
        self.spent = end;
        if self.spent == self.buffer.len() || self.spent >= SPENT_MAX {
            self.buffer.drain(..self.spent);
            let spent = self.spent;
            self.lines.iter_mut().for_each(|line| line.end -= spent);
            self.spent = 0;
        }
    }

    fn write_out(&mut self, now_ns: i64) {
        if self.closed || self.waiting_bytes() == 0 {
            return;
        }
        let (done, result) = self.write_bytes();
        let whole = self.lines.partition_point(|line| line.end <= done);
        let start = whole.checked_sub(1).map(|last| self.lines[last].end);
        // The byte of a torn line's newline belongs to no line, as does what was spent before.
        let at_end_of_line = start.map_or(!self.mid_line && done == self.spent, |end| end == done);
        self.mid_line = !at_end_of_line;
        for line in self.lines.drain(..whole) {
            self.written[line.kind as usize] += u64::from(line.folded == 0);
            self.folded += line.folded;
        }
        self.spend(done);
        match result {
            Ok(()) => {
                self.mid_line = false;
                if let Some(trouble) = self.trouble.take() {
                    trouble.recovery.join(&mut self.recovered);
                }
            }
            Err(error) => self.on_error(&error, now_ns),
        }
    }

    /// How far into the buffer everything was written, and what stopped it there.
    fn write_bytes(&mut self) -> (usize, io::Result<()>) {
        let mut done = self.spent;
        while done < self.buffer.len() {
            match self.file.write(&self.buffer[done..]) {
                Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.wait_for_room() => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Waits for a reader as long as patience has it.
    fn wait_for_room(&mut self) -> bool {
        if let Patience::Reader(hurry) = &self.patience {
            while !hurry.load(Ordering::Relaxed) {
                if self.file.has_room_within(10 * Allowance::WAIT) {
                    return true;
                }
            }
        }
        let left = &mut self.allowance;
        while left.idle > 0 && left.all > 0 {
            left.all -= 1;
            if self.file.has_room_within(Allowance::WAIT) {
                return true;
            }
            left.idle -= 1;
        }
        false
    }

    fn on_error(&mut self, error: &io::Error, now_ns: i64) {
        if error.kind() == ErrorKind::BrokenPipe && self.target.is_inherited() {
            self.closed = true;
            return self.drop_waiting(usize::MAX, Cause::Closed);
        }
        let cause = cause_of(error.kind());
        let trouble = self.trouble.get_or_insert(Trouble {
            recovery: Recovery {
                since_ns: now_ns,
                cause,
                lost: [0; KINDS],
            },
            tried_ns: now_ns,
        });
        trouble.recovery.cause = cause;
        trouble.tried_ns = now_ns;
    }
}

impl Sink for Lines {
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        self.admit_fold(entry.kind, entry.folded, at.now_ns)
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        self.commit_fold(entry.kind, entry.folded, at.now_ns);
        self.recovered.is_some()
    }

    fn flush(&mut self, at: Moment) {
        Self::flush(self, at.now_ns);
    }

    fn finish(&mut self, at: Moment) {
        Self::finish(self, at.now_ns);
    }

    fn reopen(&mut self, at: Moment) -> Result<(), OpenError> {
        Self::reopen(self, at.now_ns)
    }

    fn set_patience(&mut self, patience: Patience) {
        self.allowance = match patience {
            Patience::Live => Allowance::NONE,
            Patience::Reader(_) => Allowance::FULL,
        };
        self.patience = patience;
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovered.take()
    }

    fn blocked(&self) -> Option<Cause> {
        self.trouble.as_ref().map(|trouble| trouble.recovery.cause)
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    fn carried(&self) -> Carried {
        Carried {
            written: self.written,
            folded: self.folded,
            dropped: self.dropped,
            pending: self.pending(),
        }
    }
}

#[cfg(test)]
mod tests;
