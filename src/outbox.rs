//! What a shard has said and the log may not have yet: it waits until every shard has reached its time.
//!
//! New connections, which come in floods and in the order of their frames, lie in a list of their own; flows
//! that ended with a packet and detections are few and are sorted in.

use crate::books::ShardCounts;
use crate::flow::record::Attempt;
use crate::inspect::timeline::position_of_ts;
use crate::log::event::{Body, Event, Step};
use crate::log::fold::Folds;
use crate::log::queue::Producer;
use crate::mesh::prefaulted;
use std::collections::VecDeque;

/// Events that either list holds; more go out early and count as late.
pub const EVENTS_MAX: usize = 16_384;

struct NewConnection {
    position: u64,
    step: Step,
    attempt: Attempt,
}

impl NewConnection {
    /// Its place in the log; of equals, a new connection comes first.
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

/// Events held back, and the way into the log.
pub struct Outbox {
    attempts: VecDeque<NewConnection>,
    others: VecDeque<Event>,
    /// Live: attempts that are folded rather than held.
    folds: Option<Folds>,
    /// Gone once the shard has finished.
    log: Option<Producer>,
    /// A full log queue is counted, never waited for.
    live: bool,
}

impl Outbox {
    /// Takes all its memory.
    pub fn new(log: Producer, folds: Option<Folds>, live: bool) -> Self {
        Self {
            attempts: VecDeque::with_capacity(EVENTS_MAX),
            others: VecDeque::with_capacity(EVENTS_MAX),
            folds,
            log: Some(log),
            live,
        }
    }

    /// Bytes that the two lists take.
    pub fn memory_bytes() -> u64 {
        (EVENTS_MAX * (size_of::<NewConnection>() + size_of::<Event>())) as u64
    }

    /// Attempts in folds that the logger does not have yet.
    pub fn folding(&self) -> u64 {
        let open = self.folds.as_ref().map_or(0, Folds::held);
        open + self.log.as_ref().map_or(0, Producer::folding)
    }

    /// Whether every attempt is folded, whatever its rate: the log cannot keep up.
    pub fn fold_all(&mut self, all: bool) {
        if let Some(folds) = &mut self.folds {
            folds.fold_all(all);
        }
    }

    /// Writes to every page. Before the first event.
    pub fn prefault(&mut self) {
        self.attempts = prefaulted(EVENTS_MAX);
        self.others = prefaulted(EVENTS_MAX);
        if let Some(log) = &mut self.log {
            log.prefault();
        }
    }

    /// Whether a full log queue is counted and never waited for.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Folds a new connection, or holds it back: here is decided what becomes of it.
    #[inline]
    pub fn hold_attempt(
        &mut self,
        (position, step): (u64, Step),
        attempt: Attempt,
        counts: &mut ShardCounts,
    ) {
        if let Some(folds) = &mut self.folds
            && folds.takes(&attempt)
        {
            counts.attempts_folded += 1;
            return;
        }
        let new = NewConnection {
            position,
            step,
            attempt,
        };
        if self.live && self.attempts.len() == EVENTS_MAX {
            return self.push(new.into_event(), counts);
        }
        self.attempts.push_back(new);
    }

    /// Holds any other event back.
    pub fn hold(&mut self, event: Event, counts: &mut ShardCounts) {
        if self.live && self.others.len() == EVENTS_MAX {
            return self.push(event, counts);
        }
        self.others.push_back(event);
    }

    /// Hands over the folds whose second is over at `watermark_ns`; without one, all.
    pub fn close_folds(&mut self, watermark_ns: Option<i64>, counts: &mut ShardCounts) {
        let Some(folds) = &mut self.folds else {
            return;
        };
        let closed = match watermark_ns {
            Some(ts_ns) => folds.close_before(ts_ns),
            None => folds.close_all(),
        };
        for fold in closed {
            let end_ns = fold.end_ns();
            let event = Event {
                position: position_of_ts(end_ns),
                step: Step::Timer(end_ns),
                body: Body::Folded(fold),
            };
            self.hold(event, counts);
        }
    }

    /// Puts what is held into the log's order. Before anything is pushed.
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

    /// Pushes an event that was not held, behind what is held and comes before it.
    pub fn push_in_order(&mut self, event: Event, counts: &mut ShardCounts) {
        while let Some(before) = self.next_if(
            |new| new.place() <= (event.position, event.step),
            |other| other.cmp_order(&event).is_le(),
        ) {
            self.push(before, counts);
        }
        self.push(event, counts);
    }

    /// Pushes what is held up to and with `limit`.
    pub fn push_until(&mut self, limit: u64, counts: &mut ShardCounts) {
        while let Some(event) =
            self.next_if(|new| new.position <= limit, |other| other.position <= limit)
        {
            self.push(event, counts);
        }
    }

    /// The first held event, if its kind's condition holds for it.
    fn next_if(
        &mut self,
        attempt: impl Fn(&NewConnection) -> bool,
        other: impl Fn(&Event) -> bool,
    ) -> Option<Event> {
        let first_is_new = match (self.attempts.front(), self.others.front()) {
            (Some(new), Some(other)) => new.place() <= (other.position, other.step),
            (new, _) => new.is_some(),
        };
        if first_is_new {
            let new = self.attempts.pop_front_if(|new| attempt(new))?;
            Some(new.into_event())
        } else {
            self.others.pop_front_if(|event| other(event))
        }
    }

    /// `read` waits for the logger; live, what finds no room is counted by kind, by the queue itself.
    pub fn push(&mut self, event: Event, counts: &mut ShardCounts) {
        let lost = match &mut self.log {
            Some(log) if self.live && matches!(event.body, Body::Folded(_)) => {
                match (log.push(event), &mut self.folds) {
                    (
                        Err(Event {
                            body: Body::Folded(fold),
                            ..
                        }),
                        Some(folds),
                    ) => {
                        folds.take_back(&fold);
                        Ok(())
                    }
                    (pushed, _) => pushed,
                }
            }
            Some(log) if self.live => {
                log.push_or_count(event);
                Ok(())
            }
            Some(log) => log.push_and_wait(event),
            None => Err(event),
        };
        if let Err(event) = lost {
            counts.on_log_gone(&event.body);
        }
    }

    /// Says that everything at `position` and before it was pushed.
    pub fn publish(&mut self, position: u64) {
        if let Some(log) = &mut self.log {
            log.publish(position);
        }
    }

    /// From now on a full log queue is waited for, live too: no packet waits for this shard any more.
    pub fn wait_for_log(&mut self) {
        self.live = false;
    }

    /// Closes the log queue.
    pub fn close(&mut self) {
        self.log = None;
    }
}
