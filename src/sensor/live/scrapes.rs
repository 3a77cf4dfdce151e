//! The snapshot behind `/metrics`, renewed once a second.

use super::blocking::Status;
use super::messenger::Messenger;
use crate::books::shard::ShardCounts;
use crate::error::Failure;
use crate::host::sandbox::{Sandbox, Thread};
use crate::inspect::Kind;
use crate::observe::metrics::Exposition;
use crate::observe::server::{self, CONNECTIONS_MAX, Listeners};
use crate::observe::snapshot::{LAG_BOUNDS_S, LogLag, Snapshot};
use crate::observe::socket::SocketFile;
use crate::observe::target::Exits;
use crate::observe::textfile::{Textfile, Writer};
use crate::settings::Common;
use crate::time::clock::monotonic_ns;
use crate::words::many;
use hdrhistogram::Histogram;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Between two reports of clients without an answer.
const REPEAT_NS: i64 = 60_000_000_000;

/// The newest snapshot, shared with the server of metrics.
pub(super) struct Scrapes {
    /// With the moment of its publication.
    snapshot: Arc<Mutex<(Snapshot, i64)>>,
    /// Clients that were closed without an answer: now, and at the last report with its moment.
    unanswered: Arc<AtomicU64>,
    reported: Option<(u64, i64)>,
    /// What is removed at the end of the run.
    _sockets: Vec<SocketFile>,
    _textfiles: Vec<Writer>,
}

impl Scrapes {
    /// Serves the published snapshot, and the status socket; without either nothing.
    pub(super) fn serve(
        exits: Exits,
        status: Option<Status>,
        sandbox: &Sandbox,
        messenger: &Messenger,
    ) -> Result<Self, Failure> {
        let about = |error| Failure::Run(format!("metrics and status: {error}"));
        let snapshot = Arc::new(Mutex::new((Snapshot::default(), monotonic_ns())));
        let published = Arc::clone(&snapshot);
        let newest = move || {
            let newest = published.lock();
            let (mut snapshot, at_ns) = newest.unwrap_or_else(PoisonError::into_inner).clone();
            let age_s = monotonic_ns().saturating_sub(at_ns) as f64 / 1e9;
            let main = ("main".to_owned(), age_s);
            snapshot.since_progress_s.push(main);
            snapshot
        };
        let exposition = Exposition::starting_now(Arc::new(newest));
        let (socket, file) = status.map(|status| (status.socket, status.file)).unzip();
        let mut sockets = exits.sockets;
        sockets.extend(file);
        let listeners = Listeners {
            tcp: exits.tcp,
            unix: exits.unix,
            status: socket,
        };
        if !listeners.is_empty() {
            let pass = sandbox.pass(Thread::Metrics);
            server::serve(listeners, exposition.clone(), pass).map_err(about)?;
        }
        let write = |textfile: Textfile| {
            let (messenger, pass) = (messenger.clone(), sandbox.pass(Thread::Textfile));
            let report = move |word, text| messenger.report(word, text);
            textfile.serve(exposition.clone(), pass, report)
        };
        let writers = exits.textfiles.into_iter().map(write);
        Ok(Self {
            snapshot,
            unanswered: exposition.unanswered(),
            reported: None,
            _textfiles: writers.collect::<io::Result<_>>().map_err(about)?,
            _sockets: sockets,
        })
    }

    /// Reports clients that were closed without an answer, at most once a minute.
    pub(super) fn report_unanswered(&mut self, now_ns: i64, messenger: &Messenger) {
        let count = self.unanswered.load(Ordering::Relaxed);
        let (before, at_ns) = self.reported.unwrap_or((0, i64::MIN));
        if count == before || now_ns.saturating_sub(at_ns) < REPEAT_NS {
            return;
        }
        self.reported = Some((count, now_ns));
        let clients = many(count - before, "client");
        let text = format!(
            "{clients} of the metrics closed without an answer since the last report: at most {CONNECTIONS_MAX} at a time \
             are served, each for at most 5 s; look who asks at --metrics"
        );
        messenger.report("metrics_unanswered", text);
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        let mut newest = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (snapshot, monotonic_ns());
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
