//! Entries in the order of their coming, found through buckets of eight, with a timer each.
//!
//! A key has two buckets, chosen by the halves of its keyed hash; a new entry takes the emptier one.
//! A lookup reads at most two buckets of 48 bytes: eight 16-bit tags and eight positions. Entries lie
//! densely in a pool, so that a flood of new ones writes memory in sequence. There are half as many places
//! again in the buckets as in the pool: a bucket is then hardly ever full before the pool is.

use super::timers::{NIL, Wheel, slot_of};
use crate::capture::prefetch::prefetch;

/// Entries a bucket holds.
pub const WAYS: usize = 8;
/// Words of a bucket: eight tags, eight positions.
const WORDS: usize = WAYS / 2 + WAYS;

/// Positions that may hold a key: what the tags of its buckets let through.
#[derive(Clone, Copy, Debug)]
pub struct Hits {
    at: [u32; 2 * WAYS],
    count: usize,
}

impl Hits {
    /// The positions.
    pub fn as_slice(&self) -> &[u32] {
        &self.at[..self.count]
    }

    fn push(&mut self, at: u32) {
        self.at[self.count] = at;
        self.count += 1;
    }
}

/// A fixed number of entries with their buckets and timers.
pub struct Slab<E> {
    buckets: Vec<[u32; WORDS]>,
    entries: Vec<E>,
    home: Vec<u32>,
    /// Timers, by position.
    pub wheel: Wheel,
    free: u32,
    len: usize,
    capacity: usize,
    /// Where a full pool is looked at next.
    hand: u32,
    empty: E,
}

fn tag_at(bucket: &[u32; WORDS], way: usize) -> u16 {
    (bucket[way / 2] >> (16 * (way % 2)) & 0xffff) as u16
}

fn set_tag(bucket: &mut [u32; WORDS], way: usize, tag: u16) {
    let shift = 16 * (way % 2);
    bucket[way / 2] = bucket[way / 2] & !(0xffff << shift) | u32::from(tag) << shift;
}

/// A tag: 15 bits of the hash and the bit that says "taken".
fn tag_of(hash: u64) -> u16 {
    (hash & 0x7fff) as u16 | 0x8000
}

/// How many buckets there are for `capacity` entries.
fn buckets_for(capacity: usize) -> usize {
    (capacity + capacity / 2).div_ceil(WAYS).max(2)
}

impl<E: Copy> Slab<E> {
    /// Takes all memory for `capacity` entries; `empty` fills it when it is touched.
    pub fn new(capacity: usize, empty: E) -> Self {
        let buckets = buckets_for(capacity);
        assert!(capacity < 1 << 31, "{capacity} entries do not fit 31 bits");
        Self {
            buckets: vec![[0; WORDS]; buckets],
            entries: Vec::with_capacity(capacity),
            home: Vec::with_capacity(capacity),
            wheel: Wheel::new(capacity),
            free: NIL,
            len: 0,
            capacity,
            hand: 0,
            empty,
        }
    }

    /// Bytes of all arrays for `capacity` entries.
    pub fn memory_bytes(capacity: usize) -> u64 {
        (buckets_for(capacity) * size_of::<[u32; WORDS]>()
            + capacity * (size_of::<E>() + size_of::<u32>())
            + Wheel::memory_bytes(capacity)) as u64
    }

    /// Writes to every page, so that no later packet waits for one.
    pub fn prefault(&mut self) {
        for bucket in &mut self.buckets {
            *std::hint::black_box(bucket) = [0; WORDS];
        }
        let (capacity, filled) = (self.capacity, self.entries.len());
        self.entries.resize(capacity, self.empty);
        self.entries.truncate(filled);
        self.home.resize(capacity, 0);
        self.home.truncate(filled);
        self.wheel.prefault(capacity);
    }

    /// Entries there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Holds no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry at `at`.
    pub fn get(&self, at: u32) -> &E {
        &self.entries[at as usize]
    }

    /// The entry at `at`.
    pub fn get_mut(&mut self, at: u32) -> &mut E {
        &mut self.entries[at as usize]
    }

    /// The two buckets of a hash; never the same one.
    fn pair(&self, hash: u64) -> (usize, usize) {
        let count = self.buckets.len() as u64;
        let first = (((hash >> 32) * count) >> 32) as usize;
        let second = (((hash & 0xffff_ffff) * count) >> 32) as usize;
        if first == second {
            (first, (first + 1) % self.buckets.len())
        } else {
            (first, second)
        }
    }

    /// Asks the CPU for the two buckets of `hash`.
    #[inline]
    pub fn announce(&self, hash: u64) {
        let (first, second) = self.pair(hash);
        prefetch(&self.buckets[first]);
        prefetch(&self.buckets[second]);
    }

    /// Asks the CPU for the entries whose tag is that of `hash`, once its buckets are near.
    #[inline]
    pub fn announce_entries(&self, hash: u64) {
        for &at in self.hits(hash).as_slice() {
            prefetch(&self.entries[at as usize]);
        }
    }

    /// Positions whose tag is that of `hash`; the caller compares keys.
    pub fn hits(&self, hash: u64) -> Hits {
        let (first, second) = self.pair(hash);
        let tag = tag_of(hash);
        let mut hits = Hits {
            at: [0; 2 * WAYS],
            count: 0,
        };
        for bucket in [&self.buckets[first], &self.buckets[second]] {
            for way in 0..WAYS {
                if tag_at(bucket, way) == tag {
                    hits.push(bucket[WAYS / 2 + way]);
                }
            }
        }
        hits
    }

    /// What may make room for `hash`: every position in its two buckets, or, where the whole pool is full, a
    /// few positions at a hand that goes round. Entries lie in the order of their coming, more or less, so
    /// these are old ones.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "positions fit 31 bits, by the assertion in `new`"
    )]
    pub fn rivals(&mut self, hash: u64) -> Hits {
        let mut hits = Hits {
            at: [0; 2 * WAYS],
            count: 0,
        };
        if self.is_full() {
            let most = hits.at.len().min(self.capacity);
            while hits.count < most {
                hits.push(((self.hand as usize + hits.count) % self.capacity) as u32);
            }
            self.hand = ((self.hand as usize + 1) % self.capacity) as u32;
            return hits;
        }
        let (first, second) = self.pair(hash);
        for bucket in [&self.buckets[first], &self.buckets[second]] {
            for way in 0..WAYS {
                if tag_at(bucket, way) != 0 {
                    hits.push(bucket[WAYS / 2 + way]);
                }
            }
        }
        hits
    }

    fn is_full(&self) -> bool {
        self.free == NIL && self.entries.len() == self.capacity
    }

    /// Puts an entry in with its timer, or says that both buckets or the pool are full.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "positions fit 31 bits, by the assertion in `new`"
    )]
    pub fn insert(&mut self, hash: u64, entry: E, slot: i64) -> Option<u32> {
        let (first, second) = self.pair(hash);
        let (a, b) = (
            free_ways(&self.buckets[first]),
            free_ways(&self.buckets[second]),
        );
        let (bucket, free) = if a.count_ones() >= b.count_ones() {
            (first, a)
        } else {
            (second, b)
        };
        if free == 0 || self.is_full() {
            return None;
        }
        let way = free.trailing_zeros() as usize;
        let home = (bucket * WAYS + way) as u32;
        let at = if self.free == NIL {
            self.entries.push(entry);
            self.home.push(home);
            self.wheel.push();
            self.entries.len() as u32 - 1
        } else {
            let at = self.free;
            self.free = self.wheel.free_next(at);
            self.entries[at as usize] = entry;
            self.home[at as usize] = home;
            at
        };
        let bucket = &mut self.buckets[bucket];
        set_tag(bucket, way, tag_of(hash));
        bucket[WAYS / 2 + way] = at;
        self.wheel.link(at, slot);
        self.len += 1;
        Some(at)
    }

    /// Takes an entry out, and its timer.
    pub fn remove(&mut self, at: u32) {
        self.wheel.unlink(at);
        let home = self.home[at as usize] as usize;
        set_tag(&mut self.buckets[home / WAYS], home % WAYS, 0);
        self.wheel.set_free(at, self.free);
        self.free = at;
        self.len -= 1;
    }

    /// Moves the timers of `slot` whose deadline lies in a later one.
    pub fn settle_slot(&mut self, slot: i64, deadline: impl Fn(&E) -> i64) {
        let mut next = self.wheel.first(slot);
        while let Some(at) = next {
            next = self.wheel.after(at);
            let due = slot_of(deadline(&self.entries[at as usize]));
            if due > slot {
                self.wheel.unlink(at);
                self.wheel.link(at, due);
            }
        }
    }

    /// Sorts the timers of `slot` by `less_or_equal` over entries.
    pub fn sort_slot(&mut self, slot: i64, mut ordered: impl FnMut(u32, &E, u32, &E) -> bool) {
        let entries = &self.entries;
        self.wheel.sort(slot, |a, b| {
            ordered(a, &entries[a as usize], b, &entries[b as usize])
        });
    }
}

/// The free ways of a bucket, as bits.
fn free_ways(bucket: &[u32; WORDS]) -> u8 {
    (0..WAYS).fold(0, |bits, way| {
        bits | u8::from(tag_at(bucket, way) == 0) << way
    })
}
