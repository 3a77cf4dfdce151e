//! The gate changes no detection, full tables say so, and who is known survives strangers.

use super::*;
use crate::inspect::Rules;
use crate::inspect::contact::ContactKind;
use crate::inspect::detection::{Detection, Evidence, Kind, Phase, Proof, Technique, Verdict};
use crate::inspect::lab::{self, Lab, S, TRAFFIC_NS, rule, source, step, traffic, v4};
use crate::inspect::setting::Setting;
use proptest::prelude::*;
use std::collections::BTreeMap;

const WINDOW: i64 = 60 * S;

/// Who sources have long passed the gate, by touches that no rule remembers.
fn admitted(lab: &mut Lab) {
    for n in 0..8 {
        for other in [1, 2] {
            let mut dst = source(n);
            dst.bits ^= other << 20;
            let port = 1_000 + u16::from(n);
            let long_ago_ns = TRAFFIC_NS - 3 * 3_600 * S;
            let contact = lab.contact(long_ago_ns, (source(n), dst), port, ContactKind::Touch);
            lab.on(&contact);
            assert_eq!(lab.detectors.sources.knows(contact.source), other == 2);
        }
    }
    assert_eq!(lab.found, []);
}

/// What is found of this traffic, as far as it must be equal.
fn found(lab: &mut Lab, steps: &[lab::Step]) -> Vec<(Option<i64>, Detection)> {
    for (contact, setting) in traffic(lab, steps).concat() {
        lab.on_with(&contact, setting);
    }
    lab.finish();
    // A first touch keeps no time of its handshake: it counts as old as the touch's repetition. So the proof may differ,
    // and whether it came later.
    let mut told = BTreeMap::new();
    let same = |(deadline_ns, mut one): (Option<i64>, Detection)| {
        if one.kind == Kind::SlowScan {
            one.proof = Proof::None;
            let (count, source) = (one.extent.count(), format!("{:?}", one.subject.src()));
            let doubled = |(before, verdict)| count >= 2 * before || one.verdict > verdict;
            if one.phase == Phase::Continues && !told.get(&source).copied().is_some_and(doubled) {
                return None;
            }
            told.insert(source, (count, one.verdict));
        }
        Some((deadline_ns, one))
    };
    lab.found.drain(..).filter_map(same).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn with_the_gate_the_same_is_found_as_if_every_source_passed_at_once(
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let (mut gated, mut open) = (Lab::new(lab::all_rules()), Lab::new(lab::all_rules()));
        admitted(&mut open);
        prop_assert_eq!(found(&mut gated, &steps), found(&mut open, &steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]
    #[test]
    fn a_look_ahead_of_each_batch_changes_nothing(
        steps in prop::collection::vec(step(), 1..250),
        batch in 1..40_usize,
    ) {
        let (mut plain, mut ahead) = (Lab::new(lab::all_rules()), Lab::new(lab::all_rules()));
        let all = traffic(&ahead, &steps).concat();
        for some in all.chunks(batch) {
            for (contact, _) in some {
                ahead.detectors.prefetch_rules(contact, || false);
            }
            some.iter().for_each(|(contact, setting)| ahead.on_with(contact, *setting));
        }
        all.iter().for_each(|(contact, setting)| plain.on_with(contact, *setting));
        prop_assert_eq!(plain.found, ahead.found);
    }
}

#[test]
fn the_traffic_of_these_tests_makes_detections_of_every_kind() {
    let mut state = 1;
    let mut next = |below: u8| {
        state = crate::splitmix::mix64(state);
        u8::try_from(state % u64::from(below)).expect("below a byte")
    };
    let mut kinds: BTreeMap<Kind, u32> = BTreeMap::new();
    for _ in 0..50 {
        let steps: Vec<lab::Step> = (0..250)
            .map(|_| (next(8), next(6), next(6), next(24), next(10)))
            .collect();
        let mut lab = Lab::new(lab::all_rules());
        for (_, one) in found(&mut lab, &steps) {
            *kinds.entry(one.kind).or_default() += 1;
        }
    }
    let scans = [
        Kind::PortScan,
        Kind::HostSweep,
        Kind::StealthScan,
        Kind::UdpScan,
        Kind::SlowScan,
        Kind::DistributedScan,
    ];
    assert!(scans.iter().all(|kind| kinds[kind] >= 10), "{kinds:?}");
}

fn scans(room: Room) -> Lab {
    Lab::new(Rules {
        sources: room,
        port_scan: rule(3, WINDOW),
        stealth_scan: rule(3, WINDOW),
        ..lab::OFF
    })
}

fn send(lab: &mut Lab, ts_ns: i64, (src, dst): (u32, u32), port: u16, kinds: &[ContactKind]) {
    for &kind in kinds {
        let contact = lab.contact(ts_ns, (v4(src), v4(dst)), port, kind);
        lab.on(&contact);
    }
}

#[test]
fn outcome_and_proof_of_the_first_touch_survive() {
    use ContactKind::{Answered, Established, Refused, Touch};
    let cases: [(&[ContactKind], _, _, _); 4] = [
        (&[Touch, Answered, Established], 1, 0, Proof::Handshake),
        (&[Touch, Answered], 1, 0, Proof::Answered),
        (&[Touch, Refused], 0, 1, Proof::None),
        (&[Touch], 0, 0, Proof::None),
    ];
    for (first, answered, refused, proof) in cases {
        let mut lab = scans(lab::OFF.sources);
        send(&mut lab, 0, (1, 2), 1, first);
        send(&mut lab, 0, (1, 2), 2, &[Touch]);
        send(&mut lab, 0, (1, 2), 3, &[Touch]);
        let all = lab.all(Kind::PortScan);
        let evidence = Evidence {
            refused,
            unanswered: 0,
            spared: 0,
            answered,
            pending: 3 - answered - refused,
        };
        assert_eq!((all[0].evidence, all[0].proof), (evidence, proof));
        assert_eq!(
            (all[0].source.places, all[0].source.answered),
            (3, answered)
        );
    }
}

#[test]
fn a_handshake_with_the_first_place_proves_its_next_touch_for_a_window() {
    use ContactKind::{Answered, Established, Touch};
    for window_ns in [10 * S, WINDOW, 600 * S] {
        for (gap_ns, proof) in [
            (window_ns, Proof::Handshake),
            (window_ns + 1, Proof::Answered),
        ] {
            let mut lab = Lab::new(Rules {
                port_scan: rule(3, window_ns),
                ..lab::OFF
            });
            send(&mut lab, 0, (1, 2), 1, &[Touch, Answered, Established]);
            for port in 1..=3 {
                send(&mut lab, gap_ns, (1, 2), port, &[Touch]);
            }
            let all = lab.all(Kind::PortScan);
            assert_eq!(all[0].proof, proof, "{window_ns} {gap_ns}");
        }
    }
}

#[test]
fn an_outcome_of_another_place_is_none_of_the_first() {
    use ContactKind::{Answered, Refused, Touch, UdpAnswered};
    let mut lab = scans(lab::OFF.sources);
    send(&mut lab, 0, (1, 2), 1, &[Touch, UdpAnswered]);
    send(&mut lab, 0, (1, 3), 1, &[Answered]);
    send(&mut lab, 0, (1, 2), 2, &[Refused]);
    for port in [2, 3] {
        send(&mut lab, 0, (1, 2), port, &[Touch]);
    }
    let all = lab.all(Kind::PortScan);
    let pending = Evidence {
        pending: 3,
        ..Evidence::default()
    };
    assert_eq!((all[0].evidence, all[0].proof), (pending, Proof::None));
}

#[test]
fn technique_and_darkness_of_the_first_touch_survive() {
    use ContactKind::{AckProbe, XmasProbe};
    let mut lab = scans(lab::OFF.sources);
    for (port, kind) in (1..).zip([XmasProbe, AckProbe, AckProbe]) {
        let contact = lab.contact(0, (v4(1), v4(2)), port, kind);
        let setting = Setting::default().with(Setting::DARK, port == 1);
        lab.on_with(&contact, setting);
    }
    let all = lab.all(Kind::StealthScan);
    let techniques: Vec<Technique> = Technique::in_bits(all[0].source.techniques).collect();
    assert_eq!(techniques, [Technique::Xmas, Technique::Ack]);
    assert_eq!(
        (all[0].source.dark, all[0].verdict),
        (1, Some(Verdict::Scan))
    );
}

#[test]
fn a_source_with_one_place_is_held_back_and_every_contact_is_counted() {
    use ContactKind::{Answered, Established, Icmp, StrayAnswer, StrayReset, Touch};
    let mut lab = scans(lab::OFF.sources);
    for _ in 0..5 {
        send(&mut lab, 0, (1, 2), 80, &[Touch, Answered, Established]);
    }
    // These say nothing about a source.
    send(&mut lab, 0, (1, 2), 80, &[StrayAnswer, Icmp, StrayReset]);
    let counts = lab.detectors.sources.counts;
    assert_eq!((counts.held_back, counts.passed, counts.new), (15, 0, 0));
    assert_eq!(lab.detectors.occupancy().iter().sum::<usize>(), 0);
    send(&mut lab, 0, (1, 2), 81, &[Touch, Answered]);
    let counts = lab.detectors.sources.counts;
    assert_eq!((counts.held_back, counts.passed, counts.new), (15, 2, 1));
    assert_eq!(lab.detectors.sources.held(), 1);
}

/// Whether the scan of three ports by a source is exact.
fn scans_exactly(lab: &mut Lab, ts_ns: i64, src: u32) -> bool {
    for port in 1..=3 {
        send(lab, ts_ns, (src, 2), port, &[ContactKind::Touch]);
    }
    let all = lab.all(Kind::PortScan).into_iter();
    let mut all = all.filter(|one| one.phase == Phase::Started);
    all.next_back().expect("a scan").exact
}

#[test]
fn an_evicted_source_is_counted_and_detections_are_not_exact_for_a_window() {
    for which in [0, 1] {
        let mut room = lab::OFF.sources;
        match which {
            0 => room.firsts = 8,
            _ => room.standings = 8,
        }
        let mut lab = scans(room);
        // The table holds eight.
        for src in 0..8 {
            let ports = 0..=which;
            ports.for_each(|port| send(&mut lab, S, (100 + src, 9), port, &[ContactKind::Touch]));
        }
        assert_eq!(lab.detectors.sources.counts.evicted, 0);
        for port in 0..=which {
            send(&mut lab, 2 * S, (200, 9), port, &[ContactKind::Touch]);
        }
        assert_eq!(lab.detectors.sources.counts.evicted, 1, "{which}");
        let (gap_ns, most) = (lab.detectors.detectable_gaps_ns(2 * S)[0], WINDOW);
        assert!(gap_ns <= most, "{gap_ns}");
        assert!(!scans_exactly(&mut lab, 2 * S + 1, 300), "{which}");
    }
    // An eviction of a touch that is older than all windows is no loss.
    let mut lab = scans(Room {
        firsts: 8,
        ..lab::OFF.sources
    });
    for src in 0..9 {
        let ts_ns = if src == 8 { S + WINDOW } else { S };
        send(&mut lab, ts_ns, (100 + src, 9), 1, &[ContactKind::Touch]);
    }
    let counts = lab.detectors.sources.counts;
    assert_eq!((counts.evicted, counts.forgotten), (0, 1));
    assert!(scans_exactly(&mut lab, S + WINDOW, 300));
}

#[test]
fn detections_are_exact_again_a_window_after_the_last_eviction() {
    for (after_ns, expected) in [(WINDOW - 1, false), (WINDOW, true)] {
        let mut lab = scans(Room {
            firsts: 8,
            ..lab::OFF.sources
        });
        (0..9).for_each(|src| send(&mut lab, S, (100 + src, 9), 1, &[ContactKind::Touch]));
        assert_eq!(lab.detectors.sources.counts.evicted, 1);
        // Its only place in the gate is that of an old one.
        assert_eq!(
            scans_exactly(&mut lab, S + after_ns, 300),
            expected,
            "{after_ns}"
        );
    }
}

#[test]
fn suspect_and_proven_sources_outlive_strangers() {
    use ContactKind::{Answered, Established, HalfOpen, NullProbe, OddTouch, Touch};
    let known: [(u32, &[ContactKind]); 5] = [
        (1, &[Touch, Answered, Established]),
        (2, &[NullProbe]),
        (3, &[OddTouch]),
        (4, &[Touch, HalfOpen, HalfOpen, HalfOpen, HalfOpen]),
        (5, &[Touch]),
    ];
    let mut lab = scans(Room {
        standings: 8,
        ..lab::OFF.sources
    });
    for (src, kinds) in known {
        for port in [1, 2] {
            send(&mut lab, 0, (src, 9), port, kinds);
        }
    }
    for stranger in 0..100 {
        for port in [1, 2] {
            send(&mut lab, S, (1_000 + stranger, 9), port, &[Touch]);
        }
    }
    let source_of = |lab: &Lab, src| lab.contact(0, (v4(src), v4(9)), 1, Touch).source;
    let alive = [1, 2, 3, 4, 5].map(|src| lab.detectors.sources.knows(source_of(&lab, src)));
    // The last one is a stranger, too.
    assert_eq!(alive, [true, true, true, true, false]);
}

#[test]
fn whoever_was_contacted_first_is_a_friend_of_that_host_alone() {
    use ContactKind::{Answered, Established, Touch};
    for (kinds, is_friend) in [
        (&[Touch, Answered, Established][..], true),
        // A SYN alone may be forged.
        (&[Touch, Answered][..], false),
        (&[Touch][..], false),
    ] {
        let mut lab = scans(lab::OFF.sources);
        send(&mut lab, 0, (2, 1), 21, kinds);
        let known = |src, target| {
            let sources = &lab.detectors.sources;
            sources
                .evidence((v4(src), 0), Some(v4(target)), 60 * S)
                .friendly
        };
        let friends = [known(1, 2), known(2, 1), known(1, 3), known(3, 2)];
        assert_eq!(friends, [is_friend, false, false, false], "{kinds:?}");
    }
}

#[test]
fn whoever_was_contacted_first_by_anybody_is_known_as_that_for_half_an_hour() {
    use ContactKind::{Answered, Established, Touch};
    for (kinds, is_contacted) in [
        (&[Touch, Answered, Established][..], true),
        (&[Touch, Answered][..], false),
    ] {
        let mut lab = scans(lab::OFF.sources);
        send(&mut lab, 0, (2, 1), 21, kinds);
        let contacted = |src, now_ns| {
            let evidence = lab.detectors.sources.evidence((v4(src), 0), None, now_ns);
            evidence.contacted
        };
        assert_eq!(contacted(1, 60 * S), is_contacted, "{kinds:?}");
        assert_eq!(contacted(1, 29 * 60 * S), is_contacted, "{kinds:?}");
        assert!(!contacted(1, 32 * 60 * S), "half an hour later");
        assert!(!contacted(2, 60 * S), "the one who made contact");
    }
}

#[test]
fn the_networks_of_an_ipv6_address_that_was_contacted_are_known_as_that() {
    let mut lab = scans(lab::OFF.sources);
    let site = 0x2001_0db8_0001_u128 << 80;
    let ours = Address::new(true, 0x2001_0db8_ffff_u128 << 80 | 1);
    let theirs = Address::new(true, site | 7 << 64 | 5);
    let contact = lab.contact(0, (ours, theirs), 443, ContactKind::Established);
    lab.on(&contact);
    let sources = &lab.detectors.sources;
    let contacted = |bits: u128, network: Option<Network>| {
        let src = Address::new(true, bits);
        let of = match network {
            Some(network) => (network.address(src), network.mark(0)),
            None => (src, 0),
        };
        let evidence = sources.evidence(of, None, S);
        assert!(network.is_none() || evidence.subnet_contacted == evidence.contacted);
        (evidence.contacted, evidence.subnet_contacted)
    };
    let of_subnet = |bits| contacted(bits, None).1;
    assert!(of_subnet(site | 7 << 64 | 5) && of_subnet(site | 7 << 64 | 6));
    assert!(!of_subnet(site | 8 << 64 | 5), "another subnet of the site");
    let contacted = |bits, network| contacted(bits, network).0;
    assert!(contacted(site | 7 << 64 | 5, None));
    assert!(!contacted(site | 7 << 64 | 6, None), "a neighbour");
    assert!(contacted(site | 7 << 64 | 6, Some(Network::Subnet)));
    assert!(!contacted(site | 8 << 64 | 6, Some(Network::Subnet)));
    assert!(contacted(site | 8 << 64 | 6, Some(Network::Site)));
    assert!(!contacted(site + (1 << 80), Some(Network::Site)));
}

#[test]
fn a_room_takes_no_more_than_its_bytes() {
    for bytes in [1 << 16, 1 << 20, 1 << 24] {
        let room = Room::for_bytes(bytes);
        let takes = room.memory_bytes();
        assert!(
            takes <= bytes && takes > bytes / 10 * 9,
            "{bytes}: {room:?}"
        );
    }
}
