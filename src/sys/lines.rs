//! Zeroed memory in whole cache lines. Pages are allocated at the first access.

use super::huge_pages::ask_for_huge_pages_at;
use crate::snapshot::{Layout, Snapshot, misfit};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::alloc::{self, handle_alloc_error};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::slice;

/// A cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(C, align(64))]
pub struct Line(pub [u64; 8]);

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    /// The line as numbers of 16 bits, from its first byte on.
    #[inline(always)]
    pub fn u16s(&self) -> &[u16; 32] {
        // SAFETY: as large, aligned, and any bits are numbers.
        unsafe { &*ptr::from_ref(self).cast() }
    }

    /// The same, to write.
    #[inline(always)]
    pub fn u16s_mut(&mut self) -> &mut [u16; 32] {
        // SAFETY: as in `u16s`, and `self` is borrowed alone.
        unsafe { &mut *ptr::from_mut(self).cast() }
    }

    /// The line as numbers of 32 bits, from its first byte on.
    #[inline(always)]
    pub fn u32s(&self) -> &[u32; 16] {
        // SAFETY: as large, aligned, and any bits are numbers.
        unsafe { &*ptr::from_ref(self).cast() }
    }

    /// The same, to write.
    #[inline(always)]
    pub fn u32s_mut(&mut self) -> &mut [u32; 16] {
        // SAFETY: as in `u32s`, and `self` is borrowed alone.
        unsafe { &mut *ptr::from_mut(self).cast() }
    }
}

/// A mapping of a fixed number of lines.
#[derive(Debug)]
pub struct Lines {
    base: NonNull<Line>,
    len: usize,
}

// SAFETY: it owns its memory, as a boxed slice does.
unsafe impl Send for Lines {}

impl Lines {
    /// Maps `len` lines of zeros, without allocating pages; these are huge where the kernel has any.
    ///
    /// # Panics
    ///
    /// If `len` is 0.
    pub fn zeroed(len: usize) -> Self {
        let layout = alloc::Layout::array::<Line>(len).expect("less than 2^63 bytes");
        let bytes = NonZeroUsize::new(layout.size()).expect("at least one line");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let mapped = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE) };
        let Ok(base) = mapped else {
            handle_alloc_error(layout)
        };
        ask_for_huge_pages_at(base.cast(), layout.size());
        Self {
            base: base.cast(),
            len,
        }
    }

    fn bytes(&self) -> usize {
        self.len * size_of::<Line>()
    }

    /// Writes to every page.
    pub fn prefault(&mut self) {
        for line in self.iter_mut() {
            *std::hint::black_box(line) = Line::default();
        }
    }
}

impl Snapshot for Lines {
    fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        (self.len as u64).save(to)?;
        // SAFETY: the mapping has so many bytes, all of them initialized.
        let bytes = unsafe { slice::from_raw_parts(self.base.as_ptr().cast::<u8>(), self.bytes()) };
        to.write_all(bytes)
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut len = 0_u64;
        len.restore(from)?;
        if len != self.len as u64 {
            return Err(misfit("a table has another size"));
        }
        // SAFETY: as in `save`; any bytes are valid lines, and `self` is borrowed alone.
        let bytes =
            unsafe { slice::from_raw_parts_mut(self.base.as_ptr().cast::<u8>(), self.bytes()) };
        from.read_exact(bytes)
    }

    fn layout(layout: &mut Layout) {
        layout.add(b"lines");
    }
}

impl Deref for Lines {
    type Target = [Line];

    #[inline(always)]
    fn deref(&self) -> &[Line] {
        // SAFETY: the mapping has `len` lines, is page-aligned, was zeroed by the kernel, and any bits are a valid
        // line; nothing else refers to it.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl DerefMut for Lines {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: as in `deref`, and `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `zeroed`, and nothing borrows it any more.
        let answer = unsafe { munmap(self.base.cast(), self.len * size_of::<Line>()) };
        debug_assert!(answer.is_ok(), "munmap of a whole mapping");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_views_of_a_line_share_its_bytes() {
        let mut line = Line::default();
        line.u16s_mut()[2] = 7;
        line.u32s_mut()[15] = 9;
        let bytes = line.0.map(u64::to_ne_bytes).concat();
        assert_eq!(bytes[4..6], 7_u16.to_ne_bytes());
        assert_eq!(bytes[60..], 9_u32.to_ne_bytes());
        assert_eq!(bytes.iter().filter(|byte| **byte != 0).count(), 2);
        assert_eq!((line.u16s()[2], line.u32s()[15]), (7, 9));
    }

    #[test]
    fn lines_are_zero_apart_and_aligned() {
        let mut lines = Lines::zeroed(100_000);
        assert_eq!(lines.as_ptr().addr() % 64, 0);
        assert!(lines.iter().all(|line| *line == Line::default()));
        lines[99_999].0[7] = 5;
        lines[0].0[0] = 4;
        assert_eq!((lines[0].0[0], lines[99_999].0[7]), (4, 5));
        lines.prefault();
        assert!(lines.iter().all(|line| *line == Line::default()));
    }
}
