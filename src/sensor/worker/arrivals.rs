//! The share of data in recent arrivals decides whether shedding data helps.

const SECOND_NS: i64 = 1_000_000_000;
/// Minimum denominator: with fewer recent frames the share is noise.
const LEAST: f64 = 1024.0;

/// Exponentially decayed arrivals (half-life 1 s), dropped frames included.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct RecentArrivals {
    seen: [u64; 2],
    recent: [f64; 2],
    halved_ns: i64,
}

impl RecentArrivals {
    /// The share of data in recent arrivals. `data` and `all` count arrivals since the start.
    pub fn share_of_data(&mut self, (data, all): (u64, u64), now_ns: i64) -> f64 {
        // Counts shrink when the rings of a removed interface are dropped.
        let more = [data, all].map(|count| count as f64);
        let more = [0, 1].map(|at| (more[at] - self.seen[at] as f64).max(0.0));
        self.seen = [data, all];
        let halve = now_ns.saturating_sub(self.halved_ns) >= SECOND_NS;
        if halve {
            self.halved_ns = now_ns;
        }
        let factor = if halve { 0.5 } else { 1.0 };
        self.recent = [0, 1].map(|at| self.recent[at] * factor + more[at]);
        self.recent[0] / self.recent[1].max(LEAST)
    }
}
