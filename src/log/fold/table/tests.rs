use super::super::SECOND_NS;
use super::*;
use crate::log::event::Body;
use crate::log::formats::samples;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn attempt(ts_ns: i64, src: u32, dst: u32, dst_port: u16) -> Attempt {
    let Body::NewConnection(mut attempt) = samples::at(1, 1).body else {
        panic!("a new connection");
    };
    attempt.ts_ns = ts_ns;
    attempt.tuple.src = std::net::Ipv4Addr::from_bits(src).into();
    attempt.tuple.dst = std::net::Ipv4Addr::from_bits(dst).into();
    attempt.tuple.dst_port = dst_port;
    attempt
}

/// Feeds `count` attempts spread over a second; how many of them stay lines.
fn second(folds: &mut Folds, second: i64, count: u32, target: (u32, u16)) -> u32 {
    let step = SECOND_NS / i64::from(count.max(1));
    let line = |i: u32| {
        let ts_ns = second * SECOND_NS + i64::from(i) * step;
        u32::from(!folds.takes(attempt(ts_ns, i, target.0, target.1)))
    };
    (0..count).map(line).sum()
}

#[test]
fn what_is_above_the_rate_is_folded_and_a_steady_flood_writes_no_lines() {
    let mut folds = Folds::new(100, [1, 2]);
    let web = (5, 80);
    assert_eq!(second(&mut folds, 10, 100, web), 100, "at the rate");
    assert!(folds.close_before(11 * SECOND_NS).is_empty());
    assert_eq!(second(&mut folds, 11, 250, web), 100);
    let [fold] = &folds.close_before(12 * SECOND_NS)[..] else {
        panic!("one fold");
    };
    assert_eq!((fold.count, fold.second, fold.reason()), (150, 11, "rate"));
    assert_eq!(fold.first_ns, 11 * SECOND_NS + 100 * (SECOND_NS / 250));
    assert_eq!(fold.last_ns, 11 * SECOND_NS + 249 * (SECOND_NS / 250));
    assert_eq!(
        second(&mut folds, 12, 51, web),
        0,
        "the one before was above"
    );
    assert_eq!(second(&mut folds, 13, 50, web), 0, "and not below half yet");
    assert_eq!(second(&mut folds, 14, 60, web), 60, "now it was");
    assert_eq!(second(&mut folds, 20, 250, web), 100);
    assert_eq!(second(&mut folds, 22, 60, web), 60, "a second without any");
    assert_eq!(folds.held(), 51 + 50 + 150);
    let all = folds.close_all();
    let counts: Vec<_> = all.iter().map(|fold| (fold.second, fold.count)).collect();
    assert_eq!(counts, [(12, 51), (13, 50), (20, 150)]);
    assert_eq!(folds.held(), 0);
}

#[test]
fn lines_and_folds_are_all_attempts_of_each_target_whatever_the_table_has_room_for() {
    let mut folds = Folds::new(3, [3, 4]);
    let mut sent = BTreeMap::new();
    let mut lines = BTreeMap::new();
    let mut closed = Vec::new();
    let mut state = 9_u64;
    for i in 0..200_000_u32 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dst = u32::from(state >> 60 > 5) + u32::from(state >> 60 > 10);
        let port = u16::try_from((state >> 33) % 400).expect("small");
        let attempt = attempt(i64::from(i) * SECOND_NS / 20_000, i, dst, port);
        *sent.entry((attempt.tuple.dst, port)).or_insert(0_u64) += 1;
        closed.extend(folds.close_before(attempt.ts_ns));
        if !folds.takes(attempt) {
            *lines.entry((attempt.tuple.dst, port)).or_insert(0) += 1;
        }
    }
    closed.extend(folds.close_all());
    let folded: u64 = closed.iter().map(|fold| fold.count).sum();
    let written: u64 = lines.values().sum();
    assert_eq!(written + folded, 200_000);
    let wide = closed.iter().filter(|fold| fold.target.port.is_none());
    let wide: Vec<_> = wide.collect();
    assert!(!wide.is_empty(), "1,200 targets do not find room");
    assert!(wide.iter().all(|fold| fold.ports.estimate() > 1));
    for ((dst, port), sent) in sent {
        let of = |fold: &&Fold| {
            fold.target
                == Target {
                    dst: Some(dst),
                    port: Some(port),
                }
        };
        let own: u64 = closed.iter().filter(of).map(|fold| fold.count).sum();
        let known = own + lines.get(&(dst, port)).copied().unwrap_or(0);
        assert!(known <= sent, "{dst}:{port}: {known} of {sent}");
    }
}

#[test]
fn a_flood_is_found_among_any_number_of_slower_targets() {
    let mut folds = Folds::new(1000, [5, 6]);
    let mut lines = 0;
    for i in 0..200_000_u32 {
        let ts_ns = i64::from(i) * SECOND_NS / 100_000;
        // Every second one goes to the victim, the others anywhere.
        let target = if i % 2 == 0 {
            (7, 443)
        } else {
            (i, u16::try_from(i >> 8).expect("small"))
        };
        let written = !folds.takes(attempt(ts_ns, i, target.0, target.1));
        lines += u32::from(written && i % 2 == 0);
    }
    assert_eq!(lines, 1000, "the first second's");
}

#[test]
fn under_pressure_everything_is_folded_and_says_so() {
    let mut folds = Folds::new(1000, [7, 8]);
    folds.fold_all(true);
    assert_eq!(second(&mut folds, 5, 10, (1, 22)), 0);
    folds.fold_all(false);
    assert_eq!(second(&mut folds, 5, 10, (1, 22)), 10);
    let all = folds.close_all();
    assert_eq!(
        (all[0].count, all[0].pressure, all[0].reason()),
        (10, 10, "pressure")
    );
}

#[test]
fn a_fold_that_found_no_room_goes_on_growing() {
    let mut folds = Folds::new(0, [9, 9]);
    second(&mut folds, 5, 10, (1, 22));
    let [fold] = &folds.close_before(6 * SECOND_NS)[..] else {
        panic!("one fold");
    };
    assert_eq!(folds.held(), 0);
    folds.take_back(fold);
    second(&mut folds, 6, 5, (1, 22));
    let [fold] = &folds.close_before(7 * SECOND_NS)[..] else {
        panic!("one fold");
    };
    assert_eq!(
        (fold.count, fold.second, fold.first_ns),
        (15, 6, 5 * SECOND_NS)
    );
    assert!(folds.close_all().is_empty());
}

#[test]
fn a_clock_that_was_set_back_is_a_stretch_of_its_own() {
    let mut folds = Folds::new(10, [1, 2]);
    let ssh = (9, 22);
    assert_eq!(second(&mut folds, 1000, 30, ssh), 10);
    // An hour's worth of one a second, as in a second capture of an earlier day.
    for now in 0..100 {
        let one = attempt(now * SECOND_NS, 1, 9, 22);
        let closed = folds.close_apart(one.ts_ns);
        assert_eq!(closed.len(), usize::from(now == 0), "second {now}");
        assert!(!folds.takes(one), "second {now}");
    }
    assert_eq!(folds.held(), 0);
    // What comes a little late is no other stretch: it is folded where the others are.
    assert_eq!(second(&mut folds, 200, 30, ssh), 10);
    for ts_ns in [199 * SECOND_NS + 999_999_999, 200 * SECOND_NS] {
        let late = attempt(ts_ns, 2, 9, 22);
        assert!(folds.close_apart(ts_ns).is_empty() && folds.takes(late));
    }
    let all = folds.close_all();
    assert_eq!((all.len(), all[0].count, all[0].second), (1, 22, 200));
    assert_eq!(all[0].first_ns, 200 * SECOND_NS - 1);
}

#[test]
fn seconds_that_are_open_together_stay_apart() {
    let mut folds = Folds::new(10, [1, 2]);
    assert_eq!(second(&mut folds, 1, 30, (9, 22)), 10);
    assert_eq!(second(&mut folds, 2, 30, (9, 22)), 0);
    let [one] = &folds.close_before(2 * SECOND_NS)[..] else {
        panic!("one of the two is over");
    };
    assert_eq!((one.count, one.second), (20, 1));
    let all = folds.close_all();
    assert_eq!((all.len(), all[0].count, all[0].second), (1, 30, 2));
}

#[test]
fn more_seconds_than_places_are_kept_for_lose_nothing() {
    let mut folds = Folds::new(0, [1, 2]);
    let mut sent = 0;
    // Nothing is closed in between: worse than any stream of frames.
    for now in 0..6 {
        for i in 0..2000_u32 {
            sent += 1;
            assert!(folds.takes(attempt(now * SECOND_NS, i, i / 40, (i % 40) as u16)));
        }
    }
    assert_eq!(folds.held(), sent);
    let all = folds.close_all();
    assert_eq!(all.len(), FOLDS_MAX);
    assert_eq!(all.iter().map(|fold| fold.count).sum::<u64>(), sent);
    let everything = all.iter().filter(|fold| fold.target.dst.is_none());
    assert_eq!(everything.count(), 2);
    assert!(folds.close_all().is_empty());
}

#[test]
fn a_line_that_found_no_room_joins_the_second_at_hand() {
    let mut folds = Folds::new(10, [1, 2]);
    let line = attempt(5 * SECOND_NS, 1, 9, 22);
    assert!(!folds.takes(line));
    assert!(folds.close_before(7 * SECOND_NS).is_empty());
    folds.put(&line);
    assert!(folds.close_before(7 * SECOND_NS).is_empty());
    let [fold] = &folds.close_before(8 * SECOND_NS)[..] else {
        panic!("one fold");
    };
    assert_eq!((fold.count, fold.pressure, fold.second), (1, 1, 7));
    assert_eq!((fold.first_ns, fold.last_ns), (line.ts_ns, line.ts_ns));
}

#[test]
fn a_part_that_joins_a_wider_fold_leaves_its_port_there() {
    let web = Target {
        dst: Some(std::net::Ipv4Addr::LOCALHOST.into()),
        port: Some(80),
    };
    let (mut part, mut wide) = (Fold::empty(web, 1), Fold::empty(Target::default(), 1));
    part.add(&attempt(SECOND_NS, 1, 9, 80).into(), false);
    wide.merge(&part);
    assert_eq!((wide.count, wide.ports.estimate()), (1, 1));
}

/// What a rate comes to, by the words of the rule: a list of all attempts, counted anew for each.
fn oracle(attempts: &[Attempt], per_second: u64) -> Vec<bool> {
    let target = |attempt: &Attempt| (attempt.tuple.dst, attempt.tuple.dst_port);
    let in_second = |of: &Attempt, second: i64, until: usize| {
        let same = |one: &&Attempt| target(one) == target(of) && second_of(one.ts_ns) == second;
        attempts[..until].iter().filter(same).count() as u64
    };
    let starts_folded = |of: &Attempt| {
        let now = second_of(of.ts_ns);
        // Back to the last second whose end is known whatever came before it: one without any.
        let mut from = now;
        while in_second(of, from - 1, attempts.len()) > 0 {
            from -= 1;
        }
        (from..now).fold(false, |folding, second| {
            let count = in_second(of, second, attempts.len());
            count > per_second || folding && count > per_second / 2
        })
    };
    let folded = |(at, of): (usize, &Attempt)| {
        let before = in_second(of, second_of(of.ts_ns), at);
        starts_folded(of) || before >= per_second
    };
    attempts.iter().enumerate().map(folded).collect()
}

proptest! {
    #[test]
    fn what_is_folded_is_what_the_rule_says(
        steps in prop::collection::vec((0_i64..400_000_000, 0_u32..2, 0_u16..2, 0_u32..900), 1..250),
        per_second in 1_u32..6,
    ) {
        let mut ts_ns = 0;
        let mut attempts = Vec::new();
        for (step, dst, port, src) in steps {
            ts_ns += step;
            attempts.push(attempt(ts_ns, src, dst, port));
        }
        let expected = oracle(&attempts, u64::from(per_second));
        let (mut folds, mut closed) = (Folds::new(per_second, [8, 9]), Vec::new());
        for (attempt, folded) in attempts.iter().zip(&expected) {
            closed.extend(folds.close_before(attempt.ts_ns));
            prop_assert_eq!(folds.takes(*attempt), *folded, "{}", attempt.ts_ns);
        }
        closed.extend(folds.close_all());
        let mut truth: BTreeMap<_, Vec<&Attempt>> = BTreeMap::new();
        for (attempt, _) in attempts.iter().zip(expected).filter(|(_, folded)| *folded) {
            let key = (second_of(attempt.ts_ns), attempt.tuple.dst, attempt.tuple.dst_port);
            truth.entry(key).or_default().push(attempt);
        }
        prop_assert_eq!(closed.len(), truth.len());
        for fold in closed {
            let Target { dst: Some(dst), port: Some(port) } = fold.target else {
                return Err(TestCaseError::fail("there is room"));
            };
            let own = truth.get(&(fold.second, dst, port)).ok_or_else(|| TestCaseError::fail("not sent"))?;
            prop_assert_eq!(fold.count, own.len() as u64);
            prop_assert_eq!(Some(fold.first_ns), own.iter().map(|one| one.ts_ns).min());
            prop_assert_eq!(Some(fold.last_ns), own.iter().map(|one| one.ts_ns).max());
            let sources: BTreeSet<_> = own.iter().map(|one| one.tuple.src).collect();
            let off = fold.sources.estimate().abs_diff(sources.len() as u64);
            prop_assert!(off <= 1 + sources.len() as u64 / 7, "{} of {}", off, sources.len());
        }
    }
}

proptest! {
    #[test]
    fn an_attempt_at_the_last_target_is_folded_as_any_other(
        steps in prop::collection::vec((0_i64..400, 0_u32..3, 0_u32..200), 0..900),
        per_second in 1_u32..12,
    ) {
        let (mut one, mut other) = (Folds::new(per_second, [1, 2]), Folds::new(per_second, [1, 2]));
        let mut now_ns = 0;
        for (step, target, rare) in steps {
            now_ns += step * 1_000_000;
            // Some lag behind, into the second before.
            let ts_ns = now_ns - i64::from(rare % 3 == 0) * step * 3_000_000;
            let new = Foldable::from(attempt(ts_ns, rare, 5 + target / 2, 80));
            prop_assert_eq!(one.takes(new), other.decide(&new));
            if rare == 7 {
                one.fold_all(step % 2 == 0);
                other.fold_all(step % 2 == 0);
            }
            if rare < 5 {
                prop_assert_eq!(one.close_before(now_ns), other.close_before(now_ns));
            }
            prop_assert_eq!(one.held(), other.held());
        }
        prop_assert_eq!(one.close_all(), other.close_all());
    }
}
