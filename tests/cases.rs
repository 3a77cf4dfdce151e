//! Small captures that are hard at the edges of files, interfaces and time.
//!
//! The shared ones (SYNLEDGER_CASES names another folder) have known right values; crafted siblings of both families
//! are read with every number of workers.

mod common;

use common::{NANOS, synledger};
use craft::{ACK, Capture, FIN, Flow, Ip, Link, LinkType, PSH, SYN, Tcp};
use serde_json::Value;
use std::path::{Path, PathBuf};

const START_NS: i64 = 1_700_000_000_000_000_000;
const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;

/// What `read` said.
struct Said {
    /// Its EVE log without the last books.
    log: Vec<String>,
    /// The last books, under `synledger`.
    last: Value,
    stderr: String,
    code: Option<i32>,
}

impl Said {
    /// `conn_state`, packets and payload bytes each way of every flow.
    fn flows(&self) -> Vec<String> {
        let flows = self.records("flow").map(|record| {
            let (flow, own) = (&record["flow"], &record["synledger"]);
            let state = own["conn_state"].as_str().expect("a state").to_owned();
            let way = |packets: &str, bytes: &str| format!("{} {}", flow[packets], own[bytes]);
            let up = way("pkts_toserver", "payload_bytes_toserver");
            let down = way("pkts_toclient", "payload_bytes_toclient");
            format!("{state} {up} {down}")
        });
        let mut flows: Vec<_> = flows.collect();
        flows.sort();
        flows
    }

    fn records(&self, kind: &str) -> impl Iterator<Item = Value> {
        let all = self.log.iter().map(|line| serde_json::from_str(line));
        let all = all.map(|record: Result<Value, _>| record.expect("JSON in each line"));
        all.filter(move |record| record["event_type"] == kind)
    }

    /// A counter of the books.
    fn count(&self, name: &str) -> u64 {
        let count = &self.last["books"][name];
        count.as_u64().unwrap_or(0)
    }
}

/// Runs `read` once.
fn read_once(args: &[&str], files: &[PathBuf]) -> Said {
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("log.json");
    let eve = format!("eve:{},events=connection+flow+alert+stats", log.display());
    let output = synledger()
        .args(["read", "--sensor", "test", "--output", &eve])
        .args(args)
        .args(files)
        .output()
        .expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let mut log: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = log.pop().unwrap_or_else(|| panic!("no log: {stderr}"));
    let last: Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!(last["synledger"]["final"], true, "{last}");
    Said {
        log,
        last: last["synledger"].clone(),
        stderr,
        code: output.status.code(),
    }
}

/// Runs `read` with 1, 2 and 8 workers, which must say the same.
fn read(args: &[&str], files: &[PathBuf]) -> Said {
    let workers = |number| read_once(&[args, &["--workers", number]].concat(), files);
    let one = workers("1");
    for number in ["2", "8"] {
        let other = workers(number);
        assert_eq!(one.log, other.log, "{files:?}: {number} workers");
    }
    one
}

/// Shared cases by name; `None` where there are none.
fn cases<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let folder = std::env::var_os("SYNLEDGER_CASES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/cases"),
        PathBuf::from,
    );
    if !folder.is_dir() {
        eprintln!("skipped: no cases at {}", folder.display());
        return None;
    }
    Some(names.map(|name| folder.join(name)))
}

/// The flow of one whole conversation: 100 bytes up, 200 down.
const WHOLE: &str = "SF 5 100 3 200";

/// Every permutation of two.
fn both_orders([one, other]: [PathBuf; 2]) -> [[PathBuf; 2]; 2] {
    [[one.clone(), other.clone()], [other, one]]
}

fn assert_one_conversation(said: &Said) {
    assert_eq!(said.flows(), [WHOLE], "{}", said.stderr);
    let counts = ["new_connections", "answered_connections"].map(|name| said.count(name));
    assert_eq!(counts, [1, 1], "{}", said.stderr);
    assert_eq!(said.count("packets_other_interface"), 0);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn a_capture_that_was_cut_into_files_is_one_stream_in_whichever_order_they_are_named() {
    let Some(files) = cases(["rotated_1.pcap", "rotated_2.pcap"]) else {
        return;
    };
    for order in both_orders(files) {
        assert_one_conversation(&read(&[], &order));
    }
}

#[test]
fn the_interfaces_of_a_tap_are_two() {
    let Some(files) = cases(["tap_pair.pcapng"]) else {
        return;
    };
    let said = read(&[], &files);
    assert!(
        said.flows().contains(&WHOLE.to_owned()),
        "{:?}",
        said.flows()
    );
    assert_eq!(said.count("refused_connections"), 5);
}

#[test]
fn the_interface_index_of_a_cooked_capture_counts() {
    let Some(files) = cases(["any_sll2_two_interfaces.pcap"]) else {
        return;
    };
    let said = read(&[], &files);
    assert_eq!(said.flows(), [WHOLE]);
    assert_eq!(said.count("syn_retransmitted"), 0);
    assert_eq!(said.count("syn_other_interface"), 1, "{}", said.last);
}

/// A whole conversation, 10 ms a frame, as frames.
fn conversation(v6: bool, start_ns: i64) -> Capture {
    let flow = match v6 {
        false => Flow::v4([192, 0, 2, 7], 5000, [198, 51, 100, 7], 443),
        true => {
            let group = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
            Flow::v6(group(7), 5000, group(8), 443)
        }
    };
    let back = flow.reversed();
    let (up, down) = ([b'u'; 100], [b'd'; 200]);
    let segments = [
        Tcp::new(flow, SYN, 100),
        Tcp::new(back, SYN | ACK, 900).ack(101),
        Tcp::new(flow, ACK, 101).ack(901),
        Tcp::new(flow, PSH | ACK, 101).ack(901).data(&up),
        Tcp::new(back, PSH | ACK, 901).ack(201).data(&down),
        Tcp::new(flow, FIN | ACK, 201).ack(1101),
        Tcp::new(back, FIN | ACK, 1101).ack(202),
        Tcp::new(flow, ACK, 202).ack(1102),
    ];
    let mut capture = Capture::new("conversation", LinkType::Ethernet);
    for (at, tcp) in (0..).zip(segments) {
        let ip = Ip::new(tcp.flow.src, tcp.flow.dst, 6).bytes(&tcp.bytes());
        capture.push(start_ns + at * 10 * MS, Link::ethernet().frame(&ip));
    }
    capture
}

/// Writes the frames whose numbers `of` wants.
fn write(dir: &Path, name: &str, capture: &Capture, of: impl Fn(usize) -> bool) -> PathBuf {
    let mut part = Capture::new(name, capture.link);
    let frames = capture.frames.iter().enumerate();
    part.frames = frames
        .filter(|(at, _)| of(*at))
        .map(|(_, frame)| frame.clone())
        .collect();
    let path = dir.join(name);
    let bytes = match name.ends_with("ng") {
        true => part.to_pcapng(),
        false => part.to_pcap(NANOS),
    };
    std::fs::write(&path, bytes).expect("a file");
    path
}

#[test]
fn a_conversation_cut_at_any_frame_is_one_flow_in_files_of_both_formats() {
    let dir = tempfile::tempdir().expect("a folder");
    for v6 in [false, true] {
        let capture = conversation(v6, START_NS);
        for cut in 0..=capture.frames.len() {
            for end in ["pcap", "pcapng"] {
                let head = write(dir.path(), &format!("b.{end}"), &capture, |at| at < cut);
                let tail = write(dir.path(), &format!("a.{end}"), &capture, |at| at >= cut);
                for order in both_orders([head, tail]) {
                    let said = read_once(&[], &order);
                    assert_eq!(said.flows(), [WHOLE], "cut at {cut}: {}", said.stderr);
                }
            }
        }
    }
}

#[test]
fn files_of_the_directions_of_a_tap_are_merged_by_time() {
    let dir = tempfile::tempdir().expect("a folder");
    for v6 in [false, true] {
        let mut capture = conversation(v6, START_NS);
        let again = conversation(v6, START_NS + 3_600 * SECOND);
        capture.frames.extend(again.frames);
        let is_up = |at: usize| [0, 2, 3, 5, 7].contains(&(at % 8));
        // Rotated between the conversations, too.
        let files = [
            write(dir.path(), "up_1", &capture, |at| is_up(at) && at < 8),
            write(dir.path(), "down_1", &capture, |at| !is_up(at) && at < 8),
            write(dir.path(), "up_2", &capture, |at| is_up(at) && at >= 8),
            write(dir.path(), "down_2", &capture, |at| !is_up(at) && at >= 8),
        ];
        let said = read(&[], &files);
        assert_eq!(said.flows(), [WHOLE, WHOLE], "{}", said.stderr);
        let same: Vec<_> = files.iter().rev().cloned().collect();
        assert_eq!(read(&[], &same).log, said.log);
    }
}

/// Five hundred files of one frame each, and a lane each where they overlap: more than are ever open.
#[test]
fn hundreds_of_files_are_read_one_after_the_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut whole = conversation(false, START_NS);
    for n in 1..500 {
        let mut one = conversation(false, START_NS + n * 200 * SECOND);
        whole.frames.append(&mut one.frames);
    }
    let files: Vec<PathBuf> = (0..500)
        .map(|n| {
            // Cut between the second and the third frame of each conversation.
            let mine = |at: usize| (at + 6) / 8 == n;
            write(dir.path(), &format!("cap{n}"), &whole, mine)
        })
        .collect();
    let said = read_once(&[], &files);
    let flows = said.flows();
    assert_eq!(flows.iter().filter(|flow| *flow == WHOLE).count(), 499);
    assert_eq!(said.count("packets_other_interface"), 0);
}

#[test]
fn more_files_than_are_merged_at_once_are_all_read_and_it_is_said() {
    let dir = tempfile::tempdir().expect("a folder");
    let files: Vec<PathBuf> = (0..20_u8)
        .map(|n| {
            let mut capture = Capture::new("overlap", LinkType::Ethernet);
            for port in 0..5 {
                let flow = Flow::v4([10, 0, 0, n], 1000, [198, 51, 100, 7], 80 + port);
                let frame = Link::ethernet().frame(&common::syn(flow, 7));
                capture.push(START_NS + i64::from(port) * SECOND + i64::from(n), frame);
            }
            write(dir.path(), &format!("tap{n}"), &capture, |_| true)
        })
        .collect();
    let said = read(&[], &files);
    assert_eq!(said.count("new_connections"), 100);
    assert!(
        said.stderr.contains("16 captures overlap in time"),
        "{}",
        said.stderr
    );
    let said = read(&[], &files[..16]);
    assert!(!said.stderr.contains("overlap in time"), "{}", said.stderr);
    assert_eq!(said.count("late_packets"), 0);
}

#[test]
fn files_that_cannot_be_read_cost_no_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = conversation(false, START_NS);
    let head = write(dir.path(), "head", &capture, |at| at < 3);
    let tail = write(dir.path(), "tail", &capture, |at| at >= 3);
    let empty = dir.path().join("empty");
    std::fs::write(&empty, b"").expect("a file");
    let missing = dir.path().join("missing");
    let bare = write(dir.path(), "bare", &capture, |_| false);
    let files = [tail, empty, bare, missing, head];
    let said = read_once(&[], &files);
    assert_eq!(said.flows(), [WHOLE]);
    assert_eq!(said.code, Some(1));
    for part in ["empty: the file is empty", "missing: no such file"] {
        assert!(said.stderr.contains(part), "{}", said.stderr);
    }
}
