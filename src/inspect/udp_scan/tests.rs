//! The rule by brute force, its evidence, and what is no touch.

use super::*;
use crate::decode::key::Address;
use crate::inspect::Rules;
use crate::inspect::contact::Contact;
use crate::inspect::detection::{Detection, Evidence, Phase, Proof, Verdict};
use crate::inspect::distinct::naive;
use crate::inspect::lab::{self, Lab, S, rule};
use proptest::prelude::*;

const WINDOW: i64 = 60 * S;
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
const OTHERS: [ContactKind; 18] = [
    ContactKind::Touch,
    ContactKind::OddTouch,
    ContactKind::Answered,
    ContactKind::Refused,
    ContactKind::Established,
    ContactKind::HalfOpen,
    ContactKind::NullProbe,
    ContactKind::FinProbe,
    ContactKind::XmasProbe,
    ContactKind::FlagsProbe,
    ContactKind::AckProbe,
    ContactKind::MaimonProbe,
    ContactKind::UdpAnswered,
    ContactKind::UdpRefused,
    ContactKind::Datagrams,
    ContactKind::StrayAnswer,
    ContactKind::StrayReset,
    ContactKind::Icmp,
];

fn with(at_least: usize) -> Lab {
    Lab::new(Rules {
        udp_scan: rule(at_least, WINDOW),
        ..lab::OFF
    })
}

fn on(lab: &mut Lab, ts_ns: i64, port: u16, kind: ContactKind) {
    let contact = lab.contact(ts_ns, ENDS, port, kind);
    lab.on(&contact);
}

/// What is said of ten ports with this outcome, and 20 s later.
fn ten_ports(outcome: Option<ContactKind>) -> Vec<Detection> {
    let mut lab = with(10);
    for port in 1..=10 {
        on(&mut lab, 0, port, ContactKind::UdpTouch);
        if let Some(outcome) = outcome {
            on(&mut lab, 0, port, outcome);
        }
    }
    lab.expire(20 * S);
    lab.finish();
    lab.all(Kind::UdpScan).into_iter().cloned().collect()
}

#[test]
fn what_targets_send_back_is_the_evidence_and_decides_the_verdict() {
    let none = Evidence::default();
    let cases = [
        (
            Some(ContactKind::UdpRefused),
            Evidence {
                refused: 10,
                ..none
            },
            Verdict::Scan,
        ),
        (
            None,
            Evidence {
                unanswered: 10,
                ..none
            },
            Verdict::Scan,
        ),
        // Calls between two voice gateways.
        (
            Some(ContactKind::UdpAnswered),
            Evidence {
                answered: 10,
                ..none
            },
            Verdict::Unproven,
        ),
    ];
    for (outcome, evidence, verdict) in cases {
        let all = ten_ports(outcome);
        let (first, last) = (&all[0], &all[all.len() - 1]);
        assert_eq!(
            (first.phase, last.phase),
            (Phase::Started, Phase::Ended),
            "{outcome:?}"
        );
        assert_eq!((last.evidence, last.verdict), (evidence, Some(verdict)));
        // A datagram back says that a host is there, not that it got there from this source.
        assert!(last.proof < Proof::Handshake);
    }
}

/// Ports touched from `first` on, the last three of which refuse: so they do behind a route of several hops.
fn traced(lab: &mut Lab, first: u16, ports: u16) {
    for port in first..first + ports {
        let ts_ns = (port - first).into();
        on(lab, ts_ns, port, ContactKind::UdpTouch);
        if port >= first + ports - 3 {
            on(lab, ts_ns, port, ContactKind::UdpRefused);
        }
    }
}

/// The last detection 20 s after these, with so many lists.
fn last_of(lists: usize, contacts: impl FnOnce(&mut Lab)) -> Detection {
    let mut lab = Lab::new(Rules {
        udp_scan: crate::inspect::distinct::Rule {
            lists,
            ..rule(10, WINDOW)
        },
        ..lab::OFF
    });
    contacts(&mut lab);
    lab.expire(20 * S);
    lab.finish();
    let all = lab.all(Kind::UdpScan);
    (*all.last().expect("a detection")).clone()
}

#[test]
fn traceroute_fulfils_the_rule_and_accuses_nobody() {
    for lists in [0, 16] {
        for (first, ports, verdict) in [
            (33_434, 30, Verdict::Unproven),
            (33_597, 30, Verdict::Unproven),
            (44_444, 30, Verdict::Unproven),
            (33_404, 30, Verdict::Scan),
            (33_627, 30, Verdict::Scan),
            (44_414, 30, Verdict::Scan),
            (44_509, 30, Verdict::Scan),
        ] {
            let last = last_of(lists, |lab| traced(lab, first, ports));
            assert_eq!(last.verdict, Some(verdict), "{first}, {lists} lists");
            let evidence = last.evidence;
            let known = if lists == 0 { 10 } else { u32::from(ports) };
            assert_eq!((evidence.refused, evidence.unanswered), (3, known - 3));
        }
    }
}

#[test]
fn other_ports_of_whoever_traces_a_route_count() {
    for (others, verdict, score) in [
        (1, Verdict::Unproven, 1),
        (2, Verdict::Suspicious, 2),
        (4, Verdict::Scan, 4),
    ] {
        let last = last_of(16, |lab| {
            traced(lab, 33_434, 30);
            for port in 1..=others {
                on(lab, S, port, ContactKind::UdpTouch);
                on(lab, S, port, ContactKind::UdpRefused);
            }
        });
        assert_eq!(last.verdict, Some(verdict), "{others}");
        assert_eq!(crate::inspect::verdict::score(&last.evidence), score);
    }
}

#[test]
fn who_traces_the_route_to_a_server_that_is_down_is_no_scanner_of_it() {
    for (services, verdict) in [(9, Verdict::Suspicious), (10, Verdict::Scan)] {
        let last = last_of(16, |lab| {
            let traced = 33_434..33_464;
            for port in (1..=services).chain(traced) {
                on(lab, 0, port, ContactKind::UdpTouch);
            }
        });
        assert_eq!(last.verdict, Some(verdict), "{services}");
    }
}

#[test]
fn what_opens_no_flow_is_no_touch() {
    for kind in OTHERS {
        let mut lab = with(3);
        (1..=100).for_each(|port| on(&mut lab, 0, port, kind));
        assert_eq!(lab.found, [], "{kind:?}");
    }
}

#[test]
fn tcp_ports_do_not_count_with_udp_ports() {
    let mut lab = with(4);
    (1..=3).for_each(|port| on(&mut lab, 0, port, ContactKind::UdpTouch));
    (4..=9).for_each(|port| on(&mut lab, 0, port, ContactKind::Touch));
    assert_eq!(lab.found, []);
    on(&mut lab, 0, 4, ContactKind::UdpTouch);
    assert_eq!(lab.all(Kind::UdpScan).len(), 1);
}

#[test]
fn the_outcome_of_a_tcp_port_is_not_that_of_the_udp_port() {
    let mut lab = with(2);
    for port in 1..=2 {
        on(&mut lab, 0, port, ContactKind::UdpTouch);
        for kind in [ContactKind::Touch, ContactKind::Refused] {
            on(&mut lab, 0, port, kind);
        }
    }
    lab.finish();
    let all = lab.all(Kind::UdpScan);
    let pending = Evidence {
        pending: 2,
        ..Evidence::default()
    };
    assert_eq!(all.last().map(|one| one.evidence), Some(pending));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Among other contacts, which come at the time of the last datagram.
    #[test]
    fn udp_scans_are_exact(
        steps in prop::collection::vec((-20_i64..40, 0_u16..12, 0..36_usize), 1..120),
        at_least in 2_usize..6,
    ) {
        let mut lab = with(at_least);
        let (mut now_ns, mut contacts): (i64, Vec<Contact>) = (0, Vec::new());
        for (step, port, other) in steps {
            now_ns += step * S;
            contacts.push(lab.contact(now_ns, ENDS, port, ContactKind::UdpTouch));
            if let Some(&other) = OTHERS.get(other) {
                contacts.push(lab.contact(now_ns, ENDS, port ^ 1, other));
            }
        }
        let kinds = Kinds::of(&[ContactKind::UdpTouch]);
        let expected = naive::starts(&contacts, kinds, (at_least, WINDOW));
        prop_assert_eq!(lab.starts(Kind::UdpScan, contacts), expected);
    }
}
