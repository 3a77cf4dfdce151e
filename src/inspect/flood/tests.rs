//! Rates at the threshold, the borders of slots, busy servers, top sources, and full tables.

use super::*;
use crate::decode::key::Address;
use crate::inspect::Rules;
use crate::inspect::detection::{Detection, Extent, Phase};
use crate::inspect::lab::{self, Lab, S, v4};
use crate::inspect::syn_flood::SynFlood;
use std::collections::BTreeMap;

const N: u32 = 100;
const DST: Address = Address {
    v6: false,
    bits: 0xc633_6401,
};
/// The start of a slot.
const START: i64 = 1_000 * S;

fn rule() -> Rule {
    Rule {
        at_least: N,
        window_ns: S,
        targets: 512,
        floods: 8,
    }
}

fn rules(rule: Rule) -> Rules {
    Rules {
        syn_flood: rule,
        rst_flood: rule,
        udp_flood: rule,
        icmp_flood: rule,
        ..lab::OFF
    }
}

fn with(rule: Rule) -> Lab {
    Lab::new(rules(rule))
}

/// So many contacts at one time, each from another source.
fn burst(lab: &mut Lab, ts_ns: i64, (dst, kind): (Address, ContactKind), packets: u32) {
    for n in 0..packets {
        let contact = lab.contact(ts_ns, (v4(n), dst), 80, kind);
        lab.on(&contact);
    }
}

fn resets(lab: &mut Lab, ts_ns: i64, packets: u32) {
    burst(lab, ts_ns, (DST, ContactKind::StrayReset), packets);
}

fn said(lab: &Lab, kind: Kind) -> Vec<(Phase, i64, u64)> {
    let all = lab.all(kind).into_iter();
    all.map(|one| (one.phase, one.ts_ns, one.extent.count()))
        .collect()
}

#[test]
fn n_packets_in_a_slot_are_a_flood_and_one_less_is_none() {
    use ContactKind::{Icmp, OddTouch, StrayAnswer, StrayReset, Touch, UdpTouch};
    let kinds = [
        (Kind::SynFlood, Touch),
        (Kind::SynFlood, OddTouch),
        (Kind::RstFlood, StrayReset),
        (Kind::UdpFlood, UdpTouch),
        (Kind::UdpFlood, StrayAnswer),
        (Kind::IcmpFlood, Icmp),
    ];
    for (kind, packet) in kinds {
        for (packets, is_flood) in [(N - 1, false), (N, true), (N + 1, true)] {
            let mut lab = with(rule());
            burst(&mut lab, START, (DST, packet), packets);
            lab.expire(START + S - 1);
            assert_eq!(lab.found, [], "no slot is judged before its end");
            lab.expire(START + S);
            let started = (Phase::Started, START + S, u64::from(packets));
            let expected = if is_flood { vec![started] } else { vec![] };
            assert_eq!(said(&lab, kind), expected, "{kind} {packets}");
            assert_eq!(lab.found.len(), expected.len(), "of no other kind");
            assert!(lab.found.iter().all(|(at, _)| *at == Some(START + S)));
        }
    }
}

#[test]
fn a_slot_begins_at_a_multiple_of_its_length_and_ends_before_the_next() {
    for (first_ns, last_ns, expected) in
        [(0, S - 1, 1), (S - 1, S, 0), (-1, 0, 0), (S, 2 * S - 1, 1)]
    {
        let mut lab = with(rule());
        resets(&mut lab, START + first_ns, N - 1);
        resets(&mut lab, START + last_ns, 1);
        lab.expire(START + 3 * S);
        assert_eq!(lab.found.len(), expected, "{first_ns} {last_ns}");
    }
}

#[test]
fn datagrams_of_a_flow_that_nothing_answers_count_in_steps_of_64() {
    let steps = N.div_ceil(DATAGRAMS);
    for (contacts, is_flood) in [(steps - 1, false), (steps, true)] {
        let mut lab = with(rule());
        burst(&mut lab, START, (DST, ContactKind::Datagrams), contacts);
        lab.expire(START + S);
        let count = u64::from(contacts * DATAGRAMS);
        let started = [(Phase::Started, START + S, count)];
        let expected = if is_flood { &started[..] } else { &[] };
        assert_eq!(said(&lab, Kind::UdpFlood), expected);
    }
}

#[test]
fn a_flood_continues_when_it_has_doubled_and_ends_after_ten_quiet_slots() {
    let mut lab = with(rule());
    // Half of N keeps it up.
    let packets = [N, N - 1, 1, N / 2, N / 2 - 1];
    for (second, packets) in (0..).zip(packets) {
        resets(&mut lab, START + second * S, packets);
    }
    let total: u32 = packets.iter().sum();
    let doubled = N + N - 1 + 1;
    lab.expire(START + 14 * S - 1);
    let expected = [
        (Phase::Started, START + S, u64::from(N)),
        (Phase::Continues, START + 3 * S, u64::from(doubled)),
    ];
    assert_eq!(said(&lab, Kind::RstFlood), expected);
    lab.expire(START + 14 * S);
    let ended = (Phase::Ended, START + 14 * S, u64::from(total));
    let expected = [&expected[..], &[ended]].concat();
    assert_eq!(said(&lab, Kind::RstFlood), expected);
    let all = lab.all(Kind::RstFlood);
    let peaks = all.iter().map(|one| match one.extent {
        Extent::Packets { peak, .. } => peak,
        _ => panic!("packets are asked for"),
    });
    assert!(peaks.into_iter().all(|peak| peak == N));
    assert!(
        all.iter()
            .all(|one| one.verdict.is_none() && one.exact && one.complete)
    );
}

#[test]
fn a_flood_that_goes_on_at_the_end_of_the_run_is_summed_up() {
    let mut lab = with(rule());
    resets(&mut lab, START, N);
    lab.finish();
    let phases: Vec<Phase> = said(&lab, Kind::RstFlood).iter().map(|one| one.0).collect();
    assert_eq!(phases, [Phase::Started, Phase::Ended], "in its last slot");
    let mut lab = with(rule());
    resets(&mut lab, START, N - 1);
    lab.finish();
    assert_eq!(lab.found, []);
    let mut lab = with(rule());
    resets(&mut lab, START, N);
    resets(&mut lab, START + S, 1);
    lab.finish();
    let phases: Vec<Phase> = said(&lab, Kind::RstFlood).iter().map(|one| one.0).collect();
    assert_eq!(phases, [Phase::Started, Phase::Ended]);
}

/// Connections a second that a busy server's clients complete.
const USUAL: u32 = 200;

/// A second of a busy server: each client completes its handshake after `after_ns`. A flood comes beside it.
fn second(lab: &mut Lab, second: i64, after_ns: i64, flood: u32) {
    let (start_ns, step_ns) = (START + second * S, S / i64::from(USUAL));
    let mut contacts = Vec::new();
    for n in 0..USUAL {
        let ends = (v4(n), DST);
        let ts_ns = start_ns + i64::from(n) * step_ns;
        contacts.push(lab.contact(ts_ns, ends, 443, ContactKind::Touch));
        contacts.push(lab.contact(ts_ns + after_ns, ends, 443, ContactKind::Established));
    }
    for n in 0..flood {
        let ts_ns = start_ns + i64::from(n) * S / i64::from(flood);
        let ends = (v4(0x0a00_0000 + n), DST);
        contacts.push(lab.contact(ts_ns, ends, 443, ContactKind::Touch));
    }
    // What completes in the next second would be late there.
    contacts.retain(|contact| contact.ts_ns < start_ns + S);
    contacts.sort_by_key(|contact| contact.ts_ns);
    contacts.iter().for_each(|contact| lab.on(contact));
}

#[test]
fn a_busy_server_whose_clients_complete_is_under_no_flood() {
    for after_ns in [0, S / 100, S / 5] {
        let mut lab = with(rule());
        (0..100).for_each(|n| second(&mut lab, n, after_ns, 0));
        lab.finish();
        assert_eq!(lab.found, [], "{after_ns}");
    }
}

#[test]
fn many_connections_that_are_completed_are_none_from_the_first_second_on() {
    for from_ns in [0, S / 2, S - S / 10] {
        let mut lab = with(Rule {
            at_least: 1_000,
            ..rule()
        });
        for n in 0..6_000 {
            let ts_ns = START + from_ns + i64::from(n) * S / 2_000;
            let ends = (v4(7), DST);
            for (kind, after_ns) in [(ContactKind::Touch, 0), (ContactKind::Established, 100)] {
                let contact = lab.contact(ts_ns + after_ns, ends, 443, kind);
                lab.on(&contact);
            }
        }
        lab.finish();
        assert_eq!(lab.found, [], "{from_ns}");
    }
}

/// In which second a flood of so many SYNs a second at a busy server is found.
fn found_in_second(flood: u32) -> Option<i64> {
    let mut lab = with(rule());
    (0..60).for_each(|n| second(&mut lab, n, 0, 0));
    (60..90).for_each(|n| second(&mut lab, n, 0, flood));
    lab.expire(START + 90 * S);
    let first = lab.all(Kind::SynFlood).first().map(|one| one.ts_ns);
    first.map(|ts_ns| (ts_ns - START) / S - 60)
}

#[test]
fn a_flood_at_a_busy_server_is_found_when_it_has_added_up_to_20_usual_slots() {
    // Each second adds the flood in units of what is usual, less 2; more than 20 decide.
    for times in [10, 11, 13, 21, 23, 50] {
        let adds = i64::from(times) - 2;
        let seconds = (1..).find(|seconds| seconds * adds > 20);
        assert_eq!(found_in_second(times * USUAL), seconds, "{times}");
    }
    // A tenth of the SYNs completes: that is a busy day.
    assert_eq!(found_in_second(9 * USUAL), None);
}

#[test]
fn a_usual_crowd_that_completes_nothing_for_two_seconds_is_no_flood() {
    let mut lab = with(rule());
    (0..60).for_each(|n| second(&mut lab, n, 0, 0));
    for n in 60..62 {
        second(&mut lab, n, 2 * S, 0);
    }
    (62..90).for_each(|n| second(&mut lab, n, 0, 0));
    lab.finish();
    assert_eq!(lab.found, []);
}

#[test]
fn ports_of_one_destination_are_flooded_apart_by_syns_and_together_by_the_rest() {
    let mut lab = with(rule());
    for n in 0..2 * N {
        for kind in [ContactKind::Touch, ContactKind::UdpTouch] {
            let port = u16::try_from(n % 4).expect("small");
            let contact = lab.contact(START, (v4(n), DST), port, kind);
            lab.on(&contact);
        }
    }
    lab.expire(START + S);
    assert_eq!(said(&lab, Kind::SynFlood), []);
    let started = [(Phase::Started, START + S, u64::from(2 * N))];
    assert_eq!(said(&lab, Kind::UdpFlood), started);
}

#[test]
fn the_sources_of_most_packets_are_named_with_their_errors() {
    let mut lab = with(rule());
    let mut sent: BTreeMap<u32, u32> = BTreeMap::new();
    for n in 0..4_000_u32 {
        // Three send three eighths, two eighths and an eighth of all; the others one packet each.
        let source = match n % 8 {
            0 | 2 | 4 => 1,
            1 | 5 => 2,
            3 => 3,
            _ => 1_000 + n,
        };
        let contact = lab.contact(START, (v4(source), DST), 80, ContactKind::StrayReset);
        lab.on(&contact);
        // They are counted from half of N on.
        *sent.entry(source).or_default() += u32::from(n + 1 >= N / 2);
    }
    lab.expire(START + S);
    let all = lab.all(Kind::RstFlood);
    let crowd = all[0].crowd.as_ref().expect("a crowd");
    let distinct = sent.values().filter(|&&packets| packets > 0).count() as u64;
    assert!(crowd.sources.abs_diff(distinct) * 5 < distinct, "{crowd:?}");
    assert_eq!(crowd.top[0].addr, IpAddr::from(v4(1)));
    assert_eq!(crowd.top.len(), 3);
    for one in &crowd.top {
        let number = (1..=3).find(|&number| one.addr == IpAddr::from(v4(number)));
        let sent = sent[&number.expect("nobody else sent much")];
        assert!(
            one.packets <= sent && sent <= one.packets + one.error,
            "{one:?} {sent}"
        );
    }
    assert!(crowd.top.is_sorted_by(|a, b| a.packets >= b.packets));
}

#[test]
fn a_table_with_more_destinations_than_it_holds_keeps_what_is_flooded_and_counts_the_rest() {
    let mut lab = with(Rule {
        targets: 8,
        ..rule()
    });
    resets(&mut lab, START, N / 2);
    for other in 1..=100 {
        burst(&mut lab, START, (v4(other), ContactKind::StrayReset), 2);
    }
    resets(&mut lab, START, N / 2);
    lab.expire(START + S);
    assert_eq!(
        said(&lab, Kind::RstFlood),
        [(Phase::Started, START + S, N.into())]
    );
    let counts = *lab.detectors.rst_flood.counts();
    // Eight places, one of which the flood has; both packets of each find it in its place.
    assert_eq!(counts.subjects_forgotten, 93);
    assert_eq!(counts.episodes_evicted, 0);
}

#[test]
fn a_flood_whose_destination_leaves_a_full_table_is_summed_up() {
    let mut lab = with(Rule {
        targets: 8,
        floods: 32,
        ..rule()
    });
    for other in 1..=9 {
        burst(&mut lab, START, (v4(other), ContactKind::StrayReset), N);
        lab.expire(START + S - 1);
        if other == 8 {
            lab.expire(START + S);
        }
    }
    let phases = |phase| {
        let all = lab.all(Kind::RstFlood).into_iter();
        all.filter(|one: &&Detection| one.phase == phase).count()
    };
    assert_eq!((phases(Phase::Started), phases(Phase::Ended)), (8, 1));
    assert_eq!(lab.detectors.rst_flood.counts().episodes_evicted, 1);
}

#[test]
fn without_a_place_for_it_a_flood_is_counted_and_found_when_one_is_free() {
    let mut lab = with(Rule {
        floods: 1,
        ..rule()
    });
    let other = (v4(9), ContactKind::StrayReset);
    for second in 0..20 {
        let ts_ns = START + second * S;
        if second < 2 {
            resets(&mut lab, ts_ns, N);
        }
        burst(&mut lab, ts_ns, other, N);
    }
    lab.expire(START + 20 * S);
    let all = lab.all(Kind::RstFlood).into_iter();
    let started: Vec<_> = all
        .filter(|one| one.phase == Phase::Started)
        .map(|one| (one.subject.dst(), (one.ts_ns - START) / S))
        .collect();
    // The first one's last busy slot is the second; it ends ten later, at 12 s.
    assert_eq!(started, [(IpAddr::from(DST), 1), (IpAddr::from(v4(9)), 13)]);
    assert_eq!(lab.detectors.rst_flood.counts().without_list, 12);
}

#[test]
fn destinations_below_the_rate_hide_no_flood() {
    let mut lab = with(Rule {
        floods: 2,
        ..rule()
    });
    for decoy in 1..=2 {
        burst(&mut lab, START, (v4(decoy), ContactKind::StrayReset), N - 1);
    }
    burst(&mut lab, START, (v4(9), ContactKind::StrayReset), 2 * N);
    lab.expire(START + S);
    let all = lab.all(Kind::RstFlood).into_iter();
    let found: Vec<IpAddr> = all.map(|one| one.subject.dst()).collect();
    assert_eq!(found, [IpAddr::from(v4(9))]);
}

#[test]
fn a_rule_that_is_off_finds_nothing_and_takes_no_memory() {
    let flags = crate::inspect::syn_flood::SynFloodFlags {
        syn_flood: Within {
            count: 0,
            window_ns: 0,
        },
    };
    let off = SynFlood::rule(&flags, 1 << 20);
    assert_eq!((off.targets, off.floods), (0, 0));
    let mut lab = with(off);
    burst(&mut lab, START, (DST, ContactKind::Touch), 1_000);
    lab.expire(START + 20 * S);
    assert_eq!(lab.found, []);
    assert!(!SynFlood::is_on(&off));
}
