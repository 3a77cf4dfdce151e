//! The witness's thread: its rings and the shards' reports into the comparison, until all is drained.

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
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const BLOCK_TIMEOUT_NS: i64 = GEOMETRY.block_timeout_ms as i64 * 1_000_000;
/// Software stamps are taken before a frame is stored, by at most this.
const STAMP_SLACK_NS: i64 = 5_000_000;
/// How long after the gates are closed the last block may come.
const DRAIN_NS: i64 = 2 * BLOCK_TIMEOUT_NS + 60_000_000;
/// Frames of one ring between two looks at the shards' reports, whose queues must not fill up meanwhile.
const BATCH_FRAMES: usize = 1024;
/// How long the thread sleeps where nothing came.
const PAUSE: Duration = Duration::from_millis(20);

/// What main tells: what may excuse differences, complete up to a time.
#[derive(Debug)]
pub struct Known {
    /// Run time up to which the grants are complete, ns.
    pub until_ns: i64,
    /// The grants since the last ones.
    pub grants: Vec<Grant>,
}

/// What the thread lets others see.
#[derive(Debug, Default)]
pub struct Shown {
    /// What was counted.
    pub counts: WitnessCounts,
    /// Disagreements that nobody has taken yet.
    pub disagreements: Vec<Disagreement>,
    /// Entries held, and room.
    pub occupancy: (u64, u64),
}

/// What the witness is made of.
pub struct Parts {
    /// What it sees.
    pub sample: Sample,
    /// Keys of its table.
    pub keys: [u64; 2],
    /// What each shard tells.
    pub reports: Vec<Reports>,
    /// Its rings.
    pub rings: Vec<WitnessRing>,
    /// Rings of interfaces that come back.
    pub new_rings: Receiver<WitnessRing>,
    /// What main knows.
    pub known: Receiver<Known>,
    /// Run time.
    pub clock: Clock,
    /// What others see.
    pub shown: Arc<Mutex<Shown>>,
}

/// The witness.
pub struct Witness {
    parts: Parts,
    comparison: Comparison,
    known_ns: i64,
    now_ns: i64,
}

impl Witness {
    /// Takes all its memory.
    pub fn new(parts: Parts) -> Self {
        Self {
            comparison: Comparison::new(parts.keys),
            parts,
            known_ns: i64::MIN,
            now_ns: i64::MIN,
        }
    }

    /// Runs until `drain` is set, the last block was handed over and every shard has told its last.
    pub fn run(&mut self, drain: &AtomicBool) {
        let mut drained_ns = None;
        loop {
            let draining = drain.load(Ordering::Acquire);
            self.now_ns = self.parts.clock.read(Reading::take());
            self.take_news();
            let (frames, seen_ns) = self.read_rings();
            let (reports, told_ns) = self.read_reports();
            self.let_go();
            self.comparison
                .settle(seen_ns.min(told_ns).min(self.known_ns));
            self.show();
            if draining && frames + reports == 0 {
                let end_ns = *drained_ns.get_or_insert(self.now_ns.saturating_add(DRAIN_NS));
                if told_ns == i64::MAX && self.now_ns >= end_ns {
                    return;
                }
            }
            if frames + reports == 0 {
                // Nobody wakes it: neither reports nor the few frames of a sample are in a hurry.
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// After all threads: counts what is left, with the last of what main knows.
    pub fn finish(&mut self) {
        self.take_known();
        self.comparison.settle(i64::MAX);
        self.show();
    }

    fn take_news(&mut self) {
        let clock = &self.parts.clock;
        let new = self.parts.new_rings.try_iter().map(|ring| WitnessRing {
            stamps: Stamps::new(clock),
            ..ring
        });
        self.parts.rings.extend(new);
        self.take_known();
    }

    fn take_known(&mut self) {
        for known in self.parts.known.try_iter() {
            known
                .grants
                .into_iter()
                .for_each(|grant| self.comparison.grant(grant));
            self.known_ns = self.known_ns.max(known.until_ns);
        }
    }

    /// Reads what waits in the rings. How many frames, and up to which time none is missing.
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

    /// Takes what the shards have told. How many reports, and up to which time none is missing.
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
            // A shard that is behind tells late.
            from_ns: limit_ns.min(self.now_ns).saturating_sub(SETTLE_NS),
            until_ns: self.now_ns,
            left: new,
        });
        (all, limit_ns)
    }

    /// Drops rings of interfaces that are gone, once they are empty.
    fn let_go(&mut self) {
        let now_ns = self.now_ns;
        self.parts.rings.retain_mut(|ring| {
            if !ring.is_dead() {
                return true;
            }
            let since_ns = *ring.dead_since_ns.get_or_insert(now_ns);
            ring.reader.refill() || now_ns.saturating_sub(since_ns) < DRAIN_NS
        });
    }

    fn show(&mut self) {
        let mut shown = shown(&self.parts.shown);
        shown.counts = self.comparison.counts;
        shown.occupancy = self.comparison.occupancy();
        if shown.disagreements.is_empty() {
            std::mem::swap(&mut shown.disagreements, &mut self.comparison.disagreements);
        }
    }
}

/// The shown state, whoever panicked with it in hand.
pub fn shown(shown: &Mutex<Shown>) -> std::sync::MutexGuard<'_, Shown> {
    shown.lock().unwrap_or_else(PoisonError::into_inner)
}
