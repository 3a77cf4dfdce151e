//! Zeroed memory in whole cache lines. Pages are allocated at the first access.

use super::huge_pages::ask_for_huge_pages_at;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use std::alloc::{Layout, handle_alloc_error};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

/// A cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Line(pub [u64; 8]);

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    /// One bit for each of the first twelve numbers of 16 bits (from the lowest of the first word on) that is `wanted`.
    #[inline(always)]
    pub fn equal_to(&self, wanted: u16) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            self.equal_by_sse2(wanted)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self.equal_one_by_one(wanted)
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn equal_by_sse2(&self, wanted: u16) -> u32 {
        use std::arch::x86_64::*;
        let first = self.0.as_ptr().cast::<__m128i>();
        // SAFETY: every x86_64 has SSE2; a line has 64 bytes, of which the first 24 are read, aligned to 16.
        let bits = unsafe {
            let wanted = _mm_set1_epi16(wanted.cast_signed());
            let eight = _mm_cmpeq_epi16(_mm_load_si128(first), wanted);
            let four = _mm_cmpeq_epi16(_mm_loadl_epi64(first.add(1)), wanted);
            _mm_movemask_epi8(_mm_packs_epi16(eight, four))
        };
        bits.cast_unsigned() & 0xfff
    }

    /// One bit for each word whose lower half is `wanted`.
    #[inline(always)]
    pub fn lower_halves_equal_to(&self, wanted: u32) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            self.lower_halves_by_sse2(wanted)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self.lower_halves_one_by_one(wanted)
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn lower_halves_by_sse2(&self, wanted: u32) -> u32 {
        use std::arch::x86_64::*;
        let first = self.0.as_ptr().cast::<f32>();
        // SAFETY: every x86_64 has SSE2; a line has 64 bytes, all of which are read, aligned to 16.
        let bits = unsafe {
            let wanted = _mm_set1_epi32(wanted.cast_signed());
            let equal = |at| {
                let (two, more) = (_mm_load_ps(first.add(at)), _mm_load_ps(first.add(at + 4)));
                let lower = _mm_shuffle_ps::<0b10_00_10_00>(two, more);
                _mm_cmpeq_epi32(_mm_castps_si128(lower), wanted)
            };
            let all = _mm_packs_epi32(equal(0), equal(8));
            _mm_movemask_epi8(_mm_packs_epi16(all, all))
        };
        bits.cast_unsigned() & 0xff
    }

    /// The same without vectors.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn lower_halves_one_by_one(&self, wanted: u32) -> u32 {
        let equal = |word: &u64| u32::from(*word & 0xffff_ffff == u64::from(wanted));
        let words = self.0.iter().enumerate();
        words.fold(0, |bits, (at, word)| bits | equal(word) << at)
    }

    /// [`Line::equal_to`] without vectors.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn equal_one_by_one(&self, wanted: u16) -> u32 {
        (0..12).fold(0, |bits, at| {
            let number = self.0[at / 4] >> (16 * (at % 4)) & 0xffff;
            bits | u32::from(number == u64::from(wanted)) << at
        })
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
    /// Maps `len` lines of zeros, without allocating pages.
    ///
    /// # Panics
    ///
    /// If `len` is 0.
    pub fn zeroed(len: usize) -> Self {
        let layout = Layout::array::<Line>(len).expect("less than 2^63 bytes");
        let bytes = NonZeroUsize::new(layout.size()).expect("at least one line");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let mapped = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_PRIVATE) };
        let Ok(base) = mapped else {
            handle_alloc_error(layout)
        };
        Self {
            base: base.cast(),
            len,
        }
    }

    /// Advises huge pages, and writes to every page.
    pub fn prefault(&mut self) {
        ask_for_huge_pages_at(self.base.cast(), self.len * size_of::<Line>());
        for line in self.iter_mut() {
            *std::hint::black_box(line) = Line::default();
        }
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
    fn equal_numbers_are_found_with_and_without_vectors() {
        let mut state = 7;
        for _ in 0..2_000 {
            let line = Line(std::array::from_fn(|_| {
                // Few values, so that most are met; the sign bit among them.
                crate::splitmix::splitmix64(&mut state) & 0x8001_0003_8000_0001
            }));
            for wanted in [0, 1, 2, 3, 0x8000, 0x8001, 0xffff] {
                let found = line.equal_to(wanted);
                assert_eq!(found, line.equal_one_by_one(wanted), "{wanted:x} {line:x?}");
            }
            for wanted in [0, 1, 0x8000_0000, 0x8000_0001] {
                let found = line.lower_halves_equal_to(wanted);
                let one_by_one = line.lower_halves_one_by_one(wanted);
                assert_eq!(found, one_by_one, "{wanted:x} {line:x?}");
            }
        }
        let line = Line([0x0005_0004_0003_0002, 5, 0x0005_ffff_0000_0001, 5, 5, 5, 5, 5]);
        assert_eq!(line.equal_to(5), 0b1000_0001_1000, "{line:x?}");
        assert_eq!(line.lower_halves_equal_to(5), 0b1111_1010, "{line:x?}");
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
