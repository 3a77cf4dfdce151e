//! SipHash-1-3 of whole words, with keys that are known when the program is built.
//!
//! Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF", with one round a word and three at the end; of 128
//! bits as in their reference implementation.

/// A hash of words of which the last one has the number of bytes in its highest byte.
#[inline(always)]
pub fn of_words<const LEN: usize>(key: [u64; 2], words: [u64; LEN]) -> u64 {
    let mut state = absorb(start(key), words);
    state[2] ^= 0xff;
    finish(state).0
}

/// The same with 128 bits.
#[inline(always)]
pub fn wide_of_words<const LEN: usize>(key: [u64; 2], words: [u64; LEN]) -> u128 {
    let mut state = start(key);
    state[1] ^= 0xee;
    state = absorb(state, words);
    state[2] ^= 0xee;
    let (low, mut state) = finish(state);
    state[1] ^= 0xdd;
    let (high, _) = finish(state);
    u128::from(high) << 64 | u128::from(low)
}

fn start(key: [u64; 2]) -> [u64; 4] {
    [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ]
}

#[inline(always)]
fn absorb<const LEN: usize>(mut state: [u64; 4], words: [u64; LEN]) -> [u64; 4] {
    for word in words {
        state[3] ^= word;
        state = round(state);
        state[0] ^= word;
    }
    state
}

#[inline(always)]
fn finish(state: [u64; 4]) -> (u64, [u64; 4]) {
    let state = round(round(round(state)));
    (state[0] ^ state[1] ^ state[2] ^ state[3], state)
}

#[inline(always)]
fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.rotate_left(32).wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    [a, b, c.rotate_left(32), d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use siphasher::sip128::Hasher128;
    use siphasher::{sip, sip128};
    use std::hash::Hasher;

    proptest! {
        #[test]
        fn hashes_are_those_of_the_crate(key in any::<[u64; 2]>(), whole in any::<[u64; 3]>(), rest in any::<u8>()) {
            let words = [whole[0], whole[1], whole[2], u64::from(rest) | 25 << 56];
            let bytes: Vec<u8> = whole.iter().flat_map(|word| word.to_le_bytes()).chain([rest]).collect();
            let mut narrow = sip::SipHasher13::new_with_keys(key[0], key[1]);
            narrow.write(&bytes);
            prop_assert_eq!(of_words(key, words), narrow.finish());
            let mut wide = sip128::SipHasher13::new_with_keys(key[0], key[1]);
            wide.write(&bytes);
            prop_assert_eq!(wide_of_words(key, words), wide.finish128().as_u128());
        }
    }
}
