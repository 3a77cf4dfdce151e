//! Reports of shards to the witness: one bounded queue each, and the run time that each has reached.

use super::Syn;
use crate::books::witness::Fate;
use crate::capture::bpf::sample::Sample;
use crate::sys::prefault::touch_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Capacity of a queue.
const REPORTS_MAX: usize = 8_192;

/// An attempt of the sample, as the ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub syn: Syn,
    /// Run time of its SYN, ns.
    pub ts_ns: i64,
    pub interface: u16,
    /// The sample's filter can parse its SYN.
    pub in_reach: bool,
    pub fate: Fate,
}

#[derive(Debug)]
struct Shared {
    /// Everything up to this run time was reported. Release by the shard, Acquire by the witness: with a time the
    /// witness sees every earlier report.
    reached_ns: AtomicI64,
    /// Reports for which the queue had no room; a statistic, hence Relaxed.
    dropped: AtomicU64,
}

/// The shard's end. Dropping it ends the reports.
pub struct Reporter {
    sample: Sample,
    queue: rtrb::Producer<Report>,
    shared: Arc<Shared>,
}

/// The witness's end.
pub struct Reports {
    queue: rtrb::Consumer<Report>,
    shared: Arc<Shared>,
}

/// A queue for one shard.
pub fn queue(sample: Sample) -> (Reporter, Reports) {
    let (mut queue, consumer) = rtrb::RingBuffer::new(REPORTS_MAX);
    touch_all(&mut queue);
    let shared = Arc::new(Shared {
        reached_ns: AtomicI64::new(i64::MIN),
        dropped: AtomicU64::new(0),
    });
    let reports = Reports {
        queue: consumer,
        shared: Arc::clone(&shared),
    };
    let reporter = Reporter {
        sample,
        queue,
        shared,
    };
    (reporter, reports)
}

pub fn memory_bytes() -> u64 {
    (REPORTS_MAX * size_of::<Report>() + size_of::<Shared>()) as u64
}

impl Reporter {
    /// Reports an attempt of the sample; others are ignored. Never waits: a full queue is counted.
    pub fn report(&mut self, report: Report) {
        if self.sample.keeps(&report.syn.ends) && self.queue.push(report).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Declares that every attempt up to this run time was reported.
    pub fn publish(&mut self, ts_ns: i64) {
        // Release pairs with the acquire in `Reports::reached_ns`.
        self.shared.reached_ns.fetch_max(ts_ns, Ordering::Release);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.publish(i64::MAX);
    }
}

impl Reports {
    /// Run time that the shard has reached; `i64::MAX` at the end. Read it before taking reports.
    pub fn reached_ns(&self) -> i64 {
        self.shared.reached_ns.load(Ordering::Acquire)
    }

    pub fn pop(&mut self) -> Option<Report> {
        self.queue.pop().ok()
    }

    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}
