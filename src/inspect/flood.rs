//! The flood law: how long a first touch outlives a flood.
//!
//! Pairs with one port leave in about the order in which they came, once as many new ones have come as there is
//! room for: C pairs at a rate of λ are held for C / λ. A scanner is found if its second port comes before that.
//! The edge is sharp but not straight: buckets fill unevenly, and a pair is still held after C / 2λ in 95 of 100
//! cases, after C / 4λ in 999 of 1000, after C / 8λ in 99,999 of 100,000. What is published is the safe side:
//! C / 4λ.

use crate::horizons::RecentMin;

/// Marks on the way of C new pairs.
const MARKS: usize = 8;
/// The part of C / λ that is published.
const SAFE: i64 = 4;

/// Measures C / λ where it matters: as the packet time in which the last C new pairs came.
#[derive(Clone, Debug)]
pub struct FloodLaw {
    /// New pairs from mark to mark: they span C or somewhat less.
    step: usize,
    until_mark: usize,
    /// When the last marks were reached, the oldest at `next`; `i64::MIN`: not yet.
    marks_ns: [i64; MARKS],
    next: usize,
    shortest: RecentMin,
}

impl FloodLaw {
    /// For a table of `capacity` pairs.
    pub fn new(capacity: usize) -> Self {
        let step = (capacity / MARKS).max(1);
        Self {
            step,
            until_mark: step,
            marks_ns: [i64::MIN; MARKS],
            next: 0,
            shortest: RecentMin::default(),
        }
    }

    /// A new pair came at this packet time.
    #[inline]
    pub fn on_new(&mut self, now_ns: i64) {
        self.until_mark -= 1;
        if self.until_mark == 0 {
            self.until_mark = self.step;
            if let Some(span_ns) = self.span_ns(now_ns) {
                self.shortest.note(now_ns, span_ns);
            }
            self.marks_ns[self.next] = now_ns;
            self.next = (self.next + 1) % MARKS;
        }
    }

    /// Packet time since the oldest mark: since about C new pairs ago.
    fn span_ns(&self, now_ns: i64) -> Option<i64> {
        let oldest_ns = self.marks_ns[self.next];
        (oldest_ns != i64::MIN).then(|| now_ns.saturating_sub(oldest_ns))
    }

    /// A scan whose ports follow each other by less than this is found, as of this packet time.
    pub fn gap_ns(&self, now_ns: i64) -> i64 {
        let span_ns = self.span_ns(now_ns).unwrap_or(i64::MAX);
        span_ns.min(self.shortest.get(now_ns)) / SAFE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_a_quarter_of_the_time_in_which_the_table_fills() {
        let (capacity, gap_ns) = (8_000, 1_000);
        let mut law = FloodLaw::new(capacity);
        for n in 0..100_000 {
            let now_ns = i64::from(n) * gap_ns;
            law.on_new(now_ns);
            let published = law.gap_ns(now_ns);
            match n {
                ..7_999 => assert!(published > 1 << 60, "the table is not full yet"),
                // Between two marks up to an eighth less, which is the safe side.
                _ => assert!(
                    (1_750 * gap_ns..=2_000 * gap_ns).contains(&published),
                    "{n}"
                ),
            }
        }
        // The flood ends: what is held then, no longer leaves.
        let end_ns = 100_000 * gap_ns;
        let later = |seconds: i64| law.gap_ns(end_ns + seconds * 1_000_000_000);
        assert!(later(17) > 4_000_000_000 && later(400) > 99_000_000_000);
    }

    #[test]
    fn a_short_burst_counts_for_some_seconds() {
        let mut law = FloodLaw::new(80);
        let second = 1_000_000_000;
        (0..200).for_each(|n| law.on_new(n * second));
        let gap_ns = law.gap_ns(200 * second);
        assert!((17 * second..=20 * second).contains(&gap_ns), "{gap_ns}");
        (0..200).for_each(|n| law.on_new(200 * second + n));
        (201..208).for_each(|n| law.on_new(n * second));
        assert!(
            law.gap_ns(207 * second) < 100,
            "{}",
            law.gap_ns(207 * second)
        );
    }
}
