use super::*;

mod counts;
mod hand;
mod lab;
mod model;
mod prefix6;

use crate::books::blocks::Removal;
use crate::inspect::detection::{Phase, SourceEvidence, Subject, Verdict};
use crate::log::block_record::Outcome;
use crate::respond::block::firewall::{Heard, Refused};
use crate::respond::block::memory::SAID_NS;
use crate::respond::block::plan::BlockOn;
use crate::respond::guard::Surroundings;
use lab::{Lab, S, ip, net, plan, scan, sweep};
use std::sync::Arc;

fn with_proof(src: &str, proof: Proof) -> Detection {
    Detection { proof, ..scan(src) }
}

#[test]
fn a_proven_scanner_is_blocked_for_its_time_and_let_in_again() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    let [record] = lab.records().try_into().expect("one record");
    let Outcome::Blocked {
        for_s,
        nth,
        delay_us,
        ..
    } = record.outcome
    else {
        panic!("{record:?}");
    };
    assert_eq!((for_s, nth, delay_us), (600, 1, Some(5000)));
    assert!(
        record
            .sentence()
            .starts_with("Blocked (dry run): 192.0.2.9 for 10m: port_scan of")
    );
    lab.detect(&scan("192.0.2.9"));
    lab.tick(599);
    assert_eq!((lab.said(), lab.counts().in_kernel), (Vec::new(), 1));
    lab.tick(1);
    assert_eq!(lab.said(), ["192.0.2.9 ended expired"]);
    let counts = lab.counts();
    assert_eq!((counts.in_kernel, counts.expired), (0, 1));
    assert_eq!(counts.unwished[Unwished::Already as usize], 1);
    assert_eq!((counts.delays.count, counts.delays.max_us), (1, 5000));
}

#[test]
fn each_further_block_of_a_source_takes_the_next_time_until_it_is_forgotten() {
    let mut lab = Lab::new(plan());
    for for_s in [600, 3600, 86_400, 86_400] {
        lab.detect(&scan("192.0.2.9"));
        assert_eq!(lab.said(), [format!("192.0.2.9 blocked {for_s}")]);
        lab.tick(for_s);
        lab.tick(86_399);
        assert_eq!(lab.said(), ["192.0.2.9 ended expired"]);
    }
    lab.tick(1);
    lab.detect(&scan("192.0.2.9"));
    lab.detect(&scan("192.0.2.10"));
    assert_eq!(
        lab.said(),
        ["192.0.2.9 blocked 600", "192.0.2.10 blocked 600"]
    );
}

#[test]
fn whoever_is_spared_is_refused_for_a_reason_that_is_said_once() {
    let mut lab = Lab::new(plan());
    let contacted = SourceEvidence {
        contacted: true,
        ..SourceEvidence::default()
    };
    let all = [
        (scan("198.51.100.254"), "gateway"),
        (scan("198.51.100.1"), "own_address"),
        (scan("203.0.113.5"), "allowed"),
        (scan("10.0.0.5"), "private"),
        (scan("169.254.0.5"), "link_local"),
        (scan("fe80::5"), "link_local"),
        (scan("224.0.0.5"), "no_host"),
        (scan("::ffff:192.0.2.5"), "no_host"),
        (
            Detection {
                source: contacted,
                ..scan("192.0.2.5")
            },
            "contacted_first",
        ),
        (with_proof("192.0.2.6", Proof::Answered), "unproven"),
        (with_proof("192.0.2.7", Proof::None), "unproven"),
        (
            Detection {
                status: AlertStatus::Allowed,
                ..scan("192.0.2.8")
            },
            "allowed",
        ),
        (
            Detection {
                status: AlertStatus::OutOfScope,
                ..scan("192.0.2.9")
            },
            "own_address",
        ),
    ];
    for (detection, reason) in &all {
        lab.detect(detection);
        let src = detection.subject.src().expect("a pair");
        assert_eq!(lab.said(), [format!("{src} refused {reason}")]);
        lab.detect(detection);
        assert_eq!(lab.said(), [""; 0], "said before");
    }
    let counts = lab.counts();
    let refused: u64 = counts.refused.iter().sum();
    assert_eq!((refused, counts.in_kernel), (2 * all.len() as u64, 0));
    assert_eq!(counts.records_unsaid, all.len() as u64);
    assert_eq!(lab.with(|kernel| kernel.orders.len()), 0);
    lab.tick(SAID_NS / S);
    lab.detect(&all[0].0);
    assert_eq!(lab.said(), ["198.51.100.254 refused gateway"]);
}

#[test]
fn flags_let_unproven_and_private_sources_be_blocked() {
    let mut lab = Lab::new(BlockPlan {
        unproven: true,
        private: true,
        ..plan()
    });
    lab.detect(&with_proof("192.0.2.6", Proof::None));
    lab.detect(&scan("10.0.0.5"));
    lab.detect(&scan("198.51.100.254"));
    let expected = [
        "192.0.2.6 blocked 600",
        "10.0.0.5 blocked 600",
        "198.51.100.254 refused gateway",
    ];
    assert_eq!(lab.said(), expected);
}

#[test]
fn what_is_not_asked_for_is_no_wish() {
    let mut lab = Lab::new(plan());
    let of = |detection: Detection| detection;
    lab.detect(&of(Detection {
        verdict: Some(Verdict::Suspicious),
        ..scan("192.0.2.1")
    }));
    lab.detect(&Detection {
        phase: Phase::Ended,
        ..scan("192.0.2.1")
    });
    lab.detect(&Detection {
        status: AlertStatus::BelowVerdict,
        ..scan("192.0.2.1")
    });
    lab.detect(&Detection {
        subject: Subject::Target {
            dst: ip("198.51.100.1"),
        },
        ..scan("192.0.2.1")
    });
    let counts = lab.counts();
    assert_eq!(counts.unwished[Unwished::NotAsked as usize], 3);
    assert_eq!(counts.unwished[Unwished::NoSource as usize], 1);
    assert_eq!(counts.wanted, [0; Origin::COUNT]);
    assert_eq!(lab.said(), [""; 0]);
}

#[test]
fn a_network_is_blocked_as_a_whole_and_has_its_addresses() {
    let mut lab = Lab::new(plan());
    let of_network = |length| Detection {
        src_prefix: Some(length),
        ..scan("2001:db8:1:2::")
    };
    lab.detect(&of_network(64));
    lab.detect(&scan("2001:db8:1:2::77"));
    lab.detect(&of_network(48));
    let expected = [
        "2001:db8:1:2::/64 blocked 600",
        "2001:db8:1::/48 blocked 600",
    ];
    assert_eq!(lab.said(), expected);
    assert_eq!(lab.counts().unwished[Unwished::Already as usize], 1);
    let order = lab.with(|kernel| kernel.orders[0]);
    let net = net("2001:db8:1:2::/64");
    assert_eq!(order, Order::Add { net, for_s: 600 });
}

#[test]
fn no_minute_has_more_blocks_than_the_rate_and_that_is_said_once() {
    let mut lab = Lab::new(BlockPlan { rate: 3, ..plan() });
    for n in 1..=6 {
        lab.detect(&scan(&format!("192.0.2.{n}")));
    }
    let counts = lab.counts();
    assert_eq!((counts.in_kernel, lab.refused(BlockRefusal::Rate)), (3, 3));
    assert_eq!(lab.notes(), ["block_rate"]);
    lab.tick(59);
    lab.detect(&scan("192.0.2.7"));
    lab.tick(1);
    lab.detect(&scan("192.0.2.8"));
    assert_eq!((lab.counts().in_kernel, lab.notes()), (4, Vec::new()));
}

#[test]
fn where_there_is_no_room_the_least_severe_and_oldest_leaves_before_the_kernel_refuses() {
    let mut lab = Lab::new(BlockPlan {
        max: 2,
        on: vec![BlockOn::Verdict(Verdict::Unproven)],
        ..plan()
    });
    lab.with(|kernel| kernel.room = 2);
    let with = |src: &str, verdict| Detection {
        verdict: Some(verdict),
        ..scan(src)
    };
    lab.detect(&with("192.0.2.1", Verdict::Scan));
    lab.detect(&with("192.0.2.2", Verdict::Suspicious));
    lab.detect(&with("192.0.2.3", Verdict::Scan));
    lab.detect(&with("192.0.2.4", Verdict::Suspicious));
    lab.detect(&with("192.0.2.5", Verdict::Scan));
    let expected = [
        "192.0.2.1 blocked 600",
        "192.0.2.2 blocked 600",
        "192.0.2.2 ended displaced",
        "192.0.2.3 blocked 600",
        "192.0.2.4 refused full",
        "192.0.2.1 ended displaced",
        "192.0.2.5 blocked 600",
    ];
    assert_eq!(lab.said(), expected);
    assert_eq!(lab.refused(BlockRefusal::KernelFull), 0);
    let held: Vec<IpNet> = lab.with(|kernel| kernel.elements.keys().copied().collect());
    assert_eq!(held, [net("192.0.2.3"), net("192.0.2.5")]);
}

#[test]
fn a_block_whose_source_is_spared_by_now_is_removed() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    let around = Surroundings::of([]).with_ssh_peers([ip("192.0.2.9")]);
    *lab.around.write().expect("no panic") = Arc::new(around);
    lab.tick(1);
    lab.tick(0);
    let expected = ["192.0.2.9 blocked 600", "192.0.2.9 ended guarded"];
    assert_eq!(lab.said(), expected);
    lab.detect(&scan("192.0.2.9"));
    assert_eq!(lab.said(), ["192.0.2.9 refused ssh_peer"]);
}

#[test]
fn what_the_kernel_refuses_is_counted_by_its_reason() {
    let mut lab = Lab::new(plan());
    for (n, refused) in [Refused::Protected, Refused::Full, Refused::Kernel(1)]
        .into_iter()
        .enumerate()
    {
        lab.with(|kernel| kernel.results.push_back(Err(refused)));
        lab.detect(&scan(&format!("192.0.2.{n}")));
    }
    let expected = [
        "192.0.2.0 refused firewall_guard",
        "192.0.2.1 refused kernel_full",
        "192.0.2.2 refused kernel_error",
    ];
    assert_eq!(lab.said(), expected);
    assert_eq!(lab.counts().in_kernel, 0);
    // It was never blocked: the next block is its first.
    lab.detect(&scan("192.0.2.1"));
    assert_eq!(lab.said(), ["192.0.2.1 blocked 600"]);
}

#[test]
fn orders_that_met_no_helper_are_sent_again() {
    let mut lab = Lab::new(plan());
    lab.with(|kernel| kernel.results.push_back(Err(Refused::Gone)));
    lab.detect(&scan("192.0.2.9"));
    assert_eq!((lab.counts().in_flight, lab.said()), (1, Vec::new()));
    lab.with(|kernel| kernel.is_stuck = true);
    lab.tick(5);
    lab.detect(&scan("192.0.2.10"));
    assert_eq!(lab.counts().in_flight, 2);
    lab.with(|kernel| kernel.is_stuck = false);
    lab.tick(0);
    lab.tick(0);
    let expected = ["192.0.2.9 blocked 600", "192.0.2.10 blocked 600"];
    assert_eq!(lab.said(), expected, "in the order of the wishes");
    assert_eq!((lab.counts().in_flight, lab.counts().in_kernel), (0, 2));
}

#[test]
fn when_the_helper_is_gone_for_good_nothing_waits_and_what_the_kernel_has_stays_in_the_books() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    lab.with(|kernel| kernel.is_slow = true);
    lab.hear(&scan("192.0.2.10"));
    lab.with(|kernel| (kernel.is_slow, kernel.is_over) = (false, true));
    lab.tick(0);
    lab.detect(&scan("192.0.2.11"));
    let gone = |told: Told| matches!(told, Told::Refused(words) if words.contains("start synledger again"));
    assert!(gone(lab.ask(hand::add(&["192.0.2.12"], 60))));
    let Told::Done(done) = lab.ask(Wish::Remove(net("192.0.2.9"))) else {
        panic!("an answer");
    };
    assert_eq!((done.carried_out, done.refused.len()), (0, 1));
    let expected = [
        "192.0.2.9 blocked 600",
        "192.0.2.10 refused no_answer",
        "192.0.2.11 refused no_answer",
    ];
    assert_eq!(lab.said(), expected);
    let counts = lab.counts();
    assert_eq!(
        (counts.in_kernel, counts.in_flight, counts.helper_gone),
        (1, 0, 1)
    );
    assert_eq!(counts.remove_failures, 1);
    lab.tick(600);
    assert_eq!(lab.said(), ["192.0.2.9 ended expired"]);
}

#[test]
fn blocks_that_the_kernel_lost_are_ordered_again_for_the_time_that_is_left() {
    let mut lab = Lab::new(plan());
    lab.tick(0);
    lab.detect(&scan("192.0.2.9"));
    lab.tick(100);
    lab.tick(0);
    let counts = lab.counts();
    assert_eq!((counts.compared_ours, counts.compared_kernel), (1, 1));
    lab.with(|kernel| kernel.elements.clear());
    lab.tick_unchecked(100);
    lab.tick_unchecked(0);
    let counts = lab.counts();
    assert_eq!((counts.compared_ours, counts.compared_kernel), (1, 0));
    assert_eq!(counts.restored, 1);
    lab.tick_unchecked(0);
    let end_ns = lab.with(|kernel| kernel.elements[&net("192.0.2.9")]);
    assert_eq!(end_ns, 600 * S);
    lab.tick_unchecked(10);
    lab.tick(0);
    assert_eq!(lab.counts().compared_kernel, 1);
    lab.tick(390);
    let expected = ["192.0.2.9 blocked 600", "192.0.2.9 ended expired"];
    assert_eq!(lab.said(), expected);
}

#[test]
fn elements_of_an_earlier_run_are_adopted_but_for_whom_the_guard_spares() {
    let mut lab = Lab::new(BlockPlan { max: 2, ..plan() });
    lab.tick(10);
    lab.with(|kernel| {
        for text in ["192.0.2.1", "198.51.100.254", "2001:db8::/64", "192.0.2.3"] {
            kernel.elements.insert(net(text), kernel.now_ns + 300 * S);
        }
        kernel.dropped = Some((7, 700));
        kernel.heard = vec![Heard::Elements(kernel.list())];
    });
    lab.tick(0);
    lab.tick(0);
    let expected = [
        "192.0.2.1 blocked 300",
        "192.0.2.3 blocked 300",
        "198.51.100.254 refused gateway",
        "2001:db8::/64 refused full",
    ];
    assert_eq!(lab.said(), expected);
    let held: Vec<IpNet> = lab.with(|kernel| kernel.elements.keys().copied().collect());
    assert_eq!(
        held,
        [net("192.0.2.1"), net("192.0.2.3")],
        "the others left"
    );
    assert_eq!(lab.counts().wanted[Origin::Adopted as usize], 4);
    lab.with(|kernel| kernel.dropped = Some((9, 900)));
    lab.tick(10);
    lab.tick(0);
    let counts = lab.counts();
    assert_eq!((counts.dropped_packets, counts.dropped_bytes), (4, 400));
    lab.tick(290);
    assert_eq!(
        lab.said(),
        ["192.0.2.1 ended expired", "192.0.2.3 ended expired"]
    );
}

#[test]
fn blocks_end_with_the_run_unless_they_are_to_stay() {
    for keep in [false, true] {
        let mut lab = Lab::new(BlockPlan { keep, ..plan() });
        lab.detect(&scan("192.0.2.9"));
        lab.hear(&sweep("192.0.2.10"));
        lab.with(|kernel| kernel.results.push_back(Err(Refused::Gone)));
        lab.blocker.finish(LogTime::default(), 1);
        lab.assert_closed();
        let counts = lab.counts();
        assert_eq!(counts.in_flight, 0);
        assert_eq!(counts.in_kernel, u64::from(keep));
        let ended = counts.removed[Removal::EndOfRun as usize];
        assert_eq!(ended, u64::from(!keep));
        assert_eq!(lab.refused(BlockRefusal::NoAnswer), 1);
        assert_eq!(lab.with(|kernel| kernel.closed), Some(keep));
        let mut expected = vec!["192.0.2.9 blocked 600", "192.0.2.10 refused no_answer"];
        if !keep {
            expected.insert(2, "192.0.2.9 ended end_of_run");
        }
        let mut said = lab.said();
        said[1..].sort();
        expected[1..].sort();
        assert_eq!(said, expected);
    }
}

#[test]
fn what_no_firewall_has_removed_at_the_end_is_still_in_the_kernel() {
    let mut lab = Lab::new(plan());
    lab.detect(&scan("192.0.2.9"));
    lab.with(|kernel| (kernel.is_gone, kernel.is_stuck) = (true, true));
    lab.hear(&sweep("192.0.2.10"));
    lab.blocker.finish(LogTime::default(), 1);
    lab.assert_closed();
    let counts = lab.counts();
    assert_eq!((counts.in_flight, counts.in_kernel), (0, 1));
    assert_eq!(counts.removed[Removal::EndOfRun as usize], 0);
    assert_eq!(lab.refused(BlockRefusal::NoAnswer), 1);
}

#[test]
fn a_changed_plan_holds_for_what_comes_and_private_networks_are_let_in_again() {
    let mut lab = Lab::new(BlockPlan {
        private: true,
        ..plan()
    });
    lab.detect(&scan("192.0.2.9"));
    lab.detect(&scan("10.1.2.3"));
    assert_eq!(lab.said().len(), 2);
    lab.change_plan(BlockPlan {
        times_s: vec![60],
        rate: 2,
        ..plan()
    });
    assert_eq!(lab.said(), ["10.1.2.3 ended guarded"]);
    lab.tick(60);
    assert_eq!(lab.said(), Vec::<String>::new(), "it keeps its time");
    lab.detect(&scan("192.0.2.10"));
    assert_eq!(lab.said(), ["192.0.2.10 blocked 60"]);
    lab.detect(&scan("192.0.2.11"));
    lab.detect(&scan("192.0.2.12"));
    let said = lab.said();
    assert_eq!(said, ["192.0.2.11 blocked 60", "192.0.2.12 refused rate"]);
    lab.change_plan(BlockPlan {
        max: 1,
        on: vec![BlockOn::Verdict(Verdict::Scan)],
        ..plan()
    });
    assert_eq!(lab.counts().in_kernel, 3, "they leave with the next one");
    lab.tick(540);
    assert_eq!(lab.counts().in_kernel, 0);
    lab.detect(&scan("192.0.2.13"));
    lab.detect(&scan("192.0.2.14"));
    assert_eq!(lab.counts().in_kernel, 1);
}
