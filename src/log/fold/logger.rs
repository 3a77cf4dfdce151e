//! Folding in the logger: merges the folds of several shards, or folds attempts itself.

use super::{Fold, Folds};
use crate::log::event::{Body, Event, Step};
use crate::log::merge::Merge;
use crate::log::outputs::Outputs;
use crate::log::reached::LogTime;

/// Where attempts are folded.
pub enum Folding {
    /// Nowhere, or in the shards: here the parts of one fold from several shards are merged.
    Shards(Option<Part>),
    /// Here, over the events of all shards in their order: the same folds with any number of shards.
    Here(Box<Folds>),
}

/// A fold to which other shards may add, its position, and its due time.
pub type Part = (Box<Fold>, u64, LogTime);

impl Folding {
    /// Folds an event; false if it is not folded.
    #[inline]
    pub fn takes(
        &mut self,
        event: &Event,
        due: LogTime,
        outputs: &mut Outputs,
        now_ns: i64,
    ) -> bool {
        // Nothing is folded: the fast path.
        !matches!(self, Self::Shards(None)) && self.takes_or_ends(event, due, outputs, now_ns)
    }

    #[inline(never)]
    fn takes_or_ends(
        &mut self,
        event: &Event,
        due: LogTime,
        outputs: &mut Outputs,
        now_ns: i64,
    ) -> bool {
        let folds = match self {
            Self::Here(folds) => folds,
            Self::Shards(part) => {
                Self::write(part.take(), outputs, now_ns);
                return false;
            }
        };
        for fold in Self::closed_by(folds, event) {
            // Due before the end of its second if the run ends or a clock was set back.
            let end = LogTime::packet(fold.end_ns().min(due.run_ns));
            outputs.write_fold(Box::new(fold), event.position, end, now_ns);
        }
        let folded = matches!(&event.body, Body::NewConnection(attempt) if folds.takes(*attempt));
        if folded {
            outputs.fold_here();
        }
        folded
    }

    /// Takes a fold of a shard.
    pub fn add(&mut self, (fold, position, due): Part, outputs: &mut Outputs, now_ns: i64) {
        outputs.hold_folded(fold.count);
        match self {
            Self::Shards(Some((known, ..))) if known.order() == fold.order() => known.merge(&fold),
            Self::Shards(part) => {
                let before = part.replace((fold, position, due));
                Self::write(before, outputs, now_ns);
            }
            // Shards do not fold where the logger does.
            Self::Here(_) => Self::write(Some((fold, position, due)), outputs, now_ns),
        }
    }

    /// A fold to which other shards may add.
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Shards(part) => part.clone(),
            Self::Here(_) => None,
        }
    }

    /// Takes over a fold of another process's logger.
    pub fn go_on(&mut self, before: Option<Part>) {
        if let Self::Shards(part) = self {
            *part = before;
        }
    }

    /// The folds that an event closes. Every event advances the time; only attempts set it back.
    fn closed_by(folds: &mut Folds, event: &Event) -> Vec<Fold> {
        match (&event.body, event.step) {
            (_, Step::End(_)) => folds.close_all(),
            (Body::NewConnection(attempt), _) => folds.close_apart(attempt.ts_ns),
            (_, step) => folds.close_before(step.due_ns()),
        }
    }

    fn write(part: Option<Part>, outputs: &mut Outputs, now_ns: i64) {
        if let Some((fold, position, due)) = part {
            // Meanwhile a record of the sensor may have been written.
            let due = outputs.reached().not_before(due);
            outputs.write_fold(fold, position, due, now_ns);
        }
    }

    /// Writes the part once no other shard can add to it.
    pub fn settle(&mut self, merge: &Merge, outputs: &mut Outputs, now_ns: i64) {
        if let Self::Shards(part) = self {
            // An empty queue may still get events of this position.
            let whole = part.take_if(|(_, position, _)| merge.is_past(*position));
            Self::write(whole, outputs, now_ns);
        }
    }

    /// Writes all open folds at the end of the run.
    pub fn finish(&mut self, outputs: &mut Outputs, now_ns: i64) {
        match self {
            Self::Shards(part) => Self::write(part.take(), outputs, now_ns),
            Self::Here(folds) => {
                for fold in folds.close_all() {
                    let due = LogTime::packet(fold.last_ns);
                    let due = outputs.reached().not_before(due);
                    outputs.write_fold(Box::new(fold), u64::MAX, due, now_ns);
                }
            }
        }
    }
}
