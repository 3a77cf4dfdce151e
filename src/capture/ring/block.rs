//! One block on loan from the kernel, and the frames in it.
//!
//! The contract, once: while `block_status` has the USER bit, nobody but us writes the block, so ordinary
//! slices into it are sound. The loan ends when the [`Block`] is dropped, and no slice outlives it.

use super::abi::{
    BLOCK_HEADER_LEN, BlockDesc, ETH_P_8021Q, FrameHdr, RECORD_HEADER_LEN, TP_STATUS_BLK_TMO,
    TP_STATUS_GSO_TCP, TP_STATUS_KERNEL, TP_STATUS_LOSING, TP_STATUS_USER,
    TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
};
use crate::capture::frame::{Frame, LinkType, VlanTag};
use crate::sys::prefetch::prefetch;
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

/// Where a reader is in a block: resumable, and plain data. Of use only with the block that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    at: usize,
    left: u32,
}

impl Cursor {
    /// Frames not passed yet, the one under the cursor included.
    pub fn frames_left(self) -> u32 {
        self.left
    }
}

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

    /// `block_status` as it was when the block was taken.
    pub(super) fn status_bits(&self) -> u32 {
        self.status_bits
    }

    /// Bytes used, the descriptor included.
    pub(super) fn blk_len(&self) -> u32 {
        u32::try_from(self.len).expect("it was 32 bits")
    }

    /// Bytes from the frame under the cursor on.
    pub(super) fn bytes_left(&self, cursor: Cursor) -> u64 {
        self.len.saturating_sub(cursor.at) as u64
    }

    /// The kernel dropped frames of this ring since its statistics were last read.
    pub fn losing(&self) -> bool {
        self.status_bits & TP_STATUS_LOSING != 0
    }

    /// The block was handed over because its time was up, not because it was full.
    pub fn timed_out(&self) -> bool {
        self.status_bits & TP_STATUS_BLK_TMO != 0
    }

    /// A cursor at the first frame.
    pub fn start(&self) -> Cursor {
        Cursor {
            at: self.u32_at(offset_of!(BlockDesc, offset_to_first_pkt)) as usize,
            left: self.num_pkts,
        }
    }

    /// The frame under the cursor; `None` behind the last one.
    #[inline]
    pub fn frame(&self, cursor: Cursor) -> Option<Frame<'_>> {
        let header = self.header(cursor)?;
        let mac = cursor.at + usize::from(header.u16_at(offset_of!(FrameHdr, tp_mac)));
        let caplen = header.u32_at(offset_of!(FrameHdr, tp_snaplen)) as usize;
        let status = header.u32_at(offset_of!(FrameHdr, tp_status));
        Some(Frame {
            bytes: self.bytes(mac, caplen),
            wire_len: header.u32_at(offset_of!(FrameHdr, tp_len)),
            ts_ns: header.ts_ns(),
            interface: self.origin.interface,
            link: self.origin.link,
            vlan: header.vlan(status),
            gso: status & TP_STATUS_GSO_TCP != 0,
        })
    }

    /// The stamp of the frame under the cursor, nanoseconds since the Unix epoch.
    #[inline]
    pub fn ts_ns(&self, cursor: Cursor) -> Option<i64> {
        Some(self.header(cursor)?.ts_ns())
    }

    /// The cursor behind this frame. Behind the last frame it stays where it is.
    #[inline]
    pub fn next(&self, cursor: Cursor) -> Cursor {
        // The last frame's offset is 0 (prb_close_block): `num_pkts` ends the walk, not the offset.
        let Some(header) = self.header(cursor).filter(|_| cursor.left > 1) else {
            return Cursor { left: 0, ..cursor };
        };
        let step = header.u32_at(offset_of!(FrameHdr, tp_next_offset)) as usize;
        assert!(
            step >= RECORD_HEADER_LEN,
            "tp_next_offset {step} with {} frames left at {} of {}",
            cursor.left - 1,
            cursor.at,
            self.len
        );
        Cursor {
            at: cursor.at + step,
            left: cursor.left - 1,
        }
    }

    /// Asks the CPU for the header behind the frame under the cursor, and for the line behind that, where a
    /// frame's own headers lie.
    #[inline]
    pub fn announce_next(&self, cursor: Cursor) {
        const LINE: usize = 64;
        let next = self.next(cursor).at;
        for at in [next, next + LINE] {
            if at < self.len {
                prefetch(&self.bytes(at, 1)[0]);
            }
        }
    }

    /// The frames in the order in which the kernel stored them.
    pub fn frames(&self) -> Frames<'_> {
        Frames {
            block: self,
            cursor: self.start(),
        }
    }

    #[inline]
    fn header(&self, cursor: Cursor) -> Option<Header<'_>> {
        (cursor.left > 0).then(|| Header(self.array_ref(cursor.at)))
    }

    #[inline]
    fn bytes(&self, at: usize, len: usize) -> &[u8] {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{at}+{len} leaves a block of {}", self.len);
        // SAFETY: inside the block by the assertion. The slice borrows `self`, so it ends before `drop`
        // lets the kernel write here again.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().wrapping_add(at), len) }
    }

    #[inline]
    fn array_ref<const N: usize>(&self, at: usize) -> &[u8; N] {
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

/// A record's two headers; its fields are integers at offsets, in the host's byte order.
struct Header<'block>(&'block [u8; RECORD_HEADER_LEN]);

impl Header<'_> {
    #[inline]
    fn u16_at(&self, at: usize) -> u16 {
        u16::from_ne_bytes([self.0[at], self.0[at + 1]])
    }

    #[inline]
    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    #[inline]
    fn ts_ns(&self) -> i64 {
        let seconds = self.u32_at(offset_of!(FrameHdr, tp_sec));
        nanoseconds(seconds, self.u32_at(offset_of!(FrameHdr, tp_nsec)))
    }

    #[inline]
    fn vlan(&self, status: u32) -> Option<VlanTag> {
        // The flag says whether there is a tag: a priority tag has the value 0.
        if status & TP_STATUS_VLAN_VALID == 0 {
            return None;
        }
        let tpid = match status & TP_STATUS_VLAN_TPID_VALID {
            0 => ETH_P_8021Q,
            _ => self.u16_at(offset_of!(FrameHdr, tp_vlan_tpid)),
        };
        let tci = self.u32_at(offset_of!(FrameHdr, tp_vlan_tci));
        let tci = u16::try_from(tci & 0xffff).expect("16 bits");
        Some(VlanTag { tpid, tci })
    }
}

fn nanoseconds(seconds: u32, nanoseconds: u32) -> i64 {
    i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds)
}

/// The frames of a block, in the order in which the kernel stored them.
#[derive(Debug)]
pub struct Frames<'block> {
    block: &'block Block<'block>,
    cursor: Cursor,
}

impl<'block> Iterator for Frames<'block> {
    type Item = Frame<'block>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'block>> {
        let frame = self.block.frame(self.cursor)?;
        self.cursor = self.block.next(self.cursor);
        Some(frame)
    }
}
