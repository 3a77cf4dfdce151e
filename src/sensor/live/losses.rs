//! Losses of a run, said while they happen.

use super::Run;
use crate::books::Books;
use crate::log::notice::Notice;
use crate::observe::losses::{self, LossWatch, Reason, Turn};
use crate::observe::terminal::tell;
use crate::sensor::logging;
use crate::time::clock::{monotonic_ns, wall_clock_ns};
use serde_json::{Value, json};
use std::sync::PoisonError;

/// What is lost on the way to the outputs, looked at once a second, and by the outputs, at each tick.
#[derive(Debug, Default)]
pub(super) struct Losses {
    before_outputs: LossWatch,
    outputs: LossWatch,
}

impl Losses {
    /// Losses that last.
    pub(super) fn active(&self) -> Vec<(Reason, String)> {
        let before = self.before_outputs.active();
        before.chain(self.outputs.active()).collect()
    }
}

impl Run<'_> {
    pub(super) fn say_losses(&mut self, books: &Books) {
        let mut losses = losses::before_outputs(books);
        // Their own records say so.
        losses.retain(|loss| loss.reason != Reason::Link);
        let turns = self
            .ledger
            .losses
            .before_outputs
            .look(monotonic_ns(), losses);
        self.say_turns(turns);
    }

    /// As the logger saw its outputs last.
    pub(super) fn say_output_losses(&mut self) {
        let published = self.control.published.lock();
        let outputs = published
            .unwrap_or_else(PoisonError::into_inner)
            .outputs
            .clone();
        let outputs = logging::books(&self.config.common.outputs, &outputs);
        let losses = losses::of_outputs(&outputs);
        let turns = self.ledger.losses.outputs.look(monotonic_ns(), losses);
        self.say_turns(turns);
    }

    fn say_turns(&self, turns: Vec<Turn>) {
        for turn in turns {
            if turn.is_error || !self.config.common.quiet {
                tell(&format!("synledger: {}\n", turn.text));
            }
            self.notices.send(Notice::Lifecycle {
                ts_ns: wall_clock_ns(),
                word: turn.word,
                details: details(&turn),
                text: turn.text,
            });
        }
    }
}

fn details(turn: &Turn) -> Vec<(String, Value)> {
    let all = [
        ("reason", json!(turn.reason.word())),
        ("output", json!(turn.output)),
        ("lost", json!(turn.lost)),
        ("of", json!(turn.of)),
    ];
    let own = |(name, value): (&str, Value)| (name.to_owned(), value);
    all.into_iter().map(own).collect()
}
