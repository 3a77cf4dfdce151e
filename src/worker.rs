//! One pinned thread: blocks → frames in time order → shard → give back → tick.

use crate::capture::clock::{Clock, Reading, Stamps};
use crate::capture::frame::{Class, Frame};
use crate::capture::group::Group;
use crate::capture::poll::Poller;
use crate::capture::ring::Reader;
use crate::inspect::timeline::{Timeline, position_of_ts, ts_of_position};
use crate::locality::Localities;
use crate::shard::{At, Shard};
use crossbeam::channel::Receiver;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Frames between two ticks.
const BATCH_FRAMES: usize = 4096;
/// Software stamps are taken before a frame is stored, by at most this.
const STAMP_SLACK_NS: i64 = 5_000_000;
/// A worker further behind than this is not waited for.
const BEHIND_MAX_NS: u64 = 500_000_000;
/// Data blocks go back unread while more of the `open` ring than 1 in this many blocks waits.
const PRESSURE: u32 = 4;

/// CLOCK_REALTIME in nanoseconds since the Unix epoch.
pub fn wall_clock_ns() -> i64 {
    Reading::take().real_ns
}

/// What a worker lets others see of one ring.
#[derive(Debug, Default)]
pub struct RingView {
    /// Frames read from its blocks.
    pub frames_read: AtomicU64,
    /// Frames given back unread.
    pub shed_data: AtomicU64,
    /// Blocks that wait.
    pub occupied: AtomicU32,
    /// Its group is gone: read what is left, then let go.
    pub dead: AtomicBool,
}

/// A ring and the socket that fills it.
pub struct LiveRing {
    /// Reads its blocks.
    pub reader: Reader,
    /// The group it belongs to; kept open as long as anybody reads from it.
    pub group: Arc<Group>,
    /// Its number in the group.
    pub member: usize,
    /// Its class, where rings are by class.
    pub class: Option<Class>,
    /// Its frames' stamps, in run time.
    pub stamps: Stamps,
    /// What others see of it.
    pub view: Arc<RingView>,
    /// Run time at which its group was found gone.
    pub dead_since_ns: Option<i64>,
}

/// How far the run has got.
#[derive(Debug, Default)]
pub struct Stage {
    /// Gates are closed and the last blocks have been handed over: read them and finish.
    pub drain: AtomicBool,
}

/// What a worker is made of.
pub struct Worker {
    /// Its number.
    pub id: usize,
    /// The state it owns.
    pub shard: Shard,
    /// Its rings, of every interface.
    pub rings: Vec<LiveRing>,
    /// Rings of interfaces that come back.
    pub new_rings: Receiver<LiveRing>,
    /// Localities, when addresses change.
    pub localities: Receiver<Arc<Localities>>,
    /// `tp_retire_blk_tov`.
    pub block_timeout: Duration,
    /// Run time.
    pub clock: Clock,
    /// The newest stamp so far, in run time.
    pub now_ns: i64,
}

impl LiveRing {
    /// Run time of the frame at the head, if a block waits.
    fn head_ns(&mut self, clock: &Clock) -> Option<i64> {
        let stamp_ns = self.reader.ts_ns()?;
        Some(self.stamps.run_ns(stamp_ns, clock))
    }

    /// How far a ring without a waiting block is complete: up to its last frame, and up to a block timeout
    /// ago.
    fn known_ns(&self, clock_ns: i64, block_timeout: Duration) -> i64 {
        let timeout_ns = i64::try_from(block_timeout.as_nanos()).unwrap_or(i64::MAX);
        let by_clock = clock_ns
            .saturating_sub(timeout_ns)
            .saturating_sub(STAMP_SLACK_NS);
        let last = self.reader.last_ts_ns();
        last.map_or(by_clock, |last| {
            self.stamps.passed_run_ns(last).max(by_clock)
        })
    }
}

impl Worker {
    /// Runs until the stage says drain and the rings are empty.
    pub fn run(mut self, stage: &Stage, mut publish: impl FnMut(&Shard)) -> Shard {
        let mut poller = Poller::with_capacity(self.rings.len());
        loop {
            let drain = stage.drain.load(Ordering::Acquire);
            self.take_news();
            let clock_ns = self.clock.read(Reading::take());
            let frames = self.read_frames(clock_ns, drain);
            let watermark_ns = self.watermark(clock_ns);
            self.tick(watermark_ns);
            self.let_go(clock_ns);
            publish(&self.shard);
            if frames == 0 && drain {
                break;
            }
            if frames == 0 {
                self.idle(&mut poller);
            }
        }
        self.finish(&mut publish)
    }

    fn take_news(&mut self) {
        let clock = &self.clock;
        self.rings
            .extend(self.new_rings.try_iter().map(|ring| LiveRing {
                stamps: Stamps::new(clock),
                ..ring
            }));
        if let Some(localities) = self.localities.try_iter().last() {
            self.shard.policy.localities = localities;
        }
    }

    /// Reads frames of all rings in the order of their stamps, as far as every ring is known.
    fn read_frames(&mut self, clock_ns: i64, drain: bool) -> usize {
        let shed = self.under_pressure();
        for frames in 0..BATCH_FRAMES {
            let mut head: Option<(i64, usize)> = None;
            let mut limit = i64::MAX;
            for (index, ring) in self.rings.iter_mut().enumerate() {
                if !ring.reader.refill() {
                    limit = limit.min(ring.known_ns(clock_ns, self.block_timeout));
                    continue;
                }
                if shed && ring.class == Some(Class::Data) {
                    ring.reader.give_back();
                    continue;
                }
                let ts_ns = ring.head_ns(&self.clock).expect("refilled");
                if head.is_none_or(|(first, _)| ts_ns < first) {
                    head = Some((ts_ns, index));
                }
            }
            match head {
                Some((ts_ns, index)) if drain || ts_ns <= limit => self.read_run(index, ts_ns),
                _ => return frames,
            }
        }
        BATCH_FRAMES
    }

    fn read_run(&mut self, index: usize, ts_ns: i64) {
        let ring = &mut self.rings[index];
        self.now_ns = self.now_ns.max(ts_ns);
        let frame = Frame {
            ts_ns,
            ..ring.reader.frame().expect("refilled")
        };
        let at = At {
            position: position_of_ts(ts_ns),
            watermark_ns: self.now_ns,
            timeline: Timeline::Live,
            ring: ring.class,
        };
        self.shard.on_frame(&frame, &at);
        ring.reader.advance();
    }

    fn under_pressure(&self) -> bool {
        let open = self
            .rings
            .iter()
            .filter(|ring| ring.class == Some(Class::Open));
        open.map(|ring| ring.reader.ring())
            .any(|ring| ring.occupied_blocks() * PRESSURE > ring.geometry().block_nr)
    }

    /// No frame older than this will come from any ring.
    fn watermark(&mut self, clock_ns: i64) -> i64 {
        let (clock, block_timeout) = (&self.clock, self.block_timeout);
        let known = |ring: &mut LiveRing| {
            // A batch may end behind the last frame of a block: only a ring without a block is idle.
            ring.reader.refill();
            let head_ns = ring.head_ns(clock);
            head_ns.unwrap_or_else(|| ring.known_ns(clock_ns, block_timeout))
        };
        self.rings
            .iter_mut()
            .map(known)
            .min()
            .unwrap_or(clock_ns - STAMP_SLACK_NS)
    }

    fn tick(&mut self, watermark_ns: i64) {
        let own = position_of_ts(watermark_ns).saturating_sub(1);
        self.shard.publish_contacts(own, &Timeline::Live);
        let limit = self
            .shard
            .contacts_limit()
            .max(own.saturating_sub(BEHIND_MAX_NS))
            .min(own);
        self.shard
            .settle(limit, ts_of_position(limit), &Timeline::Live);
        for ring in &self.rings {
            show(ring);
        }
    }

    /// Drops rings of groups that are gone, once they are empty and the kernel has handed over the block it
    /// was filling.
    fn let_go(&mut self, clock_ns: i64) {
        let timeout_ns = i64::try_from(self.block_timeout.as_nanos()).unwrap_or(i64::MAX);
        let grace_ns = timeout_ns.saturating_mul(2) + STAMP_SLACK_NS;
        self.rings.retain_mut(|ring| {
            if !ring.view.dead.load(Ordering::Acquire) {
                return true;
            }
            let since_ns = *ring.dead_since_ns.get_or_insert(clock_ns);
            let keep = ring.reader.refill() || clock_ns.saturating_sub(since_ns) < grace_ns;
            if !keep {
                show(ring);
            }
            keep
        });
    }

    fn idle(&mut self, poller: &mut Poller) {
        // While a block is open poll returns at once: the last block closed is not the kernel's.
        if self.rings.iter().any(|ring| ring.reader.frames_left() > 0) || self.rings.is_empty() {
            std::thread::sleep(self.block_timeout / 4);
            return;
        }
        let sockets = self
            .rings
            .iter()
            .map(|ring| &ring.group.sockets()[ring.member]);
        if poller.wait(sockets, self.block_timeout).is_err() {
            std::thread::sleep(self.block_timeout);
        }
        for place in poller.failed() {
            // A link that went down: the kernel joins the socket again by itself; main tells it.
            let ring = &self.rings[place];
            let _ = ring.group.sockets()[ring.member].take_error();
        }
    }

    /// After the last frame: what all shards' contacts decide, then what is open.
    fn finish(mut self, publish: &mut impl FnMut(&Shard)) -> Shard {
        const LAST: u64 = u64::MAX - 1;
        self.shard.publish_contacts(LAST, &Timeline::Live);
        while self.shard.contacts_limit() < LAST {
            // The others may be waiting for room in this one's queues.
            std::thread::yield_now();
        }
        while !self.shard.settle(LAST - 1, self.now_ns, &Timeline::Live) {}
        self.shard.finish(LAST, &Timeline::Live);
        for ring in &self.rings {
            show(ring);
        }
        publish(&self.shard);
        self.shard
    }
}

fn show(ring: &LiveRing) {
    let counts = ring.reader.counts();
    ring.view
        .frames_read
        .store(counts.frames_read, Ordering::Release);
    ring.view
        .shed_data
        .store(counts.frames_unread, Ordering::Release);
    ring.view
        .occupied
        .store(ring.reader.ring().occupied_blocks(), Ordering::Relaxed);
}
