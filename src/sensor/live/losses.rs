//! Reports losses while they happen.

use super::messenger::Messenger;
use crate::books::Books;
use crate::books::blocks::BlockBooks;
use crate::books::output::OutputBooks;
use crate::observe::losses::{self, LossEvent, LossWatch, Reason};
use crate::observe::terminal;
use crate::time::clock::monotonic_ns;
use serde_json::json;

pub(super) struct Losses {
    before_outputs: LossWatch,
    outputs: LossWatch,
    /// Nobody can be blocked any more in this run.
    pub helper_is_gone: bool,
    messenger: Messenger,
}

const HELPER_GONE: &str = "the block helper is gone for good: start synledger again";

impl Losses {
    pub(super) fn new(messenger: Messenger) -> Self {
        Self {
            before_outputs: LossWatch::default(),
            outputs: LossWatch::default(),
            helper_is_gone: false,
            messenger,
        }
    }

    /// Losses of another process, which has reported them.
    pub(super) fn go_on(&mut self, books: &Books) {
        self.before_outputs.skip(losses::before_outputs(books));
        self.outputs.skip(losses::of_outputs(&books.outputs));
    }

    /// Current losses, and whether nobody can be blocked any more.
    pub(super) fn active(&self) -> Vec<(Reason, String)> {
        let before = self.before_outputs.active();
        let mut active: Vec<_> = before.chain(self.outputs.active()).collect();
        if self.helper_is_gone {
            active.push((Reason::Blocking, HELPER_GONE.to_owned()));
        }
        active
    }

    /// Reports losses before the outputs. Call once a second.
    pub(super) fn update(&mut self, books: &Books) {
        let mut losses = losses::before_outputs(books);
        // Reported by records of their own.
        losses.retain(|loss| loss.reason != Reason::Link);
        let turns = self.before_outputs.look(monotonic_ns(), losses);
        self.report(turns);
        let is_gone = |blocks: &BlockBooks| blocks.counts.helper_gone > 0;
        if !self.helper_is_gone && books.blocks.as_ref().is_some_and(is_gone) {
            self.helper_is_gone = true;
            terminal::print_to_stderr(&format!("synledger: {HELPER_GONE}\n"));
        }
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
