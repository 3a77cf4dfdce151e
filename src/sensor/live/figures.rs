//! What the run counts, gathered once a second for the log and for scrapes.

use super::Run;
use super::identities::OpenIdentities;
use super::losses::Losses;
use super::witness::Watching;
use crate::books::record_kind::{EventKind, KINDS};
use crate::books::{Books, HostCounts, InFlight};
use crate::inspect::Kind;
use crate::log::logger::{Logger, Published, Summary};
use crate::log::notice::Stats;
use crate::observe::metrics::{LAG_BOUNDS_S, LogLag};
use crate::sensor::group::LiveGroup;
use crate::sensor::logging;
use crate::time::clock::{monotonic_ns, wall_clock_ns};
use hdrhistogram::Histogram;
use std::sync::PoisonError;

/// Records of the sensor's own that may be sent between the logger's last look at them and its counts.
const OWN_IN_FLIGHT: u64 = 16;

/// Where the books stood at earlier moments.
pub(super) struct Ledger {
    /// CLOCK_MONOTONIC at the start and at the last record of statistics.
    start_ns: i64,
    stats_ns: i64,
    /// As of the last record of statistics.
    stats: Books,
    /// A second ago: frames read, contacts sent, records raised.
    last: Moved,
    /// Records raised before the logger left the counts that are its newest, and the number of those.
    settled: ([u64; KINDS], u64),
    open: OpenIdentities,
    pub(super) losses: Losses,
}

/// What moves on between two looks.
#[derive(Clone, Copy, Default)]
struct Moved {
    frames: u64,
    contacts: u64,
    raised: [u64; KINDS],
}

impl Moved {
    fn of(books: &Books) -> Self {
        Self {
            frames: books.shards.frames,
            contacts: books.shards.contacts_sent.iter().sum(),
            raised: books.raised_all(),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        let now_ns = monotonic_ns();
        Self {
            start_ns: now_ns,
            stats_ns: now_ns,
            stats: Books::default(),
            last: Moved::default(),
            settled: ([0; KINDS], 0),
            open: OpenIdentities::default(),
            losses: Losses::default(),
        }
    }
}

fn seconds(from_ns: i64, to_ns: i64) -> f64 {
    to_ns.saturating_sub(from_ns) as f64 / 1e9
}

impl Run<'_> {
    pub(super) fn every_second(&mut self, stats: bool) {
        self.update_rings();
        self.attend_witness();
        // Before the logger's counts are read: what they say is then no older than this.
        let before = self.moved();
        let published = self.published();
        let books = self.books_with(&published);
        for notice in self.ledger.open.notices(&books, wall_clock_ns()) {
            self.notices.send(notice);
        }
        self.say_losses(&books);
        if published.number != self.ledger.settled.1 {
            self.ledger.settled = (self.ledger.last.raised, published.number);
        }
        self.ledger.last = before;
        let now_ns = monotonic_ns();
        self.hint(now_ns, &books);
        self.say_out_of_scope(now_ns, &books.shards);
        if stats {
            self.notices.send(
                self.stats(books.clone(), now_ns, false)
                    .notice(wall_clock_ns()),
            );
            self.ledger.stats = books.clone();
            self.ledger.stats_ns = now_ns;
        }
        let mut degraded = self.unseen();
        degraded.extend(self.ledger.losses.active());
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.ring_occupancy = self.groups.iter().flat_map(LiveGroup::occupancy).collect();
        snapshot.tables = self.tables(&books);
        snapshot.log_lag = published.lag_us.as_ref().map_or_else(LogLag::default, lag);
        snapshot.worker_behind = published.behind;
        snapshot.shed_levels = self.board.shed_levels();
        snapshot.degraded = degraded;
        snapshot.books = books;
    }

    fn stats(&self, now: Books, now_ns: i64, last: bool) -> Stats {
        Stats {
            now,
            before: self.ledger.stats.clone(),
            interval_s: seconds(self.ledger.stats_ns, now_ns),
            run_s: seconds(self.ledger.start_ns, now_ns),
            last,
        }
    }

    /// Closes the log with the last record of statistics, and with it the books.
    pub(super) fn close_books(&mut self, logger: Logger) -> Books {
        self.say_shed();
        self.update_rings();
        let rest = self.books();
        let at_exit = |summary: &Summary| Books {
            outputs: logging::books(&self.config.common.outputs, &summary.outputs),
            own_records: self.own_records(summary.own),
            log: summary.log,
            at_exit: true,
            ..rest.clone()
        };
        let summary = logger.finish_with(|so_far| {
            let stats = self.stats(at_exit(so_far), monotonic_ns(), true);
            Some(stats.notice(wall_clock_ns()))
        });
        at_exit(&summary)
    }

    /// Name, entries held and room of each table, over all shards.
    fn tables(&self, books: &Books) -> Vec<(&'static str, u64, u64)> {
        let common = &self.config.common;
        let rooms = [
            common.flows.attempts,
            common.flows.established,
            common.flows.others,
        ];
        let names = ["attempts", "established", "other_flows"];
        let flows = names.into_iter().zip(books.shards.held).zip(rooms);
        let kinds = Kind::ALL.map(Kind::word);
        let scans = kinds.into_iter().zip(books.shards.held_by_detectors);
        let all = flows.chain(scans.zip(common.rules.rooms()));
        let all = all.map(|((name, held), room)| (name, held, (room * common.workers) as u64));
        let witness = self.witness.as_ref().map(Watching::occupancy);
        all.chain(witness.map(|(held, room)| ("witness", held, room)))
            .collect()
    }

    pub(super) fn update_rings(&mut self) {
        for group in self.groups.iter_mut().chain(&mut self.gone) {
            group.update();
        }
        self.close_gone();
        if let Some(counters) = &mut self.nic_counters {
            let _ = counters.update();
        }
    }

    fn published(&self) -> Published {
        let published = self.control.published.lock();
        published.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn own_records(&self, loggers: [u64; KINDS]) -> [u64; KINDS] {
        let sent = self.notices.sent();
        std::array::from_fn(|kind| sent[kind] + loggers[kind])
    }

    fn moved(&self) -> Moved {
        Moved::of(&Books {
            shards: self.board.sum(),
            own_records: self.notices.sent(),
            ..Books::default()
        })
    }

    pub(super) fn books(&self) -> Books {
        self.books_with(&self.published())
    }

    fn books_with(&self, published: &Published) -> Books {
        let nic = |group: &LiveGroup| {
            let counters = self
                .nic_counters
                .as_ref()
                .and_then(|counters| counters.nic(group.ifindex));
            counters.map_or(0, |counters| counters.nic_drops())
        };
        let (filtered, refused) = self.refused();
        let mut books = Books {
            shards: self.board.sum(),
            rings: self.rings(),
            outputs: logging::books(&self.config.common.outputs, &published.outputs),
            own_records: self.own_records(published.own),
            log: published.log,
            filtered,
            refused,
            witness: self.witness.as_ref().map(Watching::counts),
            host: HostCounts {
                nic_drops: self.groups.iter().map(nic).sum(),
                softnet_drops: self
                    .nic_counters
                    .as_ref()
                    .map_or(0, |counters| counters.softnet().total().dropped),
                unwatched_us: self.unwatched_us(),
            },
            ..Books::default()
        };
        books.in_flight = self.in_flight(&books);
        books
    }

    /// What queues hold, twice over for copies that are left a moment after they were true, and what has
    /// moved since the older side of an identity may have been read: a second ago, or when the logger, which
    /// a slow disk may hold up, last left its counts.
    fn in_flight(&self, books: &Books) -> InFlight {
        let workers = self.config.common.workers;
        let room = self.config.common.room;
        let contacts = workers * workers * room.contacts;
        // Held back in two lists, and on their way to the logger.
        let records = workers * 3 * room.events;
        let now = Moved::of(&Books {
            own_records: self.notices.sent(),
            ..books.clone()
        });
        let (last, settled) = (&self.ledger.last, &self.ledger.settled.0);
        InFlight {
            frames: now.frames.saturating_sub(last.frames),
            contacts: 2 * contacts as u64 + now.contacts.saturating_sub(last.contacts),
            records: EventKind::ALL.map(|kind| {
                let held = match kind {
                    EventKind::Stats | EventKind::Lifecycle => OWN_IN_FLIGHT,
                    EventKind::Connection => {
                        2 * (records as u64 + books.shards.connections_folding)
                    }
                    _ => 2 * records as u64,
                };
                let kind = kind as usize;
                held + now.raised[kind].saturating_sub(settled[kind])
            }),
        }
    }
}

fn lag(lag_us: &Histogram<u64>) -> LogLag {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounds are whole microseconds"
    )]
    let within = |bound_s: f64| lag_us.count_between(0, (bound_s * 1e6).round() as u64);
    LogLag {
        within: LAG_BOUNDS_S.map(within),
        count: lag_us.len(),
        sum_s: lag_us.mean() / 1e6 * lag_us.len() as f64,
    }
}
