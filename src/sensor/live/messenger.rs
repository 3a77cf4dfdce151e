//! Records and lines about the sensor itself: to the log and to standard error.

use crate::log::anonymize::Anonymizer;
use crate::log::notice::{Notice, Notices};
use crate::observe::terminal;
use crate::time::clock::wall_clock_ns;
use serde_json::Value;

/// A member of a record's `synledger` object.
pub(super) type Detail = (&'static str, Value);

/// Sends records to the log and prints lines to standard error.
#[derive(Clone, Debug)]
pub(super) struct Messenger {
    notices: Notices,
    quiet: bool,
    /// `--anonymize`, for lines; the logger replaces what is in records.
    anonymizer: Option<Anonymizer>,
}

impl Messenger {
    pub(super) fn new(notices: Notices, quiet: bool) -> Self {
        Self {
            notices,
            quiet,
            anonymizer: None,
        }
    }

    /// The same with other addresses in its lines.
    #[must_use]
    pub(super) fn with(self, anonymizer: Option<Anonymizer>) -> Self {
        Self { anonymizer, ..self }
    }

    /// Prints `synledger: ` and this line, except with `--quiet`.
    pub(super) fn line(&self, line: &str) {
        if !self.quiet {
            let line = match &self.anonymizer {
                Some(anonymizer) => &anonymizer.text(line),
                None => line,
            };
            terminal::print_to_stderr(&format!("synledger: {line}\n"));
        }
    }

    /// Prints a line and sends it as a lifecycle record.
    pub(super) fn report(&self, word: &'static str, text: String) {
        self.line(&text);
        self.record(word, text);
    }

    /// Sends a lifecycle record, stamped now.
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

    pub(super) fn send(&self, notice: Notice) {
        self.notices.send(notice);
    }
}
