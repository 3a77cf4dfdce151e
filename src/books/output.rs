//! What the outputs and the logger count.

use super::record_kind::EventKind;
use crate::counters::{State, counters};

words! {
    /// Why a line was dropped.
    pub enum Cause {
        /// No space, or over quota.
        DiskFull = "disk_full",
        /// Any other answer of write(2).
        Io = "io",
        /// Standard output has no reader any more.
        Closed = "closed",
        /// The queue to the logger was full (live only).
        QueueFull = "queue_full",
        /// The reader of a pipe or terminal was too slow, or stopped reading.
        Slow = "slow",
    }
}

/// How many causes there are.
pub const CAUSES: usize = Cause::COUNT;

counters! {
    /// The books of one output, by kind ([`EventKind`]'s number).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OutputCounts "records_" {
        offered (count by kind EventKind): "Records that reached the logger, or were lost on the way to it",
        written (count by kind EventKind): "Records written",
        folded (count by kind EventKind): "Attempts in flood records, and alerts that the budget withheld",
        not_asked (count by kind EventKind): "Records of a kind that the output does not ask for",
        dropped (loss by cause Cause, by kind EventKind): "Records that could not be written",
        pending (gauge by kind EventKind): "Records that wait to be written",
        blocked (state Option<Cause>): "Why the output takes nothing now",
    }
}

impl State for Option<Cause> {
    fn join(&mut self, other: &Self) {
        *self = self.or(*other);
    }
}

impl OutputCounts {
    /// Whether the books close for every kind.
    #[cfg(test)]
    pub fn closed(&self) -> bool {
        (0..EventKind::COUNT).all(|kind| {
            let dropped: u64 = self.dropped.iter().map(|cause| cause[kind]).sum();
            let kept = self.written[kind] + self.folded[kind] + self.not_asked[kind];
            self.offered[kind] == kept + dropped + self.pending[kind]
        })
    }
}

counters! {
    /// What the logger counts, whatever the outputs ask for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct LogCounts "" {
        late_records: "Records written behind a later one",
        withheld_detections: "Detections that came to the logger and are no alert: no output is told of them",
        withheld_queue_full: "Detections that are no alert and found no room on their way to the logger",
        alerts_queue_full: "Detections that are an alert and found no room on their way to the logger",
        folded_by_logger: "Attempts that the logger folded: in read",
        flood_records: "Records of many attempts to one destination",
        folded_connections: "Attempts that flood records tell of instead of lines of their own",
    }
}

/// What one output did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputBooks {
    /// Its `--output`.
    pub name: String,
    /// Its counters.
    pub counts: OutputCounts,
}

impl OutputBooks {
    /// Records of `kind` that are accounted for, those that wait to be written among them.
    pub fn settled(&self, kind: EventKind) -> u64 {
        let counts = &self.counts;
        let kind = kind as usize;
        let dropped: u64 = counts.dropped.iter().map(|cause| cause[kind]).sum();
        let kept = counts.written[kind] + counts.folded[kind] + counts.not_asked[kind];
        kept + dropped + counts.pending[kind]
    }

    /// Records that others stand for: attempts in flood records, alerts that the budget withheld.
    pub fn folded(&self) -> u64 {
        self.counts.folded.iter().sum()
    }

    /// Records written.
    pub fn written(&self) -> u64 {
        self.counts.written.iter().sum()
    }

    /// Records lost.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.iter().flatten().sum()
    }

    /// Records that its reader did not turn down by leaving: the output was asked to write them and did not.
    pub fn failed(&self) -> u64 {
        let closed = &self.counts.dropped[Cause::Closed as usize];
        self.dropped() - closed.iter().sum::<u64>()
    }
}
