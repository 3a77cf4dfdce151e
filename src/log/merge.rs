//! Events of all shards, in one order: a bounded queue per shard, and the merge of the queues.
//!
//! A shard pushes its events in the log's order ([`Event::cmp_order`]) and publishes positions behind which nothing
//! of it follows. Queues have one producer and one consumer.
//!
//! The smallest head may go out once no shard can still push something smaller: a shard with a head cannot, by its own
//! order; a shard with an empty queue cannot below the bound it published. So a full queue never waits for another
//! shard's bound while that shard has events, and a sweep that fills all queues at one position cannot deadlock.
//!
//! Events are read where they lie in the queue, and their room is given back several at a time.

mod progress;

use super::event::{Body, Event, Step};
use super::fold::Fold;
use crate::sys::prefault::touch_all;
use crossbeam::utils::CachePadded;
pub use progress::MergeProgress;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

/// How many kinds of event a shard can push: connection, alert, flow.
pub const SHARD_KINDS: usize = 3;

/// The bound of a shard that pushes no more.
const CLOSED: u64 = u64::MAX;

/// Folds that a queue holds by default: they are boxed, so their memory is bounded by number.
const FOLDS_MAX: usize = 512;

/// Events that are taken from a queue at once: until then their room is not free.
const RUN_MAX: usize = 64;

/// Tries to push into a full queue before the worker sleeps.
const SPINS_MAX: u32 = 64;

/// What producer and consumer share besides the queue.
#[derive(Debug, Default)]
struct Shared {
    /// All events at positions below this were pushed. Release by the shard, Acquire by the logger: a logger that reads
    /// a bound sees every event below it in the queue.
    bound: CachePadded<AtomicU64>,
    /// Events that a live shard could not push, by kind; statistics only, hence Relaxed.
    queue_full: CachePadded<[AtomicU64; SHARD_KINDS]>,
    /// The same, of withheld detections.
    withheld_full: CachePadded<AtomicU64>,
    /// Folds in the queue; a bound, not an order, hence Relaxed.
    folds: CachePadded<AtomicUsize>,
    /// Attempts in them; statistics only.
    folding: CachePadded<AtomicU64>,
}

/// The shard's end of a queue. Dropping it closes it.
pub struct Producer {
    events: rtrb::Producer<Event>,
    shared: Arc<Shared>,
    bound: u64,
    folds_max: usize,
}

/// The logger's end of a queue.
pub struct Consumer {
    events: rtrb::Consumer<Event>,
    shared: Arc<Shared>,
}

/// A queue that holds `capacity` events.
pub fn queue(capacity: usize) -> (Producer, Consumer) {
    let (to_logger, from_shard) = rtrb::RingBuffer::new(capacity);
    let shared = Arc::new(Shared::default());
    let ours = Producer {
        events: to_logger,
        shared: Arc::clone(&shared),
        bound: 0,
        folds_max: FOLDS_MAX,
    };
    let theirs = Consumer {
        events: from_shard,
        shared,
    };
    (ours, theirs)
}

/// What a queue of `capacity` events takes, of which `folds_max` may be folds.
pub fn memory_bytes(capacity: usize, folds_max: usize) -> usize {
    capacity * size_of::<Event>() + folds_max * size_of::<Fold>() + size_of::<Shared>()
}

impl Producer {
    /// Holds at most so many folds.
    pub fn set_folds_max(&mut self, folds_max: usize) {
        self.folds_max = folds_max;
    }

    /// Touches every page of the queue. Before the first event.
    pub fn prefault(&mut self) {
        touch_all(&mut self.events);
    }

    /// Pushes an event.
    ///
    /// # Errors
    ///
    /// The event itself, if the queue is full.
    #[allow(
        clippy::result_large_err,
        reason = "a full queue gives the event back, unboxed"
    )]
    pub fn push(&mut self, event: Event) -> Result<(), Event> {
        if let Body::Folded(fold) = &event.body {
            if !self.has_room(&event) {
                return Err(event);
            }
            self.shared.folds.fetch_add(1, Relaxed);
            self.shared.folding.fetch_add(fold.count, Relaxed);
        }
        self.events
            .push(event)
            .map_err(|rtrb::PushError::Full(event)| event)
    }

    #[cold]
    fn has_room(&self, event: &Event) -> bool {
        let is_fold = matches!(event.body, Body::Folded(_));
        let folds_full = is_fold && self.shared.folds.load(Relaxed) >= self.folds_max;
        !self.events.is_full() && !folds_full
    }

    /// Counts an event as lost to a full queue: for live capture.
    pub fn count_full(&mut self, body: &Body) {
        let count = match body.is_withheld() {
            true => &self.shared.withheld_full,
            false => &self.shared.queue_full[shard_kind(body)],
        };
        count.fetch_add(1, Relaxed);
    }

    /// Pushes an event and waits while the queue is full: for `read`.
    ///
    /// Before it waits, it publishes the event's position: the logger must not wait for a worker that waits for it.
    ///
    /// # Errors
    ///
    /// The event itself, if the logger is gone.
    #[allow(
        clippy::result_large_err,
        reason = "a full queue gives the event back, unboxed"
    )]
    pub fn push_and_wait(&mut self, event: Event) -> Result<(), Event> {
        match self.push(event) {
            Ok(()) => Ok(()),
            Err(event) => self.wait_and_push(event),
        }
    }

    #[cold]
    #[allow(
        clippy::result_large_err,
        reason = "a full queue gives the event back, unboxed"
    )]
    fn wait_and_push(&mut self, event: Event) -> Result<(), Event> {
        self.publish_below(event.position);
        let mut tries = 0;
        while !self.has_room(&event) {
            if self.events.is_abandoned() {
                return Err(event);
            }
            if tries < SPINS_MAX {
                std::hint::spin_loop();
                tries += 1;
            } else {
                std::thread::park_timeout(Duration::from_micros(100));
            }
        }
        self.push(event)
    }

    /// Attempts in folds on their way.
    pub fn folding(&self) -> u64 {
        self.shared.folding.load(Relaxed)
    }

    /// Publishes that every event at `position` and before it was pushed.
    pub fn publish(&mut self, position: u64) {
        self.publish_below(position.saturating_add(1).min(CLOSED - 1));
    }

    /// All events at positions below this were pushed.
    pub fn bound(&self) -> u64 {
        self.bound
    }

    /// Publishes that every event at a position below `bound` was pushed.
    pub fn publish_below(&mut self, bound: u64) {
        if bound > self.bound {
            self.bound = bound;
            self.shared.bound.store(bound, Release);
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.bound.store(CLOSED, Release);
    }
}

impl Consumer {
    /// Positions below this are complete. Read it before looking at the queue.
    fn bound(&self) -> u64 {
        self.shared.bound.load(Acquire)
    }

    /// The oldest event, where it lies.
    #[inline]
    fn peek(&self) -> Option<&Event> {
        self.events.peek().ok()
    }

    /// Takes the oldest event and those behind it at positions below `limit`, at most `events_max` and [`RUN_MAX`].
    fn take_run(
        &mut self,
        limit: u64,
        events_max: usize,
        mut take: impl FnMut(&mut Event),
    ) -> usize {
        let room = events_max.min(RUN_MAX).min(self.events.slots());
        let run = self.events.read_chunk(room);
        let mut run = run.expect("no more than there are");
        let (first, rest) = run.as_mut_slices();
        let mut taken = 0;
        for event in first.iter_mut().chain(rest) {
            if taken > 0 && event.position >= limit {
                break;
            }
            if let Body::Folded(fold) = &event.body {
                self.shared.folds.fetch_sub(1, Relaxed);
                self.shared.folding.fetch_sub(fold.count, Relaxed);
            }
            take(event);
            taken += 1;
        }
        run.commit(taken);
        taken
    }

    /// Nothing is in the queue and nothing follows.
    fn finished(&self) -> bool {
        self.bound() == CLOSED && self.events.is_empty()
    }

    /// Withheld detections lost to a full queue so far.
    pub fn withheld_full(&self) -> u64 {
        self.shared.withheld_full.load(Relaxed)
    }

    /// Other events lost to a full queue so far, by kind.
    pub fn queue_full(&self) -> [u64; SHARD_KINDS] {
        std::array::from_fn(|kind| self.shared.queue_full[kind].load(Relaxed))
    }
}

/// Index of an event's kind among those that shards push.
fn shard_kind(body: &Body) -> usize {
    let kind = body.kind() as usize;
    assert!(kind < SHARD_KINDS, "{kind} is no kind of a shard");
    kind
}

/// Whether a bound is that of a closed shard.
fn is_closed(bound: u64) -> bool {
    bound == CLOSED
}

/// A live shard fell behind and is not waited for, or caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Index of the shard.
    pub shard: usize,
    /// True when it fell behind, false when it caught up.
    pub behind: bool,
}

/// The k-way merge.
#[derive(Default)]
pub struct Merge {
    sources: Vec<Consumer>,
    /// Bounds as read before the queues were looked at.
    bounds: Vec<u64>,
    behind: Vec<bool>,
    /// How far a shard's bound may be behind the furthest; `None` in `read`.
    max_lag: Option<u64>,
    order: Order,
}

/// Checks that events come in the log's order.
#[derive(Default)]
struct Order {
    last: Option<(u64, Step)>,
    /// Events behind a later one.
    late: u64,
}

impl Order {
    #[inline]
    fn check(&mut self, event: &Event) {
        if event.body.is_withheld() {
            // No record is written behind it.
            return;
        }
        let (position, step) = (event.position, event.step);
        match self.last {
            Some(last) if position < last.0 || position == last.0 && step < last.1 => {
                self.late += 1;
            }
            _ => self.last = Some((position, step)),
        }
    }
}

impl Merge {
    /// A merge of these queues. Live, a shard that is more than `max_lag` units of position behind the furthest is not
    /// waited for.
    pub fn new(sources: Vec<Consumer>, max_lag: Option<u64>) -> Self {
        Self {
            bounds: vec![0; sources.len()],
            behind: vec![false; sources.len()],
            sources,
            max_lag,
            order: Order::default(),
        }
    }

    /// Emits at most `events_max` events, in order; returns how many.
    ///
    /// `on_lag` is called for each shard that leaves the order or comes back.
    pub fn step(
        &mut self,
        events_max: usize,
        mut on_lag: impl FnMut(Lag),
        mut emit: impl FnMut(&mut Event),
    ) -> usize {
        // Before any queue is looked at: a queue found empty later held nothing below these.
        for (bound, source) in self.bounds.iter_mut().zip(&self.sources) {
            *bound = source.bound();
        }
        self.mark_stragglers(&mut on_lag);
        let mut emitted = 0;
        while emitted < events_max {
            let Some((shard, limit)) = self.next_run() else {
                break;
            };
            let (order, source) = (&mut self.order, &mut self.sources[shard]);
            emitted += source.take_run(limit, events_max - emitted, |event| {
                order.check(event);
                emit(event);
            });
        }
        emitted
    }

    /// The shard whose head is the smallest, if nothing smaller can follow from another; and the position below which
    /// no other shard has or gets an event.
    fn next_run(&self) -> Option<(usize, u64)> {
        let mut best: Option<(usize, &Event)> = None;
        // Below it no empty shard gets an event, and no other shard has one.
        let (mut limit, mut others) = (u64::MAX, u64::MAX);
        for (shard, source) in self.sources.iter().enumerate() {
            match (source.peek(), best) {
                (None, _) if self.behind[shard] => {}
                (None, _) => limit = limit.min(self.bounds[shard]),
                (Some(head), Some((_, first))) if head.cmp_order(first).is_ge() => {
                    others = others.min(head.position);
                }
                (Some(head), before) => {
                    others = before.map_or(others, |(_, first)| others.min(first.position));
                    best = Some((shard, head));
                }
            }
        }
        // All closed: u64::MAX, and even the last position may go out.
        best.filter(|(_, head)| head.position < limit || is_closed(limit))
            .map(|(shard, _)| (shard, limit.min(others)))
    }

    fn mark_stragglers(&mut self, on_lag: &mut impl FnMut(Lag)) {
        let Some(max_lag) = self.max_lag else {
            return;
        };
        let open = self.bounds.iter().filter(|&&bound| !is_closed(bound));
        let furthest = open.copied().max().unwrap_or(0);
        for (shard, &bound) in self.bounds.iter().enumerate() {
            let behind = bound < furthest.saturating_sub(max_lag);
            if behind != self.behind[shard] {
                self.behind[shard] = behind;
                on_lag(Lag { shard, behind });
            }
        }
    }

    /// The position before which everything was emitted; `u64::MAX` once all shards are closed.
    pub fn reached(&self) -> u64 {
        let awaited = self.sources.iter().enumerate();
        let awaited = awaited.filter(|(shard, _)| !self.behind[*shard]);
        let next = awaited.map(|(shard, source)| {
            source
                .peek()
                .map_or(self.bounds[shard], |head| head.position)
        });
        next.min().unwrap_or(u64::MAX)
    }

    /// Whether everything at `position` was emitted.
    pub fn is_past(&self, position: u64) -> bool {
        let past = |(shard, source): (usize, &Consumer)| match source.peek() {
            Some(head) => head.position > position,
            None => self.behind[shard] || self.bounds[shard] > position,
        };
        self.sources.iter().enumerate().all(past)
    }

    /// All shards are closed and everything was emitted.
    pub fn finished(&self) -> bool {
        self.sources.iter().all(Consumer::finished)
    }

    /// Counts an event that came without a queue.
    #[inline]
    pub fn check_order(&mut self, event: &Event) {
        self.order.check(event);
    }

    /// Events emitted after a later one.
    pub fn late(&self) -> u64 {
        self.order.late
    }

    /// Shards that are not waited for.
    pub fn behind(&self) -> usize {
        self.behind.iter().filter(|&&behind| behind).count()
    }

    /// Withheld detections lost to full queues, over all shards.
    pub fn withheld_full(&self) -> u64 {
        self.sources.iter().map(Consumer::withheld_full).sum()
    }

    /// Other events lost to full queues, by kind, over all shards.
    pub fn queue_full(&self) -> [u64; SHARD_KINDS] {
        let mut sum = [0; SHARD_KINDS];
        for source in &self.sources {
            for (sum, count) in sum.iter_mut().zip(source.queue_full()) {
                *sum += count;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests;
