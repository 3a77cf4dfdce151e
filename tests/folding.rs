//! Flood records: attempts are folded, never lost. Lines and folds together are the attempts sent to each destination
//! and port.

mod common;

use common::netns::{SENSOR, with_veth};
use common::{NANOS, RUN, read_logs, syn, synledger};
use craft::{Capture, Flow, Link, LinkType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use packet::TxSocket;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

const SECOND_NS: i64 = 1_000_000_000;
const VICTIM: [u8; 4] = [198, 51, 100, 7];

/// A SYN from a source of its own.
fn frame(number: u32, port: u16) -> Vec<u8> {
    let [_, b, c, d] = number.to_be_bytes();
    let mut flow = Flow::v4([10, b, c, d], 1024, VICTIM, 80);
    flow.dst_port = port;
    Link::ethernet().frame(&syn(flow, number))
}

/// Attempts to each port in an EVE log, one by one and folded, and the last books.
#[derive(Default)]
struct Log {
    lines: BTreeMap<u64, u64>,
    folds: BTreeMap<u64, Vec<Value>>,
    stats: Value,
}

fn parsed(eve: &[u8]) -> Log {
    let mut log = Log::default();
    for line in String::from_utf8_lossy(eve).lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let port = record["dest_port"].as_u64();
        match record["event_type"].as_str().expect("a type") {
            "new_connection" => *log.lines.entry(port.expect("a port")).or_default() += 1,
            "new_connections" => {
                assert_eq!(record["dest_ip"], "198.51.100.7");
                assert_eq!(record["proto"], "TCP");
                let fold = record["synledger"]["fold"].clone();
                log.folds
                    .entry(port.expect("a port"))
                    .or_default()
                    .push(fold);
            }
            "stats" => log.stats = record,
            _ => {}
        }
    }
    log
}

fn count(fold: &Value) -> u64 {
    fold["count"].as_u64().expect("a count")
}

#[test]
fn read_folds_what_is_above_the_rate_and_counts_it_exactly() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("flood", LinkType::Ethernet);
    let start_ns = 1_619_623_685 * SECOND_NS;
    // Three seconds: 2,000 a second to port 80, 5 a second to port 22.
    for i in 0..6000_u32 {
        let ts_ns = start_ns + i64::from(i) * SECOND_NS / 2000;
        capture.push(ts_ns, frame(i, 80));
        if i % 400 == 0 {
            capture.push(ts_ns, frame(100_000 + i, 22));
        }
    }
    let path = dir.path().join("flood.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture");
    let (text, eve, output) = read_logs(dir.path(), &["--fold"], &[path]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let log = parsed(&eve);
    assert_eq!(log.lines, BTreeMap::from([(22, 15), (80, 1000)]));
    let folds = &log.folds[&80];
    let counts: Vec<u64> = folds.iter().map(count).collect();
    assert_eq!(counts, [1000, 2000, 2000]);
    for fold in folds {
        let sources = fold["sources"].as_u64().expect("sources") as f64;
        let real = count(fold) as f64;
        assert!((sources - real).abs() < 4.0 * 0.0325 * real, "{fold}");
        assert_eq!(fold["reason"], "rate");
        // Each /24 has 256 consecutive sources.
        let least = |s: &Value| {
            s["count"]
                .as_u64()
                .zip(s["error"].as_u64())
                .map(|(c, e)| c - e)
        };
        let top = fold["top_sources"].as_array().expect("prefixes");
        assert!(
            top.iter().all(|s| least(s).is_some_and(|n| n <= 256)),
            "{fold}"
        );
        assert_eq!(top.iter().filter_map(least).max(), Some(256), "{fold}");
    }
    assert_eq!(folds[1]["first"], "2021-04-28T15:28:06.000000+0000");
    assert_eq!(folds[1]["last"], "2021-04-28T15:28:06.999500+0000");
    let text = String::from_utf8_lossy(&text);
    let line = "2021-04-28T15:28:07.000000Z - -: New connections folded: -> 198.51.100.7:80: 2000 from about ";
    assert!(text.contains(line), "{text}");
    let until = " s until 2021-04-28T15:28:06.999500Z, most from 10.0.";
    assert!(text.contains(until), "{text}");
    assert!(stderr.contains("the books close"), "{stderr}");
}

/// The rate is that of one destination: 2,000 destinations with one SYN each in a second are no flood, also while
/// another destination of the same port is flooded.
#[test]
fn slow_destinations_are_not_folded_with_a_flooded_one_of_the_same_port() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("sweep", LinkType::Ethernet);
    let start_ns = 1_619_623_685 * SECOND_NS;
    let mut push = |ts_ns: i64, number: u32, dst: [u8; 4]| {
        let [_, b, c, d] = number.to_be_bytes();
        let flow = Flow::v4([10, b, c, d], 1024, dst, 80);
        capture.push(ts_ns, Link::ethernet().frame(&syn(flow, number)));
    };
    for i in 0..2000_u32 {
        let [_, _, high, low] = i.to_be_bytes();
        let ts_ns = start_ns + i64::from(i) * SECOND_NS / 2000;
        push(ts_ns, i, [192, 0, high, low]);
        push(ts_ns, 10_000 + i, VICTIM);
    }
    let path = dir.path().join("sweep.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture");
    let (_, eve, output) = read_logs(dir.path(), &["--fold=1000"], &[path]);
    assert!(output.status.success());
    let log = parsed(&eve);
    // The flooded destination: 1,000 lines and one fold.
    assert_eq!(log.lines, BTreeMap::from([(80, 2000 + 1000)]));
    let counts: Vec<u64> = log.folds[&80].iter().map(count).collect();
    assert_eq!(counts, [1000]);
}

/// Two captures, the second of an earlier day: the jump back folds nothing that is not above the rate in its own second.
#[test]
fn a_capture_of_an_earlier_day_is_folded_by_its_own_seconds() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for (name, day) in [("late", 20_000_i64), ("early", 10_000)] {
        let mut capture = Capture::new(name, LinkType::Ethernet);
        for i in 0..1000_u32 {
            let start_ns = day * 86_400 * SECOND_NS;
            // 500 in the first second, then one a second.
            let ns =
                i64::from(i.min(500)) * SECOND_NS / 1000 + i64::from(i.max(500) - 500) * SECOND_NS;
            let number = i + u32::try_from(day).expect("a day") * 1000;
            capture.push(start_ns + ns, frame(number, 80));
        }
        let path = dir.path().join(format!("{name}.pcap"));
        std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture");
        files.push(path);
    }
    let (_, eve, output) = read_logs(dir.path(), &["--fold=100"], &files);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let log = parsed(&eve);
    let counts: Vec<u64> = log.folds[&80].iter().map(count).collect();
    // The second after a flood begins folded; it is below half of the rate.
    assert_eq!(counts, [401, 1, 401, 1], "{:?}", log.folds);
    assert_eq!(log.lines[&80] + counts.iter().sum::<u64>(), 2000);
    assert!(
        stderr.contains("804 new connections folded into 4 flood records"),
        "{stderr}"
    );
}

/// With more floods at once than the table holds, flood records cover all ports of an address, or everything. Lines
/// and folds together are all attempts sent.
#[test]
fn a_full_table_of_folds_loses_nothing() {
    const SENT: u32 = 60_000;
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("spread", LinkType::Ethernet);
    for i in 0..SENT {
        let [_, b, c, d] = i.to_be_bytes();
        let host = u8::try_from(i % 3).expect("small");
        let mut flow = Flow::v4([10, b, c, d], 1024, [198, 51, 100, host], 80);
        flow.dst_port = u16::try_from(i % 1500).expect("a port");
        let ts_ns = i64::from(i) * SECOND_NS / 30_000;
        capture.push(ts_ns, Link::ethernet().frame(&syn(flow, i)));
    }
    let path = dir.path().join("spread.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture");
    let (text, eve, output) = read_logs(dir.path(), &["--fold=2"], &[path]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && stderr.contains("the books close"),
        "{stderr}"
    );
    let (mut all, mut wide) = (0, 0);
    for line in String::from_utf8_lossy(&eve).lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let fold = &record["synledger"]["fold"];
        match record["event_type"].as_str() {
            Some("new_connection") => all += 1,
            Some("new_connections") => {
                assert_eq!(record.get("src_ip"), None);
                all += count(fold);
                if record.get("dest_port").is_none() {
                    wide += 1;
                    let ports = fold["ports"].as_u64().expect("ports");
                    assert!((100..=1500).contains(&ports), "{record}");
                } else {
                    assert_eq!(fold.get("ports"), None, "{record}");
                }
            }
            _ => {}
        }
    }
    assert_eq!(all, u64::from(SENT), "{stderr}");
    assert!(wide > 0, "the table has no room for 1,500 ports");
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.contains("New connections folded: -> 198.51.100.1:* (about "),
        "{text}"
    );
}

#[test]
fn read_folds_nothing_without_the_flag() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("flood", LinkType::Ethernet);
    for i in 0..3000_u32 {
        capture.push(i64::from(i), frame(i, 80));
    }
    let path = dir.path().join("flood.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture");
    let (_, eve, _) = read_logs(dir.path(), &[], &[path]);
    let log = parsed(&eve);
    assert_eq!((log.lines[&80], log.folds.len()), (3000, 0));
}

#[test]
fn a_live_flood_is_folded_and_the_books_close() {
    const SENT: u32 = 20_000;
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let eve = dir.path().join("eve.json");
        let child = synledger()
            .args(RUN)
            .args(["-i", SENSOR, "--fold", "300", "--workers", "2", "--output"])
            .arg(format!("eve:{}", eve.display()))
            .stderr(Stdio::piped())
            .spawn()
            .expect("a sensor");
        let content = || std::fs::read(&eve).unwrap_or_default();
        let wait_for = |what: &str, happened: &dyn Fn() -> bool| {
            let give_up = Instant::now() + Duration::from_secs(30);
            while !happened() {
                assert!(Instant::now() < give_up, "no {what}");
                thread::sleep(Duration::from_millis(10));
            }
        };
        wait_for("start", &|| {
            String::from_utf8_lossy(&content()).contains("\"event\":\"start\"")
        });
        let socket = TxSocket::open(veth.sender).expect("a sender opens");
        for number in 0..SENT {
            socket.send(&frame(number, 80)).expect("sent");
            if number % 200 == 0 {
                // Slow enough for the kernel's backlog; overload has a test of its own.
                thread::sleep(Duration::from_millis(5));
                socket.send(&frame(number, 443)).expect("sent");
            }
        }
        thread::sleep(Duration::from_millis(200));
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        let output = child.wait_with_output().expect("an end");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let log = parsed(&content());
        let folded: u64 = log.folds[&80].iter().map(count).sum();
        assert_eq!(log.lines[&80] + folded, u64::from(SENT), "{stderr}");
        assert!(folded > u64::from(SENT) / 2, "{folded}");
        assert_eq!(log.lines[&443], 100, "a slow port is not folded");
        let books = &log.stats["synledger"]["totals"]["books"];
        assert_eq!(books["new_connections"], u64::from(SENT) + 100);
        assert_eq!(books["folded_connections"], folded);
        assert_eq!(log.stats["synledger"]["complete"], true, "{}", log.stats);
    });
}
