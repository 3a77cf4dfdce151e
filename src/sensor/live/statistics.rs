//! Records of statistics.

use crate::books::Books;
use crate::log::notice::{Notice, Stats};
use crate::time::clock::{monotonic_ns, wall_clock_ns};

pub(super) struct Statistics {
    /// Between two records; 0: only the last record is written.
    interval_s: u32,
    /// CLOCK_MONOTONIC.
    start_ns: i64,
    before_ns: i64,
    before: Books,
}

impl Statistics {
    pub(super) fn new(interval_s: u32) -> Self {
        let now_ns = monotonic_ns();
        Self {
            interval_s,
            start_ns: now_ns,
            before_ns: now_ns,
            before: Books::default(),
        }
    }

    /// The record of the interval that ends in this second of the run, if one does.
    pub(super) fn of_second(&mut self, second: u32, books: &Books) -> Option<Notice> {
        let due = self.interval_s > 0 && second.is_multiple_of(self.interval_s);
        due.then(|| self.record(books.clone(), false))
    }

    /// A record of the interval so far, if intervals have records.
    pub(super) fn of_interval(&mut self, books: &Books) -> Option<Notice> {
        (self.interval_s > 0).then(|| self.record(books.clone(), false))
    }

    /// The next interval begins with these books: another process has written those before.
    pub(super) fn go_on(&mut self, books: Books) {
        self.before = books;
    }

    /// A record of the time since the last one; `last`: of the run.
    pub(super) fn record(&mut self, now: Books, last: bool) -> Notice {
        let now_ns = monotonic_ns();
        let stats = Stats {
            before: std::mem::replace(&mut self.before, now.clone()),
            now,
            interval_s: seconds(self.before_ns, now_ns),
            run_s: seconds(self.start_ns, now_ns),
            last,
        };
        self.before_ns = now_ns;
        stats.notice(wall_clock_ns())
    }
}

fn seconds(from_ns: i64, to_ns: i64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}
