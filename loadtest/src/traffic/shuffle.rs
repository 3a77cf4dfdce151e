//! A seeded permutation of 32-bit numbers, and its inverse.

/// A permutation of all 32-bit numbers. It is invertible, so an attempt's sequence number gives the attempt's number.
///
/// Source of the constants: Wellons, "Prospecting for hash functions", 2018 (lowbias32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shuffle(pub u32);

/// First multiplier.
pub const FIRST: u32 = 0x7FEB_352D;
/// Second multiplier.
pub const SECOND: u32 = 0x846C_A68B;
const FIRST_INVERSE: u32 = 0x1D69_E2A5;
const SECOND_INVERSE: u32 = 0x4302_1123;

impl Shuffle {
    /// The permuted `number`.
    #[must_use]
    pub fn permute(self, number: u32) -> u32 {
        let mut x = number ^ self.0;
        x = (x ^ (x >> 16)).wrapping_mul(FIRST);
        x = (x ^ (x >> 15)).wrapping_mul(SECOND);
        x ^ (x >> 16)
    }

    /// The number whose permutation is `permuted`.
    #[must_use]
    pub fn invert(self, permuted: u32) -> u32 {
        let mut x = permuted;
        x = (x ^ (x >> 16)).wrapping_mul(SECOND_INVERSE);
        x = (x ^ (x >> 15) ^ (x >> 30)).wrapping_mul(FIRST_INVERSE);
        x ^ (x >> 16) ^ self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invert_undoes_permute() {
        let mut rng = craft::Rng::new(1);
        for _ in 0..100_000 {
            let (shuffle, number) = (Shuffle(rng.next_u32()), rng.next_u32());
            assert_eq!(shuffle.invert(shuffle.permute(number)), number);
        }
        assert_eq!(FIRST.wrapping_mul(FIRST_INVERSE), 1);
        assert_eq!(SECOND.wrapping_mul(SECOND_INVERSE), 1);
    }
}
