//! The ladder under an injected clock.

use super::spans::SPANS_MAX;
use super::*;
use crate::flow::record::{ConnState, EndReason, FlowRecord};
use crate::log::formats::samples::flow_record;
use craft::Rng;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;

const NONE: Backlog = Backlog {
    share: 0.0,
    late: false,
};
const CALM: Load = Load {
    open: NONE,
    control: NONE,
    data: NONE,
    dropped: false,
    data_share: 0.0,
};
const FULL: Load = Load {
    open: late(1.0),
    control: late(1.0),
    data: late(1.0),
    dropped: true,
    data_share: 1.0,
};

const fn late(share: f64) -> Backlog {
    Backlog { share, late: true }
}

fn open(share: f64) -> Load {
    Load {
        open: late(share),
        ..CALM
    }
}

/// Steps of a ladder that looks each millisecond, with their time.
fn run(
    shedding: &mut Shedding,
    (from, to): (i64, i64),
    mut load: impl FnMut(i64, Level) -> Load,
) -> Vec<(i64, LevelStep)> {
    let mut steps = Vec::new();
    for at in (from..to).step_by(usize::try_from(MS).expect("small")) {
        let load = load(at, shedding.level());
        steps.extend(shedding.update(at, &load).map(|step| (at, step)));
    }
    steps
}

#[test]
fn up_at_once_by_the_thresholds_and_in_order() {
    for (share, level) in [
        (0.25, Level::None),
        (0.26, Level::Bulk),
        (0.5, Level::Bulk),
        (0.51, Level::Data),
        (0.75, Level::Data),
        (0.76, Level::Lines),
    ] {
        let mut shedding = Shedding::new(true);
        let steps = run(&mut shedding, (0, 10 * MS), |_, _| open(share));
        assert_eq!(shedding.level(), level, "{share}");
        assert_eq!(steps.len(), level as usize);
        for (at, (now, step)) in steps.iter().enumerate() {
            assert_eq!(*now, i64::try_from(at).expect("few") * MS);
            assert_eq!((step.from, step.to), (Level::ALL[at], Level::ALL[at + 1]));
            assert_eq!((step.reason, step.direction()), ("open", "up"));
        }
    }
    let control = Load {
        control: late(1.0),
        ..CALM
    };
    let mut shedding = Shedding::new(true);
    run(&mut shedding, (0, SECOND), |_, _| control);
    assert_eq!(shedding.level(), Level::Data, "folding helps no refusal");
}

#[test]
fn a_data_ring_that_fills_asks_for_the_first_level() {
    for (share, level) in [(0.5, Level::None), (0.51, Level::Bulk), (1.0, Level::Bulk)] {
        let load = Load {
            data: late(share),
            ..CALM
        };
        let mut shedding = Shedding::new(true);
        let steps = run(&mut shedding, (0, SECOND), |_, _| load);
        assert_eq!(shedding.level(), level, "{load:?}");
        assert!(steps.iter().all(|(_, step)| step.reason == "data"));
    }
}

#[test]
fn many_frames_that_are_read_in_time_and_few_that_are_late_ask_for_nothing() {
    let many = Backlog {
        share: 1.0,
        late: false,
    };
    for waits in [many, late(0.25), NONE] {
        let load = Load {
            open: waits,
            control: waits,
            data: waits,
            data_share: 1.0,
            ..CALM
        };
        let mut shedding = Shedding::new(true);
        assert_eq!(run(&mut shedding, (0, SECOND), |_, _| load), [], "{load:?}");
    }
    // And they end a level that more had begun.
    for waits in [many, late(0.12)] {
        let mut shedding = Shedding::new(true);
        run(&mut shedding, (0, MS), |_, _| open(0.26));
        assert_eq!(shedding.level(), Level::Bulk);
        let load = Load {
            open: waits,
            control: waits,
            ..CALM
        };
        run(&mut shedding, (MS, 2 * SECOND), |_, _| load);
        assert_eq!(shedding.level(), Level::None, "{load:?}");
    }
}

#[test]
fn of_two_rings_the_late_one_counts_before_the_fuller_one() {
    let full = Backlog {
        share: 0.9,
        late: false,
    };
    for (a, b, worse) in [
        (full, late(0.1), late(0.1)),
        (late(0.1), full, late(0.1)),
        (late(0.1), late(0.2), late(0.2)),
        (NONE, full, full),
    ] {
        assert_eq!(a.worse(b), worse);
    }
}

#[test]
fn data_are_kept_where_they_are_few_until_they_are_not() {
    let few = Load {
        data_share: 0.24,
        ..open(1.0)
    };
    let mut shedding = Shedding::new(true);
    let steps = run(&mut shedding, (0, SECOND), |_, _| few);
    assert_eq!(shedding.level(), Level::Lines);
    assert!(steps.iter().all(|(_, step)| step.keeps_data), "{steps:?}");
    assert!(!shedding.filters_bulk() && !shedding.returns_data());
    let told: Vec<&str> = steps.iter().map(|(_, step)| step.what()).collect();
    let kept = "attempts are folded into counts, data are few and kept";
    assert_eq!(
        told,
        ["data are few and kept", "data are few and kept", kept]
    );
    // They become many, or their ring fills: said once, at the level that holds.
    for no_longer in [
        Load {
            data_share: 0.25,
            ..few
        },
        Load {
            data: late(0.51),
            ..few
        },
    ] {
        let mut shedding = shedding.clone();
        let steps = run(&mut shedding, (SECOND, 2 * SECOND), |_, _| no_longer);
        let [(_, step)] = steps[..] else {
            panic!("{steps:?}");
        };
        assert_eq!((step.direction(), step.reason), ("same", "data"));
        assert_eq!((step.to, step.keeps_data), (Level::Lines, false));
        assert!(shedding.filters_bulk() && shedding.returns_data());
        // Few again, for they are refused: that says nothing.
        assert!(run(&mut shedding, (2 * SECOND, 3 * SECOND), |_, _| few).is_empty());
        assert_eq!(shedding.counts.identities()[2].1, 1);
    }
    // Many from the start.
    let mut shedding = Shedding::new(true);
    let many = Load {
        data_share: 0.25,
        ..open(0.26)
    };
    run(&mut shedding, (0, SECOND), |_, _| many);
    assert!(shedding.filters_bulk() && !shedding.returns_data());
}

#[test]
fn off_is_off_and_counts_its_time() {
    let mut shedding = Shedding::new(false);
    assert!(run(&mut shedding, (0, SECOND), |_, _| FULL).is_empty());
    assert_eq!(shedding.counts.spent_us, [999_000, 0, 0, 0]);
}

#[test]
fn down_a_level_at_a_time_after_a_calm_second_without_drops() {
    let mut shedding = Shedding::new(true);
    run(&mut shedding, (0, 10 * MS), |_, _| FULL);
    assert_eq!(shedding.level(), Level::Lines);
    let steps = run(&mut shedding, (10 * MS, 10 * SECOND), |_, _| CALM);
    let times: Vec<i64> = steps.iter().map(|(at, _)| at / MS).collect();
    assert_eq!(times, [1009, 2009, 3009], "{steps:?}");
    for (_, step) in &steps {
        assert_eq!((step.reason, step.direction()), ("calm", "down"));
    }
    assert_eq!(shedding.level(), Level::None);
    assert_eq!(shedding.counts.up, [0, 1, 1, 1]);
    assert_eq!(shedding.counts.down, [0, 1, 1, 1]);
    let spent: u64 = shedding.counts.spent_us.iter().sum();
    assert_eq!(spent, 9_999_000);
    // At half of the threshold or above it, or with drops, a level stays.
    for load in [
        open(0.126),
        Load {
            control: late(0.126),
            ..CALM
        },
        Load {
            data: late(0.26),
            ..CALM
        },
        Load {
            dropped: true,
            ..CALM
        },
    ] {
        let mut shedding = Shedding::new(true);
        run(&mut shedding, (0, MS), |_, _| open(0.26));
        let steps = run(&mut shedding, (MS, 100 * SECOND), |_, _| load);
        assert_eq!(steps, [], "{load:?}");
        let steps = run(&mut shedding, (100 * SECOND, 102 * SECOND), |_, _| CALM);
        assert_eq!(steps.len(), 1);
    }
}

#[test]
fn a_level_that_comes_back_is_held_twice_as_long_and_at_most_half_a_minute() {
    let mut shedding = Shedding::new(true);
    // The worst that can be: calm until the level ends, and then it is needed at once.
    let worst = |_, level| match level {
        Level::None => open(0.3),
        _ => CALM,
    };
    let steps = run(&mut shedding, (0, 300 * SECOND), worst);
    let held: Vec<i64> = steps
        .chunks_exact(2)
        .map(|pair| (pair[1].0 - pair[0].0) / SECOND)
        .collect();
    assert_eq!(held[..7], [1, 2, 4, 8, 16, 30, 30]);
    // After two quiet half minutes it is held a quarter as long.
    let at = steps.last().map_or(0, |(at, _)| *at);
    run(
        &mut shedding,
        (at.max(300 * SECOND), 340 * SECOND),
        |_, _| CALM,
    );
    assert_eq!(shedding.level(), Level::None);
    let left = shedding.holds[0].left_ns.expect("it was left");
    let back = left + 65 * SECOND;
    let step = shedding.update(back, &open(0.3)).expect("up again");
    assert_eq!(step.hold_ns, 30 * SECOND / 4);
}

/// No level is entered more often than five times and twice in each half minute.
fn assert_bounded(what: &str, shedding: &Shedding, seconds: i64) {
    let bound = u64::try_from(5 + 2 * (seconds / 30 + 1)).expect("positive");
    for (level, &up) in shedding.counts.up.iter().enumerate() {
        assert!(up <= bound, "{what}: level {level} {up} times");
    }
    for (name, left, right) in shedding.counts.identities() {
        assert_eq!(left, right, "{what}: {name}");
    }
}

#[test]
fn whatever_the_rings_do_the_steps_are_few() {
    let end = 600;
    // Who knows the level and wants steps: each level in turn, and waits that end just before or behind a hold.
    for wait_ms in [0, 1, 500, 999, 1000, 1001, 15_000, 29_999, 30_000, 30_001] {
        for reach in [0.3, 0.6, 1.0] {
            let (mut shedding, mut quiet_since) = (Shedding::new(true), None);
            let mut falling = false;
            let steps = run(&mut shedding, (0, end * SECOND), |now, level| {
                falling |= level >= Level::Lines || (reach < 0.9 && level >= Level::Data);
                falling |= reach < 0.5 && level >= Level::Bulk;
                if level > Level::None {
                    quiet_since = None;
                } else if now - *quiet_since.get_or_insert(now) >= wait_ms * MS {
                    falling = false;
                }
                if falling || quiet_since.is_some_and(|since| now - since < wait_ms * MS) {
                    CALM
                } else {
                    open(reach)
                }
            });
            assert!(!steps.is_empty());
            assert_bounded(&format!("wait {wait_ms} ms, {reach}"), &shedding, end);
        }
    }
    // Who does not.
    for seed in 0..50 {
        let (mut rng, mut shedding) = (Rng::new(seed), Shedding::new(true));
        let mut now_ns = 0;
        while now_ns < end * SECOND {
            let share = |rng: &mut Rng| f64::from(rng.next_u32() % 101) / 100.0;
            let backlog = |rng: &mut Rng| Backlog {
                share: share(rng),
                late: !rng.next_u32().is_multiple_of(4),
            };
            let mut load = Load {
                open: backlog(&mut rng),
                control: backlog(&mut rng),
                data: backlog(&mut rng),
                dropped: rng.next_u32().is_multiple_of(64),
                data_share: share(&mut rng),
            };
            if rng.next_u32() % 8 > 0 {
                load = CALM;
            }
            now_ns += i64::from(rng.next_u32() % 3000) * MS;
            shedding.update(now_ns, &load);
        }
        assert_bounded(&format!("seed {seed}"), &shedding, end + 3);
    }
}

#[test]
fn ends_of_time_are_times() {
    let mut shedding = Shedding::new(true);
    for now_ns in [i64::MIN, 0, i64::MAX] {
        shedding.update(now_ns, &open(0.3));
        shedding.update(now_ns, &CALM);
    }
    assert_eq!(shedding.level(), Level::Bulk);
}

#[test]
fn flows_that_were_open_while_packets_were_shed_say_so() {
    let mut spans = Spans::default();
    let flow = |start_ns, end_ns, reason, conn_state| FlowRecord {
        start_ns,
        end_ns,
        reason,
        conn_state,
        ..flow_record()
    };
    let ended = |start, end| flow(start, end, EndReason::Fin, ConnState::Sf);
    assert!(!spans.touch(&ended(0, 100)));
    spans.begin(50);
    spans.begin(40);
    spans.begin(60);
    assert!(spans.touch(&ended(0, 40)) && spans.touch(&ended(500, 600)));
    assert!(!spans.touch(&ended(0, 39)));
    spans.end(70);
    assert!(spans.touch(&ended(70, 80)) && !spans.touch(&ended(71, 80)));
    // One that timed out may have had packets after its last one.
    assert!(spans.touch(&flow(0, 39, EndReason::Timeout, ConnState::S1)));
    assert!(!spans.touch(&flow(71, 80, EndReason::Timeout, ConnState::S1)));
    assert!(!spans.touch(&flow(0, 60, EndReason::Unanswered, ConnState::S0)));
    // Of many stretches the oldest become one.
    for n in 1..100 {
        spans.begin(n * 1000);
        spans.end(n * 1000 + 10);
    }
    assert!(spans.past.len() <= SPANS_MAX);
    assert!(spans.touch(&ended(45, 46)) && spans.touch(&ended(500, 501)));
    assert!(!spans.touch(&ended(98_500, 98_600)) && spans.touch(&ended(98_500, 99_000)));
}
