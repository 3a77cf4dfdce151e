//! The books of the run, gathered from everybody's counters.

use super::groups::Groups;
use super::in_flight::{Progress, Skew};
use super::witness::Watching;
use crate::books::Books;
use crate::books::output::OutputBooks;
use crate::books::record_kind::KINDS;
use crate::books::responder::{ResponderBooks, ResponderCounts};
use crate::log::logger::{Control, Logger, Published};
use crate::log::notice::{Notice, Notices};
use crate::sensor::{Board, logging};
use crate::settings::Common;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Reads the counters of workers, logger, rings and witness.
pub(super) struct Ledger<'a> {
    common: &'a Common,
    board: Board,
    notices: Notices,
    control: Arc<Control>,
    skew: Skew,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(
        common: &'a Common,
        board: Board,
        notices: Notices,
        control: Arc<Control>,
    ) -> Self {
        Self {
            common,
            board,
            notices,
            control,
            skew: Skew::default(),
        }
    }

    /// Standard output has lost its reader.
    pub(super) fn reader_left(&self) -> bool {
        self.control.closed.load(Ordering::Relaxed)
    }

    /// Has the logger open its files anew.
    pub(super) fn reopen_logs(&self) {
        self.control.reopen.store(true, Ordering::Relaxed);
    }

    /// The books now.
    pub(super) fn books(&self, groups: &Groups<'_>, witness: Option<&Watching>) -> Books {
        self.with_published(groups, witness, &self.published())
    }

    /// The books of this second, and what the logger published. Meant for once a second.
    pub(super) fn of_second(
        &mut self,
        groups: &Groups<'_>,
        witness: Option<&Watching>,
    ) -> (Books, Published) {
        // Before the logger's counts are read: what they say is then no older than this.
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

    /// The books of the outputs, as the logger saw them last.
    pub(super) fn outputs(&self) -> Vec<OutputBooks> {
        let published = self.control.published.lock();
        let outputs = published
            .unwrap_or_else(PoisonError::into_inner)
            .outputs
            .clone();
        logging::books(&self.common.outputs, &outputs)
    }

    /// Closes the log with a last record, made of the books at that moment. Gives the books after it.
    pub(super) fn close(
        &self,
        groups: &Groups<'_>,
        witness: Option<&Watching>,
        logger: Logger,
        last: impl FnOnce(Books) -> Notice,
    ) -> Books {
        let rest = self.books(groups, witness);
        let at_exit = |summary: &Published| Books {
            outputs: logging::books(&self.common.outputs, &summary.outputs),
            responders: self.responders(&summary.responders),
            own_records: self.own_records(summary.own),
            log: summary.log,
            at_exit: true,
            ..rest.clone()
        };
        let summary = logger.finish_with(|so_far| Some(last(at_exit(so_far))));
        at_exit(&summary)
    }

    fn responders(&self, counts: &[ResponderCounts]) -> Vec<ResponderBooks> {
        logging::responder_books(&self.common.responders, counts)
    }

    fn published(&self) -> Published {
        let published = self.control.published.lock();
        published.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn own_records(&self, loggers: [u64; KINDS]) -> [u64; KINDS] {
        let sent = self.notices.sent();
        std::array::from_fn(|kind| sent[kind] + loggers[kind])
    }

    fn with_published(
        &self,
        groups: &Groups<'_>,
        witness: Option<&Watching>,
        published: &Published,
    ) -> Books {
        let (filtered, refused) = groups.refused();
        let mut books = Books {
            shards: self.board.sum(),
            rings: groups.counts(),
            outputs: logging::books(&self.common.outputs, &published.outputs),
            responders: self.responders(&published.responders),
            own_records: self.own_records(published.own),
            log: published.log,
            filtered,
            refused,
            witness: witness.map(Watching::counts),
            host: groups.host_counts(),
            ..Books::default()
        };
        let now = Progress::of(&Books {
            own_records: self.notices.sent(),
            ..books.clone()
        });
        books.in_flight = self.skew.allowed(self.common, &books, now);
        books
    }
}
