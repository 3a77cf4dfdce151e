//! One pinned thread: blocks → frames in time order → shard → give back → tick.

use crate::capture::frame::{Class, Frame};
use crate::capture::group::Group;
use crate::capture::ring::poll::Poller;
use crate::capture::ring::{Reader, Waiting};
use crate::capture::valve::Valve;
use crate::host::addresses::Localities;
use crate::shard::{At, Shard};
use crate::shedding::{Backlog, Level, Load, Shedding, Spans, Step};
use crate::time::clock::{Clock, Reading, Stamps};
use crate::time::durations::LAG_MAX_NS;
use crate::time::timeline::{Timeline, position_of_ts, ts_of_position};
use crossbeam::channel::{Receiver, Sender};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Frames between two ticks.
const BATCH_FRAMES: usize = 4096;
/// Software stamps are taken before a frame is stored, by at most this.
const STAMP_SLACK_NS: i64 = 5_000_000;

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
    /// Bytes of the ring that wait to be read.
    pub waiting_bytes: AtomicU64,
    /// Frames for which there was no room, as of main's last look at the kernel's counters.
    pub drops: AtomicU64,
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
    /// Its filters.
    pub valve: Arc<Valve>,
    /// Its frames' stamps, in run time.
    pub stamps: Stamps,
    /// What others see of it.
    pub view: Arc<RingView>,
    /// [`crate::capture::ring::ReaderCounts::blocks_losing`] at the last look.
    pub losing_seen: u64,
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
    /// What it lets go of.
    pub shedding: Shedding,
    /// Where steps of that are told.
    pub steps: Sender<ShedStep>,
    /// Drops of all rings at the last look.
    pub drops_seen: u64,
    /// Frames that arrived lately.
    pub arrivals: RecentArrivals,
}

/// Exponentially decayed arrivals (half-life 1 s), dropped frames included.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecentArrivals {
    seen: [u64; 2],
    recent: [f64; 2],
    halved_ns: i64,
}

impl RecentArrivals {
    /// The share of data in recent arrivals; all arrivals since the start are `all`, of them `data`.
    fn share_of_data(&mut self, (data, all): (u64, u64), now_ns: i64) -> f64 {
        const SECOND_NS: i64 = 1_000_000_000;
        /// Minimum denominator: with fewer recent frames the share is noise.
        const LEAST: f64 = 1024.0;
        // Where rings of an interface went their counts went along.
        let more = [data, all].map(|count| count as f64);
        let more = [0, 1].map(|at| (more[at] - self.seen[at] as f64).max(0.0));
        self.seen = [data, all];
        let halve = now_ns.saturating_sub(self.halved_ns) >= SECOND_NS;
        if halve {
            self.halved_ns = now_ns;
        }
        let factor = if halve { 0.5 } else { 1.0 };
        self.recent = [0, 1].map(|at| self.recent[at] * factor + more[at]);
        self.recent[0] / self.recent[1].max(LEAST)
    }
}

/// A worker's step up or down.
#[derive(Clone, Debug)]
pub struct ShedStep {
    /// The worker.
    pub worker: usize,
    /// By the wall clock.
    pub ts_ns: i64,
    /// The step.
    pub step: Step,
    /// Why the kernel's filter could not be changed.
    pub trouble: Option<String>,
}

impl LiveRing {
    /// Run time of the frame at the head, if a block waits.
    fn head_ns(&mut self, clock: &Clock) -> Option<i64> {
        // A batch may end behind the last frame of a block: only a ring without a block is idle.
        self.reader.refill();
        let stamp_ns = self.reader.ts_ns()?;
        Some(self.stamps.run_ns(stamp_ns, clock))
    }

    /// Has the kernel refuse bulk data, or take them again.
    fn refuse_bulk(&self, refuse: bool) -> Result<(), String> {
        let socket = &self.group.sockets()[self.member];
        let turned = self.valve.refuse_bulk(socket, refuse);
        turned.map_err(|error| error.to_string())
    }

    /// How far a ring without a waiting block is complete: up to its last frame, and up to a block timeout
    /// ago.
    fn known_ns(&self, clock_ns: i64, block_timeout: Duration) -> i64 {
        let by_clock = clock_ns
            .saturating_sub(timeout_ns(block_timeout))
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
            self.look_at_load(clock_ns);
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
        let narrow = self.shedding.refuses_bulk();
        for ring in self.new_rings.try_iter() {
            if narrow {
                // What cannot be refused is read.
                let _ = ring.refuse_bulk(true);
            }
            self.rings.push(LiveRing {
                stamps: Stamps::new(&self.clock),
                ..ring
            });
        }
        if let Some(localities) = self.localities.try_iter().last() {
            self.shard.policy.localities = localities;
        }
    }

    /// Reads frames of all rings in the order of their stamps, as far as every ring is known.
    fn read_frames(&mut self, clock_ns: i64, drain: bool) -> usize {
        let mut frames = 0;
        while frames < BATCH_FRAMES
            && let Some((index, until_ns)) = self.next_run(clock_ns, drain)
        {
            frames += self.read_run(index, until_ns, BATCH_FRAMES - frames);
        }
        frames
    }

    /// The ring of the oldest frame, and how far it comes before all others.
    fn next_run(&mut self, clock_ns: i64, drain: bool) -> Option<(usize, i64)> {
        let shed = self.shedding.returns_data();
        let (mut head, mut until_ns): (Option<(i64, usize)>, i64) = (None, i64::MAX);
        for (index, ring) in self.rings.iter_mut().enumerate() {
            if shed && ring.class == Some(Class::Data) {
                shed_data(ring, &self.clock, &mut self.shard.outbox().shed);
            }
            let Some(ts_ns) = ring.head_ns(&self.clock) else {
                if !drain {
                    until_ns = until_ns.min(ring.known_ns(clock_ns, self.block_timeout));
                }
                continue;
            };
            // Of equal stamps the ring that comes first.
            match head {
                Some((first_ns, _)) if ts_ns >= first_ns => until_ns = until_ns.min(ts_ns),
                _ => {
                    until_ns = until_ns.min(head.map_or(i64::MAX, |(first_ns, _)| first_ns - 1));
                    head = Some((ts_ns, index));
                }
            }
        }
        let (ts_ns, index) = head?;
        (ts_ns <= until_ns).then_some((index, until_ns))
    }

    /// Reads frames of one ring up to a stamp, of one block at most.
    fn read_run(&mut self, index: usize, until_ns: i64, most: usize) -> usize {
        let Self {
            rings,
            clock,
            shard,
            now_ns,
            ..
        } = self;
        let ring = &mut rings[index];
        for frames in 0..most {
            let Some(frame) = ring.reader.frame() else {
                return frames;
            };
            let ts_ns = ring.stamps.run_ns(frame.ts_ns, clock);
            if ts_ns > until_ns {
                return frames;
            }
            ring.reader.announce_next();
            *now_ns = (*now_ns).max(ts_ns);
            let at = At {
                position: position_of_ts(ts_ns),
                watermark_ns: *now_ns,
                timeline: Timeline::Live,
                ring: ring.class,
            };
            shard.on_frame(&Frame { ts_ns, ..frame }, &at);
            ring.reader.advance();
        }
        most
    }

    /// Looks whether to let go of more or of less.
    fn look_at_load(&mut self, clock_ns: i64) {
        let load = self.load(clock_ns);
        if self.shedding.level() == Level::None && self.shard.outbox().shed.is_open() {
            // The kernel had no memory for a filter at the last step down.
            let _ = self.take_bulk();
        }
        // Up as far as it takes; down is one step at a time.
        while let Some(step) = self.shedding.look(clock_ns, &load) {
            let trouble = self.apply(&step);
            // Main reads them for as long as workers run.
            let _ = self.steps.send(ShedStep {
                worker: self.id,
                ts_ns: wall_clock_ns(),
                step,
                trouble,
            });
        }
        self.shard.counts.shed = self.shedding.counts;
    }

    fn load(&mut self, clock_ns: i64) -> Load {
        let mut load = Load::default();
        let late_ns = clock_ns
            .saturating_sub(timeout_ns(self.block_timeout).saturating_mul(2))
            .saturating_sub(STAMP_SLACK_NS);
        let mut drops = 0_u64;
        let (mut data, mut all) = (0_u64, 0_u64);
        for ring in &mut self.rings {
            let ring_drops = ring.view.drops.load(Ordering::Relaxed);
            let counts = ring.reader.counts();
            let frames = counts.frames_read + counts.frames_unread + ring_drops;
            all += frames;
            data += frames * u64::from(ring.class == Some(Class::Data));
            drops = drops.wrapping_add(ring_drops);
            let waiting = publish(ring);
            let head_ns = ring.head_ns(&self.clock);
            // The kernel says in the next block that it dropped frames; its counters are read once a second.
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

    /// Carries a step out. Says what the kernel refused.
    fn apply(&mut self, step: &Step) -> Option<String> {
        let outbox = self.shard.outbox();
        outbox.fold_all(step.to >= Level::Lines);
        match (self.shedding.refuses_bulk(), outbox.shed.is_open()) {
            (true, false) => {
                let now_ns = self.clock.read(Reading::take());
                outbox.shed.begin(now_ns - STAMP_SLACK_NS);
                self.refuse_bulk(true)
            }
            (false, true) => self.take_bulk(),
            _ => None,
        }
    }

    /// Lets bulk data in again. They are shed until the kernel has taken the last filter.
    fn take_bulk(&mut self) -> Option<String> {
        let trouble = self.refuse_bulk(false);
        if trouble.is_none() {
            let now_ns = self.clock.read(Reading::take());
            self.shard.outbox().shed.end(now_ns + STAMP_SLACK_NS);
        }
        trouble
    }

    /// Turns the filters of all rings; what the kernel said, if it did not take one.
    fn refuse_bulk(&self, refuse: bool) -> Option<String> {
        let turned = self.rings.iter().map(|ring| ring.refuse_bulk(refuse));
        turned.fold(None, |trouble, one| trouble.or(one.err()))
    }

    /// No frame older than this will come from any ring.
    fn watermark(&mut self, clock_ns: i64) -> i64 {
        let (clock, block_timeout) = (&self.clock, self.block_timeout);
        let known = |ring: &mut LiveRing| {
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
            .max(own.saturating_sub(LAG_MAX_NS))
            .min(own);
        self.shard
            .settle(limit, ts_of_position(limit), &Timeline::Live);
    }

    /// Drops rings of groups that are gone, once they are empty and the kernel has handed over the block it
    /// was filling.
    fn let_go(&mut self, clock_ns: i64) {
        let grace_ns = timeout_ns(self.block_timeout).saturating_mul(2) + STAMP_SLACK_NS;
        self.rings.retain_mut(|ring| {
            if !ring.view.dead.load(Ordering::Acquire) {
                return true;
            }
            let since_ns = *ring.dead_since_ns.get_or_insert(clock_ns);
            let keep = ring.reader.refill() || clock_ns.saturating_sub(since_ns) < grace_ns;
            if !keep {
                publish(ring);
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
        for ring in &mut self.rings {
            self::publish(ring);
        }
        publish(&self.shard);
        self.shard
    }
}

fn timeout_ns(block_timeout: Duration) -> i64 {
    i64::try_from(block_timeout.as_nanos()).unwrap_or(i64::MAX)
}

/// Gives back unread what waits in a data ring, once around at most.
fn shed_data(ring: &mut LiveRing, clock: &Clock, shed: &mut Spans) {
    for _ in 0..ring.reader.geometry().block_nr {
        let Some(ts_ns) = ring.head_ns(clock) else {
            return;
        };
        shed.begin(ts_ns);
        ring.reader.give_back();
    }
}

/// Publishes what others see of the ring; gives what waits in it.
fn publish(ring: &mut LiveRing) -> Waiting {
    let (counts, waiting) = (ring.reader.counts(), ring.reader.waiting());
    let view = &ring.view;
    view.frames_read
        .store(counts.frames_read, Ordering::Release);
    view.shed_data
        .store(counts.frames_unread, Ordering::Release);
    view.waiting_bytes.store(waiting.bytes, Ordering::Relaxed);
    waiting
}
