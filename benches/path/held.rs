//! A whole shard with full tables: frames in memory, one core, no reader and no logger.
//!
//! Timed are decode, flow, contacts, detectors, outbox and sweep, in CPU time of the thread. The frames exceed every
//! cache. The log queue is emptied outside the timed stretches.

use std::collections::VecDeque;
use std::sync::{Arc, Barrier};

use synledger::capture::bpf::fanout::{self, Keys};
use synledger::capture::frame::{Class, Frame};
use synledger::flow::{FlowCounts, Limits};
use synledger::host::addresses::Localities;
use synledger::inspect::detection::Verdict;
use synledger::inspect::{Flags, Rules};
use synledger::log::fold::{FOLDS_MAX, Folds};
use synledger::log::merge::{self, Merge};
use synledger::shard::At;
use synledger::shard::contacts::Mesh;
use synledger::shard::opening::Opening;
use synledger::shard::policy::Policy;
use synledger::shard::{Parts, Shard};
use synledger::sys::prefetch::prefetch_bytes;
use synledger::time::durations::HORIZON_NS;
use synledger::time::timeline::{Timeline, position_of_ts};

use super::figure::{cpu_ns, figure, is_asked};
use super::loads::{Load, Mix, Segment};

/// Frames of a timed stretch.
const STRETCH: u32 = 1 << 20;
/// Frames between two calls of `settle`, as in a worker.
const TICK_FRAMES: usize = 4096;
/// Prefetch distance in frames, as in the readers.
const AHEAD: usize = 8;
/// Nanoseconds between two frames of 64 bytes at the line rate of 10 GbE.
const LINE_RATE_NS: i64 = 67;
const ATTEMPTS: u32 = 8_000_000;
const QUEUE_EVENTS: usize = 16_384;
/// Memory that the largest figure takes, frames included.
const MEMORY_MIB: u64 = 8 << 10;
const MIB: u64 = 1 << 20;

/// One of `workers` shards, and the consumer of its log queue.
pub struct Bench {
    shard: Shard,
    merge: Merge,
    now_ns: i64,
    emitted: u64,
}

fn shards(workers: usize, flows: Limits, detector_mib: u64, fold: bool) -> Vec<Bench> {
    let meshes = Mesh::new(workers).into_iter().enumerate();
    let shards = meshes.map(|(id, mesh)| {
        let (log, consumer) = merge::queue(QUEUE_EVENTS);
        let mut shard = Shard::new(Parts {
            id,
            keys: Keys::from_seed(1),
            table_keys: [1, 2],
            flows,
            rules: Rules::divide(detector_mib * MIB, &Flags::default()),
            policy: Policy {
                localities: Arc::new(Localities::offline(&[])),
                directions: Arc::new([]),
                all_scans: true,
                host: false,
                allow: Arc::new([]),
                dark: Arc::new([]),
                alert: Verdict::Unproven,
            },
            mesh,
            flow_records: false,
            active_ns: None,
            log,
            folds: fold.then(|| Folds::with_room(FOLDS_MAX, 1000, [1, 2])),
            live: true,
            by_vlan: false,
            opening: Opening::NONE,
        });
        shard.prefault();
        Bench {
            shard,
            merge: Merge::new(vec![consumer], None),
            now_ns: 1,
            emitted: 0,
        }
    });
    shards.collect()
}

impl Bench {
    fn one(flows: Limits, detector_mib: u64, fold: bool) -> Self {
        shards(1, flows, detector_mib, fold).pop().expect("one")
    }

    /// Feeds frames as a worker does; gives nanoseconds of CPU time. With a `ring`, the shard checks class and hash of
    /// each frame.
    fn feed(&mut self, frames: &[Frame<'_>], ring: Option<Class>) -> u128 {
        let mut took = 0;
        for (index, tick) in frames.chunks(TICK_FRAMES).enumerate() {
            let begin = cpu_ns();
            for (number, frame) in tick.iter().enumerate() {
                if let Some(soon) = frames.get(index * TICK_FRAMES + number + AHEAD) {
                    prefetch_bytes(soon.bytes);
                }
                self.now_ns = self.now_ns.max(frame.ts_ns);
                let at = At {
                    position: position_of_ts(frame.ts_ns),
                    watermark_ns: self.now_ns,
                    timeline: Timeline::Live,
                    ring,
                };
                self.shard.on_frame(frame, &at);
            }
            let position = position_of_ts(self.now_ns);
            self.shard.publish_contacts(position, &Timeline::Live);
            let limit = self.shard.contacts_limit().min(position);
            self.shard.settle(limit, self.now_ns, &Timeline::Live);
            took += cpu_ns() - begin;
            let emitted = &mut self.emitted;
            while self.merge.step(4096, |_| {}, |_| *emitted += 1) > 0 {}
        }
        took
    }

    fn held(&self) -> [usize; 3] {
        self.shard.flows.held()
    }
}

/// Writes a flood of SYNs, each from a new address, `gap_ns` apart.
fn write_flood(load: &mut Load, syn: &Segment, from: u32, count: u32, gap_ns: i64, ts_ns: i64) {
    load.clear();
    for number in 0..count {
        let ts_ns = ts_ns + i64::from(number + 1) * gap_ns;
        let number = from.wrapping_add(number);
        syn.push(load, (number, false), (number, 0), ts_ns);
    }
}

/// A SYN flood on a full table: an attempt ends after 5 s and is removed after 130 s, so as many expire as arrive.
fn time_flood(what: &str, gap_ns: i64, fold: bool, ring: Option<Class>) {
    let what = format!("shard, spoofed SYN, {what}");
    if !is_asked(&what) {
        return;
    }
    let flows = Limits {
        attempts: 8_400_000,
        established: 1 << 16,
        others: 1 << 16,
        fragments: 64,
        parts: false,
    };
    let mut bench = Bench::one(flows, 256, fold);
    let (mut load, syn) = (Load::default(), Segment::new(craft::SYN, 0));
    let mut sent = 0_u32;
    let mut stretch = |bench: &mut Bench, gap_ns: i64| {
        write_flood(&mut load, &syn, sent, STRETCH, gap_ns, bench.now_ns);
        sent += STRETCH;
        let took = bench.feed(&load.frames(), ring);
        assert_eq!(bench.shard.counts.flow.new_connections, u64::from(sent));
        took
    };
    for _ in 0..ATTEMPTS.div_ceil(STRETCH) {
        stretch(&mut bench, HORIZON_NS / i64::from(ATTEMPTS));
    }
    figure(&what, STRETCH as usize, || {
        let took = stretch(&mut bench, gap_ns);
        let held = u32::try_from(bench.held()[0]).expect("fewer than 2^31");
        assert!(held.abs_diff(ATTEMPTS) < STRETCH, "{held} held");
        took
    });
    let counts = &bench.shard.counts;
    assert_closed(&counts.flow);
    assert_eq!(counts.misrouted_frames, 0);
    eprintln!(
        "  {} attempts held, {} evicted, {} folded, {} emitted",
        bench.held()[0],
        counts.flow.evicted_attempts,
        counts.folded_by_shards,
        bench.emitted
    );
}

/// Data of random open connections, in either direction.
fn time_data(connections: u32) {
    const GROUP: u32 = 1 << 16;
    let what = format!("shard, established data, {connections} open");
    if !is_asked(&what) {
        return;
    }
    let flows = Limits {
        attempts: 1 << 20,
        established: connections as usize + (connections / 64) as usize,
        others: 1 << 16,
        fragments: 64,
        parts: false,
    };
    let mut bench = Bench::one(flows, 64, true);
    let mut load = Load::default();
    // The set-up includes first data, whose cost comes once per connection.
    let steps = [
        (false, craft::SYN, (1, 0), 0),
        (true, craft::SYN | craft::ACK, (5, 2), 0),
        (false, craft::ACK, (2, 6), 0),
        (true, craft::ACK, (6, 2), 1400),
    ];
    for from in (0..connections).step_by(GROUP as usize) {
        load.clear();
        for (back, flags, numbers, payload) in steps {
            let segment = Segment::new(flags, payload);
            for number in from..connections.min(from + GROUP) {
                segment.push(&mut load, (number, back), numbers, bench.now_ns);
            }
        }
        bench.feed(&load.frames(), None);
    }
    assert_eq!(bench.held()[1], connections as usize);
    let (ack, data) = (Segment::new(craft::ACK, 0), Segment::new(craft::ACK, 1400));
    let mut rng = craft::Rng::new(1);
    // What each server sends next: a number that it has sent before would be a retransmission.
    let mut next = vec![6 + 1400_u32; connections as usize];
    figure(&what, STRETCH as usize, || {
        load.clear();
        for number in 0..STRETCH {
            let which = u32::try_from(rng.below(u64::from(connections))).expect("32 bits");
            let back = number % 3 != 0;
            let segment = if back { &data } else { &ack };
            let seq = &mut next[which as usize];
            let numbers = if back { (*seq, 2) } else { (2, 6) };
            *seq = seq.wrapping_add(if back { 1400 } else { 0 });
            let ts_ns = bench.now_ns + LINE_RATE_NS * i64::from(number);
            segment.push(&mut load, (which, back), numbers, ts_ns);
        }
        let before = bench.shard.counts.flow.packets_accounted;
        let took = bench.feed(&load.frames(), None);
        let accounted = bench.shard.counts.flow.packets_accounted - before;
        assert_eq!(accounted, u64::from(STRETCH));
        assert_eq!(bench.held()[1], connections as usize);
        took
    });
}

const MIX_LIMITS: Limits = Limits {
    attempts: 1 << 21,
    established: 1 << 20,
    others: 1 << 22,
    fragments: 1024,
    parts: false,
};

/// Captures in a loop, with new addresses in each round. Timed when a million flows are held and as many expire as
/// arrive.
fn time_mix() {
    let what = "shard, mix of captures";
    if !is_asked(what) {
        return;
    }
    let mix = Mix::new();
    let loops = STRETCH as usize / mix.len() + 1;
    let mut bench = Bench::one(MIX_LIMITS, 64, true);
    let (mut load, mut number) = (Load::default(), 1);
    // At this rate more than a million flows start in the five minutes of the idle timeout.
    let gap_ns = 9_000;
    let mut stretch = |bench: &mut Bench| {
        load.clear();
        let mut ts_ns = bench.now_ns;
        for _ in 0..loops {
            ts_ns = mix.push(&mut load, number, ts_ns, gap_ns);
            number += 1;
        }
        bench.feed(&load.frames(), None)
    };
    while bench.now_ns < 400_000_000_000 {
        stretch(&mut bench);
    }
    let frames = loops * mix.len();
    figure(&format!("{what} ({})", mix.source), frames, || {
        let before = bench.shard.counts.frames;
        let took = stretch(&mut bench);
        assert_eq!(bench.shard.counts.frames - before, frames as u64);
        let held = bench.held().iter().sum::<usize>();
        assert!(held >= 1_000_000, "{held} flows held");
        took
    });
    let counts = &bench.shard.counts;
    assert_closed(&counts.flow);
    eprintln!(
        "  {:?} attempts, connections and other flows held, {} evicted; {} % of the frames not decoded, {} of {} \
         bytes captured",
        bench.held(),
        counts.flow.evicted(),
        100 * counts.unread_frames.iter().sum::<u64>() / counts.frames,
        load.frames().iter().map(|f| f.bytes.len()).sum::<usize>(),
        load.frames()
            .iter()
            .map(|f| f.wire_len as usize)
            .sum::<usize>(),
    );
}

/// The same frames through one shard and through two, each in its own thread; the two exchange contacts.
fn time_two() {
    let what = "two shards, mix of captures";
    if !is_asked(what) {
        return;
    }
    let mix = Mix::new();
    let mut each = [0; 2];
    for workers in [1, 2] {
        let loops = STRETCH as usize / mix.len() + 1;
        let mut loads = VecDeque::new();
        let (mut number, mut ts_ns) = (1, 1);
        for _ in 0..6 {
            let mut load = Load::default();
            for _ in 0..loops {
                ts_ns = mix.push(&mut load, number, ts_ns, 9_000);
                number += 1;
            }
            loads.push_back(load);
        }
        let keys = Keys::from_seed(1);
        let benches = shards(workers, MIX_LIMITS, 64, true);
        let count = u32::try_from(workers).expect("two");
        let barrier = Barrier::new(workers);
        let took: Vec<Vec<u128>> = std::thread::scope(|scope| {
            let threads = benches.into_iter().enumerate().map(|(id, mut bench)| {
                let (loads, barrier) = (&loads, &barrier);
                scope.spawn(move || {
                    let feed = |load: &Load| {
                        let mut frames = load.frames();
                        frames.retain(|f| fanout::demux(&keys, f).member(count).1 as usize == id);
                        barrier.wait();
                        bench.feed(&frames, None)
                    };
                    loads.iter().map(feed).collect()
                })
            });
            let threads: Vec<_> = threads.collect();
            let took = threads.into_iter().map(|t| t.join().expect("no panic"));
            took.collect()
        });
        let mut slowest: Vec<u128> = (1..6)
            .map(|run| took.iter().map(|runs| runs[run]).max().expect("a thread"))
            .collect();
        slowest.sort_unstable();
        each[workers - 1] = slowest[2];
        let frames = loops * mix.len();
        eprintln!(
            "shards: {workers}, {:.1} ns a frame in the slower thread (median of 5; {:.1} to {:.1})",
            slowest[2] as f64 / frames as f64,
            slowest[0] as f64 / frames as f64,
            slowest[4] as f64 / frames as f64
        );
    }
    eprintln!("{what}: {:.2} times one", each[0] as f64 / each[1] as f64);
}

fn available_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemAvailable"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

/// Prints the figures.
pub fn time_all() {
    let held_gap_ns = HORIZON_NS / i64::from(ATTEMPTS);
    time_flood("not folded", held_gap_ns, false, None);
    time_flood("folded", held_gap_ns, true, None);
    time_flood(
        "folded, classes checked",
        held_gap_ns,
        true,
        Some(Class::Open),
    );
    time_flood("folded, at line rate", LINE_RATE_NS, true, None);
    time_data(1_000_000);
    let available = available_mib();
    if available >= MEMORY_MIB {
        time_data(10_000_000);
    } else {
        eprintln!(
            "10,000,000 connections skipped: {available} MiB of memory available, {MEMORY_MIB} needed"
        );
    }
    time_mix();
    time_two();
}

fn assert_closed(counts: &FlowCounts) {
    for (name, left, right) in counts.identities() {
        assert_eq!(left, right, "{name}");
    }
}
