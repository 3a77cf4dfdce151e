//! Compares several numbers with one at once: by SSE2, which every x86_64 has, elsewhere one by one.

use super::lines::Line;

/// A call by vectors where the machine has them.
macro_rules! fastest {
    ($name:ident($($argument:ident),+)) => {{
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86_64 has SSE2.
        unsafe {
            sse2::$name($($argument),+)
        }
        #[cfg(not(target_arch = "x86_64"))]
        one_by_one::$name($($argument),+)
    }};
}

/// One bit for each byte that is `wanted`.
#[inline(always)]
pub fn equal_bytes(bytes: &[u8; 16], wanted: u8) -> u32 {
    fastest!(equal_bytes(bytes, wanted))
}

impl Line {
    /// One bit for each of the first twelve [`Line::u16s`] that is `wanted`.
    #[inline(always)]
    pub fn equal_to(&self, wanted: u16) -> u32 {
        fastest!(equal_to(self, wanted))
    }

    /// One bit for each of the first eight [`Line::u32s`] that is `wanted`.
    #[inline(always)]
    pub fn numbers_equal_to(&self, wanted: u32) -> u8 {
        fastest!(numbers_equal_to(self, wanted))
    }

    /// One bit for each word whose highest bit is set.
    #[inline(always)]
    pub fn highest_bits(&self) -> u8 {
        fastest!(highest_bits(self))
    }

    /// One bit for each word whose lower half is `wanted`.
    #[inline(always)]
    pub fn lower_halves_equal_to(&self, wanted: u32) -> u8 {
        fastest!(lower_halves_equal_to(self, wanted))
    }
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use super::Line;
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "sse2")]
    fn two(lower: u64, upper: u64) -> __m128i {
        _mm_set_epi64x(upper.cast_signed(), lower.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn equal_bytes(bytes: &[u8; 16], wanted: u8) -> u32 {
        let ([lower, upper], _) = bytes.as_chunks::<8>() else {
            unreachable!("16 bytes");
        };
        let all = two(u64::from_le_bytes(*lower), u64::from_le_bytes(*upper));
        let equal = _mm_cmpeq_epi8(all, _mm_set1_epi8(wanted.cast_signed()));
        _mm_movemask_epi8(equal).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn equal_to(Line(words): &Line, wanted: u16) -> u32 {
        let wanted = _mm_set1_epi16(wanted.cast_signed());
        let eight = _mm_cmpeq_epi16(two(words[0], words[1]), wanted);
        let four = _mm_cmpeq_epi16(two(words[2], 0), wanted);
        let bits = _mm_movemask_epi8(_mm_packs_epi16(eight, four));
        bits.cast_unsigned() & 0xfff
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the lowest bits are meant"
    )]
    fn low_byte(bits: i32) -> u8 {
        bits as u8
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn numbers_equal_to(Line(words): &Line, wanted: u32) -> u8 {
        let wanted = _mm_set1_epi32(wanted.cast_signed());
        let four = _mm_cmpeq_epi32(two(words[0], words[1]), wanted);
        let more = _mm_cmpeq_epi32(two(words[2], words[3]), wanted);
        let all = _mm_packs_epi32(four, more);
        low_byte(_mm_movemask_epi8(_mm_packs_epi16(all, all)))
    }

    /// The lower halves of four words, or the upper ones.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn halves<const WHICH: i32>(words: &[u64; 8], at: usize) -> __m128i {
        let first = _mm_castsi128_ps(two(words[at], words[at + 1]));
        let second = _mm_castsi128_ps(two(words[at + 2], words[at + 3]));
        _mm_castps_si128(_mm_shuffle_ps::<WHICH>(first, second))
    }
    const LOWER: i32 = 0b10_00_10_00;
    const UPPER: i32 = 0b11_01_11_01;

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn highest_bits(Line(words): &Line) -> u8 {
        // Packing keeps signs.
        let all = _mm_packs_epi32(halves::<UPPER>(words, 0), halves::<UPPER>(words, 4));
        low_byte(_mm_movemask_epi8(_mm_packs_epi16(all, all)))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn lower_halves_equal_to(Line(words): &Line, wanted: u32) -> u8 {
        let wanted = _mm_set1_epi32(wanted.cast_signed());
        let four = _mm_cmpeq_epi32(halves::<LOWER>(words, 0), wanted);
        let more = _mm_cmpeq_epi32(halves::<LOWER>(words, 4), wanted);
        let all = _mm_packs_epi32(four, more);
        low_byte(_mm_movemask_epi8(_mm_packs_epi16(all, all)))
    }
}

#[cfg(any(test, not(target_arch = "x86_64")))]
mod one_by_one {
    use super::Line;

    pub fn equal_bytes(bytes: &[u8; 16], wanted: u8) -> u32 {
        let bytes = bytes.iter().enumerate();
        bytes.fold(0, |bits, (at, byte)| {
            bits | u32::from(*byte == wanted) << at
        })
    }

    pub fn equal_to(line: &Line, wanted: u16) -> u32 {
        let numbers = line.u16s()[..12].iter().enumerate();
        numbers.fold(0, |bits, (at, number)| {
            bits | u32::from(*number == wanted) << at
        })
    }

    pub fn numbers_equal_to(line: &Line, wanted: u32) -> u8 {
        let numbers = line.u32s()[..8].iter().enumerate();
        numbers.fold(0, |bits, (at, number)| {
            bits | u8::from(*number == wanted) << at
        })
    }

    pub fn highest_bits(Line(words): &Line) -> u8 {
        let words = words.iter().enumerate();
        words.fold(0, |bits, (at, word)| bits | u8::from(word >> 63 != 0) << at)
    }

    pub fn lower_halves_equal_to(Line(words): &Line, wanted: u32) -> u8 {
        let equal = |word: &u64| u8::from(*word & 0xffff_ffff == u64::from(wanted));
        let words = words.iter().enumerate();
        words.fold(0, |bits, (at, word)| bits | equal(word) << at)
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
                assert_eq!(
                    found,
                    one_by_one::equal_to(&line, wanted),
                    "{wanted:x} {line:x?}"
                );
            }
            assert_eq!(
                line.highest_bits(),
                one_by_one::highest_bits(&line),
                "{line:x?}"
            );
            for wanted in [0, 1, 0x8000_0000, 0x8000_0001] {
                let found = line.numbers_equal_to(wanted);
                let one_by_one = one_by_one::numbers_equal_to(&line, wanted);
                assert_eq!(found, one_by_one, "{wanted:x} {line:x?}");
                let found = line.lower_halves_equal_to(wanted);
                let one_by_one = one_by_one::lower_halves_equal_to(&line, wanted);
                assert_eq!(found, one_by_one, "{wanted:x} {line:x?}");
            }
        }
        assert_eq!(
            Line([1 << 63, 1, 0, 1 << 63, 0, 1 << 62, 0, u64::MAX]).highest_bits(),
            0b1000_1001
        );
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
                    one_by_one::equal_bytes(&bytes, wanted),
                    "{wanted} {bytes:?}"
                );
            }
        }
        let bytes = [5, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(equal_bytes(&bytes, 5), 0b1000_0000_0000_1001);
    }
}
