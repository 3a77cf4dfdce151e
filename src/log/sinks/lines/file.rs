//! The file that lines go to: another one after a rotation, or when it was removed.

use super::{Cause, Descriptor, Lines, RETRY_NS, Tail, Target, cause_of};
use std::path::Path;

impl Lines {
    /// Bytes of the file, with those that are not yet written.
    pub(in crate::log::sinks) fn size(&self) -> u64 {
        self.file_bytes + self.waiting_bytes() as u64
    }

    /// Bytes written, to whatever file.
    pub(in crate::log::sinks) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// A number that changes with the file.
    pub(in crate::log::sinks) fn file_number(&self) -> u64 {
        self.files
    }

    /// When the file was made.
    pub(in crate::log::sinks) fn made_ns(&self) -> Option<i64> {
        self.file.made_ns()
    }

    /// Continues in another file. A line that is partly in the old one is dropped.
    pub(in crate::log::sinks) fn go_on_in(&mut self, file: Descriptor) {
        if self.mid_line {
            let cause = self.cause();
            self.drop_waiting(1, cause);
        }
        self.file_bytes = file.size();
        self.files += 1;
        self.file = file;
    }

    /// Opens a file that was removed or replaced anew. An error is that of a write.
    pub(super) fn follow(&mut self, now_ns: i64) -> Result<(), Cause> {
        let Target::Path(path) = &self.target else {
            return Ok(());
        };
        if !self.follows || now_ns.abs_diff(self.looked_ns) < RETRY_NS {
            return Ok(());
        }
        if self.file.is_replaced(path) {
            let (file, tail) = Descriptor::open(path).map_err(|error| cause_of(error.kind()))?;
            self.go_on_in(file);
            self.note_tail(tail);
        }
        // While it cannot be opened, each write looks again.
        self.looked_ns = now_ns;
        Ok(())
    }

    /// Whether its file was removed; looked at once a second.
    pub(in crate::log::sinks) fn is_removed(&mut self, now_ns: i64) -> bool {
        let looks = now_ns.abs_diff(self.looked_ns) >= RETRY_NS;
        if looks {
            self.looked_ns = now_ns;
        }
        looks && self.file.is_removed()
    }

    /// Ends the last line of a file that was just opened, if it is not ours, or counts what was cut off.
    pub(super) fn note_tail(&mut self, tail: Tail) {
        match tail {
            Tail::Whole => {}
            Tail::Foreign => {
                self.buffer.insert(self.spent, b'\n');
                self.lines.iter_mut().for_each(|line| line.end += 1);
            }
            Tail::Cut(bytes) => *self.torn.get_or_insert(0) += bytes,
        }
    }

    /// Whether `path` names its file.
    pub(in crate::log::sinks) fn is_at(&self, path: &Path) -> bool {
        self.file.is_at(path)
    }
}
