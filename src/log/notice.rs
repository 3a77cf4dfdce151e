//! What the sensor itself has to say: statistics, and turns in its own life.

use super::event::{Body, Event};
use crate::books::Books;
use crate::books::record_kind::{EventKind, KINDS};
use crossbeam::channel::{Receiver, Sender, unbounded};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A record that comes from the sensor and not from a shard.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A turn in the sensor's life: start, stop, reload, clock step, gap, degradation.
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
}

/// What a stretch of the run came to, beside what the run has come to.
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
    /// It is the last one of the run.
    pub last: bool,
}

impl Stats {
    /// The record of this moment.
    pub fn notice(self, ts_ns: i64) -> Notice {
        Notice::Stats {
            ts_ns,
            stats: Box::new(self),
        }
    }
}

/// The sensor's end of the way that its own records take to the logger. Clones share one count.
#[derive(Clone, Debug)]
pub struct Notices {
    to_logger: Sender<Notice>,
    /// By kind; statistics only, hence Relaxed.
    sent: Arc<[AtomicU64; KINDS]>,
}

impl Notices {
    /// Both ends.
    pub fn channel() -> (Self, Receiver<Notice>) {
        let (to_logger, from_sensor) = unbounded();
        let sent = Arc::default();
        (Self { to_logger, sent }, from_sensor)
    }

    /// Hands a record to the logger. False if there is none any more: the record then counts nowhere.
    pub fn send(&self, notice: Notice) -> bool {
        let kind = notice.kind();
        let sent = self.to_logger.send(notice).is_ok();
        self.sent[kind as usize].fetch_add(u64::from(sent), Ordering::Relaxed);
        sent
    }

    /// How many records of each kind were handed over.
    pub fn sent(&self) -> [u64; KINDS] {
        std::array::from_fn(|kind| self.sent[kind].load(Ordering::Relaxed))
    }
}

impl Notice {
    /// When, in nanoseconds since the Unix epoch.
    pub fn ts_ns(&self) -> i64 {
        match self {
            Self::Lifecycle { ts_ns, .. } | Self::Stats { ts_ns, .. } => *ts_ns,
        }
    }

    /// What an output counts it as.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Lifecycle { .. } => EventKind::Lifecycle,
            Self::Stats { .. } => EventKind::Stats,
        }
    }
}

/// The time that an event's record carries: a flow's is that of its last packet.
pub fn ts_ns(event: &Event) -> i64 {
    match &event.body {
        Body::NewConnection(attempt) => attempt.ts_ns,
        Body::Flow(flow) => flow.end_ns,
        Body::Alert(detection) => detection.ts_ns,
        Body::Folded(fold) => fold.last_ns,
    }
}
