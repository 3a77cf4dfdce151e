//! The detector against the rule in its own words, by brute force over all touches.

use super::*;
use crate::inspect::contact::{ContactKind, Mark};
use crate::inspect::detection::{Detection, Phase, Proof};
use crate::inspect::detector::Detector as _;
use crate::inspect::distinct::{Rule, naive};
use crate::time::timeline::Timeline;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const WINDOW: i64 = 60_000_000_000;

fn rule(at_least: usize) -> Rule {
    Rule {
        at_least,
        window_ns: WINDOW,
        subjects: 64,
        firsts: 64,
        episodes: 8,
        lists: 4,
    }
}

fn host(n: u32) -> Address {
    Address {
        v6: false,
        bits: u128::from(0xc633_6400 + n),
    }
}

fn touch(number: usize, ts_ns: i64, dst: Address) -> Contact {
    Contact {
        position: number as u64,
        ts_ns,
        pair: 7,
        src: 0xc000_0201,
        dst: dst.bits,
        port: 22,
        interface: 0,
        mark: Mark::new(dst.v6, 0, ContactKind::Touch, 0),
    }
}

fn detector(at_least: usize) -> HostSweep {
    HostSweep::new(rule(at_least), Hasher::new([3, 4]))
}

/// What is said of these touches, and of the end.
fn said(at_least: usize, touches: &[(i64, u32)]) -> Vec<(usize, Detection)> {
    let watermarks = naive::watermarks(touches);
    let timeline = Timeline::Read {
        first: 0,
        watermarks: &watermarks,
    };
    let (mut detector, mut found) = (detector(at_least), Vec::new());
    for (number, &(ts_ns, n)) in touches.iter().enumerate() {
        let contact = touch(number, ts_ns, host(n));
        detector.on_contact(&contact, contact.dst(), &timeline, &mut |(_, one)| {
            found.push((number, one));
        });
    }
    detector.finish(&mut |(_, one)| found.push((touches.len(), one)));
    found
}

fn rising_edges(at_least: usize, touches: &[(i64, u32)]) -> Vec<usize> {
    let found = said(at_least, touches).into_iter();
    let edges = found.filter(|(_, one)| one.phase == Phase::Started);
    edges.map(|(number, _)| number).collect()
}

fn by_brute_force(at_least: usize, touches: &[(i64, u32)]) -> Vec<usize> {
    let edges = naive::rising_edges(touches, at_least, WINDOW).into_iter();
    edges.map(|(number, _)| number).collect()
}

#[test]
fn the_last_host_decides_strictly_inside_the_window() {
    let all_but_one: Vec<(i64, u32)> = (0..24).map(|n| (i64::from(n), n)).collect();
    assert_eq!(rising_edges(25, &all_but_one), [0_usize; 0]);
    for (age, found) in [(WINDOW - 1, 1), (WINDOW, 0), (WINDOW + 1, 0)] {
        let touches = [&all_but_one[..], &[(age, 24)]].concat();
        assert_eq!(rising_edges(25, &touches).len(), found, "{age} ns");
    }
}

#[test]
fn a_growing_sweep_is_told_at_each_doubling_and_at_its_end() {
    let touches: Vec<(i64, u32)> = (0..1000).map(|n| (i64::from(n), n)).collect();
    let all = said(25, &touches);
    let sizes: Vec<(Phase, u32)> = all
        .iter()
        .map(|(_, one)| (one.phase, one.extent.count()))
        .collect();
    use Phase::{Continues, Ended, Started};
    let doublings = [50, 100, 200, 400, 800].map(|hosts| (Continues, hosts));
    let expected = [&[(Started, 25)][..], &doublings, &[(Ended, 1000)]].concat();
    assert_eq!(sizes, expected);
    assert!(all.iter().all(|(_, one)| one.exact && one.complete));
    let subject = Subject::SourcePort {
        src: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 22,
        dst: host(24).into(),
    };
    assert!(all.iter().all(|(_, one)| one.subject == subject));
}

#[test]
fn a_sweep_of_more_hosts_than_a_set_holds_says_that_it_is_not_complete() {
    let touches: Vec<(i64, u32)> = (0..9000).map(|n| (i64::from(n), n)).collect();
    let all = said(25, &touches);
    let (_, last) = all.last().expect("a summary");
    let count = last.extent.count();
    assert!((2500..=4096).contains(&count), "{count}");
    assert!(!last.complete && last.exact);
    assert!(all[0].1.complete, "the rising edge is");
}

#[test]
fn answers_and_a_handshake_are_the_evidence_and_the_proof() {
    let (mut detector, mut found) = (detector(4), Vec::new());
    let mut feed = |contact: Contact| {
        detector.on_contact(&contact, contact.dst(), &Timeline::Live, &mut |(_, one)| {
            found.push((one.phase, one.evidence, one.proof));
        });
    };
    for n in 0..4 {
        let position = crate::time::timeline::position_of_ts(0);
        let contact = Contact {
            position,
            ..touch(0, 0, host(n))
        };
        feed(contact);
        let kind = match n {
            0 => ContactKind::Answered,
            1 => ContactKind::Refused,
            _ => continue,
        };
        feed(contact.with_kind(kind));
    }
    let position = crate::time::timeline::position_of_ts(0);
    feed(Contact {
        position,
        ..touch(0, 0, host(0)).with_kind(ContactKind::Established)
    });
    detector.finish(&mut |(_, one)| found.push((one.phase, one.evidence, one.proof)));
    let evidence = crate::inspect::detection::Evidence {
        refused: 1,
        unanswered: 0,
        answered: 1,
        pending: 2,
    };
    let expected = [
        (Phase::Started, evidence, Proof::Answered),
        (Phase::Ended, evidence, Proof::Handshake),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_handshake_with_the_first_host_is_not_forgotten() {
    let (mut detector, mut proof) = (detector(2), Vec::new());
    let position = crate::time::timeline::position_of_ts(0);
    let kinds = [
        ContactKind::Touch,
        ContactKind::Established,
        ContactKind::Touch,
    ];
    for (kind, n) in kinds.into_iter().zip([0, 0, 1]) {
        let contact = Contact {
            position,
            ..touch(0, 0, host(n)).with_kind(kind)
        };
        detector.on_contact(&contact, contact.dst(), &Timeline::Live, &mut |(_, one)| {
            proof.push(one.proof);
        });
    }
    assert_eq!(proof, [Proof::Handshake]);
}

#[test]
fn ports_and_families_are_apart_and_0_hosts_turn_the_rule_off() {
    let flags = |hosts| HostSweepFlags {
        sweep_hosts: hosts,
        sweep_window: Window(WINDOW),
    };
    let off = <HostSweep as crate::inspect::detector::Detector>::rule(&flags(0), 1 << 20);
    assert_eq!(off.memory_bytes::<Hosts>() >> 10, 0, "{off:?}");
    let mut detector = HostSweep::new(off, Hasher::new([3, 4]));
    for n in 0..1000 {
        let contact = touch(n, 0, host(u32::try_from(n).expect("small")));
        detector.on_contact(&contact, contact.dst(), &Timeline::Live, &mut |_| {
            panic!("off")
        });
    }
    let (mut detector, mut found) = (self::detector(3), 0);
    for n in 0..20_u16 {
        let contact = Contact {
            port: n / 2,
            ..touch(0, 0, host(u32::from(n)))
        };
        detector.on_contact(&contact, contact.dst(), &Timeline::Live, &mut |_| {
            found += 1
        });
    }
    assert_eq!(found, 0, "two hosts on each port");
    assert!(
        ["1", "65", "-1", "x", ""]
            .iter()
            .all(|value| hosts(value).is_err())
    );
    assert_eq!(
        [hosts("0"), hosts("2"), hosts("64")],
        [Ok(0), Ok(2), Ok(64)]
    );
}

#[test]
fn addresses_of_both_families_are_hosts_of_their_own() {
    let v6 = |bits: u128| Host::new(Address { v6: true, bits });
    let mut all = vec![Host::new(host(0)), Host::new(host(1))];
    all.extend((0..1000).map(v6));
    all.extend((1..1000).map(|high| v6(high << 64)));
    all.extend((1..1000).map(|both| v6(both << 64 | both)));
    let before = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), before);
    assert!(all.iter().all(|host| host.0 < 1 << 62));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn the_n_most_recent_hosts_decide_as_all_touches_do(
        steps in prop::collection::vec((-20_i64..40, 0_u32..12), 1..120),
        at_least in 2_usize..6,
    ) {
        let mut now = 0;
        let touches: Vec<(i64, u32)> = steps.iter().map(|&(step, n)| {
            now += step * 1_000_000_000;
            (now, n)
        }).collect();
        prop_assert_eq!(rising_edges(at_least, &touches), by_brute_force(at_least, &touches));
    }

    /// The set against a map that holds all.
    #[test]
    fn a_set_of_hosts_keeps_the_highest_state_of_each(
        raised in prop::collection::vec((0_u32..400, 1_u8..4), 1..1500),
    ) {
        let mut words = vec![0; Hosts::ITEM_SET_WORDS];
        let mut set = HostSet(&mut words);
        let mut all: BTreeMap<Host, TouchState> = BTreeMap::new();
        for (n, state) in raised {
            let (host, state) = (Host::new(host(n)), TouchState::from_bits(state));
            let known = all.get(&host).copied();
            let expected = if known.is_some() { Raised::Known } else { Raised::New };
            prop_assert_eq!(set.raise(host, state), expected);
            all.insert(host, state.max(known.unwrap_or(state)));
        }
        for (&host, &state) in &all {
            prop_assert_eq!(set.get(host), state);
        }
        let held: u32 = set.states()[1..].iter().sum();
        prop_assert_eq!(held as usize, all.len());
    }
}

#[test]
fn a_rule_that_is_off_counts_its_contacts_and_detects_nothing() {
    let watermarks = [0];
    let timeline = Timeline::Read {
        first: 0,
        watermarks: &watermarks,
    };
    let mut off = detector(0);
    let contact = touch(0, 0, host(1));
    off.on_contact(&contact, contact.dst(), &timeline, &mut |_| {
        panic!("a detection")
    });
    assert_eq!(
        (off.counts().contacts(), off.occupancy()),
        (1, 0),
        "another detector of the same owner may be on: the books compare both"
    );
}

#[test]
fn a_handshake_before_the_episode_proves_nothing_of_it() {
    const W: i64 = WINDOW;
    // One honest connection, then SYNs that anybody may have sent in its name: the last within W of the first.
    for (gap_ns, expected) in [(W - 3, Proof::Handshake), (W + 1, Proof::None)] {
        for again in [false, true] {
            let (mut detector, mut proof) = (detector(3), Vec::new());
            let mut contacts = vec![(0, ContactKind::Touch, 0), (0, ContactKind::Established, 0)];
            if again {
                // The honest one's port once more, by anybody.
                contacts.push((gap_ns, ContactKind::Touch, 0));
            }
            contacts.extend([1, 2, 3].map(|n| (gap_ns + i64::from(n), ContactKind::Touch, n)));
            for (ts_ns, kind, n) in contacts {
                let position = crate::time::timeline::position_of_ts(ts_ns);
                let contact = Contact {
                    position,
                    ..touch(0, ts_ns, host(n)).with_kind(kind)
                };
                detector.on_contact(&contact, contact.dst(), &Timeline::Live, &mut |(_, one)| {
                    proof.push(one.proof);
                });
            }
            assert_eq!(proof.first(), Some(&expected), "{gap_ns} {again}");
        }
    }
}
