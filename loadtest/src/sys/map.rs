//! Memory shared with the kernel.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// A mapping; dropping it unmaps the memory.
#[derive(Debug)]
pub struct Map {
    base: NonNull<u8>,
    len: usize,
}

impl Map {
    /// Maps `len` bytes of `fd` at `offset`; without a descriptor, zeroed anonymous memory.
    pub fn new(fd: Option<BorrowedFd<'_>>, len: usize, offset: i64) -> io::Result<Self> {
        let flags = match fd {
            Some(_) => libc::MAP_SHARED,
            None => libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        };
        let raw = fd.map_or(-1, |fd| fd.as_raw_fd());
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so nothing that exists is replaced.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                access,
                flags | libc::MAP_POPULATE,
                raw,
                offset,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { base, len })
    }

    /// Address of `len` bytes at `at`.
    ///
    /// # Panics
    ///
    /// If they are not inside the mapping.
    pub fn at(&self, at: usize, len: usize) -> NonNull<u8> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{at}+{len} is outside a mapping of {}", self.len);
        // SAFETY: inside the mapping by the assertion.
        unsafe { self.base.add(at) }
    }

    /// `len` bytes at `at`, writable.
    ///
    /// # Safety
    ///
    /// Neither the kernel nor another reference uses them while the slice lives.
    ///
    /// # Panics
    ///
    /// If they are not inside the mapping.
    pub unsafe fn bytes(&mut self, at: usize, len: usize) -> &mut [u8] {
        let base = self.at(at, len);
        // SAFETY: mapped and inside; nobody else uses them, by this function's contract.
        unsafe { std::slice::from_raw_parts_mut(base.as_ptr(), len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and no slice outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}
