//! The minimum over the last seconds of packet time, and how far back a full table reaches.

/// Shortest look-back; the longest is twice that.
const LOOK_BACK_NS: i64 = 8_000_000_000;

/// Minimum of the values of the last 8 to 16 seconds.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct RecentMin {
    slot: i64,
    now: i64,
    before: i64,
}

impl Default for RecentMin {
    fn default() -> Self {
        Self {
            slot: i64::MIN,
            now: i64::MAX,
            before: i64::MAX,
        }
    }
}

impl RecentMin {
    /// Adds a value. `now_ns` is packet time and never goes back.
    #[inline]
    pub fn note(&mut self, now_ns: i64, value: i64) {
        let slot = now_ns.div_euclid(LOOK_BACK_NS);
        if slot != self.slot {
            let next = self.slot.saturating_add(1) == slot;
            self.before = if next { self.now } else { i64::MAX };
            (self.slot, self.now) = (slot, i64::MAX);
        }
        self.now = self.now.min(value);
    }

    /// The minimum as of `now_ns`; `i64::MAX` without recent values.
    pub fn get(&self, now_ns: i64) -> i64 {
        match now_ns.div_euclid(LOOK_BACK_NS).saturating_sub(self.slot) {
            ..=0 => self.now.min(self.before),
            1 => self.now,
            _ => i64::MAX,
        }
    }
}

/// Evictions of a full table: the newest entry's time, and the smallest recent age.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct PushedOut {
    newest_ns: i64,
    age_ns: RecentMin,
}

impl Default for PushedOut {
    fn default() -> Self {
        Self {
            newest_ns: i64::MIN,
            age_ns: RecentMin::default(),
        }
    }
}

impl PushedOut {
    /// Notes an eviction at `now_ns` of an entry of `came_ns`.
    pub fn note(&mut self, now_ns: i64, came_ns: i64) {
        self.newest_ns = self.newest_ns.max(came_ns);
        self.age_ns.note(now_ns, now_ns.saturating_sub(came_ns));
    }

    /// Reach: entries younger than this are complete, now and at any time in the last seconds.
    pub fn reach_ns(&self, now_ns: i64) -> i64 {
        let since_ns = now_ns.saturating_sub(self.newest_ns);
        since_ns.min(self.age_ns.get(now_ns)).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_for_eight_seconds_and_gone_after_sixteen() {
        let second = 1_000_000_000;
        for start in [-100, -1, 0, 7, 1_700_000_003] {
            let mut min = RecentMin::default();
            assert_eq!(min.get(start * second), i64::MAX);
            min.note(start * second, 5);
            min.note(start * second + 1, 9);
            for later in 0..40 {
                let value = min.get((start + later) * second);
                assert!(later > 8 || value == 5, "{start} + {later}");
                assert!(later <= 16 || value == i64::MAX, "{start} + {later}");
            }
            min.note((start + 9) * second, 7);
            assert!([5, 7].contains(&min.get((start + 9) * second)));
            min.note((start + 18) * second, 8);
            assert!([7, 8].contains(&min.get((start + 18) * second)));
            min.note((start + 90) * second, 6);
            assert_eq!(min.get((start + 90) * second), 6);
        }
    }
}
