//! Memory speed of this machine: the least time of the shard's memory accesses.

use std::hint::black_box;

use synledger::sys::huge_pages::with_room;
use synledger::sys::prefetch::prefetch;

use super::figure::{cpu_ns, figure};

/// Bytes of the table that is accessed at random: many times the size of a cache.
const TABLE: usize = 512 << 20;
/// Cache lines prefetched together.
const TOGETHER: usize = 32;
const UPDATES: usize = 2_000_000;
const READS: usize = 400_000;
const COPIED: usize = 64 << 20;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct CacheLine([u64; 8]);

/// A table with all its pages mapped, in huge pages if `huge`.
fn table(huge: bool) -> Vec<CacheLine> {
    let len = TABLE / size_of::<CacheLine>();
    let mut lines = black_box(if huge {
        with_room(len)
    } else {
        Vec::with_capacity(len)
    });
    lines.resize(len, CacheLine([1; 8]));
    lines
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn place(random: u64, count: usize) -> usize {
    usize::try_from((u128::from(random) * count as u128) >> 64).expect("below the count")
}

fn time_updates(what: &str, huge: bool) {
    let mut lines = table(huge);
    let (mut state, mut updates) = (1, 0);
    figure(&format!("floor, {what}"), UPDATES, || {
        let begin = cpu_ns();
        for _ in 0..UPDATES / TOGETHER {
            let at: [usize; TOGETHER] =
                std::array::from_fn(|_| place(next(&mut state), lines.len()));
            for &at in &at {
                prefetch(&lines[at]);
            }
            for &at in &at {
                lines[at].0[0] += 1;
            }
        }
        let took = cpu_ns() - begin;
        updates += (UPDATES / TOGETHER * TOGETHER) as u64;
        let found: u64 = lines.iter().map(|line| line.0[0] - 1).sum();
        assert_eq!(found, updates);
        took
    });
}

/// Times dependent reads: each value gives the next address.
fn time_reads(what: &str, huge: bool) {
    let mut lines = table(huge);
    let mut state = 1;
    for line in &mut lines {
        line.0[0] = next(&mut state);
    }
    let mut at = 0;
    figure(&format!("floor, {what}"), READS, || {
        let begin = cpu_ns();
        for step in 0..READS as u64 {
            at = place(lines[at].0[0] ^ step.rotate_left(40), lines.len());
        }
        let took = cpu_ns() - begin;
        black_box(at);
        took
    });
}

fn time_copy() {
    let from = vec![7_u8; COPIED];
    let mut to = vec![0_u8; COPIED];
    figure("floor, copying a kilobyte", COPIED >> 10, || {
        let begin = cpu_ns();
        to.copy_from_slice(black_box(&from));
        let took = cpu_ns() - begin;
        assert_eq!(black_box(&to)[COPIED - 1], 7);
        to.fill(0);
        took
    });
}

/// Prints the memory figures.
pub fn time_all() {
    time_updates("random line, 32 prefetched, huge pages", true);
    time_updates("random line, 32 prefetched, small pages", false);
    time_reads("one dependent random read, huge pages", true);
    time_reads("one dependent random read, small pages", false);
    time_copy();
}
