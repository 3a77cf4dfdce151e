//! Figures of benches: CPU time of each item, median of five runs, with least and greatest.

use nix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use synledger::log::formats::context::Context;
use synledger::log::formats::interfaces::Interfaces;

const RUNS: usize = 5;

/// CPU time of this thread in nanoseconds.
pub fn cpu_ns() -> u128 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
    std::time::Duration::from(time).as_nanos()
}

/// Whether the command line has no words, or one that is part of this figure's name.
pub fn is_asked(what: &str) -> bool {
    let words = std::env::args().skip(1);
    let mut asked = words.filter(|word| !word.starts_with("--")).peekable();
    asked.peek().is_none() || asked.any(|word| what.contains(&word))
}

/// Runs `work` on `count` items five times and prints the time per item. `work` asserts its result and gives nanoseconds.
pub fn figure(what: &str, count: usize, mut work: impl FnMut() -> u128) {
    if !is_asked(what) {
        return;
    }
    let mut each: Vec<f64> = (0..RUNS).map(|_| work() as f64 / count as f64).collect();
    each.sort_by(f64::total_cmp);
    let (low, median, high) = (each[0], each[RUNS / 2], each[RUNS - 1]);
    let rate = 1e3 / median;
    eprintln!("{what}: {median:.1} ns ({low:.1} to {high:.1}), {rate:.2} M/s, {count} each run");
}

/// Data of the formats.
pub fn context() -> Context {
    Context {
        host: "bench".into(),
        interfaces: Interfaces::new(vec!["eth0".into()]),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: false,
    }
}

/// Prints where the figures are taken.
pub fn print_machine() {
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
