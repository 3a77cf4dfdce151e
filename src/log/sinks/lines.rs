//! Lines to a file descriptor: buffered, and counted as written only after write(2) took them.
//!
//! A file that fails (full disk, I/O error) is tried again once a second; a pipe or terminal with a slow reader at
//! each flush. Until then up to [`BUFFER_MAX`] bytes are buffered; further lines are dropped and counted by kind and
//! cause. A partly written line is completed first, so lines never mix.
//!
//! Once a second it is looked whether the file was removed or replaced: it is then made, or opened, anew.

use super::descriptor::{Descriptor, OpenError};
use super::recovery::{Recovery, cause_of};
use super::spec::Target;
use super::torn::Tail;
use super::{Carried, Entry, Moment, Sink};
use crate::books::output::{CAUSES, Cause};
use crate::books::record_kind::KINDS;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod file;
mod patience;
use patience::Allowance;
pub use patience::Patience;

/// Buffered bytes that cause a write.
const FLUSH_AT: usize = 64 << 10;
/// Bytes that are buffered at most during an outage.
pub const BUFFER_MAX: usize = 1 << 20;
/// Written bytes are removed from the buffer once there are this many, so that moves are rare.
const SPENT_MAX: usize = BUFFER_MAX / 4;
/// A failed file is tried again after this time.
pub(super) const RETRY_NS: u64 = 1_000_000_000;

/// A running outage.
struct Outage {
    recovery: Recovery,
    tried_ns: i64,
}

#[derive(Clone, Copy)]
struct BufferedLine {
    /// Where it ends in the buffer.
    end: usize,
    entry: Entry,
}

/// Buffered lines and their file descriptor.
pub struct Lines {
    target: Target,
    file: Descriptor,
    patience: Patience,
    allowance: Allowance,
    buffer: Vec<u8>,
    /// Leading bytes of the buffer that are written.
    spent: usize,
    lines: VecDeque<BufferedLine>,
    /// Bytes of the file.
    file_bytes: u64,
    /// Bytes written to all files.
    written_bytes: u64,
    /// How often another file was taken.
    files: u64,
    /// A file that was removed or replaced is opened anew.
    follows: bool,
    /// When it was last looked whether the file is still there.
    looked_ns: i64,
    /// The first unwritten byte continues a partly written line.
    mid_line: bool,
    outage: Option<Outage>,
    recovered: Option<Recovery>,
    /// Bytes of records that were cut off.
    torn: Option<u64>,
    closed: bool,
    written: [u64; KINDS],
    folded: u64,
    dropped: [[u64; KINDS]; CAUSES],
}

impl Lines {
    /// Opens a target. Files are created with mode 0640 and appended to. A record at their end that is not whole, as a
    /// full disk or a kill leaves it, is cut off; another last line without its newline is ended.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for symbolic links, directories, block devices, and whatever open(2) refuses.
    pub fn open(target: &Target) -> Result<Self, OpenError> {
        let (file, tail) = match target {
            Target::Stdout => (Descriptor::inherited("-", io::stdout())?, Tail::Whole),
            Target::Stderr => (
                Descriptor::inherited("/dev/stderr", io::stderr())?,
                Tail::Whole,
            ),
            // A collector has no path, and no lines.
            Target::Path(_) | Target::Collector(_) => Descriptor::open(target.path())?,
        };
        let mut lines = Self::new(target.clone(), file);
        lines.follows = true;
        lines.note_tail(tail);
        Ok(lines)
    }

    /// Bytes appended since the buffer had length `mark`.
    pub(super) fn appended_since(&self, mark: usize) -> usize {
        self.buffer.len().saturating_sub(mark)
    }

    /// A sink that treats this descriptor as standard output.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::new(Target::Stdout, Descriptor::of(fd))
    }

    /// Lines to an open file.
    pub(super) fn new(target: Target, file: Descriptor) -> Self {
        let buffer = Vec::with_capacity(BUFFER_MAX + SPENT_MAX);
        Self {
            target,
            file_bytes: file.size(),
            written_bytes: 0,
            files: 0,
            follows: false,
            looked_ns: 0,
            file,
            patience: Patience::UntilTaken(Arc::default()),
            allowance: Allowance::FULL,
            buffer,
            spent: 0,
            lines: VecDeque::with_capacity(BUFFER_MAX / 64),
            mid_line: false,
            outage: None,
            recovered: None,
            torn: None,
            closed: false,
            written: [0; KINDS],
            folded: 0,
            dropped: [[0; KINDS]; CAUSES],
        }
    }

    /// Memory of a sink.
    pub fn memory_bytes() -> u64 {
        (BUFFER_MAX + SPENT_MAX + BUFFER_MAX / 64 * size_of::<BufferedLine>()) as u64
    }

    /// Bytes that are not yet written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.buffer.len() - self.spent
    }

    /// Appends a header or footer, which is no record, and returns its length. Between lines only.
    pub(super) fn append(&mut self, bytes: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.buffer.len();
        bytes(&mut self.buffer);
        self.buffer.len() - before
    }

    /// Takes back the last `len` bytes, appended by [`Lines::append`]. False if some of them are written.
    pub(super) fn take_back(&mut self, len: usize) -> bool {
        let kept = self.buffer.len() - len.min(self.buffer.len());
        let is_whole = kept >= self.spent && self.waiting_bytes() >= len;
        if is_whole {
            self.buffer.truncate(kept);
        }
        is_whole
    }

    fn cause(&self) -> Cause {
        let outage = self.outage.as_ref();
        outage.map_or(Cause::Closed, |outage| outage.recovery.cause)
    }

    /// Counts a dropped record.
    pub(super) fn drop_entry(&mut self, entry: Entry, cause: Cause) {
        let (kind, records) = (entry.kind as usize, entry.records());
        self.dropped[cause as usize][kind] += records;
        if let Some(outage) = &mut self.outage {
            outage.recovery.lost[kind] += records;
        }
    }

    /// Drops the first `count` unwritten lines.
    fn drop_waiting(&mut self, count: usize, cause: Cause) {
        let count = count.min(self.lines.len());
        let mut end = self.spent;
        for line in self.lines.drain(..count).collect::<Vec<_>>() {
            end = line.end;
            self.drop_entry(line.entry, cause);
        }
        let all = self.lines.is_empty();
        self.spend(if all { self.buffer.len() } else { end });
        self.mid_line = false;
    }

    /// Marks the buffer up to `end` as written or dropped.
    fn spend(&mut self, end: usize) {
        self.spent = end;
        if self.spent == self.buffer.len() || self.spent >= SPENT_MAX {
            self.buffer.drain(..self.spent);
            let spent = self.spent;
            self.lines.iter_mut().for_each(|line| line.end -= spent);
            self.spent = 0;
        }
    }

    /// Admits a record to a full buffer if that can be written, or drops it.
    #[cold]
    #[inline(never)]
    fn admit_late(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        if self.waiting_bytes() >= BUFFER_MAX {
            self.flush(at);
        }
        if self.closed {
            self.drop_entry(entry, Cause::Closed);
            return None;
        }
        match self.blocked() {
            Some(cause) if self.waiting_bytes() >= BUFFER_MAX => {
                self.drop_entry(entry, cause);
                None
            }
            _ => Some(&mut self.buffer),
        }
    }

    /// Ends a record that causes a write, or for which the list of lines must grow.
    #[cold]
    #[inline(never)]
    fn commit_and_write(&mut self, entry: Entry, at: Moment) -> bool {
        let end = self.buffer.len();
        self.lines.push_back(BufferedLine { end, entry });
        if self.waiting_bytes() >= FLUSH_AT {
            self.flush(at);
        }
        self.recovered.is_some()
    }

    fn write_out(&mut self, now_ns: i64) {
        if self.closed || self.waiting_bytes() == 0 {
            return;
        }
        if let Err(cause) = self.follow(now_ns) {
            return self.on_failure(cause, now_ns);
        }
        let (done, result) = self.write_bytes();
        let whole = self.lines.partition_point(|line| line.end <= done);
        let start = whole.checked_sub(1).map(|last| self.lines[last].end);
        // The newline that ends a torn line belongs to no line; nor do bytes that were spent before.
        let at_end_of_line = start.map_or(!self.mid_line && done == self.spent, |end| end == done);
        self.mid_line = !at_end_of_line;
        // Inner iteration: a deque is two slices.
        self.lines.range(..whole).for_each(|line| {
            let Entry { kind, folded } = line.entry;
            self.written[kind as usize] += u64::from(folded == 0);
            self.folded += folded;
        });
        self.lines.drain(..whole);
        self.spend(done);
        match result {
            Ok(()) => {
                self.mid_line = false;
                if let Some(outage) = self.outage.take() {
                    outage.recovery.join(&mut self.recovered);
                }
            }
            Err(error) => self.on_error(&error, now_ns),
        }
    }

    /// End of the written bytes in the buffer, and the error that stopped the writing.
    fn write_bytes(&mut self) -> (usize, io::Result<()>) {
        let mut done = self.spent;
        while done < self.buffer.len() {
            match self.file.write(&self.buffer[done..]) {
                Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
                Ok(count) => {
                    done += count;
                    self.file_bytes += count as u64;
                    self.written_bytes += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.wait_for_room() => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Waits for a reader as long as its patience lasts. True: the file takes bytes again.
    fn wait_for_room(&mut self) -> bool {
        if let Patience::UntilTaken(hurry) = &self.patience {
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
        self.on_failure(cause_of(error.kind()), now_ns);
    }

    fn on_failure(&mut self, cause: Cause, now_ns: i64) {
        let outage = self.outage.get_or_insert(Outage {
            recovery: Recovery {
                since_ns: now_ns,
                cause,
                lost: [0; KINDS],
            },
            tried_ns: now_ns,
        });
        outage.recovery.cause = cause;
        outage.tried_ns = now_ns;
    }
}

impl Sink for Lines {
    fn admit(&mut self, entry: Entry, at: Moment) -> Option<&mut Vec<u8>> {
        if self.closed || self.waiting_bytes() >= BUFFER_MAX {
            return self.admit_late(entry, at);
        }
        Some(&mut self.buffer)
    }

    fn commit(&mut self, entry: Entry, at: Moment) -> bool {
        if self.lines.len() == self.lines.capacity() || self.waiting_bytes() >= FLUSH_AT {
            return self.commit_and_write(entry, at);
        }
        let end = self.buffer.len();
        self.lines.push_back(BufferedLine { end, entry });
        self.recovered.is_some()
    }

    /// After a failure, waits a second before the next try. A slow reader is tried again at the next `now_ns`: that
    /// costs one call.
    fn flush(&mut self, at: Moment) {
        let may = self.outage.as_ref().is_none_or(|outage| {
            let passed_ns = at.now_ns.abs_diff(outage.tried_ns);
            let slow = outage.recovery.cause == Cause::Slow;
            passed_ns >= RETRY_NS || (slow && passed_ns > 0)
        });
        if may {
            self.write_out(at.now_ns);
        }
    }

    /// Drops what cannot be written within a second. All such waits together take a second when nobody reads.
    fn finish(&mut self, at: Moment) {
        if matches!(self.patience, Patience::Live) {
            self.set_patience(Patience::UntilTaken(Arc::new(AtomicBool::new(true))));
        }
        self.close(at);
    }

    fn close(&mut self, at: Moment) {
        self.write_out(at.now_ns);
        let cause = self.cause();
        self.drop_waiting(usize::MAX, cause);
    }

    /// Writes what is buffered to the old file first. Standard output stays.
    fn reopen(&mut self, at: Moment) -> Result<(), OpenError> {
        let Target::Path(path) = self.target.clone() else {
            return Ok(());
        };
        self.write_out(at.now_ns);
        // Still open, and locked by this process itself.
        if self.file.is_at(&path) && self.file.is_file() {
            return Ok(());
        }
        let (file, tail) = Descriptor::open(&path)?;
        self.go_on_in(file);
        self.note_tail(tail);
        self.write_out(at.now_ns);
        Ok(())
    }

    fn set_patience(&mut self, patience: Patience) {
        self.allowance = match patience {
            Patience::Live => Allowance::NONE,
            Patience::UntilTaken(_) => Allowance::FULL,
        };
        self.patience = patience;
    }

    fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovered.take()
    }

    fn take_torn(&mut self) -> Option<u64> {
        self.torn.take()
    }

    fn blocked(&self) -> Option<Cause> {
        self.outage.as_ref().map(|outage| outage.recovery.cause)
    }

    fn is_closed(&self) -> bool {
        self.closed
    }

    fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    fn carried(&self) -> Carried {
        let mut pending = [0; KINDS];
        for BufferedLine { entry, .. } in &self.lines {
            pending[entry.kind as usize] += entry.records();
        }
        Carried {
            written: self.written,
            folded: self.folded,
            dropped: self.dropped,
            pending,
        }
    }
}

#[cfg(test)]
mod tests;
