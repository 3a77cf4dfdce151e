//! What the shards tell the witness: one bounded queue each, and how far each has got.

use super::Syn;
use crate::books::witness::Fate;
use crate::capture::bpf::sample::Sample;
use crate::sys::prefault::touch_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Reports that a queue holds.
const REPORTS_MAX: usize = 8_192;

/// An attempt of the sample, as the ledger has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is.
    pub syn: Syn,
    /// Run time of its SYN, ns.
    pub ts_ns: i64,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// The sample's filter reaches such a SYN.
    pub in_reach: bool,
    /// What became of it.
    pub fate: Fate,
}

#[derive(Debug)]
struct Shared {
    /// Everything up to this run time was told. Release by the shard, Acquire by the witness: who sees a time
    /// sees every report before it in the queue.
    reached_ns: AtomicI64,
    /// Reports for which the queue had no room; statistics only, hence Relaxed.
    dropped: AtomicU64,
}

/// A shard's end. Dropping it says that nothing follows.
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
    let theirs = Reports {
        queue: consumer,
        shared: Arc::clone(&shared),
    };
    let ours = Reporter {
        sample,
        queue,
        shared,
    };
    (ours, theirs)
}

/// Bytes of one queue.
pub fn memory_bytes() -> u64 {
    (REPORTS_MAX * size_of::<Report>() + size_of::<Shared>()) as u64
}

impl Reporter {
    /// Tells of an attempt if it is in the sample. A full queue is counted, never waited for.
    pub fn tell(&mut self, report: Report) {
        if self.sample.keeps(&report.syn.ends) && self.queue.push(report).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that every attempt up to this run time was told.
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
    /// How far the shard has told; `i64::MAX` once nothing follows. Ask before taking reports.
    pub fn reached_ns(&self) -> i64 {
        self.shared.reached_ns.load(Ordering::Acquire)
    }

    /// The next report.
    pub fn pop(&mut self) -> Option<Report> {
        self.queue.pop().ok()
    }

    /// Reports that found no room so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}
