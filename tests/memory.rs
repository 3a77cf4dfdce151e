//! All memory is taken at the start: a packet allocates nothing, a flood touches no new page.
#![allow(unsafe_code, reason = "a counting allocator implements GlobalAlloc")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use common::pipeline::{everything, small};
use synledger::capture::frame::{Frame, LinkType};
use synledger::flow::Limits;
use synledger::log::merge::Merge;
use synledger::sensor::{self, RunKeys};
use synledger::shard::At;
use synledger::shard::Shard;
use synledger::time::timeline::{Timeline, position_of_ts};

/// Frames between two settlements: about those of a block.
const BLOCK_FRAMES: usize = 512;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator; counts the allocations of each thread.
struct Counting;

fn count() {
    // The counter is gone while its thread ends; it is not read then.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call goes to `System` unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: `at` came from `System` with this layout, as everything here does.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout, as everything here does.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Serializes tests: resident memory is that of the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A live shard that owns every flow, and a merge that consumes its events after every block.
struct Bench {
    shard: Shard,
    merge: Merge,
    events: u64,
    now_ns: i64,
}

impl Bench {
    fn new(flows: Limits) -> Self {
        Self::folding(flows, None)
    }

    fn folding(flows: Limits, fold: Option<u32>) -> Self {
        let mut common = small(1);
        common.flows = flows;
        common.fold = fold;
        common.rules.port_scan.subjects = flows.others;
        let keys = RunKeys::from_seed(7);
        let (mut shards, consumers) = sensor::shards(&common, keys, &everything(), true);
        Self {
            shard: shards.pop().expect("one worker"),
            merge: Merge::new(consumers, None),
            events: 0,
            now_ns: i64::MIN,
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        self.now_ns = self.now_ns.max(frame.ts_ns);
        let at = At {
            position: position_of_ts(self.now_ns),
            watermark_ns: self.now_ns,
            timeline: Timeline::Live,
            ring: None,
        };
        self.shard.on_frame(frame, &at);
    }

    fn settle(&mut self) {
        let position = position_of_ts(self.now_ns);
        self.shard.publish_contacts(position, &Timeline::Live);
        self.shard.settle(position, self.now_ns, &Timeline::Live);
        let events = &mut self.events;
        while self.merge.step(4096, |_| {}, |_| *events += 1) > 0 {}
    }
}

fn frame(bytes: &[u8], ts_ns: i64) -> Frame<'_> {
    Frame {
        bytes,
        wire_len: u32::try_from(bytes.len()).expect("a frame"),
        ts_ns,
        interface: 0,
        link: LinkType::Ethernet,
        vlan: None,
        gso: false,
        incoming: false,
    }
}

/// Feeds the capture `rounds` times, each round later than the one before; returns the allocations.
fn allocations(bench: &mut Bench, frames: &[craft::Frame], rounds: i64) -> u64 {
    const ROUND_NS: i64 = 400_000_000_000;
    let first = frames.iter().map(|f| f.ts_ns).min().expect("frames");
    let last = frames.iter().map(|f| f.ts_ns).max().expect("frames");
    let before = ALLOCATIONS.get();
    for _ in 0..rounds {
        let base = bench.now_ns.max(0) + ROUND_NS;
        for block in frames.chunks(BLOCK_FRAMES) {
            for sent in block {
                bench.frame(&frame(&sent.bytes, base + (sent.ts_ns - first)));
            }
            bench.settle();
        }
        assert!(bench.now_ns >= base + (last - first));
    }
    ALLOCATIONS.get() - before
}

/// Room for every flow of a scenario.
const ROOMY: Limits = Limits {
    attempts: 1 << 14,
    established: 1 << 12,
    others: 1 << 12,
    fragments: 64,
    parts: false,
};

const TABLES: Limits = Limits {
    attempts: 1 << 19,
    established: 1 << 16,
    others: 1 << 16,
    fragments: 64,
    parts: false,
};

#[test]
fn no_frame_allocates() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut runs, mut alerting, mut fed, mut events) = (0, 0, 0, 0);
    for capture in (1..4).flat_map(craft::scenarios) {
        if capture.link != craft::LinkType::Ethernet {
            continue;
        }
        for tables in [small(1).flows, ROOMY] {
            let mut bench = Bench::new(tables);
            let once = allocations(&mut bench, &capture.frames, 1);
            let twice = allocations(&mut bench, &capture.frames, 2);
            let counts = &bench.shard.counts;
            assert_eq!(counts.contacts_dropped, [0; 2]);
            if counts.detections > 0 {
                // An alert is rare, hence boxed.
                alerting += 1;
                continue;
            }
            let name = &capture.name;
            assert_eq!((once, twice), (0, 0), "{name}: in one round, in two");
            runs += 1;
            fed += counts.frames;
            events += bench.events;
        }
    }
    eprintln!(
        "memory: {runs} runs, {fed} frames, {events} events, 0 allocations; {alerting} runs with alerts left out"
    );
    assert!(fed > 5_000 && events > 500, "{fed} frames, {events} events");
}

/// Resident bytes, from the kernel's own count of pages.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("a number of pages");
    pages * 4096
}

/// SYNs number `from` to `to`, each from another address and port, 67 ns apart.
fn flood(bench: &mut Bench, syn: &mut [u8], from: u32, to: u32) {
    for n in from..to {
        // Ethernet 14, source address at 12 of IPv4, ports and sequence number at its end.
        syn[26..30].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
        syn[34..36].copy_from_slice(&n.to_be_bytes()[2..]);
        syn[38..42].copy_from_slice(&n.to_be_bytes());
        bench.frame(&frame(syn, 1_000_000_000 + i64::from(n) * 67));
        if (n as usize).is_multiple_of(BLOCK_FRAMES) {
            bench.settle();
        }
    }
    bench.settle();
}

#[test]
fn a_spoofed_flood_takes_no_memory() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let syns: u32 = match std::env::var("SYNLEDGER_FUZZ").as_deref() {
        Ok("full") => 10_000_000,
        _ => 2_000_000,
    };
    let mut bench = Bench::new(TABLES);
    bench.shard.prefault();
    let flow = craft::Flow::v4([10, 0, 0, 1], 1024, [198, 51, 100, 7], 80);
    let mut syn = craft::Link::ethernet().frame(&common::syn(flow, 1));
    flood(&mut bench, &mut syn, 0, 10_000);
    let early = resident();
    let before = ALLOCATIONS.get();
    flood(&mut bench, &mut syn, 10_000, syns);
    let allocated = ALLOCATIONS.get() - before;
    let late = resident();
    let counts = &bench.shard.counts;
    eprintln!(
        "memory: {early} bytes resident after 10,000 SYNs, {late} after {syns}; {allocated} allocations, \
         {} attempts, {} evicted, {} events",
        counts.flow.new_connections,
        counts.flow.evicted(),
        bench.events
    );
    assert_eq!(counts.flow.new_connections, u64::from(syns));
    assert!(counts.flow.evicted() > 0, "the table overflowed");
    assert_eq!(allocated, 0);
    assert!(
        late.abs_diff(early) * 50 <= early,
        "resident memory grew by {} bytes",
        late.abs_diff(early)
    );
}

/// The default of `run`: folds are opened, grow and are handed over each second, with few and with many targets.
#[test]
fn a_folded_flood_allocates_only_for_flood_records() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    const SYNS: u32 = 1_000_000;
    const A_SECOND: u32 = 100_000;
    // The rates of 4,096 targets are tracked: attempts to an evicted target are written one by one.
    for (ports, folded) in [(1_u16, 0.99), (100, 0.99), (5_000, 0.5)] {
        let mut bench = Bench::folding(TABLES, Some(1));
        bench.shard.prefault();
        let flow = craft::Flow::v4([10, 0, 0, 1], 1024, [198, 51, 100, 7], 80);
        let mut syn = craft::Link::ethernet().frame(&common::syn(flow, 1));
        let mut feed = |from: u32, to: u32| {
            for n in from..to {
                let port = u16::try_from(n % u32::from(ports)).expect("below a port's end");
                syn[26..30].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
                syn[36..38].copy_from_slice(&port.to_be_bytes());
                syn[38..42].copy_from_slice(&n.to_be_bytes());
                let step_ns = 1_000_000_000 / i64::from(A_SECOND);
                bench.frame(&frame(&syn, 1_000_000_000 + i64::from(n) * step_ns));
                if (n as usize).is_multiple_of(BLOCK_FRAMES) {
                    bench.settle();
                }
            }
            bench.settle();
        };
        // Warm up for three seconds: folds are handed over and taken back.
        feed(0, 3 * A_SECOND);
        let (early, before) = (resident(), ALLOCATIONS.get());
        feed(3 * A_SECOND, SYNS);
        let (late, allocated) = (resident(), ALLOCATIONS.get() - before);
        let counts = &bench.shard.counts;
        eprintln!(
            "memory: {ports} ports: {early} bytes resident after 3 s, {late} after 10; {allocated} allocations, \
             {} of {} attempts folded, {} events",
            counts.folded_by_shards, counts.flow.new_connections, bench.events
        );
        assert_eq!(counts.flow.new_connections, u64::from(SYNS));
        let share = counts.folded_by_shards as f64 / f64::from(SYNS);
        assert!(share > folded, "{ports} ports: {share} folded");
        // Seven seconds: at most 256 boxed folds each, and the lists that carry them.
        assert!(allocated <= 8 * (256 + 32), "{ports} ports: {allocated}");
        assert!(
            late.abs_diff(early) * 50 <= early,
            "{ports} ports: resident memory grew by {} bytes",
            late.abs_diff(early)
        );
    }
}
