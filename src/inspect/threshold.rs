//! Flags of the form `off` or `N/TIME`.

use super::distinct::question::Threshold;
use crate::time::durations::length_ns;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;

/// So many within a time, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    /// How many; 0: off.
    pub count: u32,
    /// The time in nanoseconds.
    pub window_ns: i64,
}

impl From<Within> for Threshold {
    fn from(within: Within) -> Self {
        Self {
            at_least: within.count as usize,
            at_least_local: 0,
            window_ns: within.window_ns,
        }
    }
}

/// What such a flag takes.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// How many.
    pub counts: RangeInclusive<u32>,
    /// Shortest and longest time, as written.
    pub windows: [&'static str; 2],
}

impl Range {
    /// Reads `off`, or `N/TIME`.
    pub(super) fn read(&self, value: &str) -> Result<Within, String> {
        if value == "off" {
            return Ok(Within {
                count: 0,
                window_ns: 0,
            });
        }
        self.read_numbers(value).ok_or_else(|| self.to_string())
    }

    fn read_numbers(&self, value: &str) -> Option<Within> {
        let (count, time) = value.split_once('/')?;
        let (count, window_ns) = (count.parse().ok()?, length_ns(time)?);
        let [shortest, longest] = self.windows.map(length_ns);
        let is_inside = (shortest?..=longest?).contains(&window_ns);
        (is_inside && self.counts.contains(&count)).then_some(Within { count, window_ns })
    }
}

impl Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = (self.counts.start(), self.counts.end());
        let [shortest, longest] = self.windows;
        write!(
            f,
            "must be off, or N/TIME with N from {least} to {most} and TIME from {shortest} to {longest} (units ms, s, m, h)"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_off_or_a_number_within_a_time() {
        let range = Range {
            counts: 2..=12,
            windows: ["1s", "24h"],
        };
        let read = |value| range.read(value).map(|one| (one.count, one.window_ns));
        assert_eq!(read("off"), Ok((0, 0)));
        assert_eq!(read("2/1s"), Ok((2, 1_000_000_000)));
        assert_eq!(read("12/24h"), Ok((12, 86_400_000_000_000)));
        for wrong in [
            "", "on", "3", "3/", "/3s", "1/60s", "13/60s", "3/999ms", "3/25h", "3/60", "-3/60s",
            "3/60s/1",
        ] {
            let error = read(wrong).expect_err(wrong);
            assert!(
                error.contains("from 2 to 12 and TIME from 1s to 24h"),
                "{error}"
            );
        }
    }
}
