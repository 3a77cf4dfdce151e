//! What the sensor reports of itself: records to the log, lines to the person at the terminal.

use crate::log::notice::{Notice, Notices};
use crate::observe::terminal;
use crate::time::clock::wall_clock_ns;
use serde_json::Value;

/// A member of a record's `synledger` object.
pub(super) type Detail = (&'static str, Value);

/// The way to the log and to standard error. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Messenger {
    notices: Notices,
    quiet: bool,
}

impl Messenger {
    pub(super) fn new(notices: Notices, quiet: bool) -> Self {
        Self { notices, quiet }
    }

    /// Tells the person at the terminal, unless asked to be quiet. `text` is whole lines.
    pub(super) fn tell(&self, text: &str) {
        if !self.quiet {
            terminal::tell(text);
        }
    }

    /// Sends a lifecycle record of this moment.
    pub(super) fn record(&self, word: &'static str, text: String) {
        self.record_with(word, text, []);
    }

    pub(super) fn record_with(
        &self,
        word: &'static str,
        text: String,
        details: impl IntoIterator<Item = Detail>,
    ) {
        self.record_at(wall_clock_ns(), word, text, details);
    }

    /// `ts_ns` is by the wall clock.
    pub(super) fn record_at(
        &self,
        ts_ns: i64,
        word: &'static str,
        text: String,
        details: impl IntoIterator<Item = Detail>,
    ) {
        let details = details.into_iter();
        self.send(Notice::Lifecycle {
            ts_ns,
            word,
            text,
            details: details
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        });
    }

    /// Hands a record to the logger, as long as there is one.
    pub(super) fn send(&self, notice: Notice) {
        self.notices.send(notice);
    }
}
