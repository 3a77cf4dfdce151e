//! What `read` says of crafted captures.

use super::{NANOS, synledger};
use craft::{ACK, Capture, FIN, Flow, Ip, Link, LinkType, PSH, SYN, Tcp};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Time of the first frame.
pub const START_NS: i64 = 1_700_000_000_000_000_000;
/// A millisecond.
pub const MS: i64 = 1_000_000;
/// A second.
pub const SECOND: i64 = 1_000 * MS;

/// What `read` said.
pub struct Said {
    /// Its EVE log without the last books.
    pub log: Vec<String>,
    /// The last books, under `synledger`.
    pub last: Value,
    /// Standard error.
    pub stderr: String,
    /// The exit code.
    pub code: Option<i32>,
}

impl Said {
    /// `conn_state`, packets and payload bytes each way of every flow.
    pub fn flows(&self) -> Vec<String> {
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

    /// The records of a kind.
    pub fn records(&self, kind: &str) -> impl Iterator<Item = Value> {
        let all = self.log.iter().map(|line| serde_json::from_str(line));
        let all = all.map(|record: Result<Value, _>| record.expect("JSON in each line"));
        all.filter(move |record| record["event_type"] == kind)
    }

    /// A counter of the books.
    pub fn count(&self, name: &str) -> u64 {
        let count = &self.last["books"][name];
        count.as_u64().unwrap_or(0)
    }
}

/// Runs `read` once.
pub fn read_once(args: &[&str], files: &[PathBuf]) -> Said {
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
pub fn read(args: &[&str], files: &[PathBuf]) -> Said {
    let workers = |number| read_once(&[args, &["--workers", number]].concat(), files);
    let one = workers("1");
    for number in ["2", "8"] {
        let other = workers(number);
        assert_eq!(one.log, other.log, "{files:?}: {number} workers");
    }
    one
}

/// The flow of one whole conversation: 100 bytes up, 200 down.
pub const WHOLE: &str = "SF 5 100 3 200";

/// Every permutation of two.
pub fn both_orders([one, other]: [PathBuf; 2]) -> [[PathBuf; 2]; 2] {
    [[one.clone(), other.clone()], [other, one]]
}

/// A whole conversation, 10 ms a frame, as frames.
pub fn conversation(v6: bool, start_ns: i64) -> Capture {
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
pub fn write(dir: &Path, name: &str, capture: &Capture, of: impl Fn(usize) -> bool) -> PathBuf {
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
