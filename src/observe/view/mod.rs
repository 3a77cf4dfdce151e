//! What `synledger top` shows of the log: who asks, what is asked for, which scans go on.
//!
//! It counts at the log's tap while somebody looks, and for [`LOOKED_AT_NS`] afterwards; else an event costs one look at
//! a flag. Two generations of counts of [`GENERATION_NS`] each are kept, so that an answer is about the last 30 to 60
//! seconds, or about the time since somebody looks.

mod scans;
#[cfg(test)]
mod tests;

use super::summary::top::Top;
use crate::books::responder::ResponderCounts;
use crate::host::services::Services;
use crate::log::event::Body;
use crate::log::fold::Fold;
use crate::log::notice::Notice;
use crate::log::reached::LogTime;
use crate::log::tap::{Listener, TapEvent};
use ipnet::IpNet;
pub(crate) use scans::Scan;
use scans::Scans;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Sources, and destinations with their ports, that are counted at once.
const PLACES: usize = 1024;
/// How long a generation of counts grows.
const GENERATION_NS: i64 = 30_000_000_000;
/// So long after the last question it goes on counting.
const LOOKED_AT_NS: i64 = 15_000_000_000;
/// Rows of an answer, of each list.
const ROWS_MAX: usize = 200;

/// IP protocol number.
const TCP: u8 = 6;

/// A source, or a prefix of the sources of a flood.
pub(crate) type Source = IpNet;
/// Where attempts go; without a port: to several.
pub(crate) type Destination = (Option<IpAddr>, Option<u16>);

/// Attempts of one generation.
#[derive(Debug)]
struct Counts {
    attempts: u64,
    sources: Top<Source, u64>,
    destinations: Top<Destination, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            attempts: 0,
            sources: Top::new(PLACES),
            destinations: Top::new(PLACES),
        }
    }
}

impl Counts {
    fn on_event(&mut self, body: &Body) {
        match body {
            Body::NewConnection(new) => {
                self.attempts += 1;
                self.sources.add_many(new.tuple.src.into(), 1);
                let destination = (Some(new.tuple.dst), Some(new.tuple.dst_port));
                self.destinations.add_many(destination, 1);
            }
            Body::Folded(fold) => self.on_fold(fold),
            Body::Flow(_) | Body::Alert(_) => {}
        }
    }

    /// Of a fold the sources are known by prefixes, and only those that sent much.
    fn on_fold(&mut self, fold: &Fold) {
        self.attempts += fold.count;
        let target = (fold.target.dst, fold.target.port);
        self.destinations.add_many(target, fold.count);
        for sender in fold.senders.top(usize::MAX) {
            let at_least = sender.count - sender.error;
            if at_least > 1 {
                self.sources.add_many(sender.prefix.network(), at_least);
            }
        }
    }
}

/// A row: a key and its attempts, at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<K> {
    pub key: K,
    pub attempts: u64,
}

/// What is shown of the log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    /// The time that the counts are about.
    pub over_s: f64,
    pub attempts: u64,
    /// Highest first.
    pub sources: Vec<Row<Source>>,
    /// Highest first.
    pub destinations: Vec<Row<Destination>>,
    /// Newest first.
    pub scans: Vec<Scan>,
}

#[derive(Debug, Default)]
struct State {
    /// When the counts began; `None`: nobody looks.
    since_ns: Option<i64>,
    /// When the newer generation began.
    turned_ns: i64,
    newer: Counts,
    older: Counts,
    scans: Scans,
}

impl State {
    fn turn(&mut self, now_ns: i64) {
        let age_ns = now_ns.saturating_sub(self.turned_ns);
        if age_ns >= GENERATION_NS {
            self.older = std::mem::take(&mut self.newer);
            self.since_ns = self.since_ns.map(|_| self.turned_ns);
            self.turned_ns = now_ns;
        }
    }

    fn begin(&mut self, now_ns: i64) {
        (self.newer, self.older) = (Counts::default(), Counts::default());
        (self.since_ns, self.turned_ns) = (Some(now_ns), now_ns);
    }
}

/// The counts, and who looks. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// Names what listens at destinations; `None`: nothing is to be named.
    services: Option<Services>,
    state: Arc<Mutex<State>>,
    /// When somebody last looked.
    looked_ns: Arc<AtomicI64>,
}

impl View {
    /// Of a run that nobody looks at yet.
    pub(crate) fn new(services: Option<Services>) -> Self {
        Self {
            services,
            state: Arc::default(),
            looked_ns: Arc::new(AtomicI64::new(i64::MIN)),
        }
    }

    /// Most memory.
    pub(crate) fn memory_bytes() -> u64 {
        let counts = Top::<Source, u64>::memory_bytes(PLACES)
            + Top::<Destination, u64>::memory_bytes(PLACES);
        2 * counts + Scans::memory_bytes()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be shown at `now_ns`, by the wall clock. It counts from the first call on.
    pub(crate) fn look(&self, now_ns: i64) -> Shown {
        self.looked_ns.store(now_ns, Ordering::Relaxed);
        let mut state = self.lock();
        if state.since_ns.is_none() {
            state.begin(now_ns);
        }
        let since_ns = state.since_ns.unwrap_or(now_ns);
        let (newer, older) = (&state.newer, &state.older);
        Shown {
            over_s: now_ns.saturating_sub(since_ns).max(0) as f64 / 1e9,
            attempts: newer.attempts + older.attempts,
            sources: rows([&newer.sources, &older.sources]),
            destinations: rows([&newer.destinations, &older.destinations]),
            scans: state.scans.newest_first(),
        }
    }

    /// The program that listens at a destination of this host.
    pub(crate) fn service(&self, (dst, port): Destination) -> Option<Arc<str>> {
        let services = self.services.as_ref()?;
        services.service(TCP, dst?, port?)
    }

    /// The tap's listener that counts for it.
    pub(crate) fn listener(&self) -> Box<dyn Listener> {
        Box::new(Counting {
            view: self.clone(),
            counts: false,
        })
    }
}

/// The sums of two generations, highest first.
fn rows<K: Copy + Eq + std::hash::Hash + Ord>(both: [&Top<K, u64>; 2]) -> Vec<Row<K>> {
    let mut sums: std::collections::BTreeMap<K, u64> = std::collections::BTreeMap::new();
    for place in both.into_iter().flat_map(|top| top.first(usize::MAX)) {
        *sums.entry(place.key).or_default() += place.at_least();
    }
    let mut all: Vec<Row<K>> = sums
        .into_iter()
        .map(|(key, attempts)| Row { key, attempts })
        .collect();
    all.sort_unstable_by_key(|row| (std::cmp::Reverse(row.attempts), row.key));
    all.truncate(ROWS_MAX);
    all
}

struct Counting {
    view: View,
    /// Somebody looked a short time ago.
    counts: bool,
}

impl Listener for Counting {
    fn on_event(
        &mut self,
        TapEvent {
            event, shift_ns, ..
        }: TapEvent<'_>,
    ) {
        match &event.body {
            // Few: a scan that goes on when somebody begins to look is known.
            Body::Alert(detection) => self.view.lock().scans.on_detection(detection, shift_ns),
            body if self.counts => self.view.lock().newer.on_event(body),
            _ => {}
        }
    }

    fn tick(&mut self, _: LogTime, now_ns: i64) {
        let looked_ns = self.view.looked_ns.load(Ordering::Relaxed);
        let counts = now_ns.saturating_sub(looked_ns) < LOOKED_AT_NS;
        if counts {
            self.view.lock().turn(now_ns);
        } else if self.counts {
            let mut state = self.view.lock();
            state.begin(now_ns);
            state.since_ns = None;
        }
        self.counts = counts;
    }

    fn finish(&mut self, _: LogTime, _: i64) {}

    fn take_notice(&mut self) -> Option<Notice> {
        None
    }

    fn counts(&self) -> Vec<ResponderCounts> {
        Vec::new()
    }
}
