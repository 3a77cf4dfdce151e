//! The frames of a ring, one after the other, so that a worker can merge several rings by time.

use super::abi::{
    ETH_P_8021Q, FrameHdr, PACKET_OUTGOING, RECORD_HEADER_LEN, TP_STATUS_CSUM_VALID,
    TP_STATUS_CSUMNOTREADY, TP_STATUS_GSO_TCP, TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID,
};
use super::block::{Block, Origin, nanoseconds};
use super::{Ring, RingGeometry, Waiting};
use crate::capture::frame::{ChecksumState, Frame, VlanTag};
use crate::snapshot::misfit;
use crate::sys::prefetch::prefetch;
use std::io;
use std::mem::offset_of;

/// What a [`Reader`] has counted: plain counters with one writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct ReaderCounts {
    /// Blocks taken from the kernel.
    pub blocks: u64,
    /// Of these, blocks without a frame.
    pub blocks_empty: u64,
    /// Of these, blocks handed over because their time was up.
    pub blocks_timed_out: u64,
    /// Of these, blocks of which the kernel says that frames were dropped before them.
    pub blocks_losing: u64,
    /// Frames that [`Reader::advance`] passed.
    pub frames_read: u64,
    /// Frames in blocks that went back unread.
    pub frames_unread: u64,
}

/// How far a [`Reader`] has read, for another process that maps the same ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct RingPlace {
    /// The next block: the open one, if there is one.
    block: u32,
    /// The kernel's number of the block before it.
    seq_num: Option<u64>,
    /// Frames of the open block that are passed; `None`: none is open.
    passed: Option<u32>,
    last_ts_ns: Option<i64>,
    counts: ReaderCounts,
}

/// A ring with its open block and a place in it, so that a worker can merge several by time.
///
/// ```text
/// refill() ─▶ ts_ns(), frame() ─▶ advance() ─▶ … ─▶ the last advance() returns the block
/// ```
#[derive(Debug)]
pub struct Reader {
    // Declared before `ring`, so it is dropped first: the block goes back while its memory is mapped.
    /// The lifetime is a fiction that `Reader` upholds by owning the ring: no block is ever handed out.
    open: Option<Walk<'static>>,
    ring: Ring,
    last_ts_ns: Option<i64>,
    /// Of the blocks that were returned.
    counts: ReaderCounts,
}

/// An open block and the place in it.
#[derive(Debug)]
pub(super) struct Walk<'ring> {
    block: Block<'ring>,
    /// Offset of the frame at the head.
    at: usize,
    /// Offset of the frame behind it; behind the last one the same.
    next: usize,
    frames_left: u32,
}

impl<'ring> Walk<'ring> {
    /// At the block's first frame.
    pub fn new(block: Block<'ring>) -> Self {
        let at = block.offset_to_first_pkt();
        let mut walk = Self {
            at,
            next: at,
            frames_left: block.num_pkts(),
            block,
        };
        walk.look_ahead();
        walk
    }

    /// The frame at the head; `None` after the last one.
    #[inline]
    pub fn frame(&self) -> Option<Frame<'_>> {
        let header = self.header()?;
        let mac = self.at + usize::from(header.u16_at(offset_of!(FrameHdr, tp_mac)));
        let caplen = header.u32_at(offset_of!(FrameHdr, tp_snaplen)) as usize;
        let status = header.u32_at(offset_of!(FrameHdr, tp_status));
        let Origin {
            interface,
            link,
            loopback,
        } = self.block.origin();
        Some(Frame {
            bytes: self.block.bytes(mac, caplen),
            wire_len: header.u32_at(offset_of!(FrameHdr, tp_len)),
            ts_ns: header.ts_ns(),
            interface,
            link,
            vlan: header.vlan(status),
            gso: status & TP_STATUS_GSO_TCP != 0,
            incoming: header.packet_type() != PACKET_OUTGOING && !loopback,
        })
    }

    #[inline]
    fn ts_ns(&self) -> Option<i64> {
        Some(self.header()?.ts_ns())
    }

    fn checksum(&self) -> Option<ChecksumState> {
        let status = self.header()?.u32_at(offset_of!(FrameHdr, tp_status));
        Some(if status & TP_STATUS_CSUMNOTREADY != 0 {
            ChecksumState::Pending
        } else if status & TP_STATUS_CSUM_VALID != 0 {
            ChecksumState::Proven
        } else {
            ChecksumState::Unknown
        })
    }

    /// Passes the frame at the head.
    #[inline]
    pub fn advance(&mut self) {
        self.at = self.next;
        self.frames_left = self.frames_left.saturating_sub(1);
        self.look_ahead();
    }

    /// Finds the frame behind the head, and prefetches its record and the line behind that, where its own headers lie.
    #[inline]
    fn look_ahead(&mut self) {
        const LINE: usize = 64;
        // The last frame's offset is 0 (prb_close_block): `num_pkts` ends the walk, not the offset.
        let Some(header) = self.header().filter(|_| self.frames_left > 1) else {
            return;
        };
        let step = header.u32_at(offset_of!(FrameHdr, tp_next_offset)) as usize;
        assert!(
            step >= RECORD_HEADER_LEN,
            "tp_next_offset {step} with {} frames left at {} of {}",
            self.frames_left - 1,
            self.at,
            self.block.blk_len()
        );
        self.next = self.at + step;
        if let Some(lines) = self.block.get(self.next, LINE + 1) {
            prefetch(&lines[0]);
            prefetch(&lines[LINE]);
        }
    }

    #[inline]
    fn header(&self) -> Option<Header<'_>> {
        (self.frames_left > 0).then(|| Header(self.block.array_ref(self.at)))
    }

    /// Hands each frame that is left to `see`; returns how many that were.
    #[cfg(test)]
    pub fn each(mut self, mut see: impl FnMut(Frame<'_>)) -> usize {
        let mut count = 0;
        while let Some(frame) = self.frame() {
            see(frame);
            self.advance();
            count += 1;
        }
        count
    }

    fn passed(&self) -> u32 {
        self.block.num_pkts() - self.frames_left
    }

    /// Bytes from the frame at the head on.
    fn bytes_left(&self) -> u64 {
        u64::from(self.block.blk_len()).saturating_sub(self.at as u64)
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
    fn packet_type(&self) -> u8 {
        self.0[size_of::<FrameHdr>() + offset_of!(libc::sockaddr_ll, sll_pkttype)]
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

impl Reader {
    /// Reads `ring` from where it is.
    pub fn new(ring: Ring) -> Self {
        Self {
            open: None,
            ring,
            last_ts_ns: None,
            counts: ReaderCounts::default(),
        }
    }

    /// How far it has read.
    pub fn place(&self) -> RingPlace {
        let blocks = self.ring.geometry().block_nr;
        let (next, newest) = (self.ring.position, self.ring.seq_num);
        let (block, seq_num) = match &self.open {
            Some(_) => (
                (next + blocks - 1) % blocks,
                newest.and_then(|newest| newest.checked_sub(1)),
            ),
            None => (next, newest),
        };
        RingPlace {
            block,
            seq_num,
            passed: self.open.as_ref().map(Walk::passed),
            last_ts_ns: self.last_ts_ns,
            counts: self.counts,
        }
    }

    /// The interface of its frames: its index in the run.
    pub fn interface(&self) -> u16 {
        self.ring.origin.interface
    }

    /// Reads on from the place of another process's reader of the same ring.
    ///
    /// # Errors
    ///
    /// There is no such place in this ring.
    pub fn resume(mut ring: Ring, place: RingPlace) -> io::Result<Self> {
        if place.block >= ring.geometry().block_nr {
            return Err(misfit("a block behind the end of its ring"));
        }
        ring.position = place.block;
        // The number of the first block is not known: any is taken.
        ring.seq_num = place.seq_num.filter(|number| *number > 0);
        let mut reader = Self::new(ring);
        if let Some(passed) = place.passed {
            if !reader.refill() || reader.frames_left() <= passed {
                return Err(misfit("the open block of a ring is gone"));
            }
            (0..passed).for_each(|_| reader.advance());
        }
        (reader.last_ts_ns, reader.counts) = (place.last_ts_ns, place.counts);
        Ok(reader)
    }

    /// Leaves the ring to another process that goes on at its [`Reader::place`]: the open block does not go back to the
    /// kernel.
    pub fn leave(&mut self) {
        std::mem::forget(self.open.take());
    }

    /// Opens the next block that holds a frame, if none is open. True if a frame can be read.
    ///
    /// Blocks without a frame are returned at once. Never waits.
    #[inline]
    pub fn refill(&mut self) -> bool {
        while self.open.is_none() {
            // SAFETY: `open` is empty, so no block of the ring is alive. This one is only reached through
            // `self`, which owns the ring and with it the memory, and drops the block first.
            let Some(block) = (unsafe { self.ring.acquire() }) else {
                return false;
            };
            self.counts.blocks += 1;
            self.counts.blocks_timed_out += u64::from(block.timed_out());
            self.counts.blocks_losing += u64::from(block.losing());
            match block.num_pkts() {
                0 => self.counts.blocks_empty += 1,
                _ => self.open = Some(Walk::new(block)),
            }
        }
        true
    }

    /// The frame at the head; `None` if no block is open.
    #[inline]
    pub fn frame(&self) -> Option<Frame<'_>> {
        self.open.as_ref()?.frame()
    }

    /// The stamp of the frame at the head, nanoseconds since the Unix epoch.
    #[inline]
    pub fn ts_ns(&self) -> Option<i64> {
        self.open.as_ref()?.ts_ns()
    }

    /// What the kernel knows of the checksum of the frame at the head.
    pub fn checksum(&self) -> ChecksumState {
        let known = self.open.as_ref().and_then(Walk::checksum);
        known.unwrap_or(ChecksumState::Unknown)
    }

    /// The open block, to look at its header.
    #[cfg(test)]
    pub(super) fn block(&self) -> Option<&Block<'_>> {
        self.open.as_ref().map(|open| &open.block)
    }

    /// Passes the frame at the head. Behind its last frame the block goes back to the kernel.
    #[inline]
    pub fn advance(&mut self) {
        let Some(open) = self.open.as_mut() else {
            return;
        };
        open.advance();
        if open.frames_left == 0 {
            self.close();
        }
    }

    /// Gives the open block back unread from the head on. Returns how many frames that were.
    pub fn give_back(&mut self) -> u32 {
        let unread = self.frames_left();
        self.counts.frames_unread += u64::from(unread);
        self.close();
        unread
    }

    /// Frames of the open block that are not passed yet.
    pub fn frames_left(&self) -> u32 {
        self.open.as_ref().map_or(0, |open| open.frames_left)
    }

    /// The last stamp of the last block that was returned: how far this ring is known to be complete.
    pub fn last_ts_ns(&self) -> Option<i64> {
        self.last_ts_ns
    }

    /// The last stamp of the open block.
    pub fn open_last_ts_ns(&self) -> Option<i64> {
        Some(self.open.as_ref()?.block.last_ts_ns())
    }

    /// What was counted so far.
    pub fn counts(&self) -> ReaderCounts {
        let mut counts = self.counts;
        counts.frames_read += u64::from(self.open.as_ref().map_or(0, Walk::passed));
        counts
    }

    /// The ring's size and pace.
    pub fn geometry(&self) -> RingGeometry {
        self.ring.geometry()
    }

    /// What waits to be read. For the metrics only; no identity uses it.
    pub fn waiting(&mut self) -> Waiting {
        let mut waiting = self.ring.waiting(u32::from(self.open.is_some()));
        if let Some(open) = &self.open {
            waiting.blocks += 1;
            waiting.bytes += open.bytes_left();
        }
        waiting
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.counts.frames_read += u64::from(open.passed());
            self.last_ts_ns = Some(open.block.last_ts_ns());
        }
    }
}
