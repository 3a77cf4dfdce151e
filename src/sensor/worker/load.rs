//! Measures the load of a worker's rings and applies load shedding.

use super::STAMP_SLACK_NS;
use super::arrivals::RecentArrivals;
use super::rings::Rings;
use crate::capture::frame::Class;
use crate::capture::mode::CaptureDepth;
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::shedding::{Backlog, Level, LevelStep, Load, Shedding};
use crate::snapshot::{Layout, Snapshot as _};
use crate::time::clock::{Clock, Reading, wall_clock_ns};
use crossbeam::channel::Sender;
use std::io;
use std::sync::atomic::Ordering;

/// A worker's step of load shedding.
#[derive(Clone, Debug)]
pub struct ShedStep {
    pub worker: usize,
    /// By the wall clock.
    pub ts_ns: i64,
    pub step: LevelStep,
    /// Why the kernel's filter could not be changed.
    pub error: Option<String>,
}

/// Steps a worker up and down the levels of load shedding.
pub struct LoadControl {
    worker: usize,
    pub shedding: Shedding,
    steps: Sender<ShedStep>,
    /// Without load shedding all packets are captured.
    pub hears_all: bool,
    /// Drops of all rings at the last look.
    drops_seen: u64,
    arrivals: RecentArrivals,
}

impl LoadControl {
    /// Starts at level 0, and stays there without `--shed auto`. Steps are sent to `steps`.
    pub fn new(worker: usize, config: &RunConfig, steps: Sender<ShedStep>) -> Self {
        Self {
            worker,
            shedding: Shedding::new(config.shed),
            steps,
            hears_all: config.capture != CaptureDepth::Control,
            drops_seen: 0,
            arrivals: RecentArrivals::default(),
        }
    }

    /// Level, hold times and what they were made of, as bytes.
    pub fn save(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.shedding.save(&mut bytes)?;
        (self.drops_seen, self.arrivals).save(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads what [`LoadControl::save`] of another process wrote.
    pub fn restore(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.shedding.restore(&mut bytes)?;
        let mut seen = (0, RecentArrivals::default());
        seen.restore(&mut bytes)?;
        (self.drops_seen, self.arrivals) = seen;
        Ok(())
    }

    /// Adds names and types of what [`LoadControl::save`] writes.
    pub fn layout(layout: &mut Layout) {
        Shedding::layout(layout);
        <(u64, RecentArrivals)>::layout(layout);
    }

    /// Publishes the state of the rings, and steps up or down where their load asks for it.
    pub fn update(
        &mut self,
        rings: &mut Rings,
        shard: &mut Shard,
        clock: &mut Clock,
        clock_ns: i64,
    ) {
        let load = self.load(rings, clock, clock_ns);
        if self.shedding.level() == Level::None && shard.outbox.shed.is_open() {
            // The last switch back failed for lack of kernel memory: try again.
            let _ = self.admit_bulk(rings, shard, clock);
        }
        while let Some(step) = self.shedding.update(clock_ns, &load) {
            let error = self.apply(&step, rings, shard, clock);
            // The receiver outlives all workers.
            let _ = self.steps.send(ShedStep {
                worker: self.worker,
                ts_ns: wall_clock_ns(),
                step,
                error,
            });
        }
        shard.counts.shed = self.shedding.counts;
    }

    fn load(&mut self, rings: &mut Rings, clock: &Clock, clock_ns: i64) -> Load {
        let mut load = Load::default();
        let late_ns = rings.late_ns(clock_ns);
        let mut drops = 0_u64;
        let (mut data, mut all) = (0_u64, 0_u64);
        for ring in &mut rings.all {
            let ring_drops = ring.view.drops.load(Ordering::Relaxed);
            let counts = ring.reader.counts();
            let frames = counts.frames_read + counts.frames_unread + ring_drops;
            all += frames;
            data += frames * u64::from(ring.class == Some(Class::Data));
            drops = drops.wrapping_add(ring_drops);
            let waiting = ring.publish();
            let head_ns = ring.head_ns(clock);
            // The next block says that frames were dropped; the kernel's counters are read only once a second.
            let losing = counts.blocks_losing > ring.losing_seen;
            ring.losing_seen = counts.blocks_losing;
            load.dropped |= losing;
            let backlog = Backlog {
                share: waiting.bytes as f64 / ring.reader.geometry().bytes() as f64,
                late: losing || head_ns.is_some_and(|head_ns| head_ns < late_ns),
            };
            let of_class = match ring.class {
                Some(Class::Open) => &mut load.open,
                Some(Class::Control) => &mut load.control,
                Some(Class::Data) => &mut load.data,
                None => continue,
            };
            *of_class = of_class.worse(backlog);
        }
        load.dropped |= std::mem::replace(&mut self.drops_seen, drops) != drops;
        load.data_share = self.arrivals.share_of_data((data, all), clock_ns);
        load
    }

    /// Applies a step; returns the kernel's error, if any.
    fn apply(
        &self,
        step: &LevelStep,
        rings: &Rings,
        shard: &mut Shard,
        clock: &mut Clock,
    ) -> Option<String> {
        let outbox = &mut shard.outbox;
        outbox.fold_all(step.to >= Level::Lines);
        match (self.shedding.filters_bulk(), outbox.shed.is_open()) {
            (true, false) => {
                let now_ns = clock.read(Reading::take());
                outbox.shed.begin(now_ns - STAMP_SLACK_NS);
                shard.flows.hear_all(false);
                filter_bulk(rings, true)
            }
            (false, true) => self.admit_bulk(rings, shard, clock),
            _ => None,
        }
    }

    /// Admits bulk data again. They count as shed until the kernel has taken the last filter.
    fn admit_bulk(&self, rings: &Rings, shard: &mut Shard, clock: &mut Clock) -> Option<String> {
        let error = filter_bulk(rings, false);
        if error.is_none() {
            let now_ns = clock.read(Reading::take());
            shard.outbox.shed.end(now_ns + STAMP_SLACK_NS);
            shard.flows.hear_all(self.hears_all);
        }
        error
    }
}

/// Switches the filters of all rings; returns the first error of the kernel.
fn filter_bulk(rings: &Rings, filter: bool) -> Option<String> {
    let results = rings.all.iter().map(|ring| ring.filter_bulk(filter));
    results.fold(None, |error, one| error.or(one.err()))
}
