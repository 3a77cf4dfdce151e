//! Counts over time in a fixed number of bins, whose width follows from the times alone: not from their order.

use std::collections::BTreeMap;
use std::ops::AddAssign;

/// Bins at most.
pub const BINS_MAX: usize = 480;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Widths of bins, ns. Each divides the next, so that narrow bins fit into wide ones; the last ones hold all times.
const WIDTHS_NS: [i64; 21] = [
    MS,
    2 * MS,
    10 * MS,
    20 * MS,
    100 * MS,
    200 * MS,
    SECOND,
    2 * SECOND,
    10 * SECOND,
    20 * SECOND,
    MINUTE,
    2 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    DAY,
    10 * DAY,
    100 * DAY,
    1000 * DAY,
];

/// Counts by bin.
#[derive(Debug, Default)]
pub struct Bins<C> {
    /// Index into [`WIDTHS_NS`].
    width: usize,
    /// By the bin's number: its start divided by the width.
    counts: BTreeMap<i64, C>,
}

impl<C: Default + for<'a> AddAssign<&'a C>> Bins<C> {
    /// The counts of the bin that holds this time.
    pub fn at(&mut self, ts_ns: i64) -> &mut C {
        let number = |width: usize| ts_ns.div_euclid(WIDTHS_NS[width]);
        while !self.fits(number(self.width)) {
            self.widen();
        }
        self.counts.entry(number(self.width)).or_default()
    }

    /// Whether all bins from the first to the last, with this one, are few enough.
    fn fits(&self, number: i64) -> bool {
        let first = self.counts.first_key_value();
        let last = self.counts.last_key_value();
        let (Some((&first, _)), Some((&last, _))) = (first, last) else {
            return true;
        };
        let span = last.max(number).abs_diff(first.min(number));
        span < BINS_MAX as u64
    }

    fn widen(&mut self) {
        let times = WIDTHS_NS[self.width + 1] / WIDTHS_NS[self.width];
        self.width += 1;
        for (number, count) in std::mem::take(&mut self.counts) {
            *self.counts.entry(number.div_euclid(times)).or_default() += &count;
        }
    }

    /// Width of a bin, ns.
    pub fn width_ns(&self) -> i64 {
        WIDTHS_NS[self.width]
    }

    /// Start of each bin that has counts, ns, and its counts.
    pub fn each(&self) -> impl Iterator<Item = (i64, &C)> {
        let width_ns = self.width_ns();
        let each = self.counts.iter();
        each.map(move |(number, count)| (number.saturating_mul(width_ns), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Number(u64);

    impl AddAssign<&Self> for Number {
        fn add_assign(&mut self, other: &Self) {
            self.0 += other.0;
        }
    }

    fn binned(times: &[i64]) -> Bins<Number> {
        let mut bins: Bins<Number> = Bins::default();
        for &ts_ns in times {
            bins.at(ts_ns).0 += 1;
        }
        bins
    }

    #[test]
    fn each_width_divides_the_next_and_the_last_one_holds_all_times() {
        for pair in WIDTHS_NS.windows(2) {
            assert!(pair[1] > pair[0] && pair[1] % pair[0] == 0, "{pair:?}");
        }
        let bins = binned(&[i64::MIN, 0, i64::MAX]);
        assert_eq!(bins.each().count(), 3);
        assert_eq!(bins.width_ns(), 1000 * DAY);
    }

    proptest! {
        #[test]
        fn bins_hold_every_time_are_few_and_do_not_depend_on_the_order(
            mut times in prop::collection::vec(0_i64..1_000_000, 1..200),
            unit in 0_usize..12,
            from in -1_000_000_i64..1_000_000,
        ) {
            for time in &mut times {
                *time = (from + *time).saturating_mul(10_i64.pow(u32::try_from(unit).expect("small")));
            }
            let bins = binned(&times);
            let width_ns = bins.width_ns();
            let all: Vec<_> = bins.each().map(|(start_ns, count)| (start_ns, *count)).collect();
            for &(start_ns, count) in &all {
                let inside = times.iter().filter(|&&time| time.div_euclid(width_ns) * width_ns == start_ns);
                prop_assert_eq!(inside.count() as u64, count.0);
            }
            prop_assert_eq!(all.iter().map(|(_, count)| count.0).sum::<u64>(), times.len() as u64);
            let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
            let bins_of = |width_ns: i64| last.div_euclid(width_ns) - first.div_euclid(width_ns) + 1;
            prop_assert!(bins_of(width_ns) <= 480);
            // The narrowest that is wide enough.
            let narrower = WIDTHS_NS.iter().rev().find(|width| **width < width_ns);
            prop_assert!(narrower.is_none_or(|width_ns| bins_of(*width_ns) > 480));
            times.reverse();
            let reversed = binned(&times);
            let reversed: Vec<_> = reversed.each().map(|(start_ns, count)| (start_ns, *count)).collect();
            prop_assert_eq!(reversed, all);
        }
    }
}
