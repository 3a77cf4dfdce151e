//! VLAN identifiers in the lower 26 bits of a word: two of 12 bits, and a code of two bits.
//!
//! The code is their number; an identifier that is not set is 0. Identifiers that are part of a key (`--key vlan`) are
//! marked: one of them by a 1 in the place of the second, two by the code 3. A frame without a tag has the word 0 either
//! way.

/// The bits of a word that hold identifiers.
pub(crate) const MASK: u32 = (1 << 26) - 1;
const COUNT: u32 = 24;
const SECOND: u32 = 12;

#[inline(always)]
pub(crate) fn pack(ids: [u16; 2], count: u8) -> u32 {
    if count == 0 {
        return 0;
    }
    u32::from(ids[0] & 0xfff) | u32::from(ids[1] & 0xfff) << SECOND | u32::from(count & 3) << COUNT
}

/// As [`pack`], for identifiers that are part of a key. Identifier 0 is none: such a tag carries a priority only, and
/// with it and without it is the same network (802.1Q).
pub(crate) fn pack_key(ids: [u16; 2], count: u8) -> u32 {
    let mut set = ids
        .into_iter()
        .take(usize::from(count))
        .filter(|id| *id != 0);
    match [set.next(), set.next()] {
        [None, _] => 0,
        [Some(id), None] => pack([id, 1], 1),
        [Some(outer), Some(inner)] => pack([outer, inner], 3),
    }
}

/// The word of identifiers: as the key has them, if they are a part of it.
#[inline(always)]
pub(crate) fn pack_under(tags: u32, ids: [u16; 2], count: u8) -> u32 {
    match tags {
        0 => pack(ids, count),
        tags => tags,
    }
}

/// The part of a word that belongs to a key: all of it, or nothing.
pub(crate) fn key_of(word: u32) -> u32 {
    let is_key = match word >> COUNT & 3 {
        1 => word >> SECOND & 0xfff != 0,
        code => code == 3,
    };
    if is_key { word & MASK } else { 0 }
}

/// The identifiers, and how many are set; other bits of the word do not matter.
#[allow(clippy::cast_possible_truncation, reason = "parts of a word")]
pub(crate) fn unpack(word: u32) -> ([u16; 2], u8) {
    let id = |shift: u32| (word >> shift & 0xfff) as u16;
    match (word >> COUNT & 3) as u8 {
        0 => ([0; 2], 0),
        1 => ([id(0), 0], 1),
        _ => ([id(0), id(SECOND)], 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_back_and_say_whether_they_are_part_of_a_key() {
        for (ids, count) in [
            ([0, 0], 0),
            ([0, 0], 1),
            ([4095, 0], 1),
            ([7, 0], 2),
            ([0, 1], 2),
            ([0, 0], 2),
            ([4095, 4095], 2),
        ] {
            let mut own: Vec<u16> = ids[..usize::from(count)].to_vec();
            own.retain(|id| *id != 0);
            for other_bits in [0, !MASK] {
                let (plain, key) = (pack(ids, count), pack_key(ids, count));
                assert_eq!(unpack(plain | other_bits), (ids, count));
                assert_eq!(key_of(plain | other_bits), 0);
                assert_eq!(key_of(key | other_bits), key);
                let (ids, count) = unpack(key | other_bits);
                assert_eq!(ids[..usize::from(count)], own);
            }
        }
    }
}
