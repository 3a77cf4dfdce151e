//! Losses of a run, said while they happen.

use super::messenger::Messenger;
use crate::books::Books;
use crate::books::output::OutputBooks;
use crate::observe::losses::{self, LossWatch, Reason, Turn};
use crate::observe::terminal;
use crate::time::clock::monotonic_ns;
use serde_json::json;

/// What is lost on the way to the outputs, looked at once a second, and by the outputs, at each tick.
pub(super) struct Losses {
    before_outputs: LossWatch,
    outputs: LossWatch,
    messenger: Messenger,
}

impl Losses {
    pub(super) fn new(messenger: Messenger) -> Self {
        Self {
            before_outputs: LossWatch::default(),
            outputs: LossWatch::default(),
            messenger,
        }
    }

    /// Losses that last.
    pub(super) fn active(&self) -> Vec<(Reason, String)> {
        let before = self.before_outputs.active();
        before.chain(self.outputs.active()).collect()
    }

    /// Meant for once a second.
    pub(super) fn look(&mut self, books: &Books) {
        let mut losses = losses::before_outputs(books);
        // Their own records say so.
        losses.retain(|loss| loss.reason != Reason::Link);
        let turns = self.before_outputs.look(monotonic_ns(), losses);
        self.report(turns);
    }

    /// Meant for each tick: a full disk is said at once.
    pub(super) fn look_at_outputs(&mut self, outputs: &[OutputBooks]) {
        let losses = losses::of_outputs(outputs);
        let turns = self.outputs.look(monotonic_ns(), losses);
        self.report(turns);
    }

    fn report(&self, turns: Vec<Turn>) {
        for turn in turns {
            let line = format!("synledger: {}\n", turn.text);
            match turn.is_error {
                true => terminal::tell(&line),
                false => self.messenger.tell(&line),
            }
            let details = [
                ("reason", json!(turn.reason.word())),
                ("output", json!(turn.output)),
                ("lost", json!(turn.lost)),
                ("of", json!(turn.of)),
            ];
            self.messenger.record_with(turn.word, turn.text, details);
        }
    }
}
