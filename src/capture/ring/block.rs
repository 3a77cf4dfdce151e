//! One block on loan from the kernel.
//!
//! The contract, once: while `block_status` has the USER bit, nobody but us writes the block, so ordinary
//! slices into it are sound. The loan ends when the [`Block`] is dropped, and no slice outlives it.

use super::abi::{
    BLOCK_HEADER_LEN, BlockDesc, TP_STATUS_BLK_TMO, TP_STATUS_KERNEL, TP_STATUS_LOSING,
    TP_STATUS_USER,
};
use crate::capture::frame::LinkType;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every frame of a ring has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// What the stored bytes start with.
    pub link: LinkType,
    /// Loopback: what comes in was sent by this host.
    pub loopback: bool,
}

/// A block on loan from the kernel. Dropping it returns the block.
#[derive(Debug)]
pub struct Block<'ring> {
    status: &'ring AtomicU32,
    /// Not a slice: no reference may live past the loan.
    base: NonNull<u8>,
    /// `blk_len`: nothing beyond it was written.
    len: usize,
    status_bits: u32,
    num_pkts: u32,
    origin: Origin,
}

// SAFETY: a block is plain memory and one word that is only touched atomically; which thread returns it to
// the kernel does not matter.
unsafe impl Send for Block<'_> {}

impl<'ring> Block<'ring> {
    /// Borrows the block at `base` if the kernel has handed it over.
    ///
    /// # Safety
    ///
    /// For all of `'ring`: `base` is 8-byte aligned and starts `size` mapped bytes (at least a
    /// [`BlockDesc`]) that only the kernel writes, and only while `block_status` is
    /// [`TP_STATUS_KERNEL`]; no other `Block` covers them.
    pub(super) unsafe fn acquire(base: NonNull<u8>, size: usize, origin: Origin) -> Option<Self> {
        // SAFETY: in bounds and aligned by this function's contract; an atomic may be shared.
        let status = unsafe { &(*base.cast::<BlockDesc>().as_ptr()).block_status };
        // Acquire pairs with the smp_wmb() before the kernel sets the status (prb_flush_block,
        // af_packet.c): if we see USER, we see every frame written before it.
        let status_bits = status.load(Ordering::Acquire);
        if status_bits & TP_STATUS_USER == 0 {
            return None; // Build no guard here: its drop would write to the kernel's block.
        }
        let mut block = Self {
            status,
            base,
            len: BLOCK_HEADER_LEN,
            status_bits,
            num_pkts: 0,
            origin,
        };
        block.num_pkts = block.u32_at(offset_of!(BlockDesc, num_pkts));
        block.len = block.u32_at(offset_of!(BlockDesc, blk_len)) as usize;
        assert!(
            (BLOCK_HEADER_LEN..=size).contains(&block.len),
            "blk_len {} in a block of {size}",
            block.len
        );
        Some(block)
    }

    /// Frames in the block; 0 when a frame did not fit into what was left of an empty block.
    pub fn num_pkts(&self) -> u32 {
        self.num_pkts
    }

    /// The kernel's number of the block: from 1, without gaps.
    pub fn seq_num(&self) -> u64 {
        let at = offset_of!(BlockDesc, seq_num);
        u64::from_ne_bytes(self.array(at))
    }

    /// Nanoseconds since the Unix epoch at which the kernel opened the block: no frame in it is older,
    /// but for a step of the clock; the first frame may be much younger.
    #[cfg(test)]
    pub(super) fn opened_ns(&self) -> i64 {
        self.ns_at(offset_of!(BlockDesc, ts_first_pkt))
    }

    /// The last frame's stamp, or when the block was closed if it has no frame: nanoseconds since the epoch.
    pub fn last_ts_ns(&self) -> i64 {
        self.ns_at(offset_of!(BlockDesc, ts_last_pkt))
    }

    /// Where the first frame's header lies.
    pub(super) fn offset_to_first_pkt(&self) -> usize {
        self.u32_at(offset_of!(BlockDesc, offset_to_first_pkt)) as usize
    }

    #[inline]
    pub(super) fn origin(&self) -> Origin {
        self.origin
    }

    /// `block_status` as it was when the block was taken.
    pub(super) fn status_bits(&self) -> u32 {
        self.status_bits
    }

    /// Bytes used, the descriptor included.
    pub(super) fn blk_len(&self) -> u32 {
        u32::try_from(self.len).expect("it was 32 bits")
    }

    /// The kernel dropped frames of this ring since its statistics were last read.
    pub fn losing(&self) -> bool {
        self.status_bits & TP_STATUS_LOSING != 0
    }

    /// The block was handed over because its time was up, not because it was full.
    pub fn timed_out(&self) -> bool {
        self.status_bits & TP_STATUS_BLK_TMO != 0
    }

    #[inline]
    pub(super) fn bytes(&self, at: usize, len: usize) -> &[u8] {
        let bytes = self.get(at, len);
        bytes.unwrap_or_else(|| panic!("{at}+{len} leaves a block of {}", self.len))
    }

    /// `None` outside the block.
    #[inline]
    pub(super) fn get(&self, at: usize, len: usize) -> Option<&[u8]> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        // SAFETY: inside the block. The slice borrows `self`, so it ends before `drop` lets the kernel write here again.
        inside.then(|| unsafe {
            std::slice::from_raw_parts(self.base.as_ptr().wrapping_add(at), len)
        })
    }

    #[inline]
    pub(super) fn array_ref<const N: usize>(&self, at: usize) -> &[u8; N] {
        self.bytes(at, N)
            .try_into()
            .expect("N bytes were asked for")
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.array_ref(at)
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn ns_at(&self, at: usize) -> i64 {
        nanoseconds(self.u32_at(at), self.u32_at(at + 4))
    }
}

impl Drop for Block<'_> {
    fn drop(&mut self) {
        // Release pairs with the smp_rmb() behind the kernel's reading of the status (prb_open_block,
        // __packet_lookup_frame_in_block): our last read of a frame happens before the kernel may
        // overwrite it.
        self.status.store(TP_STATUS_KERNEL, Ordering::Release);
    }
}

pub(super) fn nanoseconds(seconds: u32, nanoseconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds)
}
