//! Siblings of the shared cases: for each kind both address families, our host as client and as server, the orders of
//! its events, and each number of workers. What is right is counted from the segments that were crafted.

#[path = "../common/mod.rs"]
mod common;

mod files;
mod links;
mod numbers;
mod orders;

use common::NANOS;
use common::said::{MS, START_NS, Said, read_once};
use craft::{ACK, Capture, FIN, Flow, Ip, Link, LinkType, PSH, SYN, Tcp};
use std::path::PathBuf;

/// Numbers of workers, and memory for their tables: small ones start sooner.
const WORKERS: [[&str; 2]; 3] = [["1", "40"], ["2", "48"], ["8", "64"]];

/// All orders of three.
const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

/// Between whom.
#[derive(Clone, Copy, Debug)]
struct Ends {
    v6: bool,
    /// Our host is the client, else the server.
    ours_asks: bool,
}

impl Ends {
    /// Both families, both roles.
    const ALL: [Self; 4] = [
        Self::new(false, false),
        Self::new(false, true),
        Self::new(true, false),
        Self::new(true, true),
    ];

    const fn new(v6: bool, ours_asks: bool) -> Self {
        Self { v6, ours_asks }
    }

    /// From the client.
    fn flow(self) -> Flow {
        let group = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
        let ours = match self.v6 {
            false => Flow::v4([192, 0, 2, 9], 443, [203, 0, 113, 1], 5000),
            true => Flow::v6(group(9), 443, group(1), 5000),
        };
        match self.ours_asks {
            true => ours.from_port(5000).to_port(443),
            false => ours.reversed(),
        }
    }

    /// Our host, as `--local` takes it.
    fn ours(self) -> String {
        let flow = self.flow();
        match self.ours_asks {
            true => flow.src.to_string(),
            false => flow.dst.to_string(),
        }
    }

    /// Initial sequence numbers; those of one role pass the largest number.
    fn numbers(self) -> Numbers {
        match self.ours_asks {
            true => Numbers(100, 900),
            false => Numbers(u32::MAX - 20, u32::MAX),
        }
    }

    fn direction(self) -> &'static str {
        match self.ours_asks {
            true => "out",
            false => "in",
        }
    }
}

/// Initial sequence numbers of a client and a server.
#[derive(Clone, Copy, Debug)]
struct Numbers(u32, u32);

/// Segments of one connection.
#[derive(Clone, Copy, Debug)]
struct Talk {
    flow: Flow,
    numbers: Numbers,
}

impl Talk {
    fn of(ends: Ends) -> Self {
        Self {
            flow: ends.flow(),
            numbers: ends.numbers(),
        }
    }

    /// A segment of the client, so many bytes behind its SYN, that acknowledges so many of the server.
    fn up(&self, flags: u8, sent: u32, acked: u32, data: &[u8]) -> Tcp {
        let Numbers(client, server) = self.numbers;
        let next = |number: u32, bytes| number.wrapping_add(1).wrapping_add(bytes);
        let segment = Tcp::new(self.flow, flags, next(client, sent));
        segment.ack(next(server, acked)).data(data)
    }

    /// A segment of the server, likewise.
    fn down(&self, flags: u8, sent: u32, acked: u32, data: &[u8]) -> Tcp {
        let Numbers(client, server) = self.numbers;
        let other = Self {
            flow: self.flow.reversed(),
            numbers: Numbers(server, client),
        };
        other.up(flags, sent, acked, data)
    }

    fn syn(&self) -> Tcp {
        Tcp::new(self.flow, SYN, self.numbers.0)
    }

    fn syn_ack(&self) -> Tcp {
        let Numbers(client, server) = self.numbers;
        Tcp::new(self.flow.reversed(), SYN | ACK, server).ack(client.wrapping_add(1))
    }

    fn ack(&self) -> Tcp {
        self.up(ACK, 0, 0, &[])
    }

    /// SYN, SYN+ACK, ACK, 100 bytes up, 200 down, FIN each way, last ACK.
    fn whole(&self) -> Vec<Tcp> {
        vec![
            self.syn(),
            self.syn_ack(),
            self.ack(),
            self.up(PSH | ACK, 0, 0, &[b'u'; 100]),
            self.down(PSH | ACK, 0, 100, &[b'd'; 200]),
            self.up(FIN | ACK, 100, 200, &[]),
            self.down(FIN | ACK, 200, 101, &[]),
            self.up(ACK, 101, 201, &[]),
        ]
    }

    /// The flow of these segments in this state, in the words of [`Said::flows`].
    fn flow_of(&self, state: &str, segments: &[Tcp]) -> String {
        let way = |flow: Flow| {
            let mine = segments.iter().filter(|tcp| tcp.flow == flow);
            let bytes: usize = mine.clone().map(|tcp| tcp.data.len()).sum();
            format!("{} {bytes}", mine.count())
        };
        let (up, down) = (way(self.flow), way(self.flow.reversed()));
        format!("{state} {up} {down}")
    }
}

/// The frame of a segment.
fn frame(link: &Link, tcp: &Tcp) -> Vec<u8> {
    let ip = Ip::new(tcp.flow.src, tcp.flow.dst, 6);
    link.frame(&ip.bytes(&tcp.bytes()))
}

/// Segments as Ethernet frames, so far apart.
fn capture(segments: &[Tcp], apart_ns: i64) -> Capture {
    let mut capture = Capture::new("sibling", LinkType::Ethernet);
    for (at, tcp) in (0..).zip(segments) {
        let frame = frame(&Link::ethernet(), tcp);
        capture.push(START_NS + at * apart_ns, frame);
    }
    capture
}

/// Three items in another order.
fn reordered<T: Clone>(items: &[T], order: [usize; 3]) -> Vec<T> {
    order.map(|at| items[at].clone()).to_vec()
}

/// What is right of a sibling.
#[derive(Debug, Default)]
struct Right {
    /// Attempts, and those answered, established and refused.
    outcomes: [u64; 4],
    flows: Vec<String>,
    /// Other counters.
    counts: Vec<(&'static str, u64)>,
}

impl Right {
    /// One established connection, and its flow.
    fn established(flow: String) -> Self {
        Self {
            outcomes: [1, 1, 1, 0],
            flows: vec![flow],
            ..Self::default()
        }
    }

    fn count(mut self, name: &'static str, count: u64) -> Self {
        self.counts.push((name, count));
        self
    }
}

/// The siblings of one case.
struct Kind {
    name: &'static str,
    count: usize,
    dir: tempfile::TempDir,
}

impl Kind {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            count: 0,
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Writes a file of a sibling.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// Checks a sibling that is one capture.
    fn check_capture(&mut self, ends: Ends, what: &str, capture: &Capture, right: &Right) {
        let file = self.file("sibling.pcap", &capture.to_pcap(NANOS));
        self.check(ends, what, &[file], right);
    }

    /// Reads a sibling with each number of workers and checks what is said.
    fn check(&mut self, ends: Ends, what: &str, files: &[PathBuf], right: &Right) {
        self.count += 1;
        let what = format!("{}: {what}, {ends:?}", self.name);
        let ours = ends.ours();
        let all = WORKERS.map(|[workers, mib]| {
            let tables = ["--memory-mib", mib, "--workers", workers];
            read_once(&[&["--local", &ours][..], &tables].concat(), files)
        });
        let [one, others @ ..] = &all;
        assert_right(one, right, &what);
        for record in ["new_connection", "flow"] {
            for record in one.records(record) {
                let direction = &record["synledger"]["direction"];
                assert_eq!(direction, ends.direction(), "{what}: {record}");
            }
        }
        for other in others {
            assert_eq!(other.log, one.log, "{what}");
            assert_eq!(other.code, one.code, "{what}");
        }
    }

    /// Says how many there were.
    fn end(self) {
        eprintln!("siblings: {} of {}", self.count, self.name);
    }
}

fn assert_right(said: &Said, right: &Right, what: &str) {
    let names = [
        "new_connections",
        "answered_connections",
        "established_connections",
        "refused_connections",
    ];
    let outcomes = names.map(|name| said.count(name));
    let mut flows = right.flows.clone();
    flows.sort();
    assert_eq!(said.flows(), flows, "{what}: {}", said.stderr);
    assert_eq!(outcomes, right.outcomes, "{what}: {}", said.stderr);
    for (name, count) in &right.counts {
        assert_eq!(said.count(name), *count, "{what}: {name}: {}", said.last);
    }
    assert_eq!(said.code, Some(0), "{what}: {}", said.stderr);
}
