//! The detector against the rule in its own words, by brute force over all touches.

use super::*;
use crate::inspect::Rules;
use crate::inspect::contact::ContactKind;
use crate::inspect::detection::{Detection, Evidence, Phase, Proof};
use crate::inspect::detector::Detector as _;
use crate::inspect::distinct::naive;
use crate::inspect::lab::{self, Lab, S, rule, v4};
use proptest::prelude::*;
use std::net::Ipv4Addr;

const WINDOW: i64 = 60 * S;
const PORT: u16 = 22;

fn host(n: u32) -> Address {
    v4(0xc633_6400 + n)
}

fn with(at_least: usize) -> Lab {
    Lab::new(Rules {
        host_sweep: rule(at_least, WINDOW),
        ..lab::OFF
    })
}

/// A contact of one source with a host.
fn contact(lab: &Lab, ts_ns: i64, n: u32, kind: ContactKind) -> Contact {
    lab.contact(ts_ns, (v4(0xc000_0201), host(n)), PORT, kind)
}

fn on(lab: &mut Lab, ts_ns: i64, n: u32, kind: ContactKind) {
    let contact = contact(lab, ts_ns, n, kind);
    lab.on(&contact);
}

fn rising_edges(at_least: usize, touches: &[(i64, u32)]) -> Vec<usize> {
    let mut lab = with(at_least);
    let touch = |&(ts_ns, n)| contact(&lab, ts_ns, n, ContactKind::Touch);
    let contacts: Vec<Contact> = touches.iter().map(touch).collect();
    lab.starts(Kind::HostSweep, contacts)
}

fn by_brute_force(at_least: usize, touches: &[(i64, u32)]) -> Vec<usize> {
    let edges = naive::rising_edges(touches, at_least, WINDOW).into_iter();
    edges.map(|(number, _)| number).collect()
}

/// What is said of so many hosts, a nanosecond apart, and of the end.
fn sweep_of(hosts: u32) -> Vec<Detection> {
    let mut lab = with(25);
    for n in 0..hosts {
        on(&mut lab, n.into(), n, ContactKind::Touch);
    }
    lab.finish();
    lab.all(Kind::HostSweep).into_iter().cloned().collect()
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
    let all = sweep_of(1000);
    let sizes: Vec<(Phase, u64)> = all
        .iter()
        .map(|one| (one.phase, one.extent.count()))
        .collect();
    use Phase::{Continues, Ended, Started};
    let doublings = [50, 100, 200, 400, 800].map(|hosts| (Continues, hosts));
    let expected = [&[(Started, 25)][..], &doublings, &[(Ended, 1000)]].concat();
    assert_eq!(sizes, expected);
    assert!(all.iter().all(|one| one.exact && one.complete));
    let subject = Subject::SourcePort {
        src: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: PORT,
        dst: host(24).into(),
    };
    assert!(all.iter().all(|one| one.subject == subject));
}

#[test]
fn a_sweep_of_more_hosts_than_a_set_holds_says_that_it_is_not_complete() {
    let all = sweep_of(9000);
    let last = all.last().expect("a summary");
    let count = last.extent.count();
    assert!((2500..=4096).contains(&count), "{count}");
    assert!(!last.complete && last.exact);
    assert!(all[0].complete, "the rising edge is");
}

#[test]
fn answers_and_a_handshake_are_the_evidence_and_the_proof() {
    use ContactKind::{Answered, Established, Refused, Touch};
    let mut lab = with(4);
    for n in 0..4 {
        on(&mut lab, 0, n, Touch);
        match n {
            0 => on(&mut lab, 0, n, Answered),
            1 => on(&mut lab, 0, n, Refused),
            _ => {}
        }
    }
    on(&mut lab, 0, 0, Established);
    on(&mut lab, 0, 0, Established);
    lab.finish();
    let found = lab.all(Kind::HostSweep).into_iter();
    let found: Vec<_> = found
        .map(|one| (one.phase, one.evidence, one.proof))
        .collect();
    let evidence = Evidence {
        refused: 1,
        unanswered: 0,
        spared: 0,
        answered: 1,
        pending: 2,
    };
    let expected = [
        (Phase::Started, evidence, Proof::Answered),
        (Phase::Continues, evidence, Proof::Handshake),
        (Phase::Ended, evidence, Proof::Handshake),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_handshake_with_the_first_host_is_not_forgotten() {
    use ContactKind::{Established, Touch};
    let mut lab = with(2);
    for (kind, n) in [(Touch, 0), (Established, 0), (Touch, 1)] {
        on(&mut lab, 0, n, kind);
    }
    let proof: Vec<Proof> = (lab.all(Kind::HostSweep).iter())
        .map(|one| one.proof)
        .collect();
    assert_eq!(proof, [Proof::Handshake]);
}

#[test]
fn ports_and_families_are_apart_and_0_hosts_turn_the_rule_off() {
    let flags = |hosts| HostSweepFlags {
        sweep_hosts: hosts,
        sweep_window: Window(WINDOW),
    };
    let off = HostSweep::rule(&flags(0), 1 << 20);
    assert_eq!(off.memory_bytes::<Hosts>() >> 10, 0, "{off:?}");
    let mut lab = Lab::new(Rules {
        host_sweep: off,
        ..lab::OFF
    });
    (0..1000).for_each(|n| on(&mut lab, 0, n, ContactKind::Touch));
    lab.finish();
    assert_eq!(lab.found, []);
    let mut lab = with(3);
    for n in 0..20 {
        let contact = Contact {
            port: u16::try_from(n / 2).expect("small"),
            ..contact(&lab, 0, n, ContactKind::Touch)
        };
        lab.on(&contact);
    }
    assert_eq!(lab.found, [], "two hosts on each port");
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
    assert!(all.iter().all(|host| host.bits() < 1 << 58));
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
            now += step * S;
            (now, n)
        }).collect();
        prop_assert_eq!(rising_edges(at_least, &touches), by_brute_force(at_least, &touches));
    }
}

#[test]
fn a_rule_that_is_off_counts_its_contacts_and_detects_nothing() {
    let mut lab = with(0);
    // The first one is held back from all rules about sources.
    (0..2).for_each(|n| on(&mut lab, 0, n, ContactKind::Touch));
    assert_eq!(lab.found, []);
    let off = &lab.detectors.host_sweep;
    assert_eq!(
        (off.counts().contacts(), off.occupancy()),
        (1, 0),
        "another detector of the same owner may be on: the books compare both"
    );
}

#[test]
fn a_handshake_before_the_episode_proves_nothing_of_it() {
    use ContactKind::{Established, Touch};
    // One honest connection, then SYNs that anybody may have sent in its name: the last within W of the first.
    for (gap_ns, expected) in [(WINDOW - 3, Proof::Handshake), (WINDOW + 1, Proof::None)] {
        for again in [false, true] {
            let mut lab = with(3);
            on(&mut lab, 0, 0, Touch);
            on(&mut lab, 0, 0, Established);
            if again {
                // The honest one's port once more, by anybody.
                on(&mut lab, gap_ns, 0, Touch);
            }
            (1..=3).for_each(|n| on(&mut lab, gap_ns + i64::from(n), n, Touch));
            let proof = lab.all(Kind::HostSweep).first().map(|one| one.proof);
            assert_eq!(proof, Some(expected), "{gap_ns} {again}");
        }
    }
}
