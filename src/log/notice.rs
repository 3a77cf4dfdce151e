//! Records of the sensor itself: statistics, lifecycle events, and what became of blocks.

use super::block_record::BlockRecord;
use crate::books::Books;
use crate::books::record_kind::{EventKind, KINDS};
use crossbeam::channel::{Receiver, Sender, unbounded};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A record of the sensor, not of a shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A lifecycle event: start, stop, reload, clock step, gap, degradation.
    Lifecycle {
        /// Nanoseconds since the Unix epoch.
        ts_ns: i64,
        /// A stable word: `start`, `stop`, `reload`, `clock_step`, `gap`, …
        word: &'static str,
        /// One sentence for a person.
        text: String,
        /// Members of the record's `synledger` object.
        details: Vec<(String, Value)>,
    },
    /// The books of an interval.
    Stats {
        /// Nanoseconds since the Unix epoch.
        ts_ns: i64,
        /// The books; large and rare, hence boxed.
        stats: Box<Stats>,
    },
    /// What became of a block.
    Block(Box<BlockRecord>),
}

/// Books of the run now and at the last record.
#[derive(Clone, Debug, PartialEq)]
pub struct Stats {
    /// The books now.
    pub now: Books,
    /// The books when the last record was made.
    pub before: Books,
    /// Seconds since then; in `read` of packet time.
    pub interval_s: f64,
    /// Seconds since the start.
    pub run_s: f64,
    /// Whether it is the last record of the run.
    pub last: bool,
}

impl Stats {
    /// The record of these books.
    pub fn notice(self, ts_ns: i64) -> Notice {
        Notice::Stats {
            ts_ns,
            stats: Box::new(self),
        }
    }
}

/// Sender of the sensor's records to the logger. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Notices {
    to_logger: Sender<Notice>,
    /// By kind; statistics only, hence Relaxed.
    sent: Arc<[AtomicU64; KINDS]>,
}

impl Notices {
    /// A sender and its receiver.
    pub fn channel() -> (Self, Receiver<Notice>) {
        let (to_logger, from_sensor) = unbounded();
        let sent = Arc::default();
        (Self { to_logger, sent }, from_sensor)
    }

    /// Counts these records as sent, too: by another process.
    pub fn go_on(&self, sent: [u64; KINDS]) {
        for (count, before) in self.sent.iter().zip(sent) {
            count.fetch_add(before, Ordering::Relaxed);
        }
    }

    /// Sends a record. False: the logger has ended, and the record is not counted.
    pub fn send(&self, notice: Notice) -> bool {
        let kind = notice.kind();
        let sent = self.to_logger.send(notice).is_ok();
        self.sent[kind as usize].fetch_add(u64::from(sent), Ordering::Relaxed);
        sent
    }

    /// Sent records, by kind.
    pub fn sent(&self) -> [u64; KINDS] {
        std::array::from_fn(|kind| self.sent[kind].load(Ordering::Relaxed))
    }
}

impl Notice {
    /// Nanoseconds since the Unix epoch.
    pub fn ts_ns(&self) -> i64 {
        match self {
            Self::Lifecycle { ts_ns, .. } | Self::Stats { ts_ns, .. } => *ts_ns,
            Self::Block(record) => record.ts_ns,
        }
    }

    /// The kind of its record.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Lifecycle { .. } => EventKind::Lifecycle,
            Self::Stats { .. } => EventKind::Stats,
            Self::Block(_) => EventKind::Block,
        }
    }
}
