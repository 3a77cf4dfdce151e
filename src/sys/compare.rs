//! Compares several numbers with one at once: by SSE2, which every x86_64 has, elsewhere one by one.

use super::lines::Line;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// One bit for each byte that is `wanted`.
#[inline(always)]
pub fn equal_bytes(bytes: &[u8; 16], wanted: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let first = bytes.as_ptr().cast::<__m128i>();
        // SAFETY: every x86_64 has SSE2; 16 bytes are read, wherever they lie.
        let bits = unsafe {
            let equal = _mm_cmpeq_epi8(_mm_loadu_si128(first), _mm_set1_epi8(wanted.cast_signed()));
            _mm_movemask_epi8(equal)
        };
        bits.cast_unsigned()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        equal_bytes_one_by_one(bytes, wanted)
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_bytes_one_by_one(bytes: &[u8; 16], wanted: u8) -> u32 {
    let bytes = bytes.iter().enumerate();
    bytes.fold(0, |bits, (at, byte)| {
        bits | u32::from(*byte == wanted) << at
    })
}

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

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn lower_halves_one_by_one(&self, wanted: u32) -> u32 {
        let equal = |word: &u64| u32::from(*word & 0xffff_ffff == u64::from(wanted));
        let words = self.0.iter().enumerate();
        words.fold(0, |bits, (at, word)| bits | equal(word) << at)
    }

    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn equal_one_by_one(&self, wanted: u16) -> u32 {
        (0..12).fold(0, |bits, at| {
            let number = self.0[at / 4] >> (16 * (at % 4)) & 0xffff;
            bits | u32::from(number == u64::from(wanted)) << at
        })
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
        let line = Line([
            0x0005_0004_0003_0002,
            5,
            0x0005_ffff_0000_0001,
            5,
            5,
            5,
            5,
            5,
        ]);
        assert_eq!(line.equal_to(5), 0b1000_0001_1000, "{line:x?}");
        assert_eq!(line.lower_halves_equal_to(5), 0b1111_1010, "{line:x?}");
    }

    #[test]
    fn equal_bytes_are_found_with_and_without_vectors() {
        let mut state = 7;
        for _ in 0..2_000 {
            let bytes =
                std::array::from_fn(|_| (crate::splitmix::splitmix64(&mut state) & 0x83) as u8);
            for wanted in [0, 1, 3, 0x80, 0x83, 0xff] {
                let found = equal_bytes(&bytes, wanted);
                assert_eq!(
                    found,
                    equal_bytes_one_by_one(&bytes, wanted),
                    "{wanted} {bytes:?}"
                );
            }
        }
        let bytes = [5, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(equal_bytes(&bytes, 5), 0b1000_0000_0000_1001);
    }
}
