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
