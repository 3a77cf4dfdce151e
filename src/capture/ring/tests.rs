//! The ring against the fake kernel, one claim a test.

use super::abi::{TP_STATUS_BLK_TMO, TP_STATUS_LOSING};
use super::block::Origin;
use super::fake::{self, Arrival, Kernel};
use super::memory::Memory;
use super::reader::{Reader, Walk};
use super::{Ring, RingGeometry, Waiting};
use crate::capture::frame::{LinkType, VlanTag};
use crate::sys::panic_of::panic_of;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const GEOMETRY: RingGeometry = RingGeometry {
    block_size: 4096,
    block_nr: 4,
    block_timeout_ms: 10,
};
const ORIGIN: Origin = Origin {
    interface: 3,
    link: LinkType::Ethernet,
    loopback: false,
};

fn ring() -> (Kernel, Ring) {
    fake::ring(GEOMETRY, ORIGIN)
}

fn arrival(bytes: &[u8], ts_ns: i64) -> Arrival<'_> {
    Arrival {
        bytes,
        ts_ns,
        ..Arrival::default()
    }
}

#[test]
fn a_frame_comes_out_as_it_went_in() {
    let (mut kernel, mut ring) = ring();
    let tag = Some(VlanTag {
        tpid: 0x88a8,
        tci: 0x2005,
    });
    let sent = Arrival {
        bytes: &[7; 1500],
        snaplen: Some(100),
        ts_ns: 1_700_000_000_123_456_789,
        vlan: tag,
        gso: true,
        outgoing: true,
    };
    assert!(kernel.push(&sent) && kernel.retire());
    let block = ring.next_block().expect("a block was handed over");
    assert_eq!((block.num_pkts(), block.seq_num()), (1, 1));
    assert!(block.timed_out() && !block.losing());
    assert_eq!(block.last_ts_ns(), sent.ts_ns);
    let walk = Walk::new(block);
    let frame = walk.frame().expect("one frame");
    assert_eq!(frame.bytes, &[7; 100]);
    assert_eq!((frame.wire_len, frame.ts_ns), (1500, sent.ts_ns));
    assert_eq!((frame.interface, frame.link), (3, LinkType::Ethernet));
    assert_eq!((frame.vlan, frame.gso, frame.incoming), (tag, true, false));
    assert_eq!(walk.each(|_| {}), 1);
}

#[test]
fn a_tag_of_value_0_without_a_protocol_is_a_tag() {
    let (mut kernel, mut ring) = ring();
    let tagged = Arrival {
        vlan: Some(VlanTag { tpid: 0, tci: 0 }),
        ..arrival(&[0; 60], 1)
    };
    assert!(kernel.push(&tagged) && kernel.push(&arrival(&[0; 60], 2)) && kernel.retire());
    let block = ring.next_block().expect("a block");
    let mut tags = Vec::new();
    Walk::new(block).each(|frame| tags.push(frame.vlan));
    let priority = VlanTag {
        tpid: 0x8100,
        tci: 0,
    };
    assert_eq!(tags, [Some(priority), None]);
}

#[test]
fn a_block_the_kernel_owns_is_left_alone() {
    let memory = Arc::new(Memory::plain(GEOMETRY));
    // SAFETY: the only ring of this memory; nobody fills it.
    let mut ring = unsafe { Ring::new(Arc::clone(&memory), ORIGIN) };
    // A bit that no one sets without USER: a guard built for a refused block would wipe it when dropped.
    memory.status(0).store(TP_STATUS_BLK_TMO, Ordering::Relaxed);
    assert!(ring.next_block().is_none());
    assert_eq!(memory.status(0).load(Ordering::Relaxed), TP_STATUS_BLK_TMO);
}

#[test]
fn a_dropped_block_goes_back_to_the_kernel() {
    let (mut kernel, mut ring) = ring();
    for round in 0..20 {
        assert!(kernel.push(&arrival(&[1; 60], round)) && kernel.retire());
        assert_eq!(ring.waiting(0).blocks, 1);
        let block = ring.next_block().expect("a block");
        assert_eq!(block.opened_ns(), round);
        drop(block);
        assert_eq!(ring.waiting(0), Waiting::default());
        assert!(ring.next_block().is_none());
    }
}

#[test]
fn what_waits_is_counted_from_empty_to_full_wherever_the_reader_stands() {
    // One frame of 60 bytes: 82 bytes before it, padded to 8, behind a descriptor of 48.
    let (record, descriptor) = (144, 48);
    for start in 0..GEOMETRY.block_nr {
        let (mut kernel, ring) = ring();
        let mut reader = Reader::new(ring);
        for _ in 0..start {
            assert!(kernel.push(&arrival(&[1; 60], 0)) && kernel.retire() && reader.refill());
            assert_eq!(
                reader.waiting(),
                Waiting {
                    blocks: 1,
                    bytes: record
                }
            );
            reader.advance();
            assert_eq!(reader.waiting(), Waiting::default());
        }
        let mut bytes = 0;
        for blocks in 1..=GEOMETRY.block_nr {
            assert!(kernel.push(&arrival(&[1; 60], 0)) && kernel.retire());
            bytes += descriptor + record;
            assert_eq!(reader.waiting(), Waiting { blocks, bytes }, "from {start}");
        }
        assert!(reader.refill(), "an open block still counts");
        let blocks = GEOMETRY.block_nr;
        bytes -= descriptor;
        assert_eq!(reader.waiting(), Waiting { blocks, bytes });
        reader.advance();
        let (blocks, bytes) = (blocks - 1, bytes - record);
        assert_eq!(reader.waiting(), Waiting { blocks, bytes });
    }
}

#[test]
fn a_block_that_was_full_takes_all_of_its_room_and_one_whose_time_was_up_what_is_in_it() {
    let (mut kernel, ring) = ring();
    let mut reader = Reader::new(ring);
    // Two of these fit into a block of 4096 bytes; the third one fills the block.
    for _ in 0..3 {
        assert!(kernel.push(&arrival(&[1; 1500], 0)));
    }
    assert_eq!(
        reader.waiting(),
        Waiting {
            blocks: 1,
            bytes: u64::from(GEOMETRY.block_size)
        }
    );
    assert!(kernel.retire());
    assert_eq!(
        reader.waiting(),
        Waiting {
            blocks: 2,
            bytes: u64::from(GEOMETRY.block_size) + 48 + 1584
        }
    );
    assert!(reader.refill());
    reader.advance();
    assert_eq!(
        reader.waiting(),
        Waiting {
            blocks: 2,
            bytes: 1584 + 48 + 1584
        }
    );
}

#[test]
fn a_full_ring_drops_and_the_next_block_says_so() {
    let (mut kernel, ring) = ring();
    for ts_ns in 0..6 {
        let stored = kernel.push(&arrival(&[1; 60], ts_ns)) && kernel.retire();
        assert_eq!(stored, ts_ns < 4);
    }
    let counts = kernel.counts();
    assert_eq!(
        (counts.tp_packets, counts.tp_drops, counts.tp_freeze_q_cnt),
        (6, 2, 1)
    );
    let mut reader = Reader::new(ring);
    while reader.refill() {
        reader.advance();
    }
    assert_eq!(
        reader.counts().frames_read + counts.tp_drops,
        counts.tp_packets
    );
    assert!(kernel.push(&arrival(&[1; 60], 9)) && kernel.retire() && reader.refill());
    assert!(reader.block().is_some_and(|block| block.losing()));
    assert_eq!(reader.counts().blocks_losing, 1);
    assert_eq!(TP_STATUS_LOSING, 4);
}

#[test]
fn a_frame_too_big_for_an_empty_block_leaves_the_block_empty_and_is_cut() {
    let (mut kernel, mut ring) = ring();
    assert!(kernel.push(&arrival(&[9; 9000], 5)));
    // 82 + 3966 + 48 = 4096, which is not less than the block: handed over empty, once each.
    let block = ring.next_block().expect("an empty block");
    assert_eq!(block.num_pkts(), 0);
    let mut walk = Walk::new(block);
    walk.advance();
    assert_eq!(walk.each(|_| {}), 0);
    assert!(kernel.retire());
    let block = ring.next_block().expect("the cut frame");
    let walk = Walk::new(block);
    let frame = walk.frame().expect("one frame");
    assert_eq!((frame.bytes.len(), frame.wire_len), (3966, 9000));
}

/// Walks a block of 336 bytes with two frames, of which the first names this offset of the next.
fn walk(next_offset: u32) -> String {
    panic_of(move || {
        let (mut kernel, mut ring) = ring();
        assert!(kernel.push(&arrival(&[1; 60], 1)) && kernel.push(&arrival(&[2; 60], 2)));
        kernel.corrupt_next_offset(next_offset);
        assert!(kernel.retire());
        let block = ring.next_block().expect("a block");
        Walk::new(block).each(|_| {});
    })
}

#[test]
fn a_walk_that_ends_early_is_a_broken_contract() {
    let says = walk(0);
    let expected = "tp_next_offset 0 with 1 frames left at 48 of 336";
    assert!(says.contains(expected), "{says}");
}

#[test]
fn a_walk_that_leaves_the_block_is_a_broken_contract() {
    let says = walk(3000);
    assert!(says.contains("leaves a block of 336"), "{says}");
}

#[test]
fn three_rings_merge_by_time_with_one_open_block_each() {
    let mut kernels = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (kernel, ring) = ring();
        kernels.push(kernel);
        readers.push(Reader::new(ring));
    }
    let (mut sent, mut merged) = (0_i64, Vec::new());
    for round in 0..50 {
        // Rings take turns in uneven runs, so that blocks of different rings overlap in time.
        for step in 0..9 {
            let ring = usize::try_from((round * 5 + step * step) % 3).expect("0..3");
            let marker = u8::try_from(sent % 251).expect("a byte");
            assert!(kernels[ring].push(&arrival(&[marker; 300], sent)));
            sent += 1;
        }
        for kernel in &mut kernels {
            kernel.retire();
        }
        loop {
            for reader in &mut readers {
                reader.refill();
            }
            let ready = readers.iter_mut().filter(|reader| reader.ts_ns().is_some());
            let Some(oldest) = ready.min_by_key(|reader| reader.ts_ns()) else {
                break;
            };
            let frame = oldest.frame().expect("it has a stamp");
            assert_eq!(i64::from(frame.bytes[299]), frame.ts_ns % 251);
            merged.push(frame.ts_ns);
            oldest.advance();
        }
    }
    assert_eq!(merged, (0..sent).collect::<Vec<_>>());
    let read: u64 = readers
        .iter()
        .map(|reader| reader.counts().frames_read)
        .sum();
    assert_eq!(read, u64::try_from(sent).expect("450"));
}

#[test]
fn a_block_given_back_unread_is_counted_and_moves_the_watermark() {
    let (mut kernel, ring) = ring();
    let mut reader = Reader::new(ring);
    for ts_ns in 1..=5 {
        assert!(kernel.push(&arrival(&[1; 60], ts_ns)));
    }
    assert!(kernel.retire() && reader.refill());
    assert_eq!(reader.last_ts_ns(), None);
    reader.advance();
    assert_eq!((reader.give_back(), reader.frames_left()), (4, 0));
    assert_eq!(reader.give_back(), 0);
    assert_eq!(reader.last_ts_ns(), Some(5));
    let counts = reader.counts();
    assert_eq!((counts.frames_read, counts.frames_unread), (1, 4));
    assert!(reader.frame().is_none() && !reader.refill());
}

#[test]
fn a_reader_that_goes_away_gives_its_block_back() {
    let (mut kernel, ring) = ring();
    let mut reader = Reader::new(ring);
    for _ in 0..GEOMETRY.block_nr {
        assert!(kernel.push(&arrival(&[1; 60], 1)) && kernel.retire());
    }
    assert!(reader.refill() && !kernel.push(&arrival(&[1; 60], 2)));
    drop(reader);
    assert!(kernel.push(&arrival(&[1; 60], 3)));
}

#[test]
fn a_reader_may_move_to_its_worker_s_thread() {
    let (mut kernel, ring) = ring();
    let mut reader = Reader::new(ring);
    assert!(kernel.push(&arrival(&[1; 60], 8)) && kernel.retire() && reader.refill());
    let worker = std::thread::spawn(move || reader.ts_ns());
    assert_eq!(worker.join().expect("the worker ends"), Some(8));
}
