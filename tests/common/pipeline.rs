//! Runs capture bytes through reader, shards and logger in this process, with tables small enough to overflow.

use std::io::Cursor;
use std::sync::Arc;

use synledger::books::Books;
use synledger::capture::pcap::CaptureReader;
use synledger::capture::pcap::files::Files;
use synledger::capture::tunnels::Tunnels;
use synledger::counters::Identity;
use synledger::flow::Limits;
use synledger::host::addresses::Localities;
use synledger::inspect::detection::Verdict;
use synledger::inspect::port_scan::Rule;
use synledger::inspect::{FloodRule, Rules, SourceRoom};
use synledger::log::formats::context::Context;
use synledger::log::formats::interfaces::Interfaces;
use synledger::log::logger::Logger;
use synledger::log::merge::{Consumer, Merge};
use synledger::log::outputs::Outputs;
use synledger::sensor::replay::{self, Replay, Room};
use synledger::sensor::{self, Board, RunKeys};
use synledger::settings::Common;
use synledger::settings::memory::Capacities;
use synledger::shard::policy::{AlertLevel, Policy};

/// Parts of few frames, so that small captures have several.
const ROOM: Room = Room {
    chunk_frames: 4096,
    part_frames: 64,
    reorder_ns: 10_000_000,
};

/// The result of a run.
pub struct Ran {
    /// The books at its end.
    pub books: Books,
    /// Buffers that ended in an error.
    pub damaged: usize,
}

/// Aborts the process when a worker panics: the others would wait for it for ever.
struct AbortOnPanic<'a>(&'a str);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a worker panicked over {}", self.0);
            std::process::abort();
        }
    }
}

/// Tables of 64 entries; both formats go to /dev/null.
pub fn small(workers: usize) -> Common {
    let outputs = ["text:/dev/null", "eve:/dev/null"];
    let spec = |output| format!("{output},events=connection+alert+flow");
    Common {
        workers,
        cores: Vec::new(),
        flows: Limits {
            attempts: 64,
            established: 64,
            others: 64,
            fragments: 8,
            parts: false,
        },
        rules: Rules {
            sources: SourceRoom {
                firsts: 32,
                standings: 32,
                friends: 8,
            },
            port_scan: rule(5),
            host_sweep: rule(6),
            stealth_scan: rule(3),
            udp_scan: rule(3),
            slow_scan: rule(4),
            distributed_scan: rule(4),
            syn_flood: FLOOD,
            rst_flood: FLOOD,
            udp_flood: FLOOD,
            icmp_flood: FLOOD,
        },
        room: Capacities::full(workers),
        by_vlan: false,
        tunnels: Tunnels::NONE,
        verify: false,
        local: Vec::new(),
        directions: Vec::new(),
        allow: Vec::new(),
        dark: Vec::new(),
        alert: AlertLevel::Policy,
        outputs: outputs.map(|o| spec(o).parse().expect("a spec")).to_vec(),
        responders: Vec::new(),
        flow_records: true,
        active_ns: None,
        alert_rate: None,
        log_budget: None,
        fold: None,
        anonymizer: None,
        sensor: "test".into(),
        strict: false,
        quiet: true,
    }
}

/// Few packets are a flood, in a table of one bucket.
const FLOOD: FloodRule = FloodRule {
    at_least: 10,
    window_ns: 1_000_000_000,
    targets: 8,
    floods: 2,
};

/// Small tables of a detector.
fn rule(at_least: usize) -> Rule {
    Rule {
        at_least,
        at_least_local: 0,
        window_ns: 10_000_000_000,
        subjects: 32,
        firsts: 32,
        episodes: 8,
        lists: 4,
    }
}

/// A policy that reports everything.
pub fn everything() -> Policy {
    Policy {
        localities: Arc::new(Localities::offline(&[])),
        directions: Arc::new([]),
        all_scans: true,
        host: false,
        allow: Arc::new([]),
        dark: Arc::new([]),
        alert: Verdict::Unproven,
    }
}

/// Merge and outputs, not started.
pub fn logger(common: &Common, consumers: Vec<Consumer>) -> Logger {
    let context = Context {
        host: "test".into(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: true,
    };
    let outputs = Outputs::open(&common.outputs, &context).expect("outputs");
    Logger::new(Merge::new(consumers, None), outputs, Box::new(|| 0))
}

/// Runs the buffers as one stream, as `read` runs files; a panic prints `name`.
pub fn run(name: &str, workers: usize, buffers: impl Iterator<Item = Vec<u8>>) -> Ran {
    run_as(name, &small(workers), &everything(), 1, buffers)
}

/// [`run`] with any tables, outputs, policy and seed.
pub fn run_as(
    name: &str,
    common: &Common,
    policy: &Policy,
    seed: u64,
    buffers: impl Iterator<Item = Vec<u8>>,
) -> Ran {
    let workers = common.workers;
    let keys = RunKeys::from_seed(seed);
    let (shards, consumers) = sensor::shards(common, keys, policy, false);
    let mut logger = logger(common, consumers);
    let board = Board::new(workers);
    let mut replay = Replay::new(workers, ROOM, keys.fanout, common.opening());
    let (feeds, fed) = replay::feeds(workers);
    let mut damaged = 0;
    std::thread::scope(|scope| {
        let _abort = AbortOnPanic(name);
        let logger = &mut logger;
        scope.spawn(move || {
            let _abort = AbortOnPanic(name);
            logger.run();
        });
        for (id, (shard, fed)) in shards.into_iter().zip(fed).enumerate() {
            let board = &board;
            scope.spawn(move || {
                let _abort = AbortOnPanic(name);
                replay::work(shard, id, fed, |shard| board.publish(id, &shard.counts));
            });
        }
        for bytes in buffers {
            let Ok(reader) = CaptureReader::from_reader("buffer", Cursor::new(bytes), None) else {
                damaged += 1;
                continue;
            };
            let mut files = Files::of_reader(reader);
            while let Ok(fed) = replay.next(&mut files, &|_| false, &mut |_, _| {}) {
                feeds
                    .iter()
                    .for_each(|feed| feed.send(fed.clone()).expect("a worker"));
            }
            damaged += usize::from(!files.take_errors().is_empty());
        }
        drop(feeds);
    });
    let summary = logger.finish();
    let books = Books {
        shards: board.sum(),
        frames_offered: Some(replay.taken().frames),
        outputs: summary.outputs,
        log: summary.log,
        at_exit: true,
        ..Books::default()
    };
    Ran { books, damaged }
}

/// Every identity holds.
pub fn assert_closed(name: &str, books: &Books) {
    let open: Vec<Identity> = books
        .identities()
        .into_iter()
        .filter(|identity| !identity.holds())
        .collect();
    assert!(open.is_empty(), "{name}: {open:#?}");
}
