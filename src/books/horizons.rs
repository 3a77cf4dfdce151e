//! How far full tables reach.

use crate::counters::State;

/// How far tables reach, in nanoseconds of packet time; of several shards the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizons {
    /// A retransmission sooner than this after the first SYN is never a new attempt.
    pub dedup_ns: i64,
    /// A scan whose ports follow each other by less than this is found.
    pub scan_gap_ns: i64,
}

impl Default for Horizons {
    fn default() -> Self {
        Self {
            dedup_ns: i64::MAX,
            scan_gap_ns: i64::MAX,
        }
    }
}

impl State for Horizons {
    /// The shorter ones.
    fn join(&mut self, other: &Self) {
        self.dedup_ns = self.dedup_ns.min(other.dedup_ns);
        self.scan_gap_ns = self.scan_gap_ns.min(other.scan_gap_ns);
    }
}

impl Horizons {
    /// Of one shard.
    pub fn new(dedup_ns: i64, scan_gap_ns: i64) -> Self {
        Self {
            dedup_ns,
            scan_gap_ns,
        }
    }

    /// Both with their names and what they mean, in seconds; none before a shard has said anything.
    pub fn seconds(self) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
        let all = [
            (
                "dedup_horizon_seconds",
                "A SYN that comes again sooner than this after the first one is no new connection",
                self.dedup_ns,
            ),
            (
                "scan_min_detectable_gap_seconds",
                "A scan whose ports follow each other by less than this is found whatever the flood",
                self.scan_gap_ns,
            ),
        ];
        let known = all.into_iter().filter(|(_, _, ns)| *ns < i64::MAX);
        known.map(|(name, help, ns)| (name, help, ns as f64 / 1e9))
    }
}
