//! The snapshot behind `/metrics`, renewed once a second.

use crate::books::shard::ShardCounts;
use crate::error::Failure;
use crate::inspect::Kind;
use crate::observe::metrics::{LAG_BOUNDS_S, LogLag, Snapshot};
use crate::observe::server;
use crate::settings::Common;
use hdrhistogram::Histogram;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

/// The newest snapshot, shared with the server of metrics.
pub(super) struct Scrapes(Arc<Mutex<Snapshot>>);

impl Scrapes {
    /// Serves the published snapshot; without listeners nothing.
    pub(super) fn serve(listeners: Vec<TcpListener>) -> Result<Self, Failure> {
        let snapshot = Arc::new(Mutex::new(Snapshot::default()));
        if !listeners.is_empty() {
            let published = Arc::clone(&snapshot);
            let newest = move || {
                published
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
            };
            let served = server::serve(listeners, Arc::new(newest));
            served.map_err(|error| Failure::Run(format!("--metrics: {error}")))?;
        }
        Ok(Self(snapshot))
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}

/// Name, entries held and capacity of each table, over all shards.
pub(super) fn tables(
    common: &Common,
    shards: &ShardCounts,
    witness: Option<(u64, u64)>,
) -> Vec<(&'static str, u64, u64)> {
    let limits = &common.flows;
    let capacities = [limits.attempts, limits.established, limits.others];
    let names = ["attempts", "established", "other_flows"];
    let flows = names.into_iter().zip(shards.held).zip(capacities);
    let kinds = Kind::ALL.map(Kind::word);
    let scans = kinds.into_iter().zip(shards.held_by_detectors);
    let all = flows.chain(scans.zip(common.rules.rooms()));
    let all = all.map(|((name, held), room)| (name, held, (room * common.workers) as u64));
    let witness = witness.map(|(held, room)| ("witness", held, room));
    all.chain(witness).collect()
}

/// The histogram of the log's lag with the bounds of its metric.
pub(super) fn lag(lag_us: &Histogram<u64>) -> LogLag {
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
