//! Events held until every shard has passed their position, then pushed in log order.
//!
//! New connections come in floods and in the order of their frames: they have a list of their own. Flows that ended
//! with a packet and detections are few: they are sorted.

mod snapshot;

use super::policy::Policy;
use crate::books::shard::{OutOfScope, ShardCounts};
use crate::books::witness::Fate;
use crate::capture::bpf::sample::{self, Ends};
use crate::capture::frame::Frame;
use crate::decode::Headers;
use crate::flow::record::Attempt;
use crate::inspect::detection::{AlertStatus, Phase};
use crate::inspect::detector::Found;
use crate::log::event::{Body, Event, Step};
use crate::log::fold::{Foldable, Folds};
use crate::log::logger::Logger;
use crate::log::merge::Producer;
use crate::shedding::Spans;
use crate::sys::prefault::prefaulted;
use crate::time::timeline::{Timeline, position_of_ts};
use crate::witness::Syn;
use crate::witness::reports::{Report, Reporter};
use std::collections::VecDeque;

/// Events that either list holds by default; more go out early and count as late.
pub const EVENTS_MAX: usize = 16_384;

#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct NewConnection {
    position: u64,
    step: Step,
    attempt: Attempt,
}

impl NewConnection {
    /// Its place in the log. At one place, a new connection comes before other events.
    fn place(&self) -> (u64, Step) {
        (self.position, self.step)
    }

    fn into_event(self) -> Event {
        Event {
            position: self.position,
            step: self.step,
            body: Body::NewConnection(self.attempt),
        }
    }
}

/// How events come to the logger.
enum Way {
    /// By a queue, to a thread of its own.
    Queue(Producer),
    /// At once: the only shard's thread is the logger's, too.
    Direct(Box<Logger>),
}

/// Events held, and the shard's way to the log.
pub struct Outbox {
    attempts: VecDeque<NewConnection>,
    others: VecDeque<Event>,
    /// Events that either list holds.
    events_max: usize,
    /// Live: attempts that are folded rather than held.
    folds: Option<Folds>,
    /// Folds among `others`.
    folds_held: usize,
    /// `None` once the shard has finished.
    log: Option<Way>,
    /// A full log queue is counted, never waited for.
    live: bool,
    /// When packets were shed: records of flows that were open then are marked.
    pub shed: Spans,
    /// Reports the fate of each attempt of the witness's sample.
    witness: Option<Reporter>,
}

impl Outbox {
    /// Takes all its memory.
    pub fn new(log: Producer, folds: Option<Folds>, live: bool) -> Self {
        Self {
            attempts: VecDeque::with_capacity(EVENTS_MAX),
            others: VecDeque::with_capacity(EVENTS_MAX),
            events_max: EVENTS_MAX,
            folds,
            folds_held: 0,
            log: Some(Way::Queue(log)),
            live,
            shed: Spans::default(),
            witness: None,
        }
    }

    /// Holds at most so many events in either list. Before the first event.
    pub fn set_room(&mut self, events_max: usize) {
        self.attempts = VecDeque::with_capacity(events_max);
        self.others = VecDeque::with_capacity(events_max);
        self.events_max = events_max;
    }

    /// Has this logger write events on the shard's thread; the queue is gone. Before the first event of the only shard.
    pub fn log_directly(&mut self, mut logger: Box<Logger>) {
        logger.start();
        self.log = Some(Way::Direct(logger));
    }

    /// Reports to a witness from now on.
    pub fn set_witness(&mut self, reporter: Reporter) {
        self.witness = Some(reporter);
    }

    /// Whether [`Outbox::set_witness`] was called.
    #[inline(always)]
    pub fn has_witness(&self) -> bool {
        self.witness.is_some()
    }

    /// Whether the witness's filter keeps such a frame. `None` for what is no TCP segment.
    #[inline(never)]
    pub fn in_reach(&self, frame: &Frame<'_>, headers: &Headers) -> Option<bool> {
        let is_segment = headers.is_segment();
        is_segment.then(|| headers.is_touch() && sample::syn(frame).is_some())
    }

    fn report(&mut self, attempt: &Attempt, in_reach: Option<bool>, fate: Fate) {
        let (Some(reporter), Some(in_reach)) = (&mut self.witness, in_reach) else {
            return;
        };
        let tuple = &attempt.tuple;
        let ends = Ends {
            src: tuple.src,
            dst: tuple.dst,
            src_port: tuple.src_port,
            dst_port: tuple.dst_port,
        };
        reporter.report(Report {
            syn: Syn {
                ends,
                isn: attempt.isn,
            },
            ts_ns: attempt.ts_ns,
            interface: attempt.interface,
            in_reach,
            fate,
        });
    }

    /// Reports an attempt in a direction that was not asked for.
    pub fn not_asked(&mut self, attempt: &Attempt, in_reach: Option<bool>) {
        self.report(attempt, in_reach, Fate::NotAsked);
    }

    /// Publishes to the witness that every attempt up to this time was reported.
    pub fn publish_reported(&mut self, ts_ns: i64) {
        if let Some(reporter) = &mut self.witness {
            reporter.publish(ts_ns);
        }
    }

    /// Bytes that the two lists take.
    pub fn memory_bytes(events_max: usize) -> u64 {
        (events_max * (size_of::<NewConnection>() + size_of::<Event>())) as u64
    }

    /// Attempts in folds that the logger has not taken yet.
    pub fn folding(&mut self) -> u64 {
        let open = self.folds.as_ref().map_or(0, Folds::held);
        open + self.queue().map_or(0, |queue| queue.folding())
    }

    /// Folds every attempt, whatever its rate: the log cannot keep up.
    pub fn fold_all(&mut self, all: bool) {
        if let Some(folds) = &mut self.folds {
            folds.fold_all(all);
        }
    }

    /// Touches every page. Before the first event.
    pub fn prefault(&mut self) {
        self.attempts = prefaulted(self.events_max);
        self.others = prefaulted(self.events_max);
        if let Some(folds) = &mut self.folds {
            folds.prefault();
        }
        if let Some(queue) = self.queue() {
            queue.prefault();
        }
    }

    /// Whether a full log queue is counted and never waited for.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Folds a new connection or holds it, and reports its fate to the witness.
    #[inline]
    pub fn hold_attempt<A: Copy + Into<Foldable> + Into<Attempt>>(
        &mut self,
        place: impl FnOnce() -> (u64, Step),
        new: A,
        in_reach: Option<bool>,
        counts: &mut ShardCounts,
    ) {
        let folded = self.folds.as_mut().is_some_and(|folds| folds.takes(new));
        counts.folded_by_shards += u64::from(folded);
        if folded && in_reach.is_none() {
            return;
        }
        let attempt = new.into();
        let fate = if folded { Fate::Folded } else { Fate::Line };
        self.report(&attempt, in_reach, fate);
        if !folded {
            self.hold_line(place(), attempt, counts);
        }
    }

    #[inline(never)]
    fn hold_line(
        &mut self,
        (position, step): (u64, Step),
        attempt: Attempt,
        counts: &mut ShardCounts,
    ) {
        let new = NewConnection {
            position,
            step,
            attempt,
        };
        if self.live && self.attempts.len() == self.events_max {
            self.push(new.into_event(), counts);
        } else {
            self.attempts.push_back(new);
        }
    }

    /// Holds any other event.
    pub fn hold(&mut self, mut event: Event, counts: &mut ShardCounts) {
        self.mark(&mut event);
        if self.live && self.others.len() == self.events_max {
            return self.push(event, counts);
        }
        self.others.push_back(event);
    }

    /// Holds a detection, marked if outputs do not show it. If a deadline made it, its place is the deadline's.
    pub fn hold_detection(
        &mut self,
        (deadline, mut detection): Found,
        (position, step): (u64, Step),
        (policy, timeline): (&Policy, &Timeline<'_>),
        counts: &mut ShardCounts,
    ) {
        counts.detections += 1;
        // A flood has no one source: it comes from elsewhere.
        let (src, dst) = (detection.subject.src(), detection.subject.dst());
        let direction = policy.localities.direction_to(src, dst);
        if detection.phase == Phase::Started {
            counts.scans[detection.kind as usize][direction as usize] += 1;
        }
        detection.status = policy.alert_status(&detection, direction);
        match detection.status {
            AlertStatus::Alert => {}
            AlertStatus::Allowed => counts.detections_allowed += 1,
            AlertStatus::BelowVerdict => counts.detections_below_verdict += 1,
            AlertStatus::OutOfScope => {
                counts.detections_out_of_scope += 1;
                if let (Phase::Started, Some(src)) = (detection.phase, src) {
                    let ts_ns = detection.ts_ns;
                    counts.newest_out_of_scope = Some(OutOfScope { ts_ns, src, dst });
                }
            }
        }
        let (position, step) = match deadline {
            Some(deadline) => (timeline.position_of(deadline), Step::Timer(deadline)),
            None => (position, step),
        };
        let event = Event {
            position,
            step,
            body: Body::Alert(Box::new(detection)),
        };
        self.hold(event, counts);
    }

    /// Holds the folds whose second is over at `watermark_ns`. While as many are held as can be open at once, the open
    /// ones go on growing.
    pub fn close_folds(&mut self, watermark_ns: i64, counts: &mut ShardCounts) {
        let Some(folds) = &mut self.folds else {
            return;
        };
        if self.folds_held >= folds.room() {
            return;
        }
        for fold in folds.close_before(watermark_ns) {
            let end_ns = fold.end_ns();
            self.folds_held += 1;
            let event = Event {
                position: position_of_ts(end_ns),
                step: Step::Timer(end_ns),
                body: Body::Folded(Box::new(fold)),
            };
            self.hold(event, counts);
        }
    }

    /// Holds every fold, at the end of the run.
    pub fn close_all_folds(&mut self, (position, step): (u64, Step), counts: &mut ShardCounts) {
        let all = self.folds.as_mut().map_or_else(Vec::new, Folds::close_all);
        for fold in all {
            self.folds_held += 1;
            let event = Event {
                position,
                step,
                body: Body::Folded(Box::new(fold)),
            };
            self.hold(event, counts);
        }
    }

    fn mark(&self, event: &mut Event) {
        if let Body::Flow(flow) = &mut event.body {
            flow.shed = self.shed.touch(flow);
        }
    }

    /// Sorts what is held into log order. Before anything is pushed.
    pub fn sort(&mut self) {
        let attempts = self.attempts.make_contiguous();
        // Frames come in order, but for those that the kernel stamped out of order.
        if !attempts.is_sorted_by_key(NewConnection::place) {
            attempts.sort_unstable_by_key(|new| {
                (
                    new.place(),
                    new.attempt.ts_ns,
                    new.attempt.tuple,
                    new.attempt.isn,
                )
            });
        }
        self.others
            .make_contiguous()
            .sort_unstable_by(Event::cmp_order);
    }

    /// Pushes an event that was not held, after the held ones that come before it.
    pub fn push_in_order(&mut self, mut event: Event, counts: &mut ShardCounts) {
        self.mark(&mut event);
        self.push_while(
            |new| new.place() <= (event.position, event.step),
            |other| other.cmp_order(&event).is_le(),
            counts,
        );
        self.push(event, counts);
    }

    /// Pushes what is held up to and with `limit`.
    pub fn push_until(&mut self, limit: u64, counts: &mut ShardCounts) {
        self.push_while(
            |new| new.position <= limit,
            |other| other.position <= limit,
            counts,
        );
    }

    /// Pushes the first held event, while its kind's condition holds for it.
    #[inline]
    fn push_while(
        &mut self,
        attempt: impl Fn(&NewConnection) -> bool,
        other: impl Fn(&Event) -> bool,
        counts: &mut ShardCounts,
    ) {
        loop {
            let first_is_new = match (self.attempts.front(), self.others.front()) {
                (Some(new), Some(other)) => new.place() <= (other.position, other.step),
                (new, _) => new.is_some(),
            };
            if first_is_new {
                let Some(new) = self.attempts.pop_front_if(|new| attempt(new)) else {
                    return;
                };
                self.push(new.into_event(), counts);
            } else {
                let Some(event) = self.others.pop_front_if(|event| other(event)) else {
                    return;
                };
                self.push(event, counts);
            }
        }
    }

    /// `read` waits for the logger. Live, an attempt that finds no room is folded, a fold goes on growing, and
    /// the rest is counted by kind, by the queue itself.
    #[inline]
    fn push(&mut self, mut event: Event, counts: &mut ShardCounts) {
        self.folds_held -= usize::from(matches!(event.body, Body::Folded(_)));
        match &mut self.log {
            Some(Way::Direct(logger)) => logger.take(&mut event),
            Some(Way::Queue(queue)) if !self.live => {
                if let Err(event) = queue.push_and_wait(event) {
                    count_log_gone(counts, &event.body);
                }
            }
            Some(Way::Queue(queue)) => {
                if let Err(event) = queue.push(event) {
                    self.find_no_room(&event, counts);
                }
            }
            None => count_log_gone(counts, &event.body),
        }
    }

    #[cold]
    fn find_no_room(&mut self, event: &Event, counts: &mut ShardCounts) {
        let folded = match (&event.body, &mut self.folds) {
            (Body::NewConnection(attempt), Some(folds)) => {
                folds.put(attempt);
                counts.folded_by_shards += 1;
                true
            }
            (Body::Folded(fold), Some(folds)) => {
                folds.take_back(fold);
                true
            }
            _ => false,
        };
        if let Some(queue) = self.queue()
            && !folded
        {
            queue.count_full(&event.body);
        }
    }

    fn queue(&mut self) -> Option<&mut Producer> {
        match &mut self.log {
            Some(Way::Queue(queue)) => Some(queue),
            _ => None,
        }
    }

    /// Publishes that everything at `position` and before it was pushed.
    pub fn publish(&mut self, position: u64) {
        match &mut self.log {
            Some(Way::Queue(queue)) => queue.publish(position),
            Some(Way::Direct(logger)) => {
                logger.turn();
            }
            None => {}
        }
    }

    /// No frame has come for a while: a logger on this thread flushes.
    pub fn rest(&mut self) {
        if let Some(Way::Direct(logger)) = &mut self.log {
            logger.turn();
        }
    }

    /// From now on a full log queue is waited for, live too: no packet waits for this shard now.
    pub fn wait_for_log(&mut self) {
        self.live = false;
    }

    /// Closes the ways to log and witness. A logger on this thread writes all that it has, and is returned.
    pub fn close(&mut self) -> Option<Box<Logger>> {
        self.witness = None;
        let Some(Way::Direct(mut logger)) = self.log.take() else {
            return None;
        };
        while logger.turn() > 0 {}
        Some(logger)
    }
}

/// Counts an event for which there is no logger any more.
fn count_log_gone(counts: &mut ShardCounts, body: &Body) {
    match body {
        Body::NewConnection(_) => counts.connections_log_gone += 1,
        Body::Folded(fold) => {
            counts.connections_log_gone += fold.count;
            counts.folded_log_gone += fold.count;
        }
        Body::Flow(_) => counts.flows_log_gone += 1,
        Body::Alert(detection) if detection.status != AlertStatus::Alert => {
            counts.withheld_log_gone += 1
        }
        Body::Alert(_) => counts.detections_log_gone += 1,
    }
}

#[cfg(test)]
mod tests;
