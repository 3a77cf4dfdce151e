//! The text log of `read`: its two formats, and lines in the order of time.

mod common;

use common::{NANOS, read_logs, syn, synledger};
use craft::{Capture, Flow, Link, LinkType};
use std::path::{Path, PathBuf};
use std::process::Output;

const SECOND_NS: i64 = 1_000_000_000;
const START_NS: i64 = 1_619_623_685 * SECOND_NS;
const FOLD: Option<&str> = Some("--fold=2");
const EVERYTHING: &str = "events=connection+alert+flow+stats+lifecycle+block";

fn frame(from: u32, port: u16) -> Vec<u8> {
    let [_, b, c, d] = from.to_be_bytes();
    let flow = Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], port);
    Link::ethernet().frame(&syn(flow, from))
}

fn read(dir: &Path, args: &[&str], file: &Path) -> (String, Output) {
    let output = synledger()
        .current_dir(dir)
        .args(["read", "--sensor", "test"])
        .args(args)
        .arg(file)
        .output()
        .expect("the program starts");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    (stdout, output)
}

/// Asserts that the times at the beginning of lines never go back; returns the number of lines.
fn assert_in_order(name: &str, log: &str, stamp: impl Fn(&str) -> bool) -> usize {
    let stamps: Vec<&str> = log
        .lines()
        .map(|line| {
            let end = line.find(['Z', ' ']).unwrap_or(line.len());
            let time = if line[end..].starts_with('Z') {
                &line[..=end]
            } else {
                line.split(": ").next().unwrap_or(line)
            };
            assert!(stamp(time), "{name}: {line}");
            time
        })
        .collect();
    let back = stamps.windows(2).position(|pair| pair[0] > pair[1]);
    if let Some(at) = back {
        let lines: Vec<&str> = log.lines().skip(at).take(2).collect();
        panic!("{name}: time goes back:\n{}", lines.join("\n"));
    }
    stamps.len()
}

fn is_full(time: &str) -> bool {
    time.len() == "2021-04-28T15:28:05.123456Z".len()
}

fn is_short(time: &str) -> bool {
    time.len() == "2021-04-28 15:28:05".len()
}

/// Captures whose clock does not go back.
fn sorted() -> Vec<Capture> {
    let ethernet: Vec<Capture> = craft::scenarios(2)
        .into_iter()
        .filter(|capture| capture.link == LinkType::Ethernet)
        .collect();
    let merges = (0..4).map(|seed| craft::merge(&ethernet, seed));
    let all = craft::scenarios(1).into_iter().chain(merges);
    all.filter(|capture| capture.frames.is_sorted_by_key(|frame| frame.ts_ns))
        .collect()
}

#[test]
fn lines_are_in_the_order_of_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut lines, mut all) = (0, String::new());
    let captures = sorted();
    assert!(captures.len() > 100, "{} captures", captures.len());
    for capture in &captures {
        let file = dir.path().join("capture.pcap");
        std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture");
        // Without flow records no event marks the end of the capture.
        let open = "events=connection+alert+stats";
        for (events, fold) in [(EVERYTHING, None), (EVERYTHING, FOLD), (open, FOLD)] {
            let text = format!("text:log,{events}");
            let _ = std::fs::remove_file(dir.path().join("log"));
            let args = ["--workers", "2", "--memory-mib", "40", "--output", &text];
            let asked = format!("text:-,{events}");
            let args = [&args[..], &["--output", &asked], fold.as_slice()].concat();
            let (short, output) = read(dir.path(), &args, &file);
            assert!(output.status.success(), "{}: {output:?}", capture.name);
            let full = std::fs::read_to_string(dir.path().join("log")).expect("a log");
            lines += assert_in_order(&capture.name, &full, is_full);
            assert_in_order(&capture.name, &short, is_short);
            all += &full;
        }
    }
    for words in [
        "Flow ended: ",
        ", last packet ",
        ": Port scan ended: ",
        ", last touch ",
        ": New connections folded: ",
        ": Stats: ",
    ] {
        assert!(all.contains(words), "no line with {words:?}");
    }
    eprintln!("{} captures, {lines} lines", captures.len());
}

/// A full table evicts a flow at a packet of another flow, long after its own last packet.
#[test]
fn an_evicted_flow_is_logged_at_the_time_of_its_eviction() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("flood", LinkType::Ethernet);
    for i in 0..200_000_u32 {
        capture.push(START_NS + i64::from(i) * 100_000, frame(i, 80));
    }
    let file = dir.path().join("flood.pcap");
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture");
    let (text, _, output) = read_logs(dir.path(), &["--memory-mib", "40"], &[file]);
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{output:?}");
    assert_in_order("flood", &text, is_full);
    let evicted = text.lines().filter(|line| line.contains(" evicted after "));
    let with_time = evicted
        .filter(|line| line.contains(", last packet "))
        .count();
    assert!(
        with_time > 1000,
        "{with_time} flows have the time of their last packet"
    );
}

/// A scan of four ports, and a SYN two hours later, long after the scan's end.
fn scan(dir: &Path) -> PathBuf {
    let mut capture = Capture::new("scan", LinkType::Ethernet);
    for port in 80..84 {
        let at_ns = i64::from(port - 80) * SECOND_NS / 10;
        capture.push(START_NS + at_ns, frame(1, port));
    }
    capture.push(START_NS + 7200 * SECOND_NS, frame(2, 443));
    let file = dir.join("scan.pcapng");
    std::fs::write(&file, capture.to_pcapng()).expect("a capture");
    file
}

#[test]
fn a_summary_is_logged_at_the_scans_end_with_its_last_touch() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = scan(dir.path());
    let (log, _) = read(dir.path(), &["--output", "text:-,events=alert"], &file);
    let head =
        "2021-04-28 15:28:05: Port scan detected: 10.0.0.1 -> 198.51.100.7 on ports 80,81,82,83\n";
    let silent = "2021-04-28 15:28:10: Port scan continues: 10.0.0.1 -> 198.51.100.7 on ports 80,81,82,83 (verdict: suspicious)\n";
    let ended = "2021-04-28 15:30:05: Port scan ended: 10.0.0.1 -> 198.51.100.7 on ports 80-83, last touch 15:28:05 \
                 (4 ports, 0 refused, 4 unanswered, 0 answered; verdict: suspicious)\n";
    assert_eq!(log, format!("{head}{silent}{ended}"));
}

#[test]
fn files_get_full_lines_and_standard_output_short_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = scan(dir.path());
    let outputs = ["--output", "text:-", "--output", "text:log"];
    let content = || {
        let log = std::fs::read_to_string(dir.path().join("log")).expect("a log");
        std::fs::remove_file(dir.path().join("log")).expect("it is there");
        log
    };
    let local = ["--local", "198.51.100.0/24"];
    let (short, _) = read(dir.path(), &[&outputs[..], &local].concat(), &file);
    let full = content();
    assert_eq!(
        short.lines().next(),
        Some("2021-04-28 15:28:05: New connection: 10.0.0.1:1024 -> 198.51.100.7:80")
    );
    let mut lines = full.lines();
    let first =
        "2021-04-28T15:28:05.000000Z eth0 in: New connection: 10.0.0.1:1024 -> 198.51.100.7:80";
    assert_eq!(lines.next(), Some(first));
    let detected = "2021-04-28T15:28:05.300000Z eth0 in: Port scan detected: 10.0.0.1 -> 198.51.100.7 on ports \
                    80,81,82,83 (4 ports, 0 refused, 0 unanswered, 0 answered, 4 may still answer; verdict: unproven) (exact) \
                    (complete)";
    assert!(lines.any(|line| line == detected), "{full}");
    let silent = "2021-04-28T15:28:10.800000Z eth0 in: Port scan continues: 10.0.0.1 -> 198.51.100.7 on ports \
                  80,81,82,83 (4 ports, 0 refused, 4 unanswered, 0 answered; verdict: suspicious) (exact) (complete)";
    assert_eq!(lines.next(), Some(silent), "{full}");
    for format in ["full", "short"] {
        let asked = ["--text-format", format];
        let (stdout, _) = read(dir.path(), &[&outputs[..], &asked, &local].concat(), &file);
        let expected = if format == "full" { &full } else { &short };
        assert_eq!((&stdout, &content()), (expected, expected), "{format}");
    }
}
