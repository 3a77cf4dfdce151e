//! A bucket of a table: one cache line, in which all tags are compared at once.
//!
//! Layout: ten tags of 16 bits (0: free), the count of entries that overflowed into their second bucket (32 bits),
//! ten positions.

use crate::sys::lines::Line;

/// Entries a bucket holds.
pub const WAYS: usize = 10;
/// Tags in a word.
const LANES: usize = 4;
const LOW: u64 = 0x7fff_7fff_7fff_7fff;
/// The lanes of the third word that hold tags.
const THIRD: u64 = 0xffff_ffff;
/// One overflowed entry, as the third word counts it.
pub const ONE_OVERFLOWED: u64 = 1 << 32;

/// One bit for each way whose tag is `tag`: bit 16 * lane + word.
pub fn matching(tags: &[u64; 3], tag: u16) -> u64 {
    let wanted = u64::from(tag) * 0x0001_0001_0001_0001;
    let equal = |word: u64| {
        let differs = word ^ wanted;
        !(((differs & LOW) + LOW) | differs | LOW)
    };
    equal(tags[0]) >> 15 | equal(tags[1]) >> 14 | (equal(tags[2]) & THIRD) >> 13
}

/// The way of the lowest bit that [`matching`] set.
fn way_of(bits: u64) -> usize {
    let bit = bits.trailing_zeros() as usize;
    (bit % 16) * LANES + bit / 16
}

impl Line {
    #[inline(always)]
    pub(super) fn tags(&self) -> &[u64; 3] {
        self.0.first_chunk().expect("eight words")
    }

    /// The position at a way.
    #[inline(always)]
    pub(super) fn at(&self, way: usize) -> u32 {
        (self.0[3 + way / 2] >> (32 * (way % 2)) & 0xffff_ffff) as u32
    }

    pub(super) fn set_at(&mut self, way: usize, at: u32) {
        let shift = 32 * (way % 2);
        let word = &mut self.0[3 + way / 2];
        *word = *word & !(0xffff_ffff << shift) | u64::from(at) << shift;
    }

    pub(super) fn tag(&self, way: usize) -> u16 {
        (self.0[way / LANES] >> (16 * (way % LANES)) & 0xffff) as u16
    }

    pub(super) fn set_tag(&mut self, way: usize, tag: u16) {
        let shift = 16 * (way % LANES);
        let word = &mut self.0[way / LANES];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    /// Entries whose first bucket this is and that lie in their second.
    #[inline(always)]
    pub(super) fn overflowed(&self) -> u64 {
        self.0[2] >> 32
    }

    pub(super) fn free_way(&self) -> Option<usize> {
        let free = matching(self.tags(), 0);
        (free != 0).then(|| way_of(free))
    }

    /// The positions under `tag`.
    #[inline(always)]
    pub(super) fn under(&self, tag: u16) -> impl Iterator<Item = u32> {
        let mut bits = matching(self.tags(), tag);
        std::iter::from_fn(move || {
            let way = (bits != 0).then(|| way_of(bits))?;
            bits &= bits - 1;
            Some(self.at(way))
        })
    }
}
