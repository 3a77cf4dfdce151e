//! Events of all shards, in one order.
//!
//! Every shard's queue is sorted. The smallest head may go out once no shard can still say something
//! smaller: a shard with a head cannot, by its own order; a shard with an empty queue cannot below the
//! bound it published. So a full queue never waits for another shard's bound while that shard has
//! anything to say, and a sweep that fills all queues at one position cannot deadlock.

use super::event::{Event, Step};
use super::queue::{self, Consumer, SHARD_KINDS};

/// A live shard fell out of the order, or came back into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lag {
    /// Index of the shard.
    pub shard: usize,
    /// True when it left, false when it is back.
    pub behind: bool,
}

/// The k-way merge.
pub struct Merge {
    sources: Vec<Consumer>,
    /// Bounds as read before the queues were looked at.
    bounds: Vec<u64>,
    behind: Vec<bool>,
    /// How far a shard's bound may be behind the furthest; `None` in `read`.
    max_lag: Option<u64>,
    last: Option<(u64, Step)>,
    late: u64,
}

impl Merge {
    /// A merge of these queues. `max_lag`, in units of position: live, a shard further behind the
    /// furthest than this is waited for no more.
    pub fn new(sources: Vec<Consumer>, max_lag: Option<u64>) -> Self {
        Self {
            bounds: vec![0; sources.len()],
            behind: vec![false; sources.len()],
            sources,
            max_lag,
            last: None,
            late: 0,
        }
    }

    /// Emits what may go out, in order, at most `events_max`; returns how many.
    ///
    /// `on_lag` is called for each shard that leaves the order or comes back.
    pub fn step(
        &mut self,
        events_max: usize,
        mut on_lag: impl FnMut(Lag),
        mut emit: impl FnMut(Event),
    ) -> usize {
        // Before any queue is looked at: a queue found empty later held nothing below these.
        for (bound, source) in self.bounds.iter_mut().zip(&self.sources) {
            *bound = source.bound();
        }
        for source in &mut self.sources {
            source.load();
        }
        self.mark_stragglers(&mut on_lag);
        for emitted in 0..events_max {
            let Some(shard) = self.next_shard() else {
                return emitted;
            };
            let event = self.sources[shard].pop().expect("its head was just seen");
            self.sources[shard].load();
            let key = (event.position, event.step);
            if event.body.is_withheld() {
                // No record is written behind it.
            } else if self.last.is_some_and(|last| key < last) {
                self.late += 1;
            } else {
                self.last = Some(key);
            }
            emit(event);
        }
        events_max
    }

    /// The shard whose head is the smallest, if nothing smaller can follow from another.
    fn next_shard(&self) -> Option<usize> {
        let mut best: Option<(usize, &Event)> = None;
        let mut limit = u64::MAX;
        for (shard, source) in self.sources.iter().enumerate() {
            match source.peek() {
                None if self.behind[shard] => {}
                None => limit = limit.min(self.bounds[shard]),
                Some(head) => {
                    if best.is_none_or(|(_, event)| head.cmp_order(event).is_lt()) {
                        best = Some((shard, head));
                    }
                }
            }
        }
        // All closed: u64::MAX, and even the last position may go out.
        best.filter(|(_, event)| event.position < limit || queue::is_closed(limit))
            .map(|(shard, _)| shard)
    }

    fn mark_stragglers(&mut self, on_lag: &mut impl FnMut(Lag)) {
        let Some(max_lag) = self.max_lag else {
            return;
        };
        let open = self
            .bounds
            .iter()
            .filter(|&&bound| !queue::is_closed(bound));
        let furthest = open.copied().max().unwrap_or(0);
        for (shard, &bound) in self.bounds.iter().enumerate() {
            let behind = bound < furthest.saturating_sub(max_lag);
            if behind != self.behind[shard] {
                self.behind[shard] = behind;
                on_lag(Lag { shard, behind });
            }
        }
    }

    /// The position before which everything went out: no shard that the order waits for has anything left there.
    /// `u64::MAX` once all are closed.
    pub fn reached(&self) -> u64 {
        let awaited = self.sources.iter().enumerate();
        let awaited = awaited.filter(|(shard, _)| !self.behind[*shard]);
        let next = awaited.map(|(shard, source)| {
            let head = source.peek().map(|head| head.position);
            head.unwrap_or(self.bounds[shard])
        });
        next.min().unwrap_or(u64::MAX)
    }

    /// Whether everything at `position` went out: no shard that the order waits for can still say something there.
    pub fn is_past(&self, position: u64) -> bool {
        let past = |(shard, source): (usize, &Consumer)| match source.peek() {
            Some(head) => head.position > position,
            None => self.behind[shard] || self.bounds[shard] > position,
        };
        self.sources.iter().enumerate().all(past)
    }

    /// All shards are closed and everything went out.
    pub fn finished(&self) -> bool {
        self.sources.iter().all(Consumer::finished)
    }

    /// How many events came out behind a later one.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// How many shards the order no longer waits for.
    pub fn behind(&self) -> usize {
        self.behind.iter().filter(|&&behind| behind).count()
    }

    /// How many events of which no output is told full queues have cost, over all shards.
    pub fn withheld_full(&self) -> u64 {
        self.sources.iter().map(Consumer::withheld_full).sum()
    }

    /// How many events of each kind full queues have cost, over all shards, without those.
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
mod tests {
    use super::*;
    use crate::log::formats::samples;
    use crate::log::queue::{Producer, queue};
    use proptest::prelude::*;

    fn merge_of(shards: usize, max_lag: Option<u64>) -> (Vec<Producer>, Merge) {
        let (producers, consumers) = (0..shards).map(|_| queue(256)).unzip();
        (producers, Merge::new(consumers, max_lag))
    }

    fn positions(merge: &mut Merge) -> Vec<u64> {
        let mut out = Vec::new();
        merge.step(usize::MAX, |_| {}, |event| out.push(event.position));
        out
    }

    proptest! {
        #[test]
        fn any_schedule_gives_the_global_order(
            shards in 1usize..6,
            events in prop::collection::vec((0u64..40, 0u16..3, any::<usize>(), any::<u32>()), 0..200),
            schedule in prop::collection::vec((any::<usize>(), 1usize..9), 1..60),
        ) {
            let mut parts = vec![Vec::new(); shards];
            let mut all = Vec::new();
            for (position, step, shard, isn) in events {
                let mut event = samples::at(position, isn);
                event.step = Step::Frame(step, samples::TS_NS);
                parts[shard % shards].push(event.clone());
                all.push(event);
            }
            all.sort_by(Event::cmp_order);
            parts.iter_mut().for_each(|part| part.sort_by(Event::cmp_order));
            let mut parts: Vec<_> = parts.into_iter().map(|p| p.into_iter().peekable()).collect();
            let (mut producers, mut merge) = merge_of(shards, None);
            let mut out = Vec::new();
            // Round robin at the end, so that everything is pushed.
            let rest = (0..shards * 200).map(|i| (i % shards, 4));
            for (shard, count) in schedule.into_iter().chain(rest) {
                let shard = shard % shards;
                for _ in 0..count {
                    let Some(event) = parts[shard].next() else { break };
                    if let Err(event) = producers[shard].push(event) {
                        prop_assert!(false, "queue full at {}", event.position);
                    }
                    merge.step(usize::MAX, |_| {}, |event| out.push(event));
                }
                match parts[shard].peek() {
                    Some(next) if next.position > 0 => producers[shard].publish(next.position - 1),
                    Some(_) => {}
                    None => producers[shard].publish(u64::MAX),
                }
                merge.step(3, |_| {}, |event| out.push(event));
                merge.step(usize::MAX, |_| {}, |event| out.push(event));
            }
            drop(producers);
            merge.step(usize::MAX, |_| {}, |event| out.push(event));
            prop_assert!(merge.finished());
            prop_assert_eq!(merge.late(), 0);
            prop_assert_eq!(out, all);
        }
    }

    #[test]
    fn an_empty_shard_holds_back_what_it_may_still_precede() {
        let (mut producers, mut merge) = merge_of(2, None);
        for position in [3, 4] {
            assert!(producers[0].push(samples::at(position, 0)).is_ok());
        }
        assert!(positions(&mut merge).is_empty());
        producers[1].publish(3);
        assert_eq!(positions(&mut merge), [3]);
        drop(producers.pop());
        assert_eq!(positions(&mut merge), [4]);
        assert!(!merge.finished());
    }

    #[test]
    fn a_position_is_past_once_every_shard_is_beyond_it() {
        let (mut producers, mut merge) = merge_of(2, Some(500));
        assert!(producers[0].push(samples::at(3, 0)).is_ok());
        producers[1].publish(3);
        assert_eq!(positions(&mut merge), [3]);
        assert!(!merge.is_past(3), "the first may have more to say there");
        assert!(producers[0].push(samples::at(3, 1)).is_ok());
        producers[0].publish(3);
        assert_eq!(positions(&mut merge), [3]);
        assert!(merge.is_past(3) && !merge.is_past(4));
        assert!(producers[0].push(samples::at(4, 0)).is_ok());
        assert!(positions(&mut merge).is_empty(), "the second is not there");
        assert!(merge.is_past(3) && !merge.is_past(4));
        producers[0].publish(900);
        assert_eq!(positions(&mut merge), [4]);
        assert!(merge.is_past(4), "the second is waited for no more");
        drop(producers);
        assert!(positions(&mut merge).is_empty() && merge.is_past(u64::MAX - 1));
    }

    #[test]
    fn queues_full_at_one_position_do_not_wait_for_a_bound() {
        let (mut producers, mut merge) = merge_of(2, None);
        for isn in 0..256 {
            assert!(producers[0].push(samples::at(9, isn)).is_ok());
            assert!(producers[1].push(samples::at(9, isn + 256)).is_ok());
        }
        assert_eq!(
            positions(&mut merge).len(),
            256,
            "all of the first, none past the second's head"
        );
    }

    #[test]
    fn a_straggler_leaves_is_named_and_its_late_events_are_counted() {
        let (mut producers, mut merge) = merge_of(2, Some(500));
        let mut lags = Vec::new();
        producers[1].publish(100);
        assert!(producers[0].push(samples::at(550, 0)).is_ok());
        producers[0].publish(600);
        assert_eq!(
            merge.step(9, |lag| lags.push(lag), |_| {}),
            0,
            "500 behind is not further"
        );
        producers[0].publish(601);
        assert_eq!(merge.step(9, |lag| lags.push(lag), |_| {}), 1);
        assert!(producers[1].push(samples::at(200, 0)).is_ok());
        assert_eq!(merge.step(9, |lag| lags.push(lag), |_| {}), 1);
        assert_eq!((merge.late(), merge.behind()), (1, 1));
        producers[1].publish(602);
        merge.step(9, |lag| lags.push(lag), |_| {});
        let lag = |behind| Lag { shard: 1, behind };
        assert_eq!(lags, [lag(true), lag(false)]);
        assert_eq!(merge.behind(), 0);
    }

    #[test]
    fn a_raced_hand_over_loses_and_reorders_nothing() {
        let (producers, mut merge) = merge_of(2, None);
        let threads: Vec<_> = producers
            .into_iter()
            .zip([0u32, 1])
            .map(|(mut producer, shard)| {
                std::thread::spawn(move || {
                    for i in 0..20_000u32 {
                        let event = samples::at(u64::from(i), shard);
                        assert!(producer.push_and_wait(event).is_ok());
                        if i % 7 == 0 {
                            producer.publish(u64::from(i));
                        }
                    }
                })
            })
            .collect();
        let mut seen = Vec::new();
        while !merge.finished() {
            if merge.step(1000, |_| {}, |event| seen.push(event.position)) == 0 {
                std::thread::yield_now();
            }
        }
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(seen.len(), 40_000);
        assert!(seen.is_sorted() && merge.late() == 0);
    }
}
