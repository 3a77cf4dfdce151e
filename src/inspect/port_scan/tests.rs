//! The detector against the rule in the words of DESIGN, by brute force over all touches.

use super::*;
use crate::decode::key::Address;
use crate::inspect::Rules;
use crate::inspect::contact::Contact;
use crate::inspect::contact::ContactKind;
use crate::inspect::detection::{Detection, Evidence, Extent, Phase, Verdict};
use crate::inspect::detector::Detector as _;
use crate::inspect::distinct::naive;
use crate::inspect::lab::{self, Lab, S, rule, v4};
use crate::inspect::port_scan::port_map::ranges_of;
use crate::inspect::setting::Setting;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

const ENDS: (Address, Address) = (
    Address {
        v6: false,
        bits: 0xc000_0201,
    },
    Address {
        v6: false,
        bits: 0xc633_6401,
    },
);
const WINDOW: i64 = 60 * S;

fn lab(rule: Rule) -> Lab {
    Lab::new(Rules {
        port_scan: rule,
        ..lab::OFF
    })
}

fn with(ports: usize) -> Lab {
    lab(rule(ports, WINDOW))
}

/// Contacts of one source and one destination.
fn on(lab: &mut Lab, ts_ns: i64, port: u16, kind: ContactKind) {
    let contact = lab.contact(ts_ns, ENDS, port, kind);
    lab.on(&contact);
}

fn ranges(extent: &Extent) -> &[(u16, u16)] {
    match extent {
        Extent::Ports { ranges, .. } => ranges,
        _ => panic!("ports are asked for"),
    }
}

fn rising_edges(touches: &[(i64, u16)], ports: usize) -> Vec<(usize, Vec<(u16, u16)>)> {
    let mut lab = with(ports);
    let contact = |&(ts_ns, port)| lab.contact(ts_ns, ENDS, port, ContactKind::Touch);
    let contacts: Vec<Contact> = touches.iter().map(contact).collect();
    let numbers = lab.starts(Kind::PortScan, contacts);
    let started = |one: &&Detection| one.phase == Phase::Started;
    let all = lab.all(Kind::PortScan).into_iter().filter(started);
    let extents = all.map(|one| ranges(&one.extent).to_vec());
    numbers.into_iter().zip(extents).collect()
}

fn by_brute_force(touches: &[(i64, u16)], ports: usize) -> Vec<(usize, Vec<(u16, u16)>)> {
    let edges = naive::rising_edges(touches, ports, WINDOW).into_iter();
    edges
        .map(|(number, inside)| (number, ranges_of(inside.into_iter())))
        .collect()
}

#[test]
fn the_fourth_port_decides_strictly_inside_the_window() {
    for (age, found) in [(WINDOW - 1, 1), (WINDOW, 0), (WINDOW + 1, 0)] {
        let touches = [(0, 80), (1, 81), (2, 82), (age, 83)];
        assert_eq!(
            rising_edges(&touches, 4).len(),
            found,
            "touches {age} ns apart"
        );
    }
}

#[test]
fn it_re_arms_when_it_has_been_false_for_a_window() {
    let first = [(0, 1), (0, 2), (0, 3), (0, 4)];
    for (gap, edges) in [(2 * WINDOW - 1, 1), (2 * WINDOW, 2)] {
        let again = [(gap, 1), (gap, 2), (gap, 3), (gap, 4)];
        let touches: Vec<_> = first.iter().chain(&again).copied().collect();
        assert_eq!(
            rising_edges(&touches, 4).len(),
            edges,
            "{gap} ns of silence"
        );
    }
}

#[test]
fn a_growing_scan_says_so_at_each_doubling_at_a_higher_verdict_and_at_its_end() {
    let mut lab = with(4);
    for (ts_ns, port) in (0..1000).zip(1..) {
        on(&mut lab, ts_ns, port, ContactKind::Touch);
    }
    lab.expire(996 + 2 * WINDOW - 1);
    let said: Vec<(u64, Option<Verdict>)> = (lab.all(Kind::PortScan).iter())
        .map(|one| (one.extent.count(), one.verdict))
        .collect();
    // When the first answers have failed to come, silence makes it a scan.
    let unproven = [4, 8, 16, 32, 64, 128, 256, 512].map(|ports| (ports, Some(Verdict::Unproven)));
    let expected = [&unproven[..], &[(1000, Some(Verdict::Scan))]].concat();
    assert_eq!(said, expected, "no summary before its time");
    lab.expire(996 + 2 * WINDOW);
    let all = lab.all(Kind::PortScan);
    let last = all.last().expect("a summary");
    assert_eq!(
        (last.phase, last.extent.count(), ranges(&last.extent)),
        (Phase::Ended, 1000, &[(1, 1000)][..])
    );
    let unanswered = Evidence {
        unanswered: 1000,
        ..Evidence::default()
    };
    assert_eq!(last.evidence, unanswered);
}

#[test]
fn answers_and_refusals_are_the_evidence() {
    let mut lab = with(4);
    for port in 1..=4 {
        on(&mut lab, 0, port, ContactKind::Touch);
        let kind = match port {
            1 => ContactKind::Answered,
            _ => ContactKind::Refused,
        };
        on(&mut lab, 0, port, kind);
    }
    lab.finish();
    let said = lab.all(Kind::PortScan).into_iter().map(|one| one.evidence);
    let evidence = |refused, pending| Evidence {
        refused,
        unanswered: 0,
        spared: 0,
        answered: 1,
        pending,
    };
    assert_eq!(said.collect::<Vec<_>>(), [evidence(2, 1), evidence(3, 0)]);
}

#[test]
fn a_port_that_answered_once_is_not_refused_whatever_comes_first() {
    for refused_first in [false, true] {
        let mut lab = with(2);
        let mut outcomes = [ContactKind::Answered, ContactKind::Refused];
        if refused_first {
            outcomes.reverse();
        }
        for port in [1, 2, 3] {
            on(&mut lab, 0, port, ContactKind::Touch);
            for kind in outcomes {
                on(&mut lab, 0, port, kind);
            }
        }
        lab.finish();
        let all = lab.all(Kind::PortScan);
        let last = all.last().expect("a summary");
        assert_eq!((last.evidence.answered, last.evidence.refused), (3, 0));
    }
}

/// Touches ports 1, 2, 3 … at these times and gives (phase, unanswered, pending) of what is said.
fn silent_scan(times: &[i64], ends_ns: i64) -> Vec<(Phase, u32, u32)> {
    let mut lab = with(4);
    for (&ts_ns, port) in times.iter().zip(1..) {
        on(&mut lab, ts_ns, port, ContactKind::Touch);
    }
    lab.expire(ends_ns);
    lab.finish();
    let say = |one: &Detection| {
        let Evidence {
            unanswered,
            pending,
            ..
        } = one.evidence;
        assert_eq!(u64::from(unanswered + pending), one.extent.count());
        (one.phase, unanswered, pending)
    };
    lab.all(Kind::PortScan).into_iter().map(say).collect()
}

#[test]
fn ports_in_flight_are_told_from_unanswered_ones_at_each_doubling() {
    use Phase::{Continues, Ended, Started};
    let at_once = silent_scan(&[0; 16], 0);
    let said = [
        (Started, 0, 4),
        (Continues, 0, 8),
        (Continues, 0, 16),
        (Ended, 0, 16),
    ];
    assert_eq!(
        at_once, said,
        "the capture ends before anything could answer"
    );
    // One port a second: at each moment the newest five may still answer, and half a second's more.
    let slow: Vec<i64> = (0..16).map(|second| second * S).collect();
    let said = [
        (Started, 0, 4),
        (Continues, 2, 6),
        (Continues, 10, 6),
        (Ended, 16, 0),
    ];
    assert_eq!(silent_scan(&slow, 15 * S + 2 * WINDOW), said);
    assert_eq!(
        silent_scan(&slow, 21 * S).last(),
        Some(&(Ended, 16, 0)),
        "at the end of a capture that went on for five seconds"
    );
}

/// What is found of four touches, and of a refusal that comes when the episode is just over, or a nanosecond before.
fn late_refusal(ns_late: i64, expire_before: bool) -> Vec<(Phase, Evidence)> {
    let mut lab = with(4);
    for port in 1..=4 {
        on(&mut lab, 0, port, ContactKind::Touch);
    }
    let late_ns = 2 * WINDOW + ns_late;
    if expire_before {
        lab.expire(late_ns);
    }
    on(&mut lab, late_ns, 1, ContactKind::Refused);
    lab.finish();
    let all = lab.all(Kind::PortScan).into_iter();
    all.map(|one| (one.phase, one.evidence)).collect()
}

#[test]
fn an_answer_after_the_end_changes_no_summary() {
    use Phase::{Continues, Ended, Started};
    for expire_before in [false, true] {
        for (ns_late, refused) in [(-1, 1), (0, 0), (1, 0)] {
            let found = late_refusal(ns_late, expire_before);
            let phases: Vec<Phase> = found.iter().map(|one| one.0).collect();
            // It continues when four ports have not answered for five seconds.
            assert_eq!(phases, [Started, Continues, Ended], "{ns_late}");
            let (_, evidence) = found[2];
            assert_eq!(evidence.refused, refused, "{ns_late} {expire_before}");
            assert_eq!(
                evidence.unanswered,
                4 - refused,
                "{ns_late} {expire_before}"
            );
        }
    }
}

#[test]
fn a_full_table_says_that_it_is_no_longer_exact() {
    let mut lab = lab(Rule {
        subjects: 8,
        ..rule(2, WINDOW)
    });
    for source in 0..9 {
        for port in 0..2 {
            let ends = (v4(0x0a00_0000 + source), ENDS.1);
            let touch = lab.contact(5, ends, port, ContactKind::Touch);
            lab.on(&touch);
        }
    }
    let all = lab.all(Kind::PortScan).into_iter();
    let started = all.filter(|one| one.phase == Phase::Started);
    let exact: Vec<bool> = started.map(|one| one.exact).collect();
    assert_eq!(
        exact,
        [true, true, true, true, true, true, true, true, false]
    );
    let counts = lab.detectors.port_scan.counts();
    assert_eq!((counts.subjects_evicted, counts.episodes_evicted), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn the_n_most_recent_ports_decide_as_all_touches_do(
        steps in prop::collection::vec((-20_i64..40, 0_u16..12), 1..120),
        ports in 2_usize..6,
    ) {
        let mut now = 0;
        let touches: Vec<(i64, u16)> = steps.iter().map(|&(step, port)| {
            now += step * S;
            (now, port)
        }).collect();
        let expected = by_brute_force(&touches, ports);
        let found = rising_edges(&touches, ports);
        let frames = |edges: &[(usize, Vec<(u16, u16)>)]| edges.iter().map(|edge| edge.0).collect::<Vec<_>>();
        prop_assert_eq!(frames(&found), frames(&expected));
    }
}

#[test]
fn a_scan_of_several_addresses_that_count_as_one_names_the_one_that_decided() {
    let mut lab = with(4);
    lab.setting = Some(Setting::UNITED);
    for number in 0..8_u16 {
        let ends = (ENDS.0, v4(0xc633_6401 + u32::from(number)));
        let contact = lab.contact(number.into(), ends, 80 + number, ContactKind::Touch);
        lab.on(&contact);
    }
    lab.finish();
    let all = lab.all(Kind::PortScan).into_iter();
    let said: Vec<_> = all
        .map(|one| (one.phase, one.subject.dst(), one.extent.count()))
        .collect();
    let decided = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 4));
    let phases = [
        (Phase::Started, 4),
        (Phase::Continues, 8),
        (Phase::Ended, 8),
    ];
    assert_eq!(said, phases.map(|(phase, ports)| (phase, decided, ports)));
}

#[test]
fn our_own_addresses_have_a_threshold_of_their_own() {
    for (is_local, at_least_local, at) in [(false, 6, 3), (true, 6, 5), (true, 0, 3)] {
        let mut lab = lab(Rule {
            at_least_local,
            ..rule(4, WINDOW)
        });
        lab.setting = is_local.then_some(Setting::LOCAL);
        let contact = |port| lab.contact(0, ENDS, port, ContactKind::Touch);
        let contacts: Vec<Contact> = (0..8).map(contact).collect();
        let started = lab.starts(Kind::PortScan, contacts);
        assert_eq!(started, [at], "{is_local} {at_least_local}");
    }
}
