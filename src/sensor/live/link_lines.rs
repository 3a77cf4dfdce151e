//! Lines about links, rate-limited by interface: one that flaps does not hide another.

use super::messenger::Messenger;
use super::pace::{Pace, PacedLines};
use crate::time::clock::monotonic_ns;
use std::collections::BTreeMap;

/// Lines at once about one interface, then one each period.
const BURST: u32 = 4;
const PERIOD_NS: i64 = 10_000_000_000;

pub(super) struct LinkLines {
    /// By the interface's index in the run; `None`: all that are not watched.
    lines: BTreeMap<Option<u16>, PacedLines>,
    pub(super) messenger: Messenger,
    /// New interfaces that are not watched and may have to be reported, by index, and when each came (CLOCK_MONOTONIC).
    pub(super) newcomers: BTreeMap<u32, i64>,
}

impl LinkLines {
    pub(super) fn new(messenger: Messenger) -> Self {
        Self {
            lines: BTreeMap::new(),
            messenger,
            newcomers: BTreeMap::new(),
        }
    }

    /// Records a change and prints it, rate-limited. `interface` is `None` for one that is not watched.
    pub(super) fn report(&mut self, interface: Option<u16>, word: &'static str, text: String) {
        self.messenger.record(word, text.clone());
        let lines = self.lines.entry(interface);
        let lines = lines.or_insert_with(|| PacedLines::new(Pace::new(BURST, PERIOD_NS), "change"));
        if let Some(line) = lines.offer(text, monotonic_ns()) {
            self.messenger.line(&line);
        }
    }

    /// Prints held-back lines that are due; with `all`, at the end of the run, every one.
    pub(super) fn flush(&mut self, all: bool) {
        let now_ns = monotonic_ns();
        for lines in self.lines.values_mut() {
            let line = if all { lines.rest() } else { lines.due(now_ns) };
            if let Some(line) = line {
                self.messenger.line(&line);
            }
        }
    }
}
