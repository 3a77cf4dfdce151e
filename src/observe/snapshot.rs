//! What a run publishes once a second about itself.

use super::losses::Reason;
use crate::books::Books;
use crate::books::ring::RingId;
use std::sync::Arc;

/// Upper bounds of the buckets of [`LogLag`], in seconds; the last bucket has none.
pub const LAG_BOUNDS_S: [f64; 8] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0];

/// Histogram of the time from packet time stamp to log line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogLag {
    /// Events within each bound, those of lower buckets included.
    pub within: [u64; LAG_BOUNDS_S.len()],
    /// All events.
    pub count: u64,
    /// Sum of their lags, in seconds.
    pub sum_s: f64,
}

/// The values of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// All counters.
    pub books: Books,
    /// Tables: name, entries held, room.
    pub tables: Vec<(&'static str, u64, u64)>,
    /// Share of each ring's bytes that wait for the worker, 0 to 1.
    pub ring_occupancy: Vec<(RingId, f64)>,
    /// Workers that the log's order no longer waits for.
    pub worker_behind: usize,
    /// Lag of log lines.
    pub log_lag: LogLag,
    /// Losses that have not ended: reason, and one sentence.
    pub degraded: Vec<(Reason, String)>,
    /// Seconds between an earlier run and this one; `None`: unknown.
    pub gap_s: Option<f64>,
    /// How far back each output with limits reaches, in seconds.
    pub retention_s: Vec<(String, f64)>,
    /// Seconds since the last frame, or the start, by interface.
    pub since_frame_s: Vec<(String, f64)>,
    /// Seconds since main thread, workers and logger made progress, by thread.
    pub since_progress_s: Vec<(String, f64)>,
    /// Interfaces that take in packets of which no capture sees any: a sentence each.
    pub blind: Vec<String>,
    /// Something keeps the clock right; `None`: the kernel does not say.
    pub clock_synchronized: Option<bool>,
    /// SHA-256 of the settings in force, in hexadecimal digits.
    pub config_sha256: String,
}

/// Returns the newest snapshot.
pub type Source = Arc<dyn Fn() -> Snapshot + Send + Sync>;
