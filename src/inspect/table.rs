//! A table of entries under keyed hashes: buckets of eight, a line of names and eight entries each.

use crate::snapshot::snapshot;
use crate::sys::huge_pages::filled;
use crate::sys::lines::{Line, Lines};
use crate::sys::prefetch::prefetch;

const WAYS: usize = 8;
const TAKEN: u64 = 1 << 63;

/// An entry.
pub(super) trait Ranked: Copy + Default {
    type Rank: Ord;

    /// The lowest leaves a full bucket first. Ties by name, so that the order of arrival does not matter.
    fn rank(&self) -> Self::Rank;
}

/// The table. An entry is identified by its bucket and 63 bits of its keyed hash.
pub(super) struct Table<T> {
    names: Lines,
    all: Vec<T>,
    pub held: usize,
}

snapshot! {
    [T: borsh::BorshDeserialize + borsh::BorshSchema + borsh::BorshSerialize] Table<T>;
    values: names, held;
    lists: all;
}

impl<T: Ranked> Table<T> {
    /// `capacity` is rounded up to whole buckets.
    pub fn new(capacity: usize) -> Self {
        let buckets = buckets_for(capacity);
        Self {
            names: Lines::zeroed(buckets),
            all: filled(buckets * WAYS, T::default()),
            held: 0,
        }
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (buckets_for(capacity) * (size_of::<Line>() + WAYS * size_of::<T>())) as u64
    }

    pub fn prefault(&mut self) {
        self.names.prefault();
        self.all.fill(std::hint::black_box(T::default()));
        self.held = 0;
    }

    /// Uses other bits of the hash than the choice of the owner does.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn bucket(&self, hash: u64) -> usize {
        ((u128::from(hash.rotate_left(24)) * self.names.len() as u128) >> 64) as usize
    }

    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.names[self.bucket(hash)]);
    }

    /// Index of an entry.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<usize> {
        let (bucket, name) = (self.bucket(hash), hash | TAKEN);
        let line = &self.names[bucket];
        let mut bits = line.lower_halves_equal_to((name & 0xffff_ffff) as u32);
        while bits != 0 {
            let way = bits.trailing_zeros() as usize;
            if line.0[way] == name {
                return Some(bucket * WAYS + way);
            }
            bits &= bits - 1;
        }
        None
    }

    #[inline]
    pub fn get(&self, at: usize) -> &T {
        &self.all[at]
    }

    #[inline]
    pub fn get_mut(&mut self, at: usize) -> &mut T {
        &mut self.all[at]
    }

    /// All places, also those without an entry.
    pub fn places_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.all.iter_mut()
    }

    /// Inserts an entry. Returns its index, and the entry that a full bucket evicts for it.
    pub fn insert(&mut self, hash: u64, entry: T) -> (usize, Option<T>) {
        let bucket = self.bucket(hash);
        let names = &self.names[bucket].0;
        let rank = |way: &usize| {
            let name = names[*way];
            (name & TAKEN != 0).then(|| (self.all[bucket * WAYS + way].rank(), name))
        };
        let way = (0..WAYS).min_by_key(rank).expect("a bucket has ways");
        let at = bucket * WAYS + way;
        let gone = (names[way] & TAKEN != 0).then(|| self.all[at]);
        self.names[bucket].0[way] = hash | TAKEN;
        self.all[at] = entry;
        self.held += usize::from(gone.is_none());
        (at, gone)
    }
}

fn buckets_for(capacity: usize) -> usize {
    capacity.div_ceil(WAYS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Ranking(i64);

    impl Ranked for Ranking {
        type Rank = i64;

        fn rank(&self) -> i64 {
            self.0
        }
    }

    #[test]
    fn the_lowest_leaves_a_full_bucket() {
        let mut table = Table::new(WAYS);
        let hash = |n: u64| n << 8 | 1;
        for (n, rank) in (0..).zip([5, 3, 9, -1, 4, 7, 8, 6]) {
            assert_eq!(table.insert(hash(n), Ranking(rank)).1, None);
        }
        assert_eq!(table.held, WAYS);
        let (at, gone) = table.insert(hash(99), Ranking(100));
        assert_eq!((gone, table.find(hash(99))), (Some(Ranking(-1)), Some(at)));
        assert_eq!((table.find(hash(3)), table.held), (None, WAYS));
        let held = table.find(hash(2)).map(|at| *table.get(at));
        assert_eq!(held, Some(Ranking(9)));
    }
}
