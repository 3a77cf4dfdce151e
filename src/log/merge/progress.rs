//! How far a merge is, for the next process.

use super::{Consumer, Merge, SHARD_KINDS};
use crate::log::event::{Event, Step};
use crate::snapshot::misfit;
use std::io;
use std::sync::atomic::Ordering::Relaxed;

/// How far a merge is, and what was lost before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct MergeProgress {
    last: Option<(u64, Step)>,
    late: u64,
    behind: Vec<bool>,
    withheld_full: u64,
    queue_full: [u64; SHARD_KINDS],
}

impl Consumer {
    /// The events in the queue, which stay there.
    fn waiting(&mut self) -> Vec<Event> {
        let waiting = self.events.read_chunk(self.events.slots());
        let waiting = waiting.expect("no more than there are");
        let (first, rest) = waiting.as_slices();
        [first, rest].concat()
    }
}

impl Merge {
    /// The events that no shard's queue could give yet, by shard: they stay there. Meanwhile nobody may push.
    pub fn waiting(&mut self) -> Vec<Vec<Event>> {
        self.sources.iter_mut().map(Consumer::waiting).collect()
    }

    /// What another process's merge must know to go on.
    pub fn progress(&self) -> MergeProgress {
        MergeProgress {
            last: self.order.last,
            late: self.order.late,
            behind: self.behind.clone(),
            withheld_full: self.withheld_full(),
            queue_full: self.queue_full(),
        }
    }

    /// Goes on where another process's merge was.
    ///
    /// # Errors
    ///
    /// It had another number of shards.
    pub fn go_on(&mut self, progress: &MergeProgress) -> io::Result<()> {
        let Some(first) = self
            .sources
            .first()
            .filter(|_| progress.behind.len() == self.behind.len())
        else {
            return Err(misfit("another number of shards"));
        };
        self.order.last = progress.last;
        self.order.late = progress.late;
        self.behind.clone_from(&progress.behind);
        // Sums over all shards: which of them lost them is not asked.
        let shared = &first.shared;
        shared.withheld_full.store(progress.withheld_full, Relaxed);
        for (count, before) in shared.queue_full.iter().zip(progress.queue_full) {
            count.store(before, Relaxed);
        }
        Ok(())
    }
}
