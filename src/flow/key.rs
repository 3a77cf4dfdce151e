//! The keyed hash of addresses and ports.

use crate::decode::key::{Address, Key};
use crate::splitmix::splitmix64;

#[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn low(number: u128) -> u64 {
    number as u64
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    low(product) ^ low(product >> 64)
}

fn fold_address(address: u128, k: u64, l: u64) -> u64 {
    fold(low(address) ^ k, low(address >> 64) ^ l)
}

/// The keyed hash of a key's canonical form.
///
/// Folded 64-bit multiplications under secret words: a blind attacker cannot choose collisions. Whoever knows the
/// words is still limited by buckets of fixed size.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    words: [u64; 6],
}

/// Any odd number far from a power of two.
const FACTOR: u64 = 0xda94_2042_e4dd_58b5;

impl Hasher {
    /// A hasher under `keys`, which should come from the kernel's random source.
    pub fn new(keys: [u64; 2]) -> Self {
        let [mut state, mut other] = keys;
        // The factor keeps equal keys from cancelling each other out.
        let word = |_| splitmix64(&mut state) ^ splitmix64(&mut other).wrapping_mul(FACTOR) | 1;
        Self {
            words: std::array::from_fn(word),
        }
    }

    /// Equal for both directions.
    #[inline(always)]
    pub(crate) fn hash(&self, key: &Key) -> u64 {
        let [k0, k1, k2, k3, k4, k5] = self.words;
        let end = |addr: u128, port: u16| {
            if key.v6() {
                fold(fold_address(addr, k2, k3) ^ k4, u64::from(port) ^ k5)
            } else {
                low(addr) << 16 | u64::from(port)
            }
        };
        let (a, b) = (end(key.src, key.src_port()), end(key.dst, key.dst_port()));
        let rest = u64::from(key.tags()) << 32 | u64::from(key.kind());
        // One word for both ends: so their order does not matter.
        fold(fold(a ^ k0, b ^ k0) ^ k1 ^ a ^ b, rest ^ k3)
    }

    /// Hash of two addresses, in this order.
    #[inline]
    pub fn pair(&self, src: Address, dst: Address) -> u64 {
        let [k0, k1, k2, k3, k4, k5] = self.words;
        if !src.v6 && !dst.v6 {
            let both = low(src.bits) << 32 | low(dst.bits);
            return fold(fold(both ^ k0, k1) ^ both ^ k2, k3);
        }
        let a = fold_address(src.bits, k2, k3);
        let b = fold_address(dst.bits, k4, k5);
        let families = u64::from(src.v6) << 1 | u64::from(dst.v6);
        fold(a ^ k0 ^ families, b.rotate_left(23) ^ k1)
    }

    /// Hash of one address.
    #[inline]
    pub fn source(&self, src: Address) -> u64 {
        let [k0, k1, k2, k3, k4, k5] = self.words;
        let (word, family) = match src.v6 {
            false => (low(src.bits), k0),
            true => (fold_address(src.bits, k2, k3), k4),
        };
        fold(fold(word ^ family, k1) ^ word ^ k4, k5)
    }

    /// Hash of a [`Hasher::source`] and a number.
    #[inline]
    pub fn source_and(&self, source: u64, number: u64) -> u64 {
        let [_, _, k2, k3, ..] = self.words;
        fold(fold(source ^ k2, number ^ k3) ^ source, number ^ k2)
    }

    /// Hash of a hash and the tags of a key; without tags the same hash.
    #[inline]
    pub fn tagged(&self, hash: u64, tags: u32) -> u64 {
        match tags {
            0 => hash,
            tags => self.under(hash, tags),
        }
    }

    /// Out of line: hardly any key has tags.
    #[cold]
    #[inline(never)]
    fn under(&self, hash: u64, tags: u32) -> u64 {
        self.far(hash, tags)
    }

    /// Hash of a hash and a number that a sender chose: the initial sequence number of the fifth and later attempts
    /// of a tuple, or the identification of a fragmented packet.
    ///
    /// Folded twice: one multiplication maps consecutive numbers to an arithmetic progression, which
    /// under one key in a thousand stays in one bucket.
    pub(crate) fn far(&self, hash: u64, number: u32) -> u64 {
        let [_, k1, _, _, k4, k5] = self.words;
        let once = fold(hash ^ k4, u64::from(number) ^ k5);
        fold(once ^ k1, hash ^ k5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_are_keys_like_any_other() {
        for key in [0, 9, u64::MAX] {
            let hasher = Hasher::new([key; 2]);
            let mut words = hasher.words.to_vec();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), hasher.words.len(), "{words:x?}");
            let mut pairs: Vec<u64> = (0..1000)
                .map(|bits| Address { v6: false, bits })
                .map(|address| hasher.pair(address, address))
                .collect();
            pairs.sort_unstable();
            pairs.dedup();
            assert_eq!(pairs.len(), 1000);
        }
    }

    #[test]
    fn consecutive_numbers_share_no_bucket_under_any_key() {
        const KEYS: u64 = 20_000;
        let mut crowded = 0;
        for key in 0..KEYS {
            let mut state = key;
            let hasher = Hasher::new([splitmix64(&mut state), splitmix64(&mut state)]);
            let hash = splitmix64(&mut state);
            let mut in_bucket = [0_u8; 1024];
            for number in 1..=5 {
                let bucket = usize::try_from(hasher.far(hash, number) >> 54).expect("10 bits");
                in_bucket[bucket] += 1;
            }
            crowded += u32::from(in_bucket.iter().any(|&held| held >= 4));
        }
        // By chance four of five meet once in 2 * 10^8 keys.
        assert_eq!(crowded, 0, "of {KEYS} keys");
    }
}
