use super::super::SECOND_NS;
use super::*;
use crate::log::event::Body;
use crate::log::samples;
use std::collections::BTreeMap;

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
    (0..count)
        .filter(|&i| {
            let ts_ns = second * SECOND_NS + i64::from(i) * step;
            !folds.takes(&attempt(ts_ns, i, target.0, target.1))
        })
        .count() as u32
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
    assert_eq!(all.len(), 1, "not closed in between: one fold");
    assert_eq!((all[0].count, folds.held()), (251, 0));
}

#[test]
fn lines_and_folds_are_all_attempts_of_each_target_whatever_the_table_has_room_for() {
    let mut folds = Folds::new(3, [3, 4]);
    let mut sent = BTreeMap::new();
    let mut lines = BTreeMap::new();
    let mut closed = Vec::new();
    let mut state = 9_u64;
    for i in 0..200_000_i64 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let dst = (state >> 60) as u32 % 3;
        let port = (state >> 33) as u16 % 400;
        let attempt = attempt(i * SECOND_NS / 20_000, i as u32, dst, port);
        *sent.entry((attempt.tuple.dst, port)).or_insert(0_u64) += 1;
        closed.extend(folds.close_before(attempt.ts_ns));
        if !folds.takes(&attempt) {
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
        let of = |fold: &&Box<Fold>| {
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
            (i, (i >> 8) as u16)
        };
        let written = !folds.takes(&attempt(ts_ns, i, target.0, target.1));
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
