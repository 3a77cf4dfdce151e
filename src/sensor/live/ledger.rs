//! Gathers the books of the run from all counters.

use super::groups::Groups;
use super::in_flight::{Progress, Skew};
use super::witness::Watching;
use crate::books::Books;
use crate::books::blocks::BlockBooks;
use crate::books::output::OutputBooks;
use crate::books::record_kind::KINDS;
use crate::log::logger::{Control, Logger, Published};
use crate::log::notice::{Notice, Notices};
use crate::sensor::{Board, logging};
use crate::settings::{Common, RunConfig};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Reads the counters of workers, logger, rings and witness.
pub(super) struct Ledger<'a> {
    common: &'a Common,
    board: Board,
    notices: Notices,
    pub control: Arc<Control>,
    skew: Skew,
    /// `--block`'s word; `None`: off.
    block_mode: Option<&'static str>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(
        config: &'a RunConfig,
        board: Board,
        notices: Notices,
        control: Arc<Control>,
    ) -> Self {
        Self {
            common: &config.common,
            board,
            notices,
            control,
            skew: Skew::default(),
            block_mode: config.block.as_ref().map(|plan| plan.mode.word()),
        }
    }

    /// Standard output has lost its reader.
    pub(super) fn reader_left(&self) -> bool {
        self.control.closed.load(Ordering::Relaxed)
    }

    /// Everything before is in the log, by the wall clock.
    pub(super) fn written_ns(&self) -> i64 {
        self.control.written_ns.load(Ordering::Relaxed)
    }

    /// Records that the sensor has sent, by kind.
    pub(super) fn sent(&self) -> [u64; KINDS] {
        self.notices.sent()
    }

    /// The books now.
    pub(super) fn books(&self, groups: &Groups<'_>, witness: Option<&Watching>) -> Books {
        self.with_published(groups, witness, &self.published())
    }

    /// The books now, and the logger's newest publication. Call once a second.
    pub(super) fn of_second(
        &mut self,
        groups: &Groups<'_>,
        witness: Option<&Watching>,
    ) -> (Books, Published) {
        // Read before the logger's counts, so that those are not older.
        let before = Progress::of(&Books {
            shards: self.board.sum(),
            own_records: self.notices.sent(),
            ..Books::default()
        });
        let published = self.published();
        let books = self.with_published(groups, witness, &published);
        self.skew.advance(before, published.number);
        (books, published)
    }

    /// The books of the outputs, as the logger last published them.
    pub(super) fn outputs(&self) -> Vec<OutputBooks> {
        self.published().outputs
    }

    /// Closes the log with a last record, made of the books of that moment. Returns the books after it.
    pub(super) fn close(
        &self,
        groups: &Groups<'_>,
        witness: Option<&Watching>,
        logger: Logger,
        last: impl FnOnce(Books) -> Notice,
    ) -> Books {
        let at_exit = |published: &Published| Books {
            at_exit: true,
            ..self.with_published(groups, witness, published)
        };
        let published = logger.finish_with(|so_far| Some(last(at_exit(so_far))));
        at_exit(&published)
    }

    /// How often the logger has published: twice a second, while it moves.
    pub(super) fn logger_rounds(&self) -> u64 {
        let published = self.control.published.lock();
        published.unwrap_or_else(PoisonError::into_inner).number
    }

    fn published(&self) -> Published {
        let published = self.control.published.lock();
        published.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn with_published(
        &self,
        groups: &Groups<'_>,
        witness: Option<&Watching>,
        published: &Published,
    ) -> Books {
        let (filtered, shed_in_kernel) = groups.filtered();
        let sent = self.notices.sent();
        let mut books = Books {
            shards: self.board.sum(),
            rings: groups.counts(),
            own_records: std::array::from_fn(|kind| sent[kind] + published.own[kind]),
            filtered,
            shed_in_kernel,
            witness: witness.map(Watching::counts),
            host: groups.host_counts(),
            blocks: published.blocks.map(|counts| BlockBooks {
                name: self.block_mode.unwrap_or_default().to_owned(),
                counts,
            }),
            ..logging::books(self.common, published)
        };
        let now = Progress::of(&Books {
            own_records: self.notices.sent(),
            ..books.clone()
        });
        books.in_flight = self.skew.allowed(self.common, &books, now);
        books
    }
}
