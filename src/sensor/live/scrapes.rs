//! What scrapes of `/metrics` see, renewed once a second.

use super::groups::Groups;
use super::witness::Watching;
use crate::books::Books;
use crate::error::Failure;
use crate::inspect::Kind;
use crate::log::logger::Published;
use crate::observe::losses::Reason;
use crate::observe::metrics::{LAG_BOUNDS_S, LogLag, Snapshot};
use crate::observe::server;
use crate::sensor::Board;
use crate::settings::Common;
use hdrhistogram::Histogram;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest snapshot, shared with the server of metrics.
pub(super) struct Scrapes(Arc<Mutex<Snapshot>>);

impl Scrapes {
    /// Serves what is published, where that was asked for.
    ///
    /// # Errors
    ///
    /// The server cannot be started.
    pub(super) fn serve(listeners: Vec<TcpListener>) -> Result<Self, Failure> {
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        if !listeners.is_empty() {
            let shown = Arc::clone(&snapshot);
            let newest = move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let served = server::serve(listeners, Arc::new(newest));
            served.map_err(|error| Failure::Run(format!("--metrics: {error}")))?;
        }
        Ok(Self(snapshot))
    }

    /// Shows this second.
    pub(super) fn publish(&self, second: Second<'_>) {
        let tables = second.tables();
        let Second {
            groups,
            board,
            published,
            degraded,
            books,
            ..
        } = second;
        let mut snapshot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *snapshot = Snapshot {
            books,
            tables,
            ring_occupancy: groups.occupancy(),
            shed_levels: board.shed_levels(),
            worker_behind: published.behind,
            log_lag: published.lag_us.as_ref().map_or_else(LogLag::default, lag),
            degraded,
        };
    }
}

/// What a second came to.
pub(super) struct Second<'a> {
    pub(super) common: &'a Common,
    pub(super) groups: &'a Groups<'a>,
    pub(super) witness: Option<&'a Watching>,
    pub(super) board: &'a Board,
    pub(super) published: &'a Published,
    pub(super) degraded: Vec<(Reason, String)>,
    pub(super) books: Books,
}

impl Second<'_> {
    /// Name, entries held and room of each table, over all shards.
    fn tables(&self) -> Vec<(&'static str, u64, u64)> {
        let common = self.common;
        let rooms = [
            common.flows.attempts,
            common.flows.established,
            common.flows.others,
        ];
        let names = ["attempts", "established", "other_flows"];
        let shards = &self.books.shards;
        let flows = names.into_iter().zip(shards.held).zip(rooms);
        let kinds = Kind::ALL.map(Kind::word);
        let scans = kinds.into_iter().zip(shards.held_by_detectors);
        let all = flows.chain(scans.zip(common.rules.rooms()));
        let all = all.map(|((name, held), room)| (name, held, (room * common.workers) as u64));
        let witness = self.witness.map(Watching::occupancy);
        all.chain(witness.map(|(held, room)| ("witness", held, room)))
            .collect()
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
