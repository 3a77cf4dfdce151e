//! VLAN identifiers in the lower 26 bits of a word: two of 12 bits, and how many are set.

#[inline(always)]
pub(super) fn pack(ids: [u16; 2], count: u8) -> u32 {
    u32::from(ids[0] & 0xfff) | u32::from(ids[1] & 0xfff) << 12 | u32::from(count & 3) << 24
}

/// The identifiers, and how many are set; other bits of the word do not matter.
#[allow(clippy::cast_possible_truncation, reason = "parts of a word")]
pub(super) fn unpack(word: u32) -> ([u16; 2], u8) {
    let id = |shift: u32| (word >> shift & 0xfff) as u16;
    ([id(0), id(12)], (word >> 24 & 3) as u8)
}
