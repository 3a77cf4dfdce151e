//! Tests of other thresholds while scans go on.

use crate::inspect::contact::{Contact, ContactKind};
use crate::inspect::detection::Phase;
use crate::inspect::lab::{self, Lab, S, rule, v4};
use crate::inspect::{Kind, Rules};
use crate::snapshot::Snapshot as _;
use proptest::prelude::*;

const START: i64 = 1_000_000 * S;

fn rules(at_least: usize, window_s: i64) -> Rules {
    Rules {
        port_scan: rule(at_least, window_s * S),
        ..lab::OFF
    }
}

fn touch(lab: &Lab, ts_ns: i64, (src, dst): (u32, u32), port: u16) -> Contact {
    lab.contact(ts_ns, (v4(src), v4(dst)), port, ContactKind::Touch)
}

fn scan(lab: &mut Lab, ts_ns: i64, ports: std::ops::Range<u16>) {
    for port in ports {
        let contact = touch(lab, ts_ns, (1, 2), port);
        lab.on(&contact);
    }
}

fn told(lab: &Lab) -> Vec<Phase> {
    let all = lab.all(Kind::PortScan).into_iter();
    all.map(|one| one.phase).collect()
}

#[test]
fn a_lower_number_decides_with_the_next_touch_and_a_higher_one_keeps_more_ports() {
    let mut lab = Lab::new(rules(6, 60));
    scan(&mut lab, START, 1..6);
    lab.detectors.change(&rules(4, 60), START);
    assert_eq!(told(&lab), [], "the change itself finds nothing");
    scan(&mut lab, START + S, 5..6);
    assert_eq!(told(&lab), [Phase::Started]);
    // Six were kept, ten are needed.
    let mut lab = Lab::new(rules(6, 60));
    scan(&mut lab, START, 1..6);
    lab.detectors.change(&rules(10, 60), START);
    scan(&mut lab, START + S, 6..10);
    assert_eq!(told(&lab), []);
    scan(&mut lab, START + S, 10..11);
    assert_eq!(told(&lab), [Phase::Started]);
}

#[test]
fn a_rule_that_was_changed_lives_on_in_the_next_process() {
    for now in [4, 6, 10] {
        let mut lab = Lab::new(rules(6, 60));
        lab.detectors.change(&rules(10, 60), START);
        lab.detectors.change(&rules(now, 60), START);
        let last = u16::try_from(now).expect("few");
        scan(&mut lab, START, 1..last);
        let mut bytes = Vec::new();
        lab.detectors.save(&mut bytes).expect("memory");
        let mut next = Lab::new(rules(now, 60));
        let restored = next.detectors.restore(&mut bytes.as_slice());
        restored.expect("the same room");
        scan(&mut next, START + S, last..last + 1);
        assert_eq!(told(&next), [Phase::Started], "{now}");
        let mut next = Lab::new(rules(11, 60));
        let refused = next.detectors.restore(&mut bytes.as_slice());
        assert!(refused.is_err(), "it needs eleven ports");
    }
}

#[test]
fn a_scan_under_way_goes_on_and_ends_once() {
    for (at_least, window_s) in [(3, 60), (20, 60), (4, 10), (4, 600), (0, 0)] {
        let mut lab = Lab::new(rules(4, 60));
        scan(&mut lab, START, 1..6);
        lab.detectors.change(&rules(at_least, window_s), START);
        scan(&mut lab, START + S, 1..8);
        lab.expire(START + 2_000 * S);
        let told = told(&lab);
        let of = |phase| told.iter().filter(|one| **one == phase).count();
        assert_eq!(
            (of(Phase::Started), of(Phase::Ended)),
            (1, 1),
            "{at_least}/{window_s}: {told:?}"
        );
        lab.detectors.change(&rules(4, 60), START + 2_000 * S);
        scan(&mut lab, START + 2_001 * S, 1..6);
        let last = lab.all(Kind::PortScan).pop().map(|one| one.phase);
        assert_eq!(last, Some(Phase::Started), "{at_least}/{window_s}");
    }
}

#[test]
fn what_was_off_at_the_start_stays_off() {
    let mut lab = Lab::new(lab::OFF);
    assert_eq!(lab::OFF.takes("scan-ports", &rules(4, 60)), Some(false));
    assert_eq!(rules(4, 60).takes("scan-window", &lab::OFF), Some(true));
    assert_eq!(lab::OFF.takes("allow", &lab::OFF), None);
    lab.detectors.change(&rules(4, 60), START);
    scan(&mut lab, START, 1..9);
    assert_eq!(told(&lab), []);
}

proptest! {
    /// Whatever changes when: who is found touched as many ports within the window as the rule of that moment asks for.
    #[test]
    fn no_scan_starts_without_its_ports(
        steps in prop::collection::vec(
            (0_i64..8, (0_u32..2, 0_u32..2), 0_u16..10, prop::option::weighted(0.2, (2_usize..9, 1_i64..60))),
            1..200,
        ),
    ) {
        let (mut at, mut now_ns, mut touches) = ((4, 20), START, Vec::new());
        let mut lab = Lab::new(rules(at.0, at.1));
        for (seconds, pair, port, change) in steps {
            now_ns += seconds * S;
            lab.expire(now_ns);
            if let Some(new) = change {
                at = new;
                lab.detectors.change(&rules(at.0, at.1), now_ns);
            }
            let before = lab.found.len();
            let contact = touch(&lab, now_ns, pair, port);
            lab.on(&contact);
            touches.push((now_ns, pair, port));
            let starts = lab.found[before..].iter().filter(|(_, one)| one.phase == Phase::Started);
            if starts.count() > 0 {
                let inside = touches.iter().filter(|(ts_ns, of, _)| *of == pair && now_ns - ts_ns < at.1 * S);
                let ports: std::collections::BTreeSet<u16> = inside.map(|touch| touch.2).collect();
                prop_assert!(ports.len() >= at.0, "{ports:?} {at:?}");
            }
        }
    }
}
