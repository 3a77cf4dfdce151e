//! The ring: its memory, the walk over its blocks, and a reader that can be merged with others.
//!
//! There is no `trait Source`: tests hand [`Ring`] plain memory that a fake kernel (`fake.rs`) fills to the
//! kernel's ABI, so the tested code is the shipped code.

pub mod abi;
pub mod block;
#[cfg(test)]
mod fake;
pub mod poll;
#[cfg(test)]
mod race;
#[cfg(test)]
mod tests;

use super::frame::Frame;
use abi::{BlockDesc, TP_STATUS_BLK_TMO, TP_STATUS_USER};
use block::{Block, Cursor, Origin};
use libc::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The kernel's page, which the blocks' size is a multiple of.
const PAGE: usize = 4096;

/// A ring's size and pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingGeometry {
    /// `tp_block_size` in bytes: a multiple of the page.
    pub block_size: u32,
    /// `tp_block_nr`: at least 1.
    pub block_nr: u32,
    /// `tp_retire_blk_tov` in milliseconds: a block that holds a frame is handed over after that. Never 0,
    /// which would let the kernel choose.
    pub block_timeout_ms: u32,
}

impl RingGeometry {
    /// Bytes of memory the ring takes.
    pub fn bytes(&self) -> usize {
        self.block_size as usize * self.block_nr as usize
    }

    fn check(&self) {
        let sound = self.block_size > 0
            && (self.block_size as usize).is_multiple_of(PAGE)
            && self.block_nr > 0;
        assert!(sound, "no ring is like this: {self:?}");
    }
}

/// A ring's memory, shared by its two sides. Only blocks and the fake kernel look into it.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    geometry: RingGeometry,
}

// SAFETY: the memory may be unmapped or freed by any thread.
unsafe impl Send for Memory {}
// SAFETY: through a shared `Memory` only the atomic status words are touched; the rest of a block belongs to
// the side that its status names, and each side has one owner.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the ring that was set up on `socket` with this geometry.
    pub(super) fn map(socket: BorrowedFd<'_>, geometry: RingGeometry) -> io::Result<Self> {
        Self::map_shared(geometry, 0, socket.as_raw_fd())
    }

    /// Zeroed plain memory, for a kernel that is not there.
    #[cfg(test)]
    fn plain(geometry: RingGeometry) -> Self {
        Self::map_shared(geometry, libc::MAP_ANONYMOUS, -1).expect("memory for a test")
    }

    fn map_shared(geometry: RingGeometry, flags: c_int, fd: c_int) -> io::Result<Self> {
        geometry.check();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | flags;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), geometry.bytes(), protection, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            base: NonNull::new(base.cast()).expect("mmap without MAP_FIXED never maps page 0"),
            geometry,
        })
    }

    /// The start of block `index`.
    pub(super) fn block(&self, index: u32) -> NonNull<u8> {
        assert!(
            index < self.geometry.block_nr,
            "block {index} of {:?}",
            self.geometry
        );
        let offset = index as usize * self.geometry.block_size as usize;
        // SAFETY: inside the memory, by the assertion.
        unsafe { self.base.add(offset) }
    }

    /// The status word of block `index`.
    pub(super) fn status(&self, index: u32) -> &AtomicU32 {
        let desc = self.block(index).cast::<BlockDesc>();
        // SAFETY: each block starts with a descriptor and is aligned to a page; both sides touch this word
        // only atomically.
        unsafe { &(*desc.as_ptr()).block_status }
    }

    /// `blk_len` of block `index`.
    ///
    /// # Safety
    ///
    /// The block is the reader's, as its status word said, and stays so meanwhile.
    unsafe fn blk_len(&self, index: u32) -> u32 {
        let desc = self.block(index).cast::<BlockDesc>();
        // SAFETY: each block starts with a descriptor and is aligned to a page; by this function's contract
        // nobody writes to it now.
        unsafe { (*desc.as_ptr()).blk_len }
    }

    pub(super) fn geometry(&self) -> RingGeometry {
        self.geometry
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `map_shared`, and nothing borrows it any more.
        let answer = unsafe { libc::munmap(self.base.as_ptr().cast(), self.geometry.bytes()) };
        debug_assert_eq!(answer, 0, "munmap of a whole mapping");
    }
}

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
    pub(super) unsafe fn new(memory: Arc<Memory>, origin: Origin) -> Self {
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

/// What a [`Reader`] has counted: plain counters with one writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

/// A ring with its open block and a place in it, so that a worker can merge several by time.
///
/// ```text
/// refill() ─▶ ts_ns(), frame() ─▶ advance() ─▶ … ─▶ the last advance() returns the block
/// ```
#[derive(Debug)]
pub struct Reader {
    // Before `ring`: dropped, and so returned, while the memory is still there.
    open: Option<Open>,
    ring: Ring,
    last_ts_ns: Option<i64>,
    /// Of the blocks that were returned.
    counts: ReaderCounts,
}

#[derive(Debug)]
struct Open {
    /// Never handed out: the lifetime is a fiction that `Reader` upholds by owning the ring.
    block: Block<'static>,
    cursor: Cursor,
}

impl Open {
    fn passed(&self) -> u32 {
        self.block.num_pkts() - self.cursor.frames_left()
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
            let cursor = block.start();
            match cursor.frames_left() {
                0 => self.counts.blocks_empty += 1,
                _ => self.open = Some(Open { block, cursor }),
            }
        }
        true
    }

    /// The frame at the head; `None` if no block is open.
    #[inline]
    pub fn frame(&self) -> Option<Frame<'_>> {
        let open = self.open.as_ref()?;
        open.block.frame(open.cursor)
    }

    /// The stamp of the frame at the head, nanoseconds since the Unix epoch.
    #[inline]
    pub fn ts_ns(&self) -> Option<i64> {
        let open = self.open.as_ref()?;
        open.block.ts_ns(open.cursor)
    }

    /// The open block, to look at its header.
    #[cfg(test)]
    fn block(&self) -> Option<&Block<'_>> {
        self.open.as_ref().map(|open| &open.block)
    }

    /// Passes the frame at the head. Behind its last frame the block goes back to the kernel.
    #[inline]
    pub fn advance(&mut self) {
        let Some(open) = self.open.as_mut() else {
            return;
        };
        open.cursor = open.block.next(open.cursor);
        if open.cursor.frames_left() == 0 {
            self.close();
        }
    }

    /// Asks the CPU for what lies behind the frame at the head, while that is looked at.
    #[inline]
    pub fn announce_next(&self) {
        if let Some(open) = &self.open {
            open.block.announce_next(open.cursor);
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
        self.open
            .as_ref()
            .map_or(0, |open| open.cursor.frames_left())
    }

    /// The last stamp of the last block that was returned: how far this ring is known to be complete.
    pub fn last_ts_ns(&self) -> Option<i64> {
        self.last_ts_ns
    }

    /// What was counted so far.
    pub fn counts(&self) -> ReaderCounts {
        let mut counts = self.counts;
        counts.frames_read += u64::from(self.open.as_ref().map_or(0, Open::passed));
        counts
    }

    /// The ring's size and pace.
    pub fn geometry(&self) -> RingGeometry {
        self.ring.geometry()
    }

    /// What waits to be read. A gauge, not a book.
    pub fn waiting(&mut self) -> Waiting {
        let mut waiting = self.ring.waiting(u32::from(self.open.is_some()));
        if let Some(open) = &self.open {
            waiting.blocks += 1;
            waiting.bytes += open.block.bytes_left(open.cursor);
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
