//! How fast a file grows.

const NS_PER_S: f64 = 1e9;
/// Older bytes count e times less.
const MEMORY_S: f64 = 600.0;
/// Bytes are looked at so often at most.
const STEP_NS: u64 = 500_000_000;

/// Bytes a second, by an exponential mean.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    /// When bytes were looked at, and how many there were.
    seen: Option<(i64, u64)>,
    /// Weighted sum of rates.
    sum: f64,
    /// Sum of the weights, below 1: so the mean is right from the start.
    weight: f64,
}

impl Rate {
    /// `total`: bytes written since the start.
    pub fn update(&mut self, total: u64, now_ns: i64) {
        let Some((then_ns, before)) = self.seen else {
            self.seen = Some((now_ns, total));
            return;
        };
        let passed_ns = now_ns.saturating_sub(then_ns);
        if passed_ns < 0 {
            // The clock was set back.
            self.seen = Some((now_ns, total));
        }
        if passed_ns.unsigned_abs() < STEP_NS || passed_ns < 0 {
            return;
        }
        let seconds = passed_ns as f64 / NS_PER_S;
        let kept = (-seconds / MEMORY_S).exp();
        let rate = total.saturating_sub(before) as f64 / seconds;
        self.sum = self.sum * kept + rate * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
        self.seen = Some((now_ns, total));
    }

    /// Bytes written a second.
    pub fn written_per_s(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.sum / self.weight)
    }

    /// Bytes a second that stay on the disk: `ratio` of those written. `prior`: by the files of earlier runs, which
    /// count as long as this run is short.
    pub fn disk_per_s(&self, ratio: f64, prior: Option<f64>) -> Option<f64> {
        match (self.written_per_s(), prior) {
            (Some(_), Some(prior)) => Some(self.sum * ratio + prior * (1.0 - self.weight)),
            (Some(own), None) => Some(own * ratio),
            (None, prior) => prior,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn is_near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value / expected - 1.0).abs() < 0.01)
    }

    #[test]
    fn a_steady_rate_is_known_from_the_second_look_on() {
        let mut rate = Rate::default();
        rate.update(0, 0);
        assert_eq!(rate.written_per_s(), None);
        rate.update(99, S / 4);
        assert_eq!(rate.written_per_s(), None, "too early");
        for second in 1..5_000 {
            rate.update(second * 1_000, second.cast_signed() * S);
            assert!(is_near(rate.written_per_s(), 1_000.0), "{second}");
        }
        rate.update(4_999_000, 4_000 * S);
        rate.update(5_000_000, 4_001 * S);
        assert!(is_near(rate.written_per_s(), 1_000.0), "a clock set back");
    }

    #[test]
    fn a_new_rate_counts_most_after_ten_minutes() {
        let mut rate = Rate::default();
        let mut total = 0;
        for second in 0..10_000 {
            total += if second < 5_000 { 1_000 } else { 3_000 };
            rate.update(total, second * S);
        }
        assert!(is_near(rate.written_per_s(), 3_000.0));
        for second in 10_000..11_000 {
            rate.update(total, second * S);
        }
        assert!(rate.written_per_s().is_some_and(|rate| rate < 600.0));
    }

    #[test]
    fn what_compression_leaves_and_earlier_files_count() {
        let mut rate = Rate::default();
        assert_eq!(rate.disk_per_s(1.0, None), None);
        assert_eq!(rate.disk_per_s(0.1, Some(7.0)), Some(7.0));
        rate.update(0, 0);
        rate.update(1_000, S);
        assert!(is_near(rate.disk_per_s(1.0, None), 1_000.0));
        assert!(is_near(rate.disk_per_s(0.1, None), 100.0));
        let early = rate.disk_per_s(0.1, Some(50.0));
        assert!(is_near(early, 50.0), "{early:?}");
        for second in 2..10_000 {
            rate.update(second * 1_000, second.cast_signed() * S);
        }
        assert!(is_near(rate.disk_per_s(0.1, Some(50.0)), 100.0));
    }
}
