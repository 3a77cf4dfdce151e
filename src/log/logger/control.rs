//! What the logger shares with the sensor while it runs.

use crate::books::blocks::BlockCounts;
use crate::books::output::{LogCounts, OutputBooks};
use crate::books::record_kind::KINDS;
use crate::books::responder::ResponderCounts;
use crate::log::outputs::changes::OutputChanges;
use hdrhistogram::Histogram;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64};

/// Flags and snapshots that the logger shares with the sensor.
#[derive(Debug, Default)]
pub struct Control {
    /// Set by the signal handler: open all files anew.
    pub reopen: AtomicBool,
    /// Set by the sensor: these outputs change.
    pub changes: Mutex<Option<OutputChanges>>,
    /// Set by the sensor: return, even if shards are still open.
    pub abandon: AtomicBool,
    /// Set by the logger: the reader of standard output has left, so the program ends with 0.
    pub closed: AtomicBool,
    /// Everything before is written, or counted as lost: by the wall clock; 0 before the first flush. A statistic of
    /// its own, hence Relaxed.
    pub written_ns: AtomicI64,
    /// Replaced by the logger twice a second, unless somebody is reading it.
    pub published: Mutex<Published>,
}

/// What the logger lets others see while it runs, and returns at its end.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// How often this was published: one that stays the same is old.
    pub number: u64,
    /// The books of each output, in the order in which they were opened.
    pub outputs: Vec<OutputBooks>,
    /// The books of each responder.
    pub responders: Vec<ResponderCounts>,
    /// The books of `--block`.
    pub blocks: Option<BlockCounts>,
    /// Records that the logger itself had to write, by kind.
    pub own: [u64; KINDS],
    /// Late records, folds.
    pub log: LogCounts,
    /// Shards that the order no longer waits for.
    pub behind: usize,
    /// Microseconds from time stamp to line.
    pub lag_us: Option<Histogram<u64>>,
}
