//! Hand-overs between a fake kernel's thread and a reader's, under ThreadSanitizer.
//!
//! ```text
//! TSAN_OPTIONS=suppressions=tools/race.supp RUSTC_BOOTSTRAP=1 \
//! RUSTFLAGS="-Zsanitizer=thread -Zunstable-options -Cunsafe-allow-abi-mismatch=sanitizer" \
//!   cargo test --target x86_64-unknown-linux-gnu --target-dir target/race --lib capture::ring::race -- --test-threads=1
//! ```
//!
//! With the load in `Block::acquire` or the store in `Block::drop` weakened to `Relaxed`, that run ends with
//! status 66 (2026-11: 0 races as written, 42 and 66 with one weakened; so it is with the fake's two).
//! Without the sanitizer, on x86, the tests only check contents. Threads are spawned and joined, never
//! scoped: the standard library is not instrumented, so its own locks would be reported.

use super::RingGeometry;
use super::block::Origin;
use super::fake::{self, Arrival, Kernel};
use super::reader::{Reader, Walk};
use crate::capture::frame::{Frame, LinkType};
use std::thread::{self, JoinHandle};

const GEOMETRY: RingGeometry = RingGeometry {
    block_size: 4096,
    block_nr: 4,
    block_timeout_ms: 10,
};
const ORIGIN: Origin = Origin {
    interface: 0,
    link: LinkType::Ethernet,
    loopback: false,
};
/// Two or three to a block: some 5,000 hand-overs.
const FRAMES: u32 = 20_000;

fn length(number: u32) -> usize {
    60 + number as usize * 37 % 1400
}

/// Pushes frames whose length and bytes follow from their number, each until it is taken.
fn fill(mut kernel: Kernel) -> JoinHandle<Kernel> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        for number in 0..FRAMES {
            bytes.clear();
            bytes.resize(length(number), number.to_le_bytes()[0]);
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            let arrival = Arrival {
                bytes: &bytes,
                ts_ns: number.into(),
                ..Arrival::default()
            };
            while !kernel.push(&arrival) {
                thread::yield_now();
            }
            if number % 97 == 0 {
                kernel.retire();
            }
        }
        kernel.retire();
        kernel
    })
}

fn check(frame: &Frame<'_>, number: u32) {
    assert_eq!(frame.bytes.len(), length(number), "frame {number}");
    assert_eq!(frame.ts_ns, i64::from(number));
    assert_eq!(frame.bytes[..4], number.to_le_bytes());
    let filler = number.to_le_bytes()[0];
    assert!(
        frame.bytes[4..].iter().all(|&byte| byte == filler),
        "frame {number}"
    );
}

#[test]
fn blocks_handed_over_between_threads_keep_every_byte() {
    let (kernel, mut ring) = fake::ring(GEOMETRY, ORIGIN);
    let kernel = fill(kernel);
    let (mut number, mut blocks) = (0, 0);
    while number < FRAMES {
        let Some(block) = ring.next_block() else {
            thread::yield_now();
            continue;
        };
        blocks += 1;
        Walk::new(block).each(|frame| {
            check(&frame, number);
            number += 1;
        });
    }
    let counts = kernel.join().expect("the kernel's thread ends").counts();
    assert_eq!(counts.tp_packets, u64::from(FRAMES) + counts.tp_drops);
    assert!(blocks > 3000, "{blocks} hand-overs");
}

#[test]
fn a_reader_s_open_block_stays_its_own() {
    let (kernel, ring) = fake::ring(GEOMETRY, ORIGIN);
    let mut reader = Reader::new(ring);
    let kernel = fill(kernel);
    let mut number = 0;
    while number < FRAMES {
        if !reader.refill() {
            thread::yield_now();
            continue;
        }
        let waiting = reader.waiting();
        assert!(
            (1..=GEOMETRY.block_nr).contains(&waiting.blocks),
            "{waiting:?}"
        );
        check(&reader.frame().expect("a frame is open"), number);
        reader.advance();
        number += 1;
    }
    drop(kernel.join().expect("the kernel's thread ends"));
    assert_eq!(reader.counts().frames_read, u64::from(FRAMES));
}
