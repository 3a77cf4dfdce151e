//! What standard error hears of links: each interface at its own pace, so that one that flaps does not hide another.

use super::messenger::Messenger;
use super::pace::{Pace, PacedLines};
use crate::time::clock::monotonic_ns;
use std::collections::BTreeMap;

/// Lines at once about one interface, then one each period.
const BURST: u32 = 4;
const PERIOD_NS: i64 = 10_000_000_000;

/// Changes of links.
pub(super) struct LinkLines {
    /// By the interface's index in the run; all that are not watched together.
    lines: BTreeMap<Option<u16>, PacedLines>,
    messenger: Messenger,
}

impl LinkLines {
    pub(super) fn new(messenger: Messenger) -> Self {
        Self {
            lines: BTreeMap::new(),
            messenger,
        }
    }

    /// Records a change at a watched interface, or at one that is not (`None`), and tells the person at the terminal
    /// unless it flaps.
    pub(super) fn report(&mut self, interface: Option<u16>, word: &'static str, text: String) {
        self.messenger.record(word, text.clone());
        let lines = self.lines.entry(interface);
        let lines = lines.or_insert_with(|| PacedLines::new(Pace::new(BURST, PERIOD_NS), "change"));
        let line = lines.offer(text, monotonic_ns());
        tell(&self.messenger, line);
    }

    /// Something is wrong: no pace holds that back.
    pub(super) fn report_trouble(&self, word: &'static str, text: String) {
        self.messenger.tell(&format!("synledger: {text}\n"));
        self.messenger.record(word, text);
    }

    /// Tells what was held back and may be told now.
    pub(super) fn tell_due(&mut self) {
        let now_ns = monotonic_ns();
        for lines in self.lines.values_mut() {
            tell(&self.messenger, lines.due(now_ns));
        }
    }

    /// Tells what was held back: the run ends.
    pub(super) fn tell_rest(&mut self) {
        for lines in self.lines.values_mut() {
            tell(&self.messenger, lines.rest());
        }
    }
}

fn tell(messenger: &Messenger, line: Option<String>) {
    if let Some(line) = line {
        messenger.tell(&format!("synledger: {line}\n"));
    }
}
