//! The rule by brute force, its techniques, and what is no probe.

use super::*;
use crate::decode::key::Address;
use crate::inspect::Rules;
use crate::inspect::contact::Contact;
use crate::inspect::detection::{Detection, Evidence, Phase, Technique, Verdict};
use crate::inspect::distinct::naive;
use crate::inspect::lab::{self, Lab, S, rule, v4};
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
const PROBES: [(ContactKind, Technique); 7] = [
    (ContactKind::NullProbe, Technique::Null),
    (ContactKind::FinProbe, Technique::Fin),
    (ContactKind::XmasProbe, Technique::Xmas),
    (ContactKind::FlagsProbe, Technique::Flags),
    (ContactKind::OddTouch, Technique::SynFin),
    (ContactKind::AckProbe, Technique::Ack),
    (ContactKind::MaimonProbe, Technique::Maimon),
];
const OTHERS: [ContactKind; 12] = [
    ContactKind::Touch,
    ContactKind::Answered,
    ContactKind::Refused,
    ContactKind::Established,
    ContactKind::HalfOpen,
    ContactKind::UdpTouch,
    ContactKind::UdpAnswered,
    ContactKind::UdpRefused,
    ContactKind::Datagrams,
    ContactKind::StrayAnswer,
    ContactKind::StrayReset,
    ContactKind::Icmp,
];

fn with(at_least: usize) -> Lab {
    Lab::new(Rules {
        stealth_scan: rule(at_least, WINDOW),
        ..lab::OFF
    })
}

/// What is found of such contacts, each at the next port.
fn found(kinds: &[ContactKind]) -> Vec<Detection> {
    let mut lab = with(3);
    for (port, &kind) in (1..).zip(kinds) {
        let contact = lab.contact(0, ENDS, port, kind);
        lab.on(&contact);
    }
    lab.all(Kind::StealthScan).into_iter().cloned().collect()
}

#[test]
fn each_technique_alone_is_a_scan_at_its_third_port_and_named() {
    for (kind, technique) in PROBES {
        assert_eq!(found(&[kind; 2]), [], "{technique}");
        let found = found(&[kind; 3]);
        let [one] = &found[..] else {
            panic!("{technique}: {found:?}")
        };
        assert_eq!((one.phase, one.extent.count()), (Phase::Started, 3));
        let techniques: Vec<Technique> = Technique::in_bits(one.source.techniques).collect();
        assert_eq!(techniques, [technique]);
        // What is left of a connection may look like an ACK probe; no stack sends the others.
        let is_certain = !matches!(technique, Technique::Ack | Technique::Maimon);
        let verdict = match is_certain {
            true => Verdict::Scan,
            false => Verdict::Suspicious,
        };
        assert_eq!(one.verdict, Some(verdict), "{technique}");
    }
}

#[test]
fn one_probe_that_no_stack_sends_makes_it_certain_wherever_it_comes() {
    let ack = ContactKind::AckProbe;
    for at in 0..3 {
        let mut kinds = [ack; 3];
        kinds[at] = ContactKind::NullProbe;
        let found = found(&kinds);
        let techniques: Vec<Technique> = Technique::in_bits(found[0].source.techniques).collect();
        assert_eq!(techniques, [Technique::Null, Technique::Ack], "{at}");
        assert_eq!(found[0].verdict, Some(Verdict::Scan), "{at}");
    }
}

#[test]
fn several_techniques_at_one_port_are_one_port() {
    let mut lab = with(2);
    for (kind, _) in PROBES {
        let contact = lab.contact(0, ENDS, 80, kind);
        lab.on(&contact);
    }
    assert_eq!(lab.found, []);
    let contact = lab.contact(0, ENDS, 81, ContactKind::FinProbe);
    lab.on(&contact);
    assert_eq!(lab.all(Kind::StealthScan).len(), 1);
}

#[test]
fn syns_outcomes_datagrams_and_messages_are_no_probes() {
    for kind in OTHERS {
        assert_eq!(found(&[kind; 20]), [], "{kind:?}");
    }
    let mixed: Vec<ContactKind> = OTHERS.into_iter().cycle().take(200).collect();
    assert_eq!(found(&mixed), []);
}

#[test]
fn two_destinations_and_two_sources_are_apart() {
    let mut lab = with(2);
    for (n, port) in [(0, 1), (1, 2)] {
        let probe = ContactKind::NullProbe;
        let to_another = lab.contact(0, (ENDS.0, v4(10 + n)), port, probe);
        let from_another = lab.contact(0, (v4(20 + n), ENDS.1), port, probe);
        lab.on(&to_another);
        lab.on(&from_another);
    }
    assert_eq!(lab.found, []);
}

#[test]
fn the_outcome_of_an_odd_syn_is_the_evidence() {
    let mut lab = with(3);
    for port in 1..=3 {
        for kind in [ContactKind::OddTouch, ContactKind::Refused] {
            let contact = lab.contact(0, ENDS, port, kind);
            lab.on(&contact);
        }
    }
    lab.finish();
    let all = lab.all(Kind::StealthScan);
    let refused = Evidence {
        refused: 3,
        ..Evidence::default()
    };
    assert_eq!(all.last().map(|one| one.evidence), Some(refused));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Among other contacts, which come at the time of the last probe.
    #[test]
    fn stealth_scans_are_exact(
        steps in prop::collection::vec((-20_i64..40, 0_u16..12, 0..7_usize, 0..24_usize), 1..120),
        at_least in 2_usize..6,
    ) {
        let mut lab = with(at_least);
        let (mut now_ns, mut contacts): (i64, Vec<Contact>) = (0, Vec::new());
        for (step, port, probe, other) in steps {
            now_ns += step * S;
            contacts.push(lab.contact(now_ns, ENDS, port, PROBES[probe].0));
            if let Some(&other) = OTHERS.get(other) {
                contacts.push(lab.contact(now_ns, ENDS, port ^ 1, other));
            }
        }
        let kinds = Kinds::of(&PROBES.map(|(kind, _)| kind));
        let expected = naive::starts(&contacts, kinds, (at_least, WINDOW));
        prop_assert_eq!(lab.starts(Kind::StealthScan, contacts), expected);
    }
}
