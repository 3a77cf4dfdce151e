//! Buckets of a table: one cache line each, in which all tags are compared at once.
//!
//! Layout: ten tags of 16 bits (0: free), 32 bits about entries that overflowed into their second bucket, ten
//! positions.
//!
//! A key has two buckets; its tag gives the distance from the first to the second.

use crate::snapshot::{Layout, Snapshot};
use crate::sys::lines::{Line, Lines};
use crate::sys::prefetch::prefetch;
use std::io::{self, Read, Write};

/// Entries a bucket holds.
pub const WAYS: usize = 10;
/// Of a bucket as numbers of 32 bits: the place of the word about overflowed entries, and that of the positions.
const OVERFLOWED: usize = WAYS / 2;
const POSITIONS: usize = OVERFLOWED + 1;
/// Bit of a tag: the entry lies in the second bucket of its key.
pub const SECOND: u16 = 1 << 15;

/// A tag: 15 bits of the hash, never 0.
pub fn tag_of(hash: u64) -> u16 {
    ((hash & 0x7fff) as u16).max(1)
}

/// Positions whose tags fit a key.
#[derive(Clone, Copy, Debug)]
pub struct Hits {
    at: [u32; 2 * WAYS],
    count: usize,
}

impl Hits {
    pub const NONE: Self = Self {
        at: [0; 2 * WAYS],
        count: 0,
    };

    pub fn as_slice(&self) -> &[u32] {
        &self.at[..self.count]
    }

    pub fn push(&mut self, at: u32) {
        self.at[self.count] = at;
        self.count += 1;
    }
}

/// A place for a new entry.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub bucket: usize,
    pub way: usize,
    /// The new entry's tag there.
    pub tag: u16,
    /// The bucket and the way to which the entry that lies there moves before.
    pub moves_to: Option<(usize, usize)>,
}

/// The buckets of a table.
pub struct Buckets(pub Lines);

impl Snapshot for Buckets {
    fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        self.0.save(to)
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        self.0.restore(from)
    }

    fn layout(layout: &mut Layout) {
        Lines::layout(layout);
    }
}

impl Buckets {
    /// Buckets for `capacity` entries: 1.5 times as many places, so that the entries are nearly always full first.
    pub fn count_for(capacity: usize) -> usize {
        (capacity + capacity / 2).div_ceil(WAYS).max(2)
    }

    pub fn new(capacity: usize) -> Self {
        assert!(capacity < 1 << 31, "{capacity} entries do not fit 31 bits");
        Self(Lines::zeroed(Self::count_for(capacity)))
    }

    pub fn memory_bytes(capacity: usize) -> usize {
        Self::count_for(capacity) * size_of::<Line>()
    }

    /// The first bucket of a hash.
    pub fn first(&self, hash: u64) -> usize {
        (((hash >> 32) * self.0.len() as u64) >> 32) as usize
    }

    /// Buckets from the first to the second of a tag's keys: 1 to the number of buckets less 1.
    fn distance(&self, tag: u16) -> usize {
        let mixed = u64::from(tag & !SECOND).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((mixed * (self.0.len() as u64 - 1)) >> 32) as usize + 1
    }

    pub fn second(&self, first: usize, tag: u16) -> usize {
        let second = first + self.distance(tag);
        second.checked_sub(self.0.len()).unwrap_or(second)
    }

    /// The other bucket of an entry that lies in `bucket` under `tag`.
    pub fn other(&self, bucket: usize, tag: u16) -> usize {
        if tag & SECOND == 0 {
            self.second(bucket, tag)
        } else {
            let distance = self.distance(tag);
            bucket
                .checked_sub(distance)
                .unwrap_or_else(|| bucket + self.0.len() - distance)
        }
    }

    /// The first and the second bucket of a hash.
    pub fn both(&self, hash: u64) -> [usize; 2] {
        let first = self.first(hash);
        [first, self.second(first, tag_of(hash))]
    }

    /// A place for a new entry: in its first bucket, else in its second, else where an entry of either can move into its
    /// other bucket. `free_way` finds a free way of a bucket.
    pub fn place_for(&self, hash: u64, free_way: impl Fn(&Line) -> Option<usize>) -> Option<Place> {
        let tag = tag_of(hash);
        let [first, second] = self.both(hash);
        let free = |bucket: usize| free_way(&self.0[bucket]);
        let place = |bucket, way, tag, moves_to| Place {
            bucket,
            way,
            tag,
            moves_to,
        };
        if let Some(way) = free(first) {
            return Some(place(first, way, tag, None));
        }
        if let Some(way) = free(second) {
            return Some(place(second, way, tag | SECOND, None));
        }
        let both = [(first, tag), (second, tag | SECOND)];
        both.into_iter().find_map(|(bucket, tag)| {
            (0..WAYS).find_map(|way| {
                let to = self.other(bucket, self.0[bucket].tag(way));
                Some(place(bucket, way, tag, Some((to, free(to)?))))
            })
        })
    }

    /// The entries of both buckets of `hash` that are live by `is_live`, from tag and position.
    pub fn rivals(&self, hash: u64, is_live: impl Fn(u16, u32) -> bool) -> Hits {
        let mut hits = Hits::NONE;
        for index in self.both(hash) {
            let bucket = &self.0[index];
            let all = (0..WAYS).map(|way| (bucket.tag(way), bucket.at(way)));
            all.filter(|&(tag, at)| is_live(tag, at))
                .for_each(|(_, at)| hits.push(at));
        }
        hits
    }

    /// Prefetches the first bucket of `hash`.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.0[self.first(hash)]);
    }
}

impl Line {
    /// One bit for each way whose tag is `tag`.
    #[inline(always)]
    fn matching(&self, tag: u16) -> u32 {
        self.equal_to(tag) & ((1 << WAYS) - 1)
    }

    /// The position at a way.
    #[inline(always)]
    pub(super) fn at(&self, way: usize) -> u32 {
        self.u32s()[POSITIONS + way]
    }

    #[inline(always)]
    pub(super) fn set_at(&mut self, way: usize, at: u32) {
        self.u32s_mut()[POSITIONS + way] = at;
    }

    #[inline(always)]
    pub(super) fn tag(&self, way: usize) -> u16 {
        self.u16s()[way]
    }

    #[inline(always)]
    pub(super) fn set_tag(&mut self, way: usize, tag: u16) {
        self.u16s_mut()[way] = tag;
    }

    /// The word about entries whose first bucket this is and that lie in their second.
    #[inline(always)]
    pub(super) fn overflowed(&self) -> u32 {
        self.u32s()[OVERFLOWED]
    }

    pub(super) fn set_overflowed(&mut self, word: u32) {
        self.u32s_mut()[OVERFLOWED] = word;
    }

    pub(super) fn free_way(&self) -> Option<usize> {
        let free = self.matching(0);
        (free != 0).then_some(free.trailing_zeros() as usize)
    }

    /// The positions under `tag`.
    #[inline(always)]
    pub(super) fn under(&self, tag: u16) -> impl Iterator<Item = u32> {
        let mut bits = self.matching(tag);
        std::iter::from_fn(move || {
            let way = (bits != 0).then_some(bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
            Some(self.at(way))
        })
    }
}
