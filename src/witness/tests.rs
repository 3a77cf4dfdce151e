//! The comparison under streams that agree, that do not, and that differ for a reason.

use super::Syn;
use super::comparison::{Comparison, EDGE_NS, SETTLE_NS};
use super::excuses::{Grant, Lacks};
use super::reports::{Report, queue};
use super::table::ENTRIES_MAX;
use crate::books::witness::{Excuse, Fate};
use crate::capture::bpf::sample::{Ends, Sample};
use crate::error::ConfigError;
use crate::settings::RunConfig;
use crate::settings::flags::{Cli, Command};
use crate::time::durations::HORIZON_NS;
use clap::Parser;
use std::net::{IpAddr, Ipv4Addr};

const S: i64 = 1_000_000_000;
const MS: i64 = 1_000_000;

fn syn(number: u32) -> Syn {
    let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
    Syn {
        ends: Ends {
            src: address(number),
            dst: address(1),
            src_port: 40_000,
            dst_port: 443,
        },
        isn: number.wrapping_mul(2_654_435_761),
    }
}

fn report(number: u32, ts_ns: i64) -> Report {
    Report {
        syn: syn(number),
        ts_ns,
        interface: 0,
        in_reach: true,
        fate: Fate::Line,
    }
}

fn grant(excuse: Excuse, left: u64) -> Grant {
    Grant {
        excuse,
        interface: Some(0),
        from_ns: 0,
        until_ns: 1000 * S,
        left,
    }
}

/// A comparison that holds its identities whenever it is looked at.
struct Test(Comparison);

impl Test {
    fn new() -> Self {
        Self(Comparison::new([7, 8]))
    }

    fn seen(&mut self, number: u32, ts_ns: i64) -> &mut Self {
        self.0.on_syn(syn(number), ts_ns, 0, ts_ns + 100 * MS);
        self.check()
    }

    fn told(&mut self, number: u32, ts_ns: i64) -> &mut Self {
        self.0.on_report(&report(number, ts_ns), ts_ns + 20 * MS);
        self.check()
    }

    fn beyond(&mut self, number: u32, ts_ns: i64) -> &mut Self {
        let report = Report {
            in_reach: false,
            ..report(number, ts_ns)
        };
        self.0.on_report(&report, ts_ns + 20 * MS);
        self.check()
    }

    fn settle(&mut self, limit_ns: i64) -> &mut Self {
        self.0.settle(limit_ns);
        self.check()
    }

    fn check(&mut self) -> &mut Self {
        // Behind the first there is a kernel.
        for identity in &self.0.counts.identities(true)[1..] {
            assert!(identity.holds(), "{identity:?}");
        }
        self
    }

    /// Seen, agreed, missing, excused, told, extra, excused on the other side.
    fn counts(&self) -> [u64; 7] {
        let counts = &self.0.counts;
        [
            counts.seen,
            counts.agreed.iter().sum(),
            counts.missing,
            counts.excused.iter().sum(),
            counts.told,
            counts.extra,
            counts.extra_excused.iter().sum(),
        ]
    }
}

#[test]
fn streams_that_agree_agree_in_whatever_order_they_come() {
    let mut test = Test::new();
    for number in 0..2_000 {
        let ts_ns = i64::from(number) * 3 * MS;
        match number % 3 {
            0 => test.seen(number, ts_ns).told(number, ts_ns - 1),
            1 => test.told(number, ts_ns).seen(number, ts_ns + 1),
            // The one a little before the one before it, as two rings may stamp them.
            _ => test.seen(number, ts_ns - 4 * MS).told(number, ts_ns),
        };
        // Sent again.
        if number % 5 == 0 {
            test.seen(number, ts_ns + 900 * MS);
        }
        test.settle(ts_ns - 10 * MS);
    }
    test.settle(i64::MAX);
    assert_eq!(test.counts(), [2_000, 2_000, 0, 0, 2_000, 0, 0]);
    assert_eq!(test.0.counts.retransmitted, 400);
    assert!(test.0.disagreements.is_empty());
}

#[test]
fn an_attempt_that_the_ledger_loses_is_named_once_it_has_had_time() {
    let mut test = Test::new();
    for number in 0..100 {
        test.seen(number, S + i64::from(number));
        if number != 42 {
            test.told(number, S + i64::from(number));
        }
    }
    test.settle(S + SETTLE_NS);
    assert_eq!(test.counts()[2], 0, "it may still come");
    test.settle(S + SETTLE_NS + 100 * MS + 100);
    assert_eq!(test.counts(), [100, 99, 1, 0, 99, 0, 0]);
    let [named] = test.0.disagreements[..] else {
        panic!("{:?}", test.0.disagreements);
    };
    assert_eq!((named.lacks, named.syn), (Lacks::Ledger, syn(42)));
    assert_eq!((named.ts_ns, named.interface), (S + 42, 0));
}

#[test]
fn an_attempt_that_only_the_ledger_has_is_named() {
    let mut test = Test::new();
    test.seen(1, S).told(1, S).told(2, S).settle(i64::MAX);
    assert_eq!(test.counts(), [1, 1, 0, 0, 2, 1, 0]);
    assert_eq!(test.0.disagreements[0].lacks, Lacks::Witness);
    assert_eq!(test.0.disagreements[0].syn, syn(2));
}

#[test]
fn an_attempt_that_the_ledger_has_twice_is_named() {
    let mut test = Test::new();
    test.seen(1, S).told(1, S).told(1, 3 * S).settle(i64::MAX);
    assert_eq!(test.counts(), [1, 1, 0, 0, 2, 1, 0]);
    let mut test = Test::new();
    test.seen(1, S).told(1, S).settle(20 * S);
    test.told(1, 30 * S).settle(i64::MAX);
    assert_eq!(test.counts(), [1, 1, 0, 0, 2, 1, 0]);
}

#[test]
fn another_sequence_number_is_another_attempt() {
    let mut test = Test::new();
    let again = Syn { isn: 5, ..syn(1) };
    test.seen(1, S).told(1, S);
    test.0.on_syn(again, S, 0, S);
    test.settle(i64::MAX);
    assert_eq!(test.counts(), [2, 1, 1, 0, 1, 0, 0]);
    assert_eq!(test.0.disagreements[0].syn, again);
}

#[test]
fn an_excuse_reaches_as_far_as_it_was_counted() {
    let mut test = Test::new();
    test.0.grant(grant(Excuse::RingDrops, 3));
    // Not for the other side, and not for another interface or time.
    test.0.grant(Grant {
        interface: Some(1),
        ..grant(Excuse::QueueFull, 9)
    });
    test.0.grant(Grant {
        until_ns: S / 2,
        ..grant(Excuse::QueueFull, 9)
    });
    for number in 0..5 {
        test.seen(number, S);
    }
    test.told(9, S).settle(i64::MAX);
    assert_eq!(test.counts(), [5, 0, 2, 3, 1, 1, 0]);
    assert_eq!(test.0.counts.excused[Excuse::RingDrops as usize], 3);
}

#[test]
fn what_the_witness_lost_or_cannot_read_is_excused_on_its_side() {
    let mut test = Test::new();
    test.0.grant(grant(Excuse::WitnessDropped, 1));
    test.0.on_unread(S, 0);
    test.told(1, S).told(2, S).told(3, S).settle(i64::MAX);
    assert_eq!(test.counts(), [0, 0, 0, 0, 3, 1, 2]);
    let counts = &test.0.counts;
    assert_eq!((counts.frames, counts.unread), (1, 1));
    for excuse in [Excuse::WitnessDropped, Excuse::Unread] {
        assert_eq!(counts.extra_excused[excuse as usize], 1, "{excuse:?}");
    }
}

#[test]
fn what_the_ledger_takes_up_late_is_no_second_disagreement() {
    let mut test = Test::new();
    test.seen(1, S).settle(20 * S);
    assert_eq!(test.counts()[2], 1);
    test.seen(1, 30 * S).told(1, 30 * S).settle(i64::MAX);
    assert_eq!(test.counts(), [1, 0, 1, 0, 1, 0, 1]);
    assert_eq!(test.0.counts.extra_excused[Excuse::Late as usize], 1);
}

#[test]
fn what_came_first_in_a_frame_beyond_the_filter_s_reach_is_no_disagreement() {
    // Told of first, or after the witness saw its plain twin.
    let mut test = Test::new();
    test.beyond(1, S).seen(1, S + MS).settle(i64::MAX);
    assert_eq!(test.counts(), [0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(test.0.counts.retransmitted, 1);
    let mut test = Test::new();
    test.seen(1, S + MS).beyond(1, S).settle(i64::MAX);
    assert_eq!(test.counts(), [1, 0, 0, 1, 0, 0, 0]);
    assert_eq!(test.0.counts.beyond, 1);
    // Both workers told of it: in the one order and in the other.
    let mut test = Test::new();
    test.beyond(1, S)
        .told(1, S + MS)
        .seen(1, S + MS)
        .settle(i64::MAX);
    assert_eq!(test.counts(), [0, 0, 0, 0, 1, 0, 1]);
    let mut test = Test::new();
    test.seen(1, S)
        .beyond(1, S)
        .told(1, S + MS)
        .settle(i64::MAX);
    assert_eq!(test.counts(), [1, 1, 0, 0, 1, 0, 0]);
}

/// Every SYN of one attempt, again and again, with stamps that differ by `skew_ns` between the two sides.
fn horizon(step_ns: i64, skew_ns: i64) {
    let mut test = Test::new();
    let mut first: Option<i64> = None;
    let mut ts_ns = S;
    while ts_ns < 1_000 * S {
        test.seen(1, ts_ns + skew_ns);
        if first.is_none_or(|first| ts_ns - first >= HORIZON_NS) {
            first = Some(ts_ns);
            test.told(1, ts_ns);
        }
        ts_ns += step_ns;
        test.settle(ts_ns - 200 * MS);
    }
    test.settle(i64::MAX);
    let [seen, agreed, missing, .., extra, _] = test.counts();
    assert_eq!(
        (missing, extra),
        (0, 0),
        "every {step_ns} ns, {skew_ns} ns apart"
    );
    assert!(agreed > 0 && seen >= agreed, "{step_ns} {skew_ns}");
}

#[test]
fn at_the_horizon_either_side_may_be_right() {
    for step_ns in [
        S / 2,
        S,
        7 * S,
        64 * S,
        65 * S,
        129 * S,
        130 * S,
        131 * S,
        141 * S,
    ] {
        for skew_ns in [-50 * MS, -1, 0, 1, 50 * MS] {
            horizon(step_ns, skew_ns);
        }
    }
    // Well behind the horizon it is a new attempt, and must be there.
    let mut test = Test::new();
    test.seen(1, S).told(1, S).settle(100 * S);
    test.seen(1, S + HORIZON_NS + EDGE_NS).settle(i64::MAX);
    assert_eq!(test.counts(), [2, 1, 1, 0, 1, 0, 0]);
}

#[test]
fn what_finds_no_room_is_excused_and_so_is_what_comes_again() {
    let mut test = Test::new();
    let more = 1_000;
    let all = u32::try_from(ENTRIES_MAX).expect("small") + more;
    for number in 0..all {
        let ts_ns = S + i64::from(number);
        test.0.on_syn(syn(number), ts_ns, 0, ts_ns);
        test.0.on_report(&report(number, ts_ns), ts_ns);
    }
    test.check();
    // Pushed out before they were due, but both sides had them.
    assert_eq!(test.counts()[1], u64::from(more));
    for number in 0..more {
        test.seen(number, 2 * S);
    }
    test.settle(i64::MAX);
    let counts = test.counts();
    assert_eq!((counts[2], counts[5]), (0, 0));
    assert_eq!(
        test.0.counts.excused[Excuse::NoRoom as usize],
        u64::from(more)
    );
    assert_eq!(test.0.occupancy().1, ENTRIES_MAX as u64);
}

#[test]
fn a_full_queue_is_counted_and_a_dropped_reporter_has_told_all() {
    let (mut reporter, mut reports) = queue(Sample::from_seed(1, 1));
    assert_eq!(reports.reached_ns(), i64::MIN);
    for number in 0..10_000 {
        reporter.report(report(number, S));
    }
    reporter.publish(S);
    reporter.publish(S / 2);
    assert_eq!(reports.reached_ns(), S);
    let taken = std::iter::from_fn(|| reports.pop()).count() as u64;
    assert_eq!(taken + reports.dropped(), 10_000);
    assert!(reports.dropped() > 0);
    drop(reporter);
    assert_eq!(reports.reached_ns(), i64::MAX);
}

#[test]
fn only_the_sample_is_told_of() {
    let sample = Sample::from_seed(64, 3);
    let (mut reporter, mut reports) = queue(sample.clone());
    for number in 0..100_000 {
        reporter.report(report(number, S));
    }
    let taken: Vec<Report> = std::iter::from_fn(|| reports.pop()).collect();
    assert!(taken.iter().all(|report| sample.keeps(&report.syn.ends)));
    // 1,562.5 expected; 39 is a standard deviation.
    assert!((1_360..1_760).contains(&taken.len()), "{}", taken.len());
}

fn config(args: &[&str]) -> Result<RunConfig, ConfigError> {
    let all = ["synledger", "run", "--workers", "2"].iter().chain(args);
    match Cli::try_parse_from(all).expect("flags parse").command {
        Command::Run(args) => RunConfig::new(args),
        _ => unreachable!("run was asked for"),
    }
}

#[test]
fn a_witness_takes_what_is_said_and_needs_rings_by_class() {
    let (without, with) = (config(&[]), config(&["--witness", "64"]));
    let (without, with) = (without.expect("defaults"), with.expect("in range"));
    assert_eq!((without.witness, with.witness), (None, Some(64)));
    let line = |config: &RunConfig| {
        let lines = config.memory.lines().into_iter();
        let witness = lines.filter(|(name, _)| name.contains("witness"));
        witness.map(|(_, bytes)| bytes).sum::<u64>()
    };
    let more = line(&with) - line(&without);
    assert_eq!(more, super::memory_bytes(Some(64), 2));
    assert!(with.memory.bytes() <= 256 << 20, "out of the same budget");
    assert!((5 << 20..10 << 20).contains(&more), "{more}");
    let more = with.ring_memory_bytes(3) - without.ring_memory_bytes(3);
    assert_eq!(more, 3 << 20);
    let error = config(&["--witness", "64", "--fanout", "qm"]).expect_err("not by class");
    assert!(
        error.0.contains("--witness 64") && error.0.contains("--fanout class"),
        "{error}"
    );
}
