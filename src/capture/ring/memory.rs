//! A ring's memory: mapped from its socket, or plain memory for a fake kernel.

use super::abi::BlockDesc;
use libc::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU32;

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
pub(in crate::capture) struct Memory {
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
    pub(in crate::capture) fn map(
        socket: BorrowedFd<'_>,
        geometry: RingGeometry,
    ) -> io::Result<Self> {
        Self::map_shared(geometry, 0, socket.as_raw_fd())
    }

    /// Zeroed plain memory, for a kernel that is not there.
    #[cfg(test)]
    pub(super) fn plain(geometry: RingGeometry) -> Self {
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
    pub(super) unsafe fn blk_len(&self, index: u32) -> u32 {
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
