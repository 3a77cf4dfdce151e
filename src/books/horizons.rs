//! Guarantees of full tables.

use crate::counters::State;
use crate::inspect::Kind;

/// How far tables reach, in nanoseconds of packet time: the minimum over shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Horizons {
    /// A SYN repeated sooner than this after the first one is never a new attempt.
    pub dedup_ns: i64,
    /// A scan of each kind with smaller gaps between its steps is detected.
    pub scan_gaps_ns: [i64; Kind::COUNT],
}

impl Default for Horizons {
    fn default() -> Self {
        Self {
            dedup_ns: i64::MAX,
            scan_gaps_ns: [i64::MAX; Kind::COUNT],
        }
    }
}

impl State for Horizons {
    fn join(&mut self, other: &Self) {
        self.dedup_ns = self.dedup_ns.min(other.dedup_ns);
        for (gap, other) in self.scan_gaps_ns.iter_mut().zip(other.scan_gaps_ns) {
            *gap = other.min(*gap);
        }
    }
}

impl Horizons {
    /// Name, help and seconds of each; nothing before a shard has reported.
    pub fn seconds(self) -> impl Iterator<Item = (String, &'static str, f64)> {
        let dedup = (
            "dedup_horizon_seconds".to_owned(),
            "A SYN that comes again sooner than this after the first one is no new connection",
            self.dedup_ns,
        );
        let scans = Kind::ALL.into_iter().zip(self.scan_gaps_ns);
        let scans = scans.map(|(kind, gap_ns)| {
            let name = format!("{}_min_detectable_gap_seconds", kind.word());
            let help = "A scan of this kind whose steps come faster than this is found: the time of its rule, or less in a flood of new sources, as full tables forget";
            (name, help, gap_ns)
        });
        let all = std::iter::once(dedup).chain(scans);
        let known = all.filter(|(_, _, ns)| *ns < i64::MAX);
        known.map(|(name, help, ns)| (name, help, ns as f64 / 1e9))
    }
}
