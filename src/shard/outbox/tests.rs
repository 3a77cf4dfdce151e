//! What the outbox holds and lets go of.

use super::*;
use crate::log::fold::{FOLDS_MAX, SECOND_NS};
use crate::log::merge::{Consumer, Merge, queue};
use crate::time::timeline::ts_of_position;
use std::net::{IpAddr, Ipv4Addr};

fn outbox(capacity: usize, folds: Option<Folds>) -> (Outbox, Consumer) {
    let (log, consumer) = queue(capacity);
    (Outbox::new(log, folds, true), consumer)
}

fn send(outbox: &mut Outbox, number: u32, ts_ns: i64, counts: &mut ShardCounts) {
    let ip = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
    let tuple = crate::flow::record::FiveTuple {
        src: ip(number),
        dst: ip(1),
        src_port: 1,
        dst_port: 80,
        proto: 6,
    };
    let attempt = Attempt {
        ts_ns,
        tuple,
        isn: number,
        odd: false,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
    };
    let place = (position_of_ts(ts_ns), Step::Frame(1, ts_ns));
    outbox.hold_attempt(|| place, attempt, None, counts);
}

/// What comes out: the position of each event, and how many attempts it stands for.
fn come_out(merge: &mut Merge) -> Vec<(i64, u64)> {
    let mut all = Vec::new();
    let step = |event: &mut Event| {
        let count = match &event.body {
            Body::Folded(fold) => fold.count,
            _ => 1,
        };
        all.push((ts_of_position(event.position), count));
    };
    merge.step(usize::MAX, |_| {}, step);
    all
}

fn settle(outbox: &mut Outbox, ts_ns: i64, counts: &mut ShardCounts) {
    outbox.close_folds(ts_ns, counts);
    outbox.sort();
    outbox.push_until(position_of_ts(ts_ns), counts);
    outbox.publish(position_of_ts(ts_ns));
}

#[test]
fn a_fold_comes_in_its_place_when_its_second_is_over() {
    let (mut outbox, consumer) = outbox(64, Some(Folds::new(2, [1, 2])));
    let mut merge = Merge::new(vec![consumer], None);
    let mut counts = ShardCounts::default();
    for number in 0..5 {
        send(&mut outbox, number, i64::from(number), &mut counts);
    }
    settle(&mut outbox, SECOND_NS - 1, &mut counts);
    assert_eq!(come_out(&mut merge), [(0, 1), (1, 1)]);
    assert_eq!((counts.folded_by_shards, outbox.folding()), (3, 3));
    // The next second starts folded; the one after it has a line again, which comes behind both folds.
    for ts_ns in [SECOND_NS + 5, 2 * SECOND_NS + 7, 4 * SECOND_NS] {
        send(&mut outbox, 9, ts_ns, &mut counts);
    }
    settle(&mut outbox, 5 * SECOND_NS, &mut counts);
    let expected = [
        (SECOND_NS, 3),
        (2 * SECOND_NS, 1),
        (2 * SECOND_NS + 7, 1),
        (4 * SECOND_NS, 1),
    ];
    assert_eq!(come_out(&mut merge), expected);
    assert_eq!((merge.late(), outbox.folding()), (0, 0));
}

#[test]
fn what_finds_no_room_in_the_log_is_folded_and_none_is_lost() {
    let (mut outbox, consumer) = outbox(4, Some(Folds::new(100, [1, 2])));
    let mut merge = Merge::new(vec![consumer], None);
    let mut counts = ShardCounts::default();
    for number in 0..50 {
        send(&mut outbox, number, i64::from(number), &mut counts);
    }
    settle(&mut outbox, 100, &mut counts);
    assert_eq!(counts.folded_by_shards, 46);
    // The queue is still full when the second is over: the fold goes on growing.
    settle(&mut outbox, 3 * SECOND_NS, &mut counts);
    assert_eq!(outbox.folding(), 46);
    assert_eq!(come_out(&mut merge).len(), 4);
    send(&mut outbox, 99, 3 * SECOND_NS, &mut counts);
    outbox.wait_for_log();
    outbox.close_all_folds((u64::MAX - 1, Step::End(i64::MAX)), &mut counts);
    outbox.sort();
    outbox.push_until(u64::MAX, &mut counts);
    outbox.close();
    let rest: Vec<u64> = come_out(&mut merge).into_iter().map(|(_, n)| n).collect();
    assert_eq!((rest, merge.queue_full()), (vec![1, 46], [0; 3]));
}

#[test]
fn without_folds_a_full_log_loses_lines_and_counts_them() {
    let (mut outbox, consumer) = outbox(4, None);
    let merge = Merge::new(vec![consumer], None);
    let mut counts = ShardCounts::default();
    outbox.fold_all(true);
    for number in 0..50 {
        send(&mut outbox, number, i64::from(number), &mut counts);
    }
    settle(&mut outbox, 100, &mut counts);
    assert_eq!(
        (counts.folded_by_shards, merge.queue_full()),
        (0, [46, 0, 0])
    );
}

#[test]
fn while_the_log_waits_for_a_sweep_no_more_folds_pile_up_than_can_be_open() {
    let (mut outbox, _consumer) = outbox(64, Some(Folds::new(0, [1, 2])));
    let mut counts = ShardCounts::default();
    for second in 0..2000 {
        send(&mut outbox, 1, second * SECOND_NS, &mut counts);
        outbox.close_folds(second * SECOND_NS, &mut counts);
    }
    assert!(outbox.folds_held <= FOLDS_MAX && outbox.others.len() <= FOLDS_MAX);
    outbox.wait_for_log();
    outbox.close_all_folds((u64::MAX - 1, Step::End(i64::MAX)), &mut counts);
    let count = |event: &Event| match &event.body {
        Body::Folded(fold) => fold.count,
        _ => 0,
    };
    assert_eq!(outbox.others.iter().map(count).sum::<u64>(), 2000);
}
