//! Reports losses while they happen.

use super::messenger::Messenger;
use crate::books::Books;
use crate::books::output::OutputBooks;
use crate::observe::losses::{self, LossEvent, LossWatch, Reason};
use crate::observe::terminal;
use crate::time::clock::monotonic_ns;
use serde_json::json;

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

    /// Current losses.
    pub(super) fn active(&self) -> Vec<(Reason, String)> {
        let before = self.before_outputs.active();
        before.chain(self.outputs.active()).collect()
    }

    /// Reports losses before the outputs. Call once a second.
    pub(super) fn update(&mut self, books: &Books) {
        let mut losses = losses::before_outputs(books);
        // Reported by records of their own.
        losses.retain(|loss| loss.reason != Reason::Link);
        let turns = self.before_outputs.look(monotonic_ns(), losses);
        self.report(turns);
    }

    /// Reports losses of outputs. Call at each tick: a full disk is reported at once.
    pub(super) fn update_outputs(&mut self, outputs: &[OutputBooks]) {
        let losses = losses::of_outputs(outputs);
        let turns = self.outputs.look(monotonic_ns(), losses);
        self.report(turns);
    }

    fn report(&self, turns: Vec<LossEvent>) {
        for turn in turns {
            match turn.is_error {
                true => terminal::print_to_stderr(&format!("synledger: {}\n", turn.text)),
                false => self.messenger.line(&turn.text),
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
