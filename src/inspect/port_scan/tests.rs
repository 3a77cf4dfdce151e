//! The detector against the rule in the words of DESIGN, by brute force over all touches.

use super::*;
use crate::inspect::contact::{ContactKind, Mark};
use crate::inspect::detection::{Evidence, Phase};
use crate::inspect::detector::{Detector as _, Found};
use crate::inspect::distinct::naive;
use crate::time::timeline::Timeline;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const DST: Address = Address {
    v6: false,
    bits: 0xc633_6401,
};
const WINDOW: i64 = 60_000_000_000;

fn rule(ports: usize) -> Rule {
    Rule {
        at_least: ports,
        window_ns: WINDOW,
        subjects: 1024,
        firsts: 1024,
        episodes: 64,
        lists: 64,
    }
}

fn ranges(extent: &Extent) -> Vec<(u16, u16)> {
    match extent {
        Extent::Ports { ranges, .. } => ranges.clone(),
        Extent::Hosts { .. } => panic!("ports are asked for"),
    }
}

fn contact(number: usize, ts_ns: i64, port: u16) -> Contact {
    Contact {
        position: number as u64,
        ts_ns,
        pair: 7,
        src: 0xc000_0201,
        dst: DST.bits,
        port,
        interface: 0,
        mark: Mark::new(false, 0, ContactKind::Touch, 0),
    }
}

fn rising_edges(touches: &[(i64, u16)], ports: usize) -> Vec<(usize, Vec<(u16, u16)>)> {
    let watermarks = naive::watermarks(touches);
    let timeline = Timeline::Read {
        first: 0,
        watermarks: &watermarks,
    };
    let mut detector = PortScan::new(rule(ports), Hasher::new([1, 2]));
    let mut edges = Vec::new();
    for (number, &(ts_ns, port)) in touches.iter().enumerate() {
        detector.on_contact(
            &contact(number, ts_ns, port),
            DST,
            &timeline,
            &mut |(_, found)| {
                if found.phase == Phase::Started {
                    edges.push((number, ranges(&found.extent)));
                }
            },
        );
    }
    edges
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
fn a_growing_scan_says_so_at_each_doubling_and_sums_up_at_its_end() {
    let touches: Vec<(i64, u16)> = (0..1000).map(|i| (i64::from(i), i + 1)).collect();
    let watermarks: Vec<i64> = touches.iter().map(|touch| touch.0).collect();
    let timeline = Timeline::Read {
        first: 0,
        watermarks: &watermarks,
    };
    let mut detector = PortScan::new(rule(4), Hasher::new([1, 2]));
    let mut found = Vec::new();
    for (number, &(ts_ns, port)) in touches.iter().enumerate() {
        detector.on_contact(
            &contact(number, ts_ns, port),
            DST,
            &timeline,
            &mut |(_, one)| found.push(one),
        );
    }
    detector.expire(996 + 2 * WINDOW - 1, &mut |(_, one)| found.push(one));
    let sizes: Vec<u32> = found.iter().map(|one| one.extent.count()).collect();
    assert_eq!(
        sizes,
        [4, 8, 16, 32, 64, 128, 256, 512],
        "no summary before its time"
    );
    detector.expire(996 + 2 * WINDOW, &mut |(_, one)| found.push(one));
    let last = found.last().expect("a summary");
    assert_eq!(
        (last.phase, last.extent.count(), &ranges(&last.extent)[..]),
        (Phase::Ended, 1000, &[(1, 1000)][..])
    );
    assert_eq!(
        last.evidence,
        Evidence {
            refused: 0,
            unanswered: 1000,
            answered: 0,
            pending: 0
        }
    );
}

#[test]
fn answers_and_refusals_are_the_evidence() {
    let timeline = Timeline::Live;
    let mut detector = PortScan::new(rule(4), Hasher::new([1, 2]));
    let mut found = Vec::new();
    for port in 1..=4 {
        let mut touch = contact(0, 0, port);
        touch.position = crate::time::timeline::position_of_ts(0);
        detector.on_contact(&touch, DST, &timeline, &mut |(_, one)| found.push(one));
        let kind = if port == 1 {
            ContactKind::Answered
        } else {
            ContactKind::Refused
        };
        detector.on_contact(&touch.with_kind(kind), DST, &timeline, &mut |(_, one)| {
            found.push(one)
        });
    }
    assert_eq!(
        found[0].evidence,
        Evidence {
            refused: 2,
            unanswered: 0,
            answered: 1,
            pending: 1
        }
    );
    detector.finish(&mut |(_, one)| found.push(one));
    assert_eq!(
        found[1].evidence,
        Evidence {
            refused: 3,
            unanswered: 0,
            answered: 1,
            pending: 0
        }
    );
}

/// Touches ports 1, 2, 3 … at these times and gives (phase, unanswered, pending) of what is said.
fn silent_scan(times: &[i64], ends_ns: i64) -> Vec<(Phase, u32, u32)> {
    let timeline = Timeline::Read {
        first: 0,
        watermarks: times,
    };
    let mut detector = PortScan::new(rule(4), Hasher::new([1, 2]));
    let mut found = Vec::new();
    let mut say = |(_, one): Found| {
        let Evidence {
            unanswered,
            pending,
            ..
        } = one.evidence;
        assert_eq!(unanswered + pending, one.extent.count());
        found.push((one.phase, unanswered, pending));
    };
    for (number, (&ts_ns, port)) in times.iter().zip(1..).enumerate() {
        detector.on_contact(&contact(number, ts_ns, port), DST, &timeline, &mut say);
    }
    detector.expire(ends_ns, &mut say);
    detector.finish(&mut say);
    found
}

#[test]
fn ports_in_flight_are_told_from_unanswered_ones_at_each_doubling() {
    const S: i64 = 1_000_000_000;
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
    let mut detector = PortScan::new(rule(4), Hasher::new([1, 2]));
    let mut found = Vec::new();
    let mut out = |(_, one): Found| found.push((one.phase, one.evidence));
    let on = |detector: &mut PortScan, ts_ns, port, kind, out: &mut dyn FnMut(Found)| {
        let position = crate::time::timeline::position_of_ts(ts_ns);
        let contact = Contact {
            position,
            ..contact(0, ts_ns, port).with_kind(kind)
        };
        detector.on_contact(&contact, DST, &Timeline::Live, &mut |one| out(one));
    };
    for port in 1..=4 {
        on(&mut detector, 0, port, ContactKind::Touch, &mut out);
    }
    let late_ns = 2 * WINDOW + ns_late;
    if expire_before {
        detector.expire(late_ns, &mut out);
    }
    on(&mut detector, late_ns, 1, ContactKind::Refused, &mut out);
    detector.finish(&mut out);
    found
}

#[test]
fn an_answer_after_the_end_changes_no_summary() {
    for expire_before in [false, true] {
        for (ns_late, refused) in [(-1, 1), (0, 0), (1, 0)] {
            let found = late_refusal(ns_late, expire_before);
            let (phase, evidence) = found[found.len() - 1];
            assert_eq!((found.len(), phase), (2, Phase::Ended), "{ns_late}");
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
    let small = Rule {
        subjects: 8,
        ..rule(2)
    };
    let mut detector = PortScan::new(small, Hasher::new([1, 2]));
    let mut exact = Vec::new();
    for source in 0..9 {
        for port in 0..2 {
            let touch = Contact {
                src: 0x0a00_0000 + source,
                ..contact(0, 5, port)
            };
            let touch = Contact {
                position: crate::time::timeline::position_of_ts(5),
                ..touch
            };
            detector.on_contact(&touch, touch.dst(), &Timeline::Live, &mut |(_, one)| {
                if one.phase == Phase::Started {
                    exact.push(one.exact);
                }
            });
        }
    }
    assert_eq!(
        exact,
        [true, true, true, true, true, true, true, true, false]
    );
    assert_eq!(
        (
            detector.counts.subjects_evicted,
            detector.counts.episodes_evicted
        ),
        (1, 1)
    );
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
            now += step * 1_000_000_000;
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
    let mut detector = PortScan::new(rule(4), Hasher::new([1, 2]));
    let mut found = Vec::new();
    let target = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    for (number, last) in [
        (0_u8, 1_u8),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (5, 6),
        (6, 7),
        (7, 8),
    ] {
        let touch = Contact {
            dst: 0xc633_6400 + u128::from(last),
            ..contact(
                usize::from(number),
                i64::from(number),
                80 + u16::from(number),
            )
        };
        detector.on_contact(&touch, target.into(), &Timeline::Live, &mut |(_, one)| {
            found.push(one);
        });
    }
    detector.finish(&mut |(_, one)| found.push(one));
    let said: Vec<_> = found
        .iter()
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
