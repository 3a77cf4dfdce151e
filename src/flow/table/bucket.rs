//! A bucket of a table: one line of the cache, in which all tags are compared at once.

use crate::sys::lines::Line;

/// Entries a bucket holds.
pub const WAYS: usize = 10;
/// Tags in a word.
const LANES: usize = 4;
const LOW: u64 = 0x7fff_7fff_7fff_7fff;
/// The lanes of the third word that hold tags: two of them, before the count of those sent on.
const THIRD: u64 = 0xffff_ffff;

/// A bucket as a line of the cache: ten tags of 16 bits (0: free), how many of its keys lie in their second
/// bucket (32 bits), ten positions.
pub trait Bucket {
    /// The words that hold the tags.
    fn tags(&self) -> &[u64; 3];
    /// The position at a way.
    fn at(&self, way: usize) -> u32;
    /// Sets it.
    fn set_at(&mut self, way: usize, at: u32);
    /// The tag at a way.
    fn tag(&self, way: usize) -> u16;
    /// Sets it; 0 frees the way.
    fn set_tag(&mut self, way: usize, tag: u16);
    /// Entries whose first bucket this is and that lie in their second.
    fn sent_on(&self) -> u64;
    /// A way without an entry.
    fn free_way(&self) -> Option<usize>;
    /// The positions under `tag`.
    fn under(&self, tag: u16) -> impl Iterator<Item = u32>;
}

/// One bit for each way whose tag is `tag`: bit 16 * lane + word.
pub fn matching(tags: &[u64; 3], tag: u16) -> u64 {
    let wanted = u64::from(tag) * 0x0001_0001_0001_0001;
    let equal = |word: u64| {
        let differs = word ^ wanted;
        !(((differs & LOW) + LOW) | differs | LOW)
    };
    equal(tags[0]) >> 15 | equal(tags[1]) >> 14 | (equal(tags[2]) & THIRD) >> 13
}

/// The way that the lowest bit of what [`matching`] gave stands for.
fn way_of(bits: u64) -> usize {
    let bit = bits.trailing_zeros() as usize;
    (bit % 16) * LANES + bit / 16
}

impl Bucket for Line {
    #[inline(always)]
    fn tags(&self) -> &[u64; 3] {
        self.0.first_chunk().expect("eight words")
    }

    #[inline(always)]
    fn at(&self, way: usize) -> u32 {
        (self.0[3 + way / 2] >> (32 * (way % 2)) & 0xffff_ffff) as u32
    }

    fn set_at(&mut self, way: usize, at: u32) {
        let shift = 32 * (way % 2);
        let word = &mut self.0[3 + way / 2];
        *word = *word & !(0xffff_ffff << shift) | u64::from(at) << shift;
    }

    fn tag(&self, way: usize) -> u16 {
        (self.0[way / LANES] >> (16 * (way % LANES)) & 0xffff) as u16
    }

    fn set_tag(&mut self, way: usize, tag: u16) {
        let shift = 16 * (way % LANES);
        let word = &mut self.0[way / LANES];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    #[inline(always)]
    fn sent_on(&self) -> u64 {
        self.0[2] >> 32
    }

    fn free_way(&self) -> Option<usize> {
        let free = matching(self.tags(), 0);
        (free != 0).then(|| way_of(free))
    }

    #[inline(always)]
    fn under(&self, tag: u16) -> impl Iterator<Item = u32> {
        let mut bits = matching(self.tags(), tag);
        std::iter::from_fn(move || {
            let way = (bits != 0).then(|| way_of(bits))?;
            bits &= bits - 1;
            Some(self.at(way))
        })
    }
}

/// One entry that was sent on, in the place where [`Bucket::sent_on`] counts.
pub const ONE_SENT_ON: u64 = 1 << 32;
