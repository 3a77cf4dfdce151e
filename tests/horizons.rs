//! The published horizons of full tables hold when `read` reads floods that a small table cannot hold.

mod common;

use common::{NANOS, syn, synledger};
use craft::{Capture, Flow, Link, LinkType};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

const START_NS: i64 = 1_700_000_000_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// Runs `read` on these frames: its records of these events, and the last books.
fn read(frames: Vec<(i64, Vec<u8>)>, workers: &str, events: &str) -> (Vec<Value>, Value) {
    let dir = tempfile::tempdir().expect("a folder");
    let (file, log) = (dir.path().join("flood.pcap"), dir.path().join("log.json"));
    write(&file, frames);
    let eve = format!("eve:{},events={events}+stats", log.display());
    let args = [
        "read",
        "--memory-mib",
        "44",
        "--workers",
        workers,
        "--output",
        &eve,
    ];
    let output = synledger()
        .args(args)
        .arg(&file)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&log).expect("a log");
    let record = |line| serde_json::from_str(line).expect("JSON in each line");
    let mut all: Vec<Value> = text.lines().map(record).collect();
    let last = all.pop().expect("the last books");
    assert_eq!(last["synledger"]["final"], true, "{last}");
    (all, last["synledger"].clone())
}

fn write(file: &Path, mut frames: Vec<(i64, Vec<u8>)>) {
    frames.sort_by_key(|(at_ns, _)| *at_ns);
    let mut capture = Capture::new("flood", LinkType::Ethernet);
    for (at_ns, frame) in frames {
        capture.push(START_NS + at_ns, frame);
    }
    std::fs::write(file, capture.to_pcap(NANOS)).expect("a capture file");
}

/// The SYN of source number `from`.
fn touch(from: u32, port: u16) -> Vec<u8> {
    let flow = Flow::v4(from.to_be_bytes(), 1024, [198, 51, 100, 1], port);
    Link::ethernet().frame(&syn(flow, from))
}

/// `rate` sources a second, each with one SYN.
fn flood(seconds: i64, rate: i64) -> Vec<(i64, Vec<u8>)> {
    let from = |n: i64| 0x0a00_0000 + u32::try_from(n).expect("below 2^24");
    let all = 0..seconds * rate;
    all.map(|n| (n * SECOND / rate, touch(from(n), 80)))
        .collect()
}

fn seconds(books: &Value, name: &str) -> f64 {
    books[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name}: {books}"))
}

#[test]
fn a_retransmission_inside_the_published_horizon_is_never_a_new_attempt() {
    const RATE: i64 = 20_000;
    const FLOOD_S: i64 = 12;
    for workers in ["1", "3"] {
        let mut frames = flood(FLOOD_S, RATE);
        // In the last second, SYNs of sources of every age are repeated.
        let mut ages = HashMap::new();
        for n in 0..10_000_i64 {
            let again_ns = (FLOOD_S - 1) * SECOND + n * SECOND / 10_000 + 7;
            let age = n * 7919 % 10_000 * 11 * RATE / 10_000;
            let first = again_ns * RATE / SECOND - age;
            if first >= 0
                && ages
                    .insert(first, again_ns - first * SECOND / RATE)
                    .is_none()
            {
                frames.push((
                    again_ns,
                    frames[usize::try_from(first).expect("small")].1.clone(),
                ));
            }
        }
        let (records, books) = read(frames, workers, "connection");
        let horizon_s = seconds(&books, "dedup_horizon_seconds");
        let mut lines: HashMap<u64, u32> = HashMap::new();
        for record in records
            .iter()
            .filter(|one| one["event_type"] == "new_connection")
        {
            let isn = record["synledger"]["isn"].as_u64().expect("a number");
            *lines.entry(isn - 0x0a00_0000).or_default() += 1;
        }
        let is_new = |first: i64| lines[&first.unsigned_abs()] > 1;
        let of_age = |from_s: f64, to_s: f64| {
            let within = |age: i64| (from_s..to_s).contains(&(age as f64 / 1e9));
            let some = ages.iter().filter(|(_, age)| within(**age));
            let some: Vec<i64> = some.map(|(first, _)| *first).collect();
            (
                some.len(),
                some.iter().filter(|first| is_new(**first)).count(),
            )
        };
        let (inside, new) = of_age(0.0, horizon_s);
        let (outside, new_outside) = of_age(2.0 * horizon_s, f64::INFINITY);
        eprintln!(
            "{workers} workers: horizon {horizon_s:.3} s; {inside} repeated inside it, {new} taken for new; \
             {outside} beyond twice the horizon, {new_outside} taken for new"
        );
        assert!(horizon_s > 0.5 && horizon_s < 8.0, "{horizon_s}");
        assert!(inside > 100 && outside > 100);
        assert_eq!(new, 0);
        assert!(
            new_outside * 10 > outside * 9,
            "the horizon is smaller than it must be"
        );
    }
}

#[test]
fn without_a_flood_the_horizons_are_those_of_the_rules() {
    let (_, books) = read(flood(2, 100), "2", "alert");
    assert_eq!(seconds(&books, "dedup_horizon_seconds"), 130.0);
    assert_eq!(
        seconds(&books, "port_scan_min_detectable_gap_seconds"),
        60.0
    );
}

#[test]
fn a_scan_with_gaps_below_half_of_the_published_one_is_found_in_a_flood() {
    const RATE: i64 = 20_000;
    const FLOOD_S: i64 = 24;
    const SCANNERS: u32 = 40;
    for workers in ["1", "3"] {
        let (_, books) = read(flood(FLOOD_S, RATE), workers, "alert");
        let gap_s = seconds(&books, "port_scan_min_detectable_gap_seconds");
        assert!(gap_s > 0.05 && gap_s < 2.0, "{gap_s}");
        // A gap of eight times the published one is the edge, g*.
        let parts = [0.05, 0.25, 0.49, 1.0, 8.0, 16.0];
        let mut frames = flood(FLOOD_S, RATE);
        for (kind, part) in (0_u32..).zip(parts) {
            #[allow(clippy::cast_possible_truncation, reason = "seconds")]
            let gap_ns = (gap_s * part * 1e9) as i64;
            for scanner in 0..SCANNERS {
                let begin_ns = FLOOD_S / 4 * SECOND + i64::from(scanner) * 3_141_592;
                let from = 0xc0a8_0000 + kind * 256 + scanner;
                for port in 0..4_u16 {
                    frames.push((
                        begin_ns + i64::from(port) * gap_ns,
                        touch(from, 1000 + port),
                    ));
                }
            }
        }
        let (records, books) = read(frames, workers, "alert");
        let mut found = [0; 6];
        let alerts = records.iter().filter(|one| one["event_type"] == "alert");
        for alert in alerts.filter(|alert| {
            let scan = &alert["synledger"]["scan"];
            scan["kind"] == "port_scan" && scan["phase"] == "started"
        }) {
            let source: std::net::Ipv4Addr = alert["src_ip"]
                .as_str()
                .expect("an address")
                .parse()
                .expect("v4");
            found[usize::from(source.octets()[2])] += 1;
        }
        let published = seconds(&books, "port_scan_min_detectable_gap_seconds");
        eprintln!(
            "{workers} workers: published {published:.3} s; {SCANNERS} scans with each of the gaps {parts:?} times that: found {found:?}"
        );
        assert_eq!(
            found[..3],
            [SCANNERS; 3],
            "gaps below half of the published one"
        );
        assert!(
            found[3] >= SCANNERS - 1,
            "at the published gap 99,999 of 100,000 are found"
        );
        assert!(found[5] < SCANNERS / 4, "twice g*: beyond the edge");
    }
}
