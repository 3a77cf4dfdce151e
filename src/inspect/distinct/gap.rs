//! The flood law: how long a subject survives in a flood.
//!
//! A full table evicts the quietest subject of a bucket: with capacity C and new subjects at rate λ, a subject is held
//! for about C / λ. A scanner is detected if its next item comes before that. Buckets fill unevenly: a subject is
//! still held after C / 2 new ones in 95 of 100 cases, after C / 4 in 999 of 1000, after C / 8 in 99,999 of 100,000.
//! The published gap is on the safe side: the shortest recent time in which C / 8 new ones came. An eighth of the time
//! of C new ones would not be safe: a burst of less than C evicts as many, however slowly the table filled before.

use crate::time::recent::RecentMin;

/// C is divided by this.
const SAFE: usize = 8;
/// Maximum marks.
const MARKS: usize = 8;

/// Measures how fast new subjects come, in packet time.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct FloodLaw {
    /// New subjects between two marks; all marks span C / 8 or slightly less.
    step: usize,
    until_mark: usize,
    /// Packet times of the last marks, the oldest at `next`; `i64::MIN`: none yet.
    marks_ns: [i64; MARKS],
    /// Marks in use: fewer in a tiny table.
    marks: usize,
    next: usize,
    shortest: RecentMin,
}

impl FloodLaw {
    pub fn new(capacity: usize) -> Self {
        let marks = (capacity / SAFE).clamp(1, MARKS);
        let step = (capacity / SAFE / marks).max(1);
        Self {
            step,
            until_mark: step,
            marks_ns: [i64::MIN; MARKS],
            marks,
            next: 0,
            shortest: RecentMin::default(),
        }
    }

    /// A new subject came at this packet time.
    #[inline]
    pub fn on_new(&mut self, now_ns: i64) {
        self.until_mark -= 1;
        if self.until_mark == 0 {
            self.until_mark = self.step;
            if let Some(span_ns) = self.span_ns(now_ns) {
                self.shortest.note(now_ns, span_ns);
            }
            self.marks_ns[self.next] = now_ns;
            self.next = (self.next + 1) % self.marks;
        }
    }

    /// Packet time of the last C / 8 new subjects, or slightly fewer.
    fn span_ns(&self, now_ns: i64) -> Option<i64> {
        let oldest_ns = self.marks_ns[self.next];
        (oldest_ns != i64::MIN).then(|| now_ns.saturating_sub(oldest_ns))
    }

    /// Scans with smaller gaps between their items are detected; `i64::MAX` while too few subjects came to lose one.
    pub fn gap_ns(&self, now_ns: i64) -> i64 {
        let span_ns = self.span_ns(now_ns).unwrap_or(i64::MAX);
        span_ns.min(self.shortest.get(now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn the_gap_is_the_time_in_which_an_eighth_of_the_table_fills() {
        let (capacity, each_ns) = (8_000, 1_000);
        let mut law = FloodLaw::new(capacity);
        for n in 0..100_000 {
            let now_ns = i64::from(n) * each_ns;
            law.on_new(now_ns);
            let published = law.gap_ns(now_ns);
            match n {
                ..999 => assert_eq!(published, i64::MAX, "{n} are too few"),
                // Between two marks up to an eighth less, which is the safe side.
                _ => assert!(
                    (875 * each_ns..=1_000 * each_ns).contains(&published),
                    "{n}: {published}"
                ),
            }
        }
        // The flood ends: what is held then, no longer leaves.
        let end_ns = 100_000 * each_ns;
        let later = |seconds: i64| law.gap_ns(end_ns + seconds * SECOND);
        assert!(later(17) > 16 * SECOND && later(400) > 399 * SECOND);
    }

    #[test]
    fn a_short_burst_counts_for_some_seconds_however_slowly_the_table_had_filled() {
        let mut law = FloodLaw::new(64 * 8);
        (0..2000).for_each(|n| law.on_new(n * SECOND));
        let gap_ns = law.gap_ns(2000 * SECOND);
        assert!((56 * SECOND..=64 * SECOND).contains(&gap_ns), "{gap_ns}");
        // An eighth of the table, and as many as lie between two marks: the first may have come just after one.
        (0..72).for_each(|n| law.on_new(2000 * SECOND + n));
        (2001..2008).for_each(|n| law.on_new(n * SECOND));
        let gap_ns = law.gap_ns(2007 * SECOND);
        assert!(gap_ns < 100, "{gap_ns}");
    }

    #[test]
    fn a_table_of_one_bucket_is_a_table() {
        for capacity in [0, 1, 8, 15, 16, 65] {
            let mut law = FloodLaw::new(capacity);
            (0..100).for_each(|n| law.on_new(n * SECOND));
            let gap_ns = law.gap_ns(100 * SECOND);
            let most = i64::try_from((capacity / SAFE).max(1)).expect("small");
            assert!(
                (0..=most * SECOND).contains(&gap_ns),
                "{capacity}: {gap_ns}"
            );
        }
    }
}
