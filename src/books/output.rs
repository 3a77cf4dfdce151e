//! What the outputs and the logger count.

use super::record_kind::EventKind;
use crate::counters::{Counters, State, counters};

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
        /// The reader of a pipe or terminal, or a collector, was too slow, or stopped reading.
        Slow = "slow",
        /// A collector was down, or no route led to it.
        Unreachable = "unreachable",
    }
}

/// Number of causes.
pub const CAUSES: usize = Cause::COUNT;

counters! {
    /// Counters of one output, by kind ([`EventKind`]'s number).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OutputCounts "records_" {
        offered (count by kind EventKind): "Records that reached the logger, or were lost on the way to it",
        written (count by kind EventKind): "Records written",
        folded (count by kind EventKind): "Attempts in flood records, and alerts that the budget withheld",
        not_asked (count by kind EventKind): "Records of a kind that the output does not select",
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
    /// Records of `kind` that are accounted for, pending ones included.
    pub(super) fn settled(&self, kind: EventKind) -> u64 {
        let kind = kind as usize;
        let dropped: u64 = self.dropped.iter().map(|cause| cause[kind]).sum();
        self.written[kind] + self.folded[kind] + self.not_asked[kind] + dropped + self.pending[kind]
    }

    #[cfg(test)]
    pub(crate) fn closed(&self) -> bool {
        EventKind::ALL
            .iter()
            .all(|&kind| self.offered[kind as usize] == self.settled(kind))
    }
}

counters! {
    /// What the logger counts, whatever the outputs ask for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct LogCounts "" {
        late_records: "Records written behind a later one",
        withheld_detections: "Detections that reached the logger and are no alert: no output writes them",
        withheld_queue_full: "Detections that are no alert, lost in a full queue to the logger",
        alerts_queue_full: "Alerts lost in a full queue to the logger",
        torn_records: "Records that an earlier run left without their end; they were cut off",
        folded_by_logger: "Attempts that the logger folded, in read",
        flood_records: "Records of many attempts to one destination",
        folded_connections: "Attempts in flood records, without lines of their own",
    }
}

/// The counters of one `--output`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<C> {
    /// Kind and target, and its place where another one is equal.
    pub name: String,
    /// Its counters.
    pub counts: C,
}

impl<C: Copy> Named<C> {
    /// Names with their counts. A repeated name gets its place behind it: `eve:-#2`.
    pub fn numbered(names: Vec<String>, counts: &[C]) -> Vec<Self> {
        let named = |(at, &counts): (usize, &C)| Self {
            name: match names[..at].contains(&names[at]) {
                true => format!("{}#{}", names[at], at + 1),
                false => names[at].clone(),
            },
            counts,
        };
        counts.iter().enumerate().map(named).collect()
    }
}

impl<C: Counters + Default> Named<C> {
    /// Counters since `before`, which has the outputs in the same order.
    pub(super) fn since_all(now: &[Self], before: &[Self]) -> Vec<Self> {
        let none = C::default();
        let since = |(place, output): (usize, &Self)| {
            let then = before.get(place).map_or(&none, |then| &then.counts);
            Self {
                name: output.name.clone(),
                counts: output.counts.since(then),
            }
        };
        now.iter().enumerate().map(since).collect()
    }
}

/// The books of one output.
pub type OutputBooks = Named<OutputCounts>;

impl OutputBooks {
    pub(crate) fn folded(&self) -> u64 {
        self.counts.folded.iter().sum()
    }

    pub(crate) fn written(&self) -> u64 {
        self.counts.written.iter().sum()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.iter().flatten().sum()
    }

    /// Records dropped for any cause but that the reader left.
    pub(crate) fn failed(&self) -> u64 {
        let closed = &self.counts.dropped[Cause::Closed as usize];
        self.dropped() - closed.iter().sum::<u64>()
    }
}
