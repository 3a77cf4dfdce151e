//! The ring: its memory, the walk over its blocks, and a reader that can be merged with others.
//!
//! There is no `trait Source`: tests hand [`Ring`] plain memory that a fake kernel (`fake.rs`) fills to the
//! kernel's ABI, so the tested code is the shipped code.

pub mod abi;
pub mod block;
#[cfg(test)]
mod fake;
pub mod memory;
pub mod poll;
#[cfg(test)]
mod race;
pub mod reader;
#[cfg(test)]
mod tests;

use abi::{TP_STATUS_BLK_TMO, TP_STATUS_USER};
use block::{Block, Origin};
use memory::Memory;
pub use memory::RingGeometry;
pub use reader::Reader;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The reading side of a TPACKET_V3 ring. There is one for each memory.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
    origin: Origin,
    position: u32,
    seq_num: Option<u64>,
    /// Blocks from `position` on that were seen to wait.
    waiting: Waiting,
}

/// What waits in a ring to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Blocks, the one that is being read included: `block_nr` means that the ring is full.
    pub blocks: u32,
    /// Bytes of the ring that they take: all of a block that was full when it was handed over, what was written
    /// of one whose time was up, what is left to be read of the open one.
    pub bytes: u64,
}

/// Bytes that a block takes: a full block is not always filled to its last byte.
fn room(geometry: RingGeometry, status: u32, blk_len: u32) -> u64 {
    match status & TP_STATUS_BLK_TMO {
        0 => u64::from(geometry.block_size),
        _ => u64::from(blk_len.min(geometry.block_size)),
    }
}

impl Ring {
    /// Reads the ring in `memory` from its first block.
    ///
    /// # Safety
    ///
    /// No other `Ring` has been made of this memory, and whoever fills it keeps to the contract of
    /// [`crate::capture::ring::block`].
    pub(in crate::capture) unsafe fn new(memory: Arc<Memory>, origin: Origin) -> Self {
        Self {
            memory,
            origin,
            position: 0,
            seq_num: None,
            waiting: Waiting::default(),
        }
    }

    /// The ring's size and pace.
    pub fn geometry(&self) -> RingGeometry {
        self.memory.geometry()
    }

    /// Borrows the next block if the kernel has handed it over. Never waits.
    #[cfg(test)]
    fn next_block(&mut self) -> Option<Block<'_>> {
        // SAFETY: the block borrows `self` mutably, so it is the only one.
        unsafe { self.acquire() }
    }

    /// The blocks that the kernel has handed over and nobody has taken yet. A gauge, not a book: the kernel goes
    /// on while we look.
    ///
    /// Looks at each block once, however often it is asked: the waiting blocks are one run that starts at
    /// `position`, and the kernel only makes it longer. `open` blocks before that are still being read.
    pub(super) fn waiting(&mut self, open: u32) -> Waiting {
        let geometry = self.geometry();
        while self.waiting.blocks + open < geometry.block_nr {
            let index = (self.position + self.waiting.blocks) % geometry.block_nr;
            // Acquire: `blk_len` is read behind it, see `Block::acquire`.
            let status = self.memory.status(index).load(Ordering::Acquire);
            if status & TP_STATUS_USER == 0 {
                break;
            }
            // SAFETY: the status says that the block is ours, and `acquire`, which may return it, borrows
            // `self` mutably.
            let blk_len = unsafe { self.memory.blk_len(index) };
            self.waiting.blocks += 1;
            self.waiting.bytes += room(geometry, status, blk_len);
        }
        self.waiting
    }

    /// # Safety
    ///
    /// The memory outlives the block, and no other block of this ring is alive while this one is.
    #[inline]
    unsafe fn acquire<'any>(&mut self) -> Option<Block<'any>> {
        let geometry = self.memory.geometry();
        let base = self.memory.block(self.position);
        // SAFETY: `base` starts `block_size` bytes of memory at a page; by `new`'s and this function's
        // contract only the kernel writes them in its turns, and no other block covers them.
        let block = unsafe { Block::acquire(base, geometry.block_size as usize, self.origin)? };
        let seq_num = block.seq_num();
        if let Some(before) = self.seq_num {
            assert_eq!(
                seq_num,
                before + 1,
                "block {} is out of turn",
                self.position
            );
        }
        self.seq_num = Some(seq_num);
        self.position = (self.position + 1) % geometry.block_nr;
        if self.waiting.blocks > 0 {
            self.waiting.blocks -= 1;
            self.waiting.bytes -= room(geometry, block.status_bits(), block.blk_len());
        }
        Some(block)
    }
}
