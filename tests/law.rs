//! The flood law: with which probability a slow scan is found in a flood of spoofed sources.
//!
//! A source with one place lies in a bucket of eight among C / 8. It is forgotten when eight newer ones have come to its
//! bucket before its next port: with rate λ and gap g it stays with probability p = P(Poisson(8 λ g / C) ≤ 7). Of 20
//! ports the scanner must be remembered over one of the first 17 gaps, so that three ports are left to decide:
//! 1 − (1 − p)^17.

use craft::Rng;
use std::collections::BTreeSet;
use std::net::IpAddr;
use synledger::flow::key::Hasher;
use synledger::inspect::contact::{Contact, ContactKind, Mark};
use synledger::inspect::detection::Phase;
use synledger::inspect::detector::{Found, Owned};
use synledger::inspect::port_scan::Rule;
use synledger::inspect::setting::Setting;
use synledger::inspect::{Detectors, Rules, SourceRoom};
use synledger::time::timeline::position_of_ts;

const SECOND: i64 = 1_000_000_000;
/// C: places of the table.
const PLACES: usize = 1024;
const BUCKET: f64 = 8.0;
/// Spoofed SYNs a second, each of another source.
const RATE: i64 = 1000;
const PORTS: u16 = 20;
/// Ports that decide, and gaps after which they can still come.
const AT_LEAST: usize = 4;
const CHANCES: i32 = 17;
/// Scanners at a time: so few that the flood is not faster by them.
const AT_ONCE: u64 = 5;
const ROUNDS: u64 = 60;
const SCANNERS: u64 = 1 << 40;

/// P(Poisson(`mean`) ≤ 7).
fn stays(mean: f64) -> f64 {
    let terms = (0..8).scan(1.0, |term, k| {
        let this = *term;
        *term *= mean / f64::from(k + 1);
        Some(this)
    });
    (-mean).exp() * terms.sum::<f64>()
}

/// The law's probability that a scan with gaps of `gap_ns` is found.
fn law(gap_ns: i64) -> f64 {
    let came = RATE as f64 * gap_ns as f64 / SECOND as f64;
    1.0 - (1.0 - stays(came * BUCKET / PLACES as f64)).powi(CHANCES)
}

fn detectors() -> Detectors {
    let rules = Rules {
        sources: SourceRoom {
            firsts: PLACES,
            standings: 1024,
            friends: 8,
        },
        port_scan: Rule {
            at_least: AT_LEAST,
            at_least_local: 0,
            window_ns: 60 * SECOND,
            subjects: 1024,
            firsts: 1024,
            episodes: 64,
            lists: 1,
        },
        ..Rules::OFF
    };
    Detectors::new(rules, Hasher::new([1, 2]), 0)
}

/// How many of [`AT_ONCE`] scanners are found.
fn found(gap_ns: i64, rng: &mut Rng) -> usize {
    let lasts_ns = gap_ns * i64::from(PORTS);
    // First two tables full.
    let begins_ns = 2 * PLACES as i64 * SECOND / RATE;
    let mut touches: Vec<(i64, u64, u16)> = Vec::new();
    let count = (begins_ns + lasts_ns) / SECOND * RATE;
    for source in 0..count.unsigned_abs() {
        let at = rng.below((begins_ns + lasts_ns).unsigned_abs());
        touches.push((at.cast_signed(), source, 80));
    }
    for n in 0..AT_ONCE {
        let phase = rng.below(gap_ns.unsigned_abs()).cast_signed();
        let of = |port: u16| begins_ns + phase + gap_ns * i64::from(port);
        touches.extend((0..PORTS).map(|port| (of(port), SCANNERS + n, port)));
    }
    touches.sort_unstable();
    let (mut detectors, mut told) = (detectors(), BTreeSet::new());
    let seed = rng.next_u64();
    for (ts_ns, source, port) in touches {
        told.extend(on_touch(&mut detectors, (ts_ns, source, port), seed));
    }
    told.len()
}

/// Hands a touch on. Returns the scanner that was found by it.
fn on_touch(
    detectors: &mut Detectors,
    (ts_ns, source, port): (i64, u64, u16),
    seed: u64,
) -> Option<IpAddr> {
    let contact = Contact {
        position: position_of_ts(ts_ns),
        ts_ns,
        source: Rng::new(seed ^ source).next_u64(),
        // IPv4: no network stands for it.
        src: u128::from(source & 0xff_ffff | (source >> 40) << 24),
        dst: 0x7f00_0001,
        port,
        interface: 0,
        mark: Mark::new(false, 0, ContactKind::Touch),
    };
    let setting = Setting::default();
    let owned = Owned {
        source: true,
        target: false,
    };
    let mut told = None;
    let out = &mut |(_, found): Found| {
        if found.phase == Phase::Started {
            told = found.subject.src();
        }
    };
    detectors.on_contact(&contact, owned, setting, ts_ns, out);
    told
}

#[test]
fn slow_scans_in_a_flood_are_found_as_often_as_the_law_says() {
    let (mut inside, mut points) = (0, 0);
    for gap_ms in [600, 900, 1200, 1500, 1800, 2100, 2400, 2800, 3300] {
        let gap_ns = gap_ms * SECOND / 1000;
        let mut rng = Rng::new(gap_ms.unsigned_abs());
        let all = (ROUNDS * AT_ONCE) as f64;
        let hits: usize = (0..ROUNDS).map(|_| found(gap_ns, &mut rng)).sum();
        let (measured, expected) = (hits as f64 / all, law(gap_ns));
        let deviation = (expected * (1.0 - expected) / all).sqrt();
        let off = (measured - expected).abs();
        eprintln!(
            "gap {gap_ms} ms: {measured:.3} found, {expected:.3} by the law, ± {deviation:.3}"
        );
        // Half a scan is the step of a share.
        inside += usize::from(off <= 1.96 * deviation + 0.5 / all);
        points += 1;
        assert!(off <= 3.3 * deviation + 0.5 / all, "{gap_ms} ms: 99.9 %");
    }
    assert!(inside + 1 >= points, "{inside} of {points} within 95 %");
}
