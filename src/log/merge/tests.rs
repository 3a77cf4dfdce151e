//! The queue's ends and the order of the merge, one claim a test.

use super::*;
use crate::log::formats::samples;
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
                merge.step(usize::MAX, |_| {}, |event| out.push(event.clone()));
            }
            match parts[shard].peek() {
                Some(next) if next.position > 0 => producers[shard].publish(next.position - 1),
                Some(_) => {}
                None => producers[shard].publish(u64::MAX),
            }
            merge.step(3, |_| {}, |event| out.push(event.clone()));
            merge.step(usize::MAX, |_| {}, |event| out.push(event.clone()));
        }
        drop(producers);
        merge.step(usize::MAX, |_| {}, |event| out.push(event.clone()));
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

#[test]
fn a_full_queue_gives_the_event_back_or_counts_it() {
    let (mut producer, consumer) = queue(1);
    assert!(producer.push(samples::at(1, 1)).is_ok());
    assert_eq!(producer.push(samples::at(2, 2)), Err(samples::at(2, 2)));
    producer.count_full(&samples::flow().body);
    assert_eq!(consumer.queue_full(), [0, 0, 1]);
}

#[test]
fn a_waiting_push_publishes_what_came_before_and_ends_when_the_logger_is_gone() {
    let (mut producer, consumer) = queue(1);
    assert!(producer.push(samples::at(5, 1)).is_ok());
    let waiting = std::thread::spawn(move || producer.push_and_wait(samples::at(9, 2)).is_err());
    while consumer.bound() != 9 {
        std::thread::yield_now();
    }
    drop(consumer);
    assert!(waiting.join().expect("no panic"));
}

#[test]
fn bounds_never_go_back_and_a_dropped_producer_is_closed() {
    let (mut producer, mut consumer) = queue(2);
    assert_eq!(consumer.bound(), 0);
    producer.publish(7);
    producer.publish(3);
    assert_eq!(consumer.bound(), 8);
    producer.publish(u64::MAX);
    assert!(!is_closed(consumer.bound()));
    assert!(producer.push(samples::at(1, 1)).is_ok());
    drop(producer);
    assert!(is_closed(consumer.bound()) && !consumer.finished());
    assert_eq!(consumer.take_run(0, 2, |_| ()), 1);
    assert!(consumer.finished());
}
