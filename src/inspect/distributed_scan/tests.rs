//! The rule in its own words, by brute force over all ports, and who is no crowd.

use super::*;
use crate::inspect::Rules;
use crate::inspect::contact::ContactKind;
use crate::inspect::detection::{Phase, Verdict};
use crate::inspect::lab::{self, Lab, S, rule, v4};
use crate::inspect::place::Host;
use crate::splitmix::mix64;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

const WINDOW: i64 = 60 * S;
const DST: u32 = 0xc633_6401;

fn with(at_least: usize) -> Lab {
    Lab::new(Rules {
        distributed_scan: rule(at_least, WINDOW),
        ..lab::OFF
    })
}

/// So many sources that the detector can tell apart: it has 32 bits for them.
fn sources(count: usize) -> Vec<Address> {
    let mut bits = 0_u32;
    let mut next = (0x0a00_0001..).map(v4);
    let apart = std::iter::from_fn(|| {
        next.find(|&source| {
            let bit = 1 << (mix64(Host::new(source).bits()) >> 59);
            let is_new = bits & bit == 0;
            bits |= bit;
            is_new
        })
    });
    apart.take(count).collect()
}

fn on(lab: &mut Lab, ts_ns: i64, source: Address, port: u16, kind: ContactKind) {
    let contact = lab.contact(ts_ns, (source, v4(DST)), port, kind);
    lab.on(&contact);
}

fn refused(lab: &mut Lab, ts_ns: i64, source: Address, port: u16) {
    on(lab, ts_ns, source, port, ContactKind::Touch);
    on(lab, ts_ns, source, port, ContactKind::Refused);
}

fn starts(lab: &Lab) -> usize {
    let all = lab.all(Kind::DistributedScan).into_iter();
    all.filter(|one| one.phase == Phase::Started).count()
}

/// What became of a port since it is among the 32.
#[derive(Clone, Default)]
struct Touched {
    newest_ns: i64,
    sources: BTreeSet<u128>,
    refused: bool,
    answered: bool,
}

/// The rule in the words of its module.
#[derive(Default)]
struct Naive {
    all: BTreeMap<u16, Touched>,
    /// The last touch: its second, its port, and all who sent it in a row. More of them decide nothing, until something
    /// is answered or refused.
    last: Option<(i64, u16, BTreeSet<u128>)>,
    /// Time of the N-th newest closed port at the last touch at which the rule held.
    nth_ns: Option<i64>,
}

impl Naive {
    /// The 32 most recently touched ports.
    fn kept(&self) -> BTreeSet<u16> {
        let mut ports: Vec<_> = self.all.iter().collect();
        ports.sort_by_key(|&(port, touched)| (Reverse(touched.newest_ns), *port));
        ports.into_iter().take(32).map(|(port, _)| *port).collect()
    }

    fn outcome(&mut self, contact: &Contact) {
        self.last = None;
        let is_kept = self.kept().contains(&contact.port);
        if let Some(touched) = self.all.get_mut(&contact.port).filter(|_| is_kept) {
            touched.answered |= contact.kind() == ContactKind::Answered;
            touched.refused |= contact.kind() == ContactKind::Refused;
        }
    }

    /// Whether an episode starts with this touch.
    fn touch(&mut self, contact: &Contact, at_least: usize) -> bool {
        let ts_ns = contact.ts_ns.div_euclid(S) * S;
        match &mut self.last {
            Some((second_ns, port, senders)) if (*second_ns, *port) == (ts_ns, contact.port) => {
                if !senders.insert(contact.src) {
                    return false;
                }
            }
            last => *last = Some((ts_ns, contact.port, BTreeSet::from([contact.src]))),
        }
        let touched = self.all.entry(contact.port).or_insert(Touched {
            newest_ns: ts_ns,
            ..Touched::default()
        });
        touched.newest_ns = touched.newest_ns.max(ts_ns);
        touched.sources.insert(contact.src);
        let kept = self.kept();
        for (_, touched) in self.all.iter_mut().filter(|(port, _)| !kept.contains(port)) {
            *touched = Touched {
                newest_ns: touched.newest_ns,
                ..Touched::default()
            };
        }
        let m = self.all.values().map(|touched| touched.newest_ns).max();
        let m = m.expect("just touched");
        let mut closed: Vec<&Touched> = kept.iter().map(|port| &self.all[port]).collect();
        closed.retain(|one| !one.answered && (one.refused || m - one.newest_ns >= 5 * S));
        closed.retain(|one| m - one.newest_ns < WINDOW);
        closed.sort_by_key(|one| Reverse(one.newest_ns));
        let all: BTreeSet<u128> = closed
            .iter()
            .flat_map(|one| &one.sources)
            .copied()
            .collect();
        let alone = |source: &u128| {
            let by_it = closed.iter().filter(|one| one.sources.iter().eq([source]));
            by_it.count()
        };
        let is_shared =
            all.len() >= 3 && all.iter().all(|source| alone(source) * 2 <= closed.len());
        let holds = closed.len() >= at_least && is_shared;
        let is_armed = self.nth_ns.is_none_or(|nth_ns| m >= nth_ns + 2 * WINDOW);
        if holds {
            self.nth_ns = Some(closed[at_least - 1].newest_ns);
        }
        holds && is_armed
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn distributed_scans_are_exact(
        steps in prop::collection::vec((0..12_usize, 0_u16..40, 0..9_usize, 0..6_u8), 1..250),
        at_least in 4_usize..12,
    ) {
        const GAPS: [i64; 12] = [0, 0, 0, 1, 1, 1, 2, 3, 5, 8, 60, -2];
        // The first source is busier than the others.
        let sources = sources(6);
        let (mut lab, mut naive) = (with(at_least), Naive::default());
        let (mut now_ns, mut contacts, mut expected) = (0, Vec::new(), Vec::new());
        for (gap, port, source, outcome) in steps {
            now_ns += GAPS[gap] * S;
            let source = sources[source.saturating_sub(3)];
            let touch = lab.contact(now_ns, (source, v4(DST)), port, ContactKind::Touch);
            if naive.touch(&touch, at_least) {
                expected.push(contacts.len());
            }
            contacts.push(touch);
            let kind = match outcome {
                0..2 => ContactKind::Refused,
                2 => ContactKind::Answered,
                _ => continue,
            };
            // Of this port, or late of another one.
            let port = if gap % 3 == 0 { port ^ 1 } else { port };
            let late = Contact { port, ..touch.with_kind(kind) };
            naive.outcome(&late);
            contacts.push(late);
        }
        prop_assert_eq!(lab.starts(Kind::DistributedScan, contacts), expected);
    }
}

#[test]
fn a_single_scanner_is_never_distributed_however_much_noise_two_more_make() {
    let sources = sources(3);
    for noisy_ports in [0, 1, 9] {
        let mut lab = with(20);
        for port in 0..1000 {
            refused(&mut lab, i64::from(port), sources[0], port);
            for &other in &sources[1..] {
                (0..noisy_ports).for_each(|noisy| refused(&mut lab, i64::from(port), other, noisy));
            }
        }
        assert_eq!(starts(&lab), 0, "{noisy_ports}");
    }
}

#[test]
fn each_probe_from_every_decoy_is_a_distributed_scan_at_its_twentieth_port() {
    for (decoys, expected) in [(1, 0), (2, 0), (3, 1), (5, 1)] {
        let mut lab = with(20);
        for port in 0..20 {
            for source in sources(decoys) {
                refused(&mut lab, i64::from(port), source, port);
            }
            let expected = if port < 19 { 0 } else { expected };
            assert_eq!(starts(&lab), expected, "{decoys} {port}");
        }
        let verdicts = lab.all(Kind::DistributedScan).into_iter();
        // Each of the sources may be forged.
        assert!(
            verdicts
                .into_iter()
                .all(|one| one.verdict == Some(Verdict::Suspicious))
        );
    }
}

#[test]
fn a_scan_shared_out_among_three_is_distributed_and_among_two_is_not() {
    for (workers, expected) in [(2, 0), (3, 1), (10, 1)] {
        let mut lab = with(20);
        let sources = sources(workers);
        for (port, &source) in (0..60).zip(sources.iter().cycle()) {
            refused(&mut lab, i64::from(port), source, port);
        }
        assert_eq!(starts(&lab), expected, "{workers}");
        let all = lab.all(Kind::DistributedScan);
        let crowds = all
            .iter()
            .map(|one| one.crowd.as_ref().expect("a crowd").sources);
        assert!(crowds.into_iter().all(|sources| sources == workers as u64));
    }
}

#[test]
fn silent_ports_are_closed_after_five_seconds_and_open_ports_never() {
    for (after_ns, answers, expected) in
        [(5 * S - 1, false, 0), (5 * S, false, 1), (5 * S, true, 0)]
    {
        let (mut lab, sources) = (with(20), sources(4));
        for port in 0..20 {
            let source = sources[usize::from(port % 4)];
            on(&mut lab, 0, source, port, ContactKind::Touch);
            if answers {
                on(&mut lab, 0, source, port, ContactKind::Answered);
            }
        }
        on(&mut lab, after_ns, sources[0], 20, ContactKind::Touch);
        assert_eq!(starts(&lab), expected, "{after_ns} {answers}");
    }
}

#[test]
fn clients_of_a_server_that_share_its_open_ports_are_none() {
    let (mut lab, sources) = (with(4), sources(20));
    for (port, &source) in (0..2000).zip(sources.iter().cycle()) {
        on(
            &mut lab,
            i64::from(port),
            source,
            port % 12,
            ContactKind::Touch,
        );
        on(
            &mut lab,
            i64::from(port),
            source,
            port % 12,
            ContactKind::Answered,
        );
    }
    assert_eq!(starts(&lab), 0);
}
