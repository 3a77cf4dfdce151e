//! Threads and their shared state, from start to closed books: `run` in `live`, `read` in `read`.

mod archiving;
mod delivery;
mod group;
pub(crate) mod live;
mod logging;
mod rare_links;
pub(crate) mod read;
pub mod replay;
mod signals;
mod stamps;
mod threads;
mod worker;

use crate::books::Books;
use crate::books::responder::ResponderBooks;
use crate::books::shard::ShardCounts;
use crate::capture::bpf::fanout::Keys;
use crate::counters::Counters as _;
use crate::host::addresses::Localities;
use crate::log::fold::Folds;
use crate::log::merge::{self, Consumer};
use crate::observe::losses;
use crate::observe::terminal::print_to_stderr;
use crate::settings::Common;
use crate::shard::contacts::Mesh;
use crate::shard::policy::Policy;
use crate::shard::{Parts, Shard};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Keys of a run's keyed hashes.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct RunKeys {
    /// The fanout hash.
    pub fanout: Keys,
    /// Hash tables, and owners of pairs and sources.
    pub tables: [u64; 2],
}

impl RunKeys {
    /// Random keys.
    ///
    /// # Errors
    ///
    /// getrandom(2) failed.
    pub fn random() -> std::io::Result<Self> {
        let table = || getrandom::u64().map_err(std::io::Error::other);
        Ok(Self {
            fanout: Keys::random()?,
            tables: [table()?, table()?],
        })
    }

    /// Keys from a seed, for a reproducible run.
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

/// The newest copy of each shard's counters.
#[derive(Clone, Debug)]
pub struct Board(Arc<[Slot]>);

/// One worker's place on the board.
#[derive(Debug, Default)]
struct Slot {
    counts: Mutex<ShardCounts>,
    /// How often the worker has published.
    rounds: AtomicU64,
}

impl Board {
    /// A board for `workers` workers.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Slot::default()).collect())
    }

    /// Publishes a copy, unless the last one is being read: a reader never blocks a worker.
    pub fn publish(&self, worker: usize, counts: &ShardCounts) {
        let slot = &self.0[worker];
        slot.rounds.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut newest) = slot.counts.try_lock() {
            *newest = *counts;
        }
    }

    /// How often each worker has published: live, at least once a second (the longest block timeout).
    pub(crate) fn rounds(&self) -> impl Iterator<Item = u64> {
        self.0
            .iter()
            .map(|slot| slot.rounds.load(Ordering::Relaxed))
    }

    /// The sum of the newest copies.
    pub fn sum(&self) -> ShardCounts {
        let mut sum = ShardCounts::default();
        self.newest().for_each(|counts| sum.add(&counts));
        sum
    }

    fn newest(&self) -> impl Iterator<Item = MutexGuard<'_, ShardCounts>> {
        let slots = self.0.iter();
        slots.map(|slot| slot.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The policy of a run. `all_scans`: `--scan-scope all`; `host`: `--scan-target host`.
fn policy(common: &Common, localities: Arc<Localities>, all_scans: bool, host: bool) -> Policy {
    Policy {
        localities,
        directions: common.directions.clone().into(),
        all_scans,
        host,
        allow: common.allow.clone().into(),
        dark: common.dark.clone().into(),
        alert: common.alert.verdict(),
    }
}

/// Shards connected by queues only, and the consuming ends of their queues to the logger.
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
                flow_records: common.flow_records,
                active_ns: common.active_ns,
                log,
                folds: common.fold.filter(|_| live).map(|per_second| {
                    let workers = u32::try_from(common.workers).expect("at most 64");
                    let per_second = (per_second / workers).max(1);
                    Folds::with_room(room.folds, per_second, keys.tables)
                }),
                live,
                by_vlan: common.by_vlan,
                opening: common.opening(),
            });
            shard.outbox.set_room(room.events);
            shard
        })
        .collect();
    (shards, consumers)
}

/// 3: the books do not close or, with `strict`, are incomplete. 1: an output lost records, or a list is stale.
fn exit_code(books: &Books, strict: bool) -> u8 {
    if !books.closed() || (strict && !books.complete()) {
        3
    } else {
        let failed = books.outputs.iter().any(|output| output.failed() > 0);
        u8::from(failed || books.responders.iter().any(ResponderBooks::is_stale))
    }
}

/// Prints the books, as `render` has them, and returns their exit code. Lost records are an error: printed even with
/// `--quiet`.
fn close(common: &Common, books: &Books, render: fn(&Books) -> String) -> u8 {
    if !common.quiet {
        print_to_stderr(&render(books));
    }
    let losses = losses::of_outputs(&books.outputs);
    for (output, loss) in books.outputs.iter().zip(losses) {
        if output.failed() > 0 {
            print_to_stderr(&format!(
                "synledger: {}; that log is not whole\n",
                loss.sentence()
            ));
        }
    }
    for responder in books.responders.iter().filter(|one| one.is_stale()) {
        let name = &responder.name;
        print_to_stderr(&format!(
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
    use crate::books::record_kind::EventKind;

    #[test]
    fn strict_forbids_what_was_missed_and_what_may_have_been() {
        let mut books = Books::default();
        assert_eq!((exit_code(&books, false), exit_code(&books, true)), (0, 0));
        books.shards.shed.spent_us[1] = 1;
        books.shed_in_kernel = Some(0);
        assert_eq!(exit_code(&books, true), 0, "shed, and nothing came");
        books.shed_in_kernel = None;
        assert_eq!((exit_code(&books, false), exit_code(&books, true)), (0, 3));
        books.shed_in_kernel = Some(1);
        assert_eq!((exit_code(&books, false), exit_code(&books, true)), (0, 3));
    }

    #[test]
    fn an_output_that_lost_records_is_a_fault_of_the_run_and_one_whose_reader_left_is_not() {
        for (cause, code) in [
            (Cause::DiskFull, 1),
            (Cause::Io, 1),
            (Cause::Slow, 1),
            (Cause::Unreachable, 1),
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
