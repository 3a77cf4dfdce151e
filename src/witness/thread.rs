//! The witness's thread: feeds its rings and the shards' reports into the comparison until all are drained.

use super::Syn;
use super::comparison::{Comparison, Disagreement, SETTLE_NS};
use super::decode;
use super::excuses::Grant;
use super::reports::Reports;
use super::watch::{GEOMETRY, WitnessRing};
use crate::books::witness::{Excuse, WitnessCounts};
use crate::capture::bpf::sample::Sample;
use crate::time::clock::{Clock, Reading, Stamps};
use crossbeam::channel::Receiver;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const BLOCK_TIMEOUT_NS: i64 = GEOMETRY.block_timeout_ms as i64 * 1_000_000;
/// Software stamps are taken before a frame is stored, by at most this.
const STAMP_SLACK_NS: i64 = 5_000_000;
/// Maximum delay of the last block after the gates are closed.
const DRAIN_NS: i64 = 2 * BLOCK_TIMEOUT_NS + 60_000_000;
/// Frames of one ring between two reads of the shards' reports, so that their queues do not fill up.
const BATCH_FRAMES: usize = 1024;
/// Sleep while nothing comes.
const PAUSE: Duration = Duration::from_millis(20);

/// New grants from main, complete up to `until_ns` in run time.
#[derive(Debug)]
pub struct Excuses {
    pub until_ns: i64,
    pub grants: Vec<Grant>,
}

/// Published state of the witness.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub counts: WitnessCounts,
    /// Disagreements that main has not taken yet.
    pub disagreements: Vec<Disagreement>,
    /// Entries held, and capacity.
    pub occupancy: (u64, u64),
}

impl Snapshot {
    pub fn lock(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a [`Witness`] is made of.
pub struct Parts {
    pub sample: Sample,
    /// Keys of its table.
    pub keys: [u64; 2],
    /// One queue for each shard.
    pub reports: Vec<Reports>,
    pub rings: Vec<WitnessRing>,
    /// Rings of interfaces that came back.
    pub new_rings: Receiver<WitnessRing>,
    pub excuses: Receiver<Excuses>,
    pub clock: Clock,
    pub snapshot: Arc<Mutex<Snapshot>>,
}

/// The state of the witness's thread.
pub struct Witness {
    parts: Parts,
    comparison: Comparison,
    /// Run time up to which excuses are complete.
    excused_ns: i64,
    now_ns: i64,
}

impl Witness {
    /// Takes all its memory.
    pub fn new(parts: Parts) -> Self {
        Self {
            comparison: Comparison::new(parts.keys),
            parts,
            excused_ns: i64::MIN,
            now_ns: i64::MIN,
        }
    }

    /// Runs until `drain` is set, the last block was handed over and every shard has ended its reports.
    pub fn run(&mut self, drain: &AtomicBool) {
        let mut drained_ns = None;
        loop {
            let draining = drain.load(Ordering::Acquire);
            self.now_ns = self.parts.clock.read(Reading::take());
            self.receive_rings();
            self.receive_excuses();
            let (frames, seen_ns) = self.read_rings();
            let (reports, reported_ns) = self.read_reports();
            self.drop_gone();
            self.comparison
                .settle(seen_ns.min(reported_ns).min(self.excused_ns));
            self.publish();
            if draining && frames + reports == 0 {
                let end_ns = *drained_ns.get_or_insert(self.now_ns.saturating_add(DRAIN_NS));
                if reported_ns == i64::MAX && self.now_ns >= end_ns {
                    return;
                }
            }
            if frames + reports == 0 {
                // No wakeup: neither reports nor the few frames of a sample are urgent.
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// After all threads: takes the last excuses and decides the rest.
    pub fn finish(&mut self) {
        self.receive_excuses();
        self.comparison.settle(i64::MAX);
        self.publish();
    }

    fn receive_rings(&mut self) {
        let clock = &self.parts.clock;
        let new = self.parts.new_rings.try_iter().map(|ring| WitnessRing {
            stamps: Stamps::new(clock),
            ..ring
        });
        self.parts.rings.extend(new);
    }

    fn receive_excuses(&mut self) {
        for Excuses { until_ns, grants } in self.parts.excuses.try_iter() {
            for grant in grants {
                self.comparison.grant(grant);
            }
            self.excused_ns = self.excused_ns.max(until_ns);
        }
    }

    /// Reads the rings. Returns the number of frames, and the run time up to which none is missing.
    fn read_rings(&mut self) -> (usize, i64) {
        let mut all = 0;
        let mut limit_ns = self
            .now_ns
            .saturating_sub(BLOCK_TIMEOUT_NS + STAMP_SLACK_NS);
        let clock = &self.parts.clock;
        for ring in &mut self.parts.rings {
            let mut frames = 0;
            while ring.reader.refill() {
                let frame = ring.reader.frame().expect("refilled");
                let ts_ns = ring.stamps.run_ns(frame.ts_ns, clock);
                if frames == BATCH_FRAMES {
                    limit_ns = limit_ns.min(ts_ns.saturating_sub(1));
                    break;
                }
                let kept = |syn: &Syn| self.parts.sample.keeps(&syn.ends);
                match decode::syn(&frame).filter(kept) {
                    Some(syn) => self
                        .comparison
                        .on_syn(syn, ts_ns, frame.interface, self.now_ns),
                    None => self.comparison.on_unread(ts_ns, frame.interface),
                }
                ring.reader.advance();
                frames += 1;
            }
            all += frames;
        }
        (all, limit_ns)
    }

    /// Reads the shards' reports. Returns their number, and the run time up to which none is missing.
    fn read_reports(&mut self) -> (usize, i64) {
        let (mut all, mut limit_ns, mut dropped) = (0, i64::MAX, 0);
        for reports in &mut self.parts.reports {
            limit_ns = limit_ns.min(reports.reached_ns());
            while let Some(report) = reports.pop() {
                self.comparison.on_report(&report, self.now_ns);
                all += 1;
            }
            dropped += reports.dropped();
        }
        let new = dropped.saturating_sub(self.comparison.counts.reports_dropped);
        self.comparison.counts.reports_dropped = dropped;
        self.comparison.grant(Grant {
            excuse: Excuse::QueueFull,
            interface: None,
            // A shard that is behind reports late.
            from_ns: limit_ns.min(self.now_ns).saturating_sub(SETTLE_NS),
            until_ns: self.now_ns,
            left: new,
        });
        (all, limit_ns)
    }

    /// Drops rings of removed interfaces, once they are empty.
    fn drop_gone(&mut self) {
        let now_ns = self.now_ns;
        self.parts.rings.retain_mut(|ring| {
            if !ring.dead.load(Ordering::Acquire) {
                return true;
            }
            let since_ns = *ring.dead_since_ns.get_or_insert(now_ns);
            ring.reader.refill() || now_ns.saturating_sub(since_ns) < DRAIN_NS
        });
    }

    fn publish(&mut self) {
        let mut shared = Snapshot::lock(&self.parts.snapshot);
        shared.counts = self.comparison.counts;
        shared.occupancy = self.comparison.occupancy();
        if shared.disagreements.is_empty() {
            std::mem::swap(
                &mut shared.disagreements,
                &mut self.comparison.disagreements,
            );
        }
    }
}
