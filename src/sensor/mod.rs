//! Starts and stops threads in order, and closes the books.

pub mod group;
pub mod live;
mod logging;
pub mod read;
pub mod replay;
mod signals;
pub mod threads;
pub mod worker;

use crate::books::Books;
use crate::books::record_kind::EventKind;
use crate::books::responder::ResponderBooks;
use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::Keys;
use crate::counters::Counters as _;
use crate::log::fold::Folds;
use crate::log::merge::{self, Consumer};
use crate::observe::terminal::tell;
use crate::observe::{losses, report};
use crate::settings::Common;
use crate::shard::contacts::Mesh;
use crate::shard::policy::Policy;
use crate::shard::{Parts, Shard};
use std::sync::{Arc, Mutex, PoisonError};

/// What a run's keyed hashes are keyed with.
#[derive(Clone, Copy, Debug)]
pub struct RunKeys {
    /// The fanout hash.
    pub fanout: Keys,
    /// Tables and owners.
    pub tables: [u64; 2],
}

impl RunKeys {
    /// Keys from the system's random numbers.
    ///
    /// # Errors
    ///
    /// The system has none to give.
    pub fn random() -> std::io::Result<Self> {
        let table = || getrandom::u64().map_err(std::io::Error::other);
        Ok(Self {
            fanout: Keys::random()?,
            tables: [table()?, table()?],
        })
    }

    /// Keys from a seed, so that a run can be repeated.
    pub fn from_seed(seed: u64) -> Self {
        let step = |n: u64| {
            (seed ^ n)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
                ^ n
        };
        Self {
            fanout: Keys::from_seed(seed),
            tables: [step(1), step(2)],
        }
    }
}

/// Copies of the shards' counters, left by each worker when nobody reads them.
#[derive(Clone, Debug)]
pub struct Board(Arc<[Mutex<ShardCounts>]>);

impl Board {
    /// A board for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    /// Leaves a copy, unless somebody reads the last one this instant: a reader never makes a worker wait.
    pub fn leave(&self, worker: usize, counts: &ShardCounts) {
        if let Ok(mut slot) = self.0[worker].try_lock() {
            *slot = *counts;
        }
    }

    /// Each worker's level of load shedding.
    pub fn shed_levels(&self) -> Vec<u64> {
        let level = |slot: &Mutex<ShardCounts>| {
            let counts = slot.lock().unwrap_or_else(PoisonError::into_inner);
            counts.shed.workers.iter().sum()
        };
        self.0.iter().map(level).collect()
    }

    /// The sum of what was left last.
    pub fn sum(&self) -> ShardCounts {
        let mut sum = ShardCounts::default();
        for slot in self.0.iter() {
            sum.add(&slot.lock().unwrap_or_else(PoisonError::into_inner));
        }
        sum
    }
}

/// A worker's share of a rate; at least one a second.
fn share(per_second: u32, workers: usize) -> u32 {
    let workers = u32::try_from(workers).expect("at most 64");
    (per_second / workers).max(1)
}

/// Shards that share nothing but queues, and the logger's ends of those.
pub fn shards(
    common: &Common,
    keys: RunKeys,
    policy: &Policy,
    live: bool,
) -> (Vec<Shard>, Vec<Consumer>) {
    let mut consumers = Vec::with_capacity(common.workers);
    let room = common.room;
    let shards = Mesh::with_capacity(common.workers, room.contacts)
        .into_iter()
        .enumerate()
        .map(|(id, mesh)| {
            let (mut log, consumer) = merge::queue(room.events);
            log.set_folds_max(room.folds_in_queue());
            consumers.push(consumer);
            let mut shard = Shard::new(Parts {
                id,
                keys: keys.fanout,
                table_keys: keys.tables,
                flows: common.flows,
                rules: common.rules,
                policy: policy.clone(),
                mesh,
                flow_records: common.outputs.iter().any(|o| o.events.has(EventKind::Flow)),
                log,
                folds: common.fold.filter(|_| live).map(|per_second| {
                    let per_second = share(per_second, common.workers);
                    Folds::with_room(room.folds, per_second, keys.tables)
                }),
                live,
            });
            shard.outbox.set_room(room.events);
            shard
        })
        .collect();
    (shards, consumers)
}

/// The exit code that the books ask for: 3 when they do not close or, with `strict`, something was missed or may
/// have been, uncounted; 1 when an output lost records that it was asked to write.
pub fn exit_code(books: &Books, strict: bool) -> u8 {
    if !books.closed() || (strict && !books.complete()) {
        3
    } else {
        let failed = books.outputs.iter().any(|output| output.failed() > 0);
        u8::from(failed || books.responders.iter().any(ResponderBooks::is_stale))
    }
}

/// Shows the books to a person and gives the exit code that they ask for. Records that an output lost are an
/// error: said even to those who asked for quiet.
pub fn close(common: &Common, books: &Books) -> u8 {
    if !common.quiet {
        tell(&report::ten_lines(books));
    }
    let losses = losses::of_outputs(&books.outputs);
    for (output, loss) in books.outputs.iter().zip(losses) {
        if output.failed() > 0 {
            tell(&format!(
                "synledger: {}; that log is not whole\n",
                loss.sentence()
            ));
        }
    }
    for responder in books.responders.iter().filter(|one| one.is_stale()) {
        let name = &responder.name;
        tell(&format!(
            "synledger: {name} could not be written: an old list stays there\n"
        ));
    }
    exit_code(books, common.strict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::output::Cause;
    use crate::books::output::OutputBooks;

    #[test]
    fn strict_forbids_what_was_missed_and_what_may_have_been() {
        let mut books = Books::default();
        assert_eq!((exit_code(&books, false), exit_code(&books, true)), (0, 0));
        books.shards.shed.spent_us[1] = 1;
        books.refused = Some(0);
        assert_eq!(exit_code(&books, true), 0, "shed, and nothing came");
        books.refused = None;
        assert_eq!((exit_code(&books, false), exit_code(&books, true)), (0, 3));
        books.refused = Some(1);
        assert_eq!((exit_code(&books, false), exit_code(&books, true)), (0, 3));
    }

    #[test]
    fn an_output_that_lost_records_is_a_fault_of_the_run_and_one_whose_reader_left_is_not() {
        for (cause, code) in [
            (Cause::DiskFull, 1),
            (Cause::Io, 1),
            (Cause::Slow, 1),
            (Cause::QueueFull, 1),
            (Cause::Closed, 0),
        ] {
            let mut output = OutputBooks::default();
            output.counts.dropped[cause as usize][EventKind::Stats as usize] = 1;
            let mut books = Books::default();
            books.own_records[EventKind::Stats as usize] = 1;
            books.outputs.push(output);
            assert_eq!(exit_code(&books, false), code, "{cause:?}");
            assert_eq!(exit_code(&books, true), 3, "{cause:?}");
        }
    }
}
