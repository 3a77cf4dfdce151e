//! What the logger of the next process must know to go on where this one's was: events that wait for others, counts,
//! budget, an open fold.

use super::Logger;
use crate::log::budget::BudgetProgress;
use crate::log::event::Event;
use crate::log::fold::logger::Part;
use crate::log::merge::MergeProgress;
use crate::log::outputs::OutputsProgress;
use std::io;

/// How far a logger is. All that it was given is written or counted as lost, or is in here.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Progress {
    merge: MergeProgress,
    /// By shard, events that are still in its queue: for [`crate::shard::outbox::Outbox::requeue`].
    pub waiting: Vec<Vec<Event>>,
    outputs: OutputsProgress,
    budget: BudgetProgress,
    part: Option<Part>,
}

impl Logger {
    /// Writes what can be written, waits for slow readers a second at most, and returns where it is. Meanwhile no shard
    /// may push. It may be run again afterwards.
    pub fn progress(&mut self) -> Progress {
        while self.turn() > 0 {}
        self.settle_outputs();
        Progress {
            merge: self.merge.progress(),
            waiting: self.merge.waiting(),
            outputs: self.outputs.progress(),
            budget: self.budget.progress(),
            part: self.folding.part(),
        }
    }

    /// Goes on where another process's logger was, but for the events that waited. Before [`Logger::run`].
    ///
    /// # Errors
    ///
    /// It had another number of shards, or its books are wrong.
    pub fn go_on(&mut self, progress: &Progress) -> io::Result<()> {
        self.merge.go_on(&progress.merge)?;
        let held = progress.part.as_ref().map_or(0, |(fold, ..)| fold.count);
        self.outputs.go_on(&progress.outputs, held)?;
        self.budget.go_on(&progress.budget);
        self.folding.go_on(progress.part.clone());
        Ok(())
    }
}
