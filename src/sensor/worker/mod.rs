//! One pinned thread: blocks → frames in time order → shard → release → tick.

mod arrivals;
pub mod handover;
pub mod load;
pub mod ring;
pub mod rings;

use crate::capture::frame::Frame;
use crate::capture::ring::Reader;
use crate::host::addresses::Localities;
use crate::inspect::Rules;
use crate::shard::policy::Policy;
use crate::shard::{At, Shard};
use crate::time::clock::{Clock, Reading, Stamps};
use crate::time::durations::LAG_MAX_NS;
use crate::time::timeline::{Timeline, position_of_ts, ts_of_position};
use crossbeam::channel::Receiver;
use handover::{Order, Verdict};
use load::LoadControl;
use ring::LiveRing;
use rings::Rings;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Frames between two ticks.
const BATCH_FRAMES: usize = 4096;
/// Software stamps are taken before a frame is stored, by at most this.
const STAMP_SLACK_NS: i64 = 5_000_000;

/// A change of what a worker's shard goes by.
#[derive(Clone, Debug)]
pub enum Change {
    /// The addresses of this host.
    Localities(Arc<Localities>),
    /// All else; its localities do not count.
    Policy(Policy),
    /// Write the state, and wait for what follows.
    HandOver(Order),
    /// The thresholds of detectors.
    Rules(Box<Rules>),
    /// Whether an output asks for records of flows that ended.
    FlowRecords(bool),
}

/// A worker's thread: a shard and the rings that feed it.
pub struct Worker {
    /// Its number.
    pub id: usize,
    pub shard: Shard,
    pub rings: Rings,
    /// Rings of interfaces that came back.
    pub new_rings: Receiver<LiveRing>,
    /// Of addresses and settings.
    pub changes: Receiver<Change>,
    pub clock: Clock,
    /// The newest stamp so far, in run time.
    pub now_ns: i64,
    pub load: LoadControl,
}

impl Worker {
    /// Runs until `drain` is set (gates are closed, the last blocks are handed over) and the rings are empty.
    pub fn run(mut self, drain: &AtomicBool, mut publish: impl FnMut(&Shard)) -> Shard {
        loop {
            let drain = drain.load(Ordering::Acquire);
            self.receive_rings();
            let clock_ns = self.clock.read(Reading::take());
            let frames = self.read_frames(clock_ns, drain);
            let limit = self.tick(clock_ns);
            if self.receive_changes(limit) == Verdict::Leave {
                return self.shard;
            }
            publish(&self.shard);
            if frames == 0 && drain {
                break;
            }
            if frames == 0 {
                self.rings.wait(&self.clock, clock_ns);
            }
        }
        self.finish(&mut publish)
    }

    /// Reads frames of all rings in the order of their stamps, up to where every ring is complete.
    fn read_frames(&mut self, clock_ns: i64, drain: bool) -> usize {
        let mut frames = 0;
        while frames < BATCH_FRAMES {
            let shed = self
                .load
                .shedding
                .returns_data()
                .then_some(&mut self.shard.outbox.shed);
            let next = self.rings.next_run(&self.clock, clock_ns, drain, shed);
            let Some((index, until_ns)) = next else { break };
            let most = BATCH_FRAMES - frames;
            frames += match self.shard.opening.any() {
                false => self.read_run(index, until_ns, most, |shard, _, frame, at| {
                    shard.on_frame(frame, at);
                }),
                true => self.read_run(index, until_ns, most, |shard, reader, frame, at| {
                    shard.on_closed_frame(frame, reader.checksum(), at);
                }),
            };
        }
        frames
    }

    /// Reads frames of one ring up to a stamp, at most one block, which is released behind its last frame.
    fn read_run(
        &mut self,
        index: usize,
        until_ns: i64,
        most: usize,
        take: impl Fn(&mut Shard, &Reader, &Frame<'_>, &At<'_>),
    ) -> usize {
        let Self {
            rings,
            clock,
            shard,
            now_ns,
            ..
        } = self;
        let ring = &mut rings.all[index];
        for frames in 0..most {
            let Some(frame) = ring.reader.frame() else {
                return frames;
            };
            let ts_ns = ring.stamps.run_ns(frame.ts_ns, clock);
            if ts_ns > until_ns {
                return frames;
            }
            *now_ns = (*now_ns).max(ts_ns);
            let at = At {
                position: position_of_ts(ts_ns),
                watermark_ns: *now_ns,
                timeline: Timeline::Live,
                ring: ring.class,
            };
            take(shard, &ring.reader, &Frame { ts_ns, ..frame }, &at);
            ring.reader.advance();
        }
        most
    }

    /// Between two batches: load shedding, contacts, expiry, rings of removed interfaces. Returns the position up to which
    /// everything is decided.
    fn tick(&mut self, clock_ns: i64) -> u64 {
        let watermark_ns = self.rings.watermark(&self.clock, clock_ns);
        self.load
            .update(&mut self.rings, &mut self.shard, &mut self.clock, clock_ns);
        let own = position_of_ts(watermark_ns).saturating_sub(1);
        self.shard.publish_contacts(own, &Timeline::Live);
        let limit = self
            .shard
            .contacts_limit()
            .max(own.saturating_sub(LAG_MAX_NS))
            .min(own);
        self.shard
            .settle(limit, ts_of_position(limit), &Timeline::Live);
        self.rings.drop_gone(clock_ns);
        limit
    }

    fn receive_rings(&mut self) {
        for ring in self.new_rings.try_iter() {
            if self.load.shedding.filters_bulk() {
                // Without the filter the frames are read.
                let _ = ring.filter_bulk(true);
            }
            self.rings.all.push(LiveRing {
                stamps: Stamps::new(&self.clock),
                ..ring
            });
        }
    }

    /// Puts changes in force between two batches. Everything up to `limit` is decided.
    fn receive_changes(&mut self, limit: u64) -> Verdict {
        while let Ok(change) = self.changes.try_recv() {
            let shard = &mut self.shard;
            match change {
                Change::HandOver(order) => {
                    if self.hand_over(&order) == Verdict::Leave {
                        return Verdict::Leave;
                    }
                }
                Change::Localities(ours) => shard.policy.localities = ours,
                Change::Policy(new) => {
                    let localities = Arc::clone(&shard.policy.localities);
                    shard.change_policy(Policy { localities, ..new }, limit, &Timeline::Live);
                }
                Change::Rules(rules) => {
                    shard.detectors.change(&rules, ts_of_position(limit));
                }
                Change::FlowRecords(on) => shard.flows.record_ends(on),
            }
        }
        Verdict::GoOn
    }

    /// After the last frame: the contacts of all shards, then the end of everything open.
    fn finish(mut self, publish: &mut impl FnMut(&Shard)) -> Shard {
        const LAST: u64 = u64::MAX - 1;
        let position = position_of_ts(self.now_ns);
        self.shard.publish_rest(position, LAST, &Timeline::Live);
        while self.shard.contacts_limit() < LAST {
            // Other shards may wait for room in this one's queues.
            std::thread::yield_now();
        }
        while !self.shard.settle(LAST - 1, self.now_ns, &Timeline::Live) {}
        self.shard.finish(LAST, &Timeline::Live);
        for ring in &mut self.rings.all {
            ring.publish();
        }
        publish(&self.shard);
        self.shard
    }
}
