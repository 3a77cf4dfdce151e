//! What a block has dropped, as of its end.

use super::*;
use crate::log::formats::samples::TS_NS;

/// Packets of each record of an end.
fn ended(lab: &mut Lab) -> Vec<Option<u64>> {
    let packets = |record: crate::log::block_record::BlockRecord| match record.outcome {
        Outcome::Ended { dropped, .. } => Some(dropped.map(|(packets, _)| packets)),
        _ => None,
    };
    lab.records().into_iter().filter_map(packets).collect()
}

/// A block whose kernel has dropped five packets when it was listed last.
fn with_block() -> Lab {
    let mut lab = Lab::new(plan());
    lab.with(|kernel| kernel.dropped = Some((5, 500)));
    lab.detect(&scan("192.0.2.9"));
    lab.tick(10);
    lab.tick(0);
    assert_eq!(lab.counts().dropped_packets, 5);
    lab
}

#[test]
fn a_block_that_expires_is_counted_just_before() {
    let mut lab = with_block();
    lab.tick(589);
    lab.tick(0);
    lab.with(|kernel| kernel.dropped = Some((7, 700)));
    lab.pass(S / 2 + S / 10);
    lab.pass(S * 4 / 10);
    assert_eq!(ended(&mut lab), [Some(7)]);
    assert_eq!(lab.counts().dropped_bytes, 700);
}

#[test]
fn one_that_is_removed_is_counted_just_before() {
    let mut lab = with_block();
    lab.with(|kernel| kernel.dropped = Some((8, 800)));
    lab.ask(Wish::Remove(net("192.0.2.9")));
    assert_eq!(ended(&mut lab), [Some(8)]);
}

#[test]
fn when_all_are_let_in_or_the_run_ends_they_are_counted_just_before() {
    for by_hand in [true, false] {
        let mut lab = with_block();
        lab.with(|kernel| kernel.dropped = Some((9, 900)));
        match by_hand {
            true => drop(lab.ask(Wish::Flush)),
            false => lab.blocker.finish(LogTime::default(), TS_NS),
        }
        assert_eq!(ended(&mut lab), [Some(9)], "{by_hand}");
        assert_eq!(lab.counts().dropped_packets, 9);
    }
}

#[test]
fn a_late_count_is_not_that_of_a_new_block_of_the_same_source() {
    let mut lab = with_block();
    lab.tick(590);
    assert_eq!(ended(&mut lab).len(), 1);
    lab.with(|kernel| kernel.is_slow = true);
    lab.hear(&scan("192.0.2.9"));
    let (net, dropped) = (net("192.0.2.9"), (7, 700));
    lab.with(|kernel| kernel.dropped = None);
    lab.with(|kernel| kernel.heard.push(Heard::Counted { net, dropped }));
    lab.with(|kernel| kernel.is_slow = false);
    lab.tick(0);
    lab.ask(Wish::Remove(net));
    assert_eq!(ended(&mut lab), [None]);
}
