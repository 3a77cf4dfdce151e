//! The published horizons of full tables hold in floods of every shape.

use craft::Rng;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use synledger::capture::tunnels::Inside;
use synledger::decode::packet::{Fragment, Packet, Reach, Tcp, Transport, tcp_flags};
use synledger::flow::key::Hasher;
use synledger::flow::{Flows, Limits};
use synledger::inspect::contact::{Contact, ContactKind, Mark};
use synledger::inspect::detection::{Kind, Phase};
use synledger::inspect::detector::{Found, Owned};
use synledger::inspect::port_scan::Rule;
use synledger::inspect::setting::Setting;
use synledger::inspect::{Detectors, Rules, SourceRoom};
use synledger::time::timeline::position_of_ts;

const MS: i64 = 1_000_000;
const SECOND: i64 = 1000 * MS;
const WINDOW: i64 = 60 * SECOND;
/// Ports of a scan.
const PORTS: u16 = 3;
/// Table sizes: first touches, and pairs with more touches.
const FIRSTS: usize = 4096;
const PAIRS: usize = 1024;

/// One shard owns everything.
const OWNED: Owned = Owned {
    source: true,
    target: true,
};

/// A SYN: time, source, port.
type Touch = (i64, u64, u16);

/// First number of a scanner; sources of the flood are below.
const SCANNERS: u64 = 1 << 40;

/// SYNs from `count` new sources, evenly over a stretch of time; each touches `ports` ports, 1 ns apart.
fn sources(flood: &mut Vec<Touch>, (from, until): (i64, i64), count: usize, ports: u16) {
    let begin = flood.len() as u64;
    for n in 0..count {
        let at = from
            + i64::try_from(n).expect("few") * (until - from) / i64::try_from(count).expect("few");
        for port in 0..ports {
            flood.push((at + i64::from(port), begin + n as u64, port));
        }
    }
}

/// A flood at one rate that fills both tables many times.
fn steady(ports: u16) -> Vec<Touch> {
    let mut flood = Vec::new();
    sources(&mut flood, (0, 60 * SECOND), 60_000, ports);
    flood
}

/// A flood that almost fills an empty table.
fn beginning() -> Vec<Touch> {
    let mut flood = Vec::new();
    sources(&mut flood, (0, 10 * SECOND), FIRSTS - 1, 1);
    flood
}

/// Tables that fill slowly, then bursts of nine tenths of a table.
fn bursts(ports: u16) -> Vec<Touch> {
    let mut flood = Vec::new();
    sources(&mut flood, (0, 3600 * SECOND), 2 * FIRSTS, ports);
    let room = if ports > 1 { PAIRS } else { FIRSTS };
    for n in 0..8 {
        let from = (3600 + 40 * n) * SECOND;
        sources(&mut flood, (from, from + SECOND), room * 9 / 10, ports);
        sources(&mut flood, (from + SECOND, from + 40 * SECOND), 40, ports);
    }
    flood
}

/// Random rates from one to thousands a second, each for a few seconds.
fn any(rng: &mut Rng) -> Vec<Touch> {
    let (mut flood, mut at) = (Vec::new(), 0);
    while flood.len() < 100_000 {
        let long = i64::try_from(rng.below(8000) + 1).expect("small") * MS;
        let rate = 1 << rng.below(14);
        let count =
            usize::try_from(rate * long.unsigned_abs() / SECOND.unsigned_abs()).expect("small");
        sources(
            &mut flood,
            (at, at + long),
            count + 1,
            1 + u16::from(rng.one_in(3)),
        );
        at += long;
    }
    flood
}

/// Scanners that begin in this stretch of time, and the gaps between their touches: log-uniform, as many between
/// 14 and 29 seconds as between 7 and 14.
fn scanners(rng: &mut Rng, (from, until): (i64, i64), count: u64) -> (Vec<Touch>, Vec<i64>) {
    let (mut touches, mut gaps) = (Vec::new(), Vec::new());
    for n in 0..count {
        let longest = ((29 * SECOND) >> rng.below(12)).unsigned_abs();
        let gap = i64::try_from(longest - rng.below(longest / 2)).expect("seconds");
        let begin = from + i64::try_from(rng.below((until - from).unsigned_abs())).expect("less");
        let touch = |port: u16| (begin + gap * i64::from(port), SCANNERS + n, 1000 + port);
        touches.extend((0..PORTS).map(touch));
        gaps.push(gap);
    }
    (touches, gaps)
}

/// Scanners of a flood, and how many were not found.
#[derive(Debug, Default)]
struct Result {
    promised: usize,
    lost: usize,
    /// Scanners whose gaps are more than eight times the published one.
    hopeless: usize,
    hopeless_lost: usize,
}

fn scan_in(what: &str, mut all: Vec<Touch>, gaps: &[i64], seed: u64) -> Result {
    let rule = Rule {
        at_least: usize::from(PORTS),
        at_least_local: 0,
        window_ns: WINDOW,
        subjects: PAIRS,
        firsts: FIRSTS,
        episodes: 64,
        lists: 1,
    };
    let rules = Rules {
        sources: SourceRoom {
            firsts: FIRSTS,
            standings: PAIRS,
            friends: 8,
        },
        port_scan: rule,
        ..Rules::OFF
    };
    let mut detectors = Detectors::new(rules, Hasher::new([1, 2]), 0);
    all.sort_unstable();
    let (mut found, mut published) = (HashMap::new(), vec![i64::MAX; gaps.len()]);
    for (ts_ns, source, port) in all {
        let number = Rng::new(seed ^ source).next_u64();
        let contact = Contact {
            position: position_of_ts(ts_ns),
            ts_ns,
            source: number,
            src: u128::from(source) | 0x2001 << 112,
            dst: 0x2001 << 112,
            port,
            interface: 0,
            mark: Mark::new(true, 0, ContactKind::Touch),
        };
        let setting = Setting::default();
        let out = &mut |(_, detection): Found| {
            if detection.phase == Phase::Started {
                found.insert(detection.subject.src(), detection.ts_ns);
            }
        };
        detectors.on_contact(&contact, OWNED, setting, ts_ns, out);
        if let Some(scanner) = source.checked_sub(SCANNERS)
            && port > 1000
        {
            let published = &mut published[usize::try_from(scanner).expect("few")];
            let gaps_ns = detectors.detectable_gaps_ns(ts_ns);
            *published = (*published).min(gaps_ns[Kind::PortScan as usize]);
        }
    }
    let mut result = Result::default();
    for (scanner, (gap, published)) in gaps.iter().zip(&published).enumerate() {
        let src = IpAddr::V6((u128::from(SCANNERS + scanner as u64) | 0x2001 << 112).into());
        let lost = usize::from(!found.contains_key(&Some(src)));
        if *gap <= published / 2 {
            result.promised += 1;
            result.lost += lost;
        }
        if *gap > published.saturating_mul(8) {
            result.hopeless += 1;
            result.hopeless_lost += lost;
        }
    }
    eprintln!("{what}, seed {seed}: {result:?}");
    result
}

#[test]
fn a_scan_with_gaps_below_half_of_the_published_one_is_found_in_any_flood() {
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        let late = (3590 * SECOND, 3900 * SECOND);
        let floods = [
            ("one port each", steady(1), (10 * SECOND, 50 * SECOND)),
            ("two ports each", steady(2), (10 * SECOND, 50 * SECOND)),
            ("empty tables", beginning(), (0, 10 * SECOND)),
            ("bursts", bursts(1), late),
            ("bursts of two ports each", bursts(2), late),
            ("any rate", any(&mut rng), (10 * SECOND, 50 * SECOND)),
        ];
        for (what, flood, stretch) in floods {
            let (scanners, gaps) = scanners(&mut rng, stretch, 600);
            let all = [flood, scanners].concat();
            let result = scan_in(what, all, &gaps, seed);
            assert!(result.promised >= 100, "{what}: {result:?}");
            assert_eq!(result.lost, 0, "{what}: {result:?}");
            // In a steady flood the published gap is not much smaller than the possible one.
            if what.ends_with("each") && !what.starts_with("bursts") {
                let lost = result.hopeless_lost * 4;
                assert!(lost > result.hopeless * 3, "{what}: {result:?}");
            }
        }
    }
}

fn syn(source: u64, ts_ns: i64) -> Packet {
    Packet {
        ts_ns,
        wire_len: 60,
        ip_len: 40,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
        src: IpAddr::V6((u128::from(source) | 0x2001 << 112).into()),
        dst: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        fragment: Fragment::Whole,
        reach: Reach::Plain,
        inside: Inside::NONE,
        gso: false,
        transport: Transport::Tcp(Tcp {
            src_port: 1024,
            dst_port: 80,
            seq: 1,
            ack: 0,
            flags: tcp_flags::SYN,
            payload_len: 0,
        }),
    }
}

/// Feeds one SYN.
fn attempt(flows: &mut Flows, source: usize, ts_ns: i64) {
    let packet = syn(source as u64, ts_ns);
    flows.on_packet(&packet, ts_ns, &mut |_, _| {});
}

/// Feeds the flood into a table of 1024 attempts; after each SYN an earlier one is repeated. Returns how many were
/// repeated inside the published horizon, and how many beyond it were taken for new.
fn repeat_in(what: &str, mut flood: Vec<Touch>, rng: &mut Rng) -> (usize, usize) {
    let limits = Limits {
        attempts: 1024,
        established: 8,
        others: 8,
        fragments: 8,
        parts: false,
    };
    let mut flows = Flows::new(limits, [rng.next_u64(), rng.next_u64()]);
    flood.retain(|touch| touch.2 == 0);
    flood.sort_unstable();
    let mut first: Vec<i64> = Vec::new();
    let (mut inside, mut beyond_new) = (0, 0);
    for (n, (ts_ns, ..)) in flood.into_iter().enumerate() {
        attempt(&mut flows, n, ts_ns);
        first.push(ts_ns);
        let octave = rng.below(12);
        let back = rng.index(n.min(4096 >> octave) + 1);
        let again = n - back;
        let before = flows.counts().new_connections;
        attempt(&mut flows, again, ts_ns);
        let is_new = flows.counts().new_connections > before;
        let (age_ns, horizon_ns) = (ts_ns - first[again], flows.dedup_horizon_ns());
        if age_ns < horizon_ns {
            inside += 1;
            assert!(
                !is_new,
                "{what}: {back} SYNs ago, {age_ns} ns of {horizon_ns} ns"
            );
        } else {
            beyond_new += usize::from(is_new);
        }
        if is_new {
            first[again] = ts_ns;
        }
    }
    for (name, left, right) in flows.counts().identities() {
        assert_eq!(left, right, "{what}: {name}");
    }
    eprintln!("{what}: {inside} repeated inside the horizon, {beyond_new} beyond it taken for new");
    (inside, beyond_new)
}

#[test]
fn a_syn_repeated_inside_the_published_horizon_is_never_new() {
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        // Captures may have timestamps of whole seconds, which many SYNs share.
        let coarse = |flood: Vec<Touch>| {
            flood
                .into_iter()
                .map(|(at, from, port)| (at / SECOND * SECOND, from, port))
        };
        let floods = [
            ("steady", steady(1)),
            ("empty tables", beginning()),
            ("bursts", bursts(1)),
            ("any rate", any(&mut rng)),
            ("stamps of whole seconds", coarse(steady(1)).collect()),
        ];
        for (what, flood) in floods {
            let (inside, beyond_new) = repeat_in(what, flood, &mut rng);
            assert!(inside > 100 && beyond_new > 100, "{what}");
        }
    }
}
