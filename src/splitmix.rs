//! SplitMix64: keys from a seed, and a mixer of bits.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".

/// Advances `state` and returns the next number.
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix64(*state)
}

/// A bijective mixer: every bit of the result depends on every bit of `number`.
#[inline]
pub fn mix64(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn the_published_numbers_come_out() {
    let mut state = 1_234_567;
    let numbers = [(); 2].map(|()| splitmix64(&mut state));
    assert_eq!(
        numbers,
        [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
    );
}
