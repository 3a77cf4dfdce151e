//! What each stage of a frame's way costs: decode, the fanout hash, a whole shard, the logger's outputs.
//!
//! Each figure asserts its answer before it is printed: median of five runs, least and most.

#[path = "loads/mod.rs"]
mod loads;

use std::net::Ipv4Addr;
use std::sync::Arc;

use loads::{event, flood, mixed, shard};
use synledger::capture::fanout::{self, Keys};
use synledger::capture::frame::{Class, Frame};
use synledger::decode::{self, packet::Transport};
use synledger::flow::Limits;
use synledger::flow::record::Attempt;
use synledger::inspect::port_scan::Rule;
use synledger::inspect::timeline::{Timeline, position_of_ts};
use synledger::log::eve::{Context, Interfaces};
use synledger::log::event::{Body, Event};
use synledger::log::fold::Folds;
use synledger::log::outputs::{Counts, Outputs};
use synledger::shard::At;

const RUNS: usize = 5;
const CONNECTIONS: u32 = 40_000;
const FLOOD: u32 = 400_000;
const RECORDS: u32 = 400_000;
const BLOCK_FRAMES: usize = 512;
const LIMITS: Limits = Limits {
    attempts: 1 << 20,
    established: 1 << 17,
    others: 1 << 17,
    fragments: 64,
};
const RULE: Rule = Rule {
    ports: 15,
    window_ns: 60_000_000_000,
    pairs: 1 << 17,
    firsts: 1 << 20,
    episodes: 64,
    port_maps: 16,
};

/// CPU time of this thread: what else the machine does counts as little as it can.
fn cpu_ns() -> u128 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID);
    std::time::Duration::from(now.expect("a clock of every Linux")).as_nanos()
}

/// Times `work` over `count` things five times; `work` asserts its own answer and gives nanoseconds. Only what
/// the words on the command line ask for, where there are any.
fn figure(what: &str, count: usize, mut work: impl FnMut() -> u128) {
    let mut asked = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .peekable();
    if asked.peek().is_some() && !asked.any(|word| what.contains(&word)) {
        return;
    }
    let mut each: Vec<f64> = (0..RUNS).map(|_| work() as f64 / count as f64).collect();
    each.sort_by(f64::total_cmp);
    let (low, median, high) = (each[0], each[RUNS / 2], each[RUNS - 1]);
    let rate = 1e3 / median;
    eprintln!("{what}: {median:.1} ns ({low:.1} to {high:.1}), {rate:.2} M/s, {count} each run");
}

fn time_decode(what: &str, frames: &[Frame<'_>], segments: usize) {
    figure(&format!("decode, {what}"), frames.len(), || {
        let begin = cpu_ns();
        let mut found = 0;
        for frame in frames {
            let packet = decode::packet(frame).expect("a sound frame");
            found += usize::from(matches!(packet.transport, Transport::Tcp(_)));
        }
        let took = cpu_ns() - begin;
        assert_eq!(found, segments);
        took
    });
}

fn time_demux(what: &str, frames: &[Frame<'_>], opens: usize) {
    let keys = Keys::from_seed(1);
    figure(&format!("fanout::demux, {what}"), frames.len(), || {
        let begin = cpu_ns();
        let (mut found, mut sum) = (0, 0_u64);
        for frame in frames {
            let demux = fanout::demux(&keys, frame);
            found += usize::from(demux.class == Class::Open);
            sum += u64::from(demux.hash);
        }
        let took = cpu_ns() - begin;
        assert!(sum > 0);
        assert_eq!(found, opens);
        took
    });
}

/// Decode, flow, contacts, the scan rule and the outbox; the log queue is emptied outside the clock.
fn time_shard(what: &str, frames: &[Frame<'_>], attempts: u32, established: u32, fold: bool) {
    figure(&format!("shard, {what}"), frames.len(), || {
        let (mut shard, mut merge) = shard(LIMITS, RULE, fold.then(|| Folds::new(1000, [1, 2])));
        let (mut took, mut said) = (0, 0);
        for block in frames.chunks(BLOCK_FRAMES) {
            let begin = cpu_ns();
            let mut newest_ns = 0;
            for frame in block {
                newest_ns = frame.ts_ns;
                let at = At {
                    position: position_of_ts(newest_ns),
                    watermark_ns: newest_ns,
                    timeline: Timeline::Live,
                    ring: None,
                };
                shard.on_frame(frame, &at);
            }
            let position = position_of_ts(newest_ns);
            shard.publish_contacts(position, &Timeline::Live);
            shard.settle(position, newest_ns, &Timeline::Live);
            took += cpu_ns() - begin;
            while merge.step(4096, |_| {}, |_| said += 1) > 0 {}
        }
        let flow = &shard.counts.flow;
        flow.check().expect("the books close");
        assert_eq!(flow.attempts, u64::from(attempts));
        assert_eq!(flow.established, u64::from(established));
        if fold {
            assert_eq!(shard.counts.attempts_folded, u64::from(attempts) - 1000);
        } else {
            assert!(said >= attempts, "{said} events for {attempts} attempts");
        }
        took
    });
}

fn context() -> Context {
    Context {
        host: "bench".into(),
        interfaces: Interfaces::new(vec!["eth0".into()]),
        direction: Arc::new(|_, _| "unknown"),
        frames: false,
    }
}

/// Rendered and handed to write(2), which throws it away.
fn time_outputs(what: &str, specs: &[&str]) {
    let specs: Vec<_> = specs
        .iter()
        .map(|spec| spec.parse().expect("a spec"))
        .collect();
    let events: Vec<Event> = (0..RECORDS).map(event).collect();
    let context = context();
    figure(&format!("logger, {what}"), events.len(), || {
        let mut outputs = Outputs::open(&specs, &context).expect("outputs");
        let begin = cpu_ns();
        for event in &events {
            outputs.write(event, 0);
        }
        outputs.finish(0);
        let took = cpu_ns() - begin;
        for counts in outputs.counts() {
            assert!(Counts::closed(&counts));
            assert_eq!(counts.written[0], u64::from(RECORDS));
        }
        took
    });
}

/// Attempts into folds: all to one port, to a port of their own each, or to an address each.
fn time_folds(what: &str, target: fn(u32) -> (u32, u16)) {
    let attempts: Vec<Attempt> = (0..RECORDS)
        .map(|number| {
            let Body::NewConnection(mut attempt) = event(number).body else {
                unreachable!("made so")
            };
            let (dst, port) = target(number);
            attempt.tuple.dst = Ipv4Addr::from_bits(dst).into();
            attempt.tuple.dst_port = port;
            attempt
        })
        .collect();
    figure(&format!("folds, {what}"), attempts.len(), || {
        let mut folds = Folds::new(1000, [1, 2]);
        folds.prefault();
        folds.fold_all(true);
        let begin = cpu_ns();
        let taken = attempts.iter().filter(|one| folds.takes(one)).count();
        let took = cpu_ns() - begin;
        let told: u64 = folds.close_all().iter().map(|fold| fold.count).sum();
        assert_eq!((taken, u64::from(RECORDS)), (attempts.len(), told));
        took
    });
}

/// Flood records, merged from two parts each and written.
fn time_records(what: &str, spec: &str) {
    const EACH: u32 = 64;
    let mut folds = Folds::new(1, [1, 2]);
    folds.fold_all(true);
    let mut parts = Vec::new();
    for number in 0..RECORDS {
        let Body::NewConnection(mut attempt) = event(number).body else {
            unreachable!("made so")
        };
        attempt.ts_ns = i64::from(number / EACH) * 1_000_000_000;
        parts.extend(folds.close_before(attempt.ts_ns));
        folds.takes(&attempt);
    }
    parts.extend(folds.close_all());
    let specs = [spec.parse().expect("a spec")];
    let context = context();
    figure(&format!("flood records, {what}"), parts.len(), || {
        let mut outputs = Outputs::open(&specs, &context).expect("outputs");
        let begin = cpu_ns();
        for part in &parts {
            let mut fold = Box::new(part.clone());
            fold.merge(part);
            outputs.hold_folded(fold.count);
            outputs.write_fold(fold, 0, 0);
        }
        outputs.finish(0);
        let took = cpu_ns() - begin;
        assert_eq!(outputs.counts()[0].folded[0], 2 * u64::from(RECORDS));
        took
    });
}

fn say_machine() {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or("unknown CPU")
        .trim_start_matches(['\t', ' ', ':']);
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    eprintln!("machine: {model}, Linux {}, {cores} cores", kernel.trim());
}

fn main() {
    say_machine();
    let (flows, pairs) = (LIMITS.memory_bytes() >> 20, RULE.memory_bytes() >> 20);
    eprintln!("tables: {flows} MiB of flows, {pairs} MiB of pairs");
    let (mixed, flood) = (mixed(CONNECTIONS), flood(FLOOD));
    let (mixed, flood) = (mixed.frames(), flood.frames());
    let connections = CONNECTIONS as usize;
    time_decode("mixed", &mixed, 9 * connections);
    time_decode("spoofed SYN", &flood, flood.len());
    time_demux("mixed", &mixed, connections);
    time_demux("spoofed SYN", &flood, flood.len());
    time_shard("mixed", &mixed, CONNECTIONS, CONNECTIONS, false);
    time_shard("spoofed SYN", &flood, FLOOD, 0, false);
    time_shard("spoofed SYN, folded", &flood, FLOOD, 0, true);
    time_outputs("text", &["text:/dev/null"]);
    time_outputs("EVE", &["eve:/dev/null"]);
    time_outputs("text and EVE", &["text:/dev/null", "eve:/dev/null"]);
    time_folds("one port", |_| (1, 80));
    time_folds("a port each", |number| (1, (number & 0xffff) as u16));
    time_folds("an address each", |number| (number, 80));
    time_records("text", "text:/dev/null");
    time_records("EVE", "eve:/dev/null");
}
