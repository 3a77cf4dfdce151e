//! Entries in the order of their coming, found through buckets of one cache line, with a timer each.
//!
//! A key has two buckets, the second a fixed distance (from its tag) behind the first. A new entry goes into the
//! first unless that is full; each bucket counts those it had to send on, so that a lookup, of what is there and
//! above all of what is not, reads one line and hardly ever a second. Where both are full an entry moves over
//! into its other bucket. There are half as many places again in the buckets as in the pool: a bucket is hardly
//! ever in the way before the pool is full. Entries lie densely in a pool, so that a flood of new ones writes
//! memory in sequence.

use super::bucket::{Bucket, ONE_SENT_ON, WAYS, matching};
use super::timers::{NIL, Wheel, slot_of};
use crate::sys::huge_pages::ask_for_huge_pages;
use crate::sys::lines::{Line, Lines};
use crate::sys::prefetch::prefetch;

/// Entries between one that leaves and the one whose bucket is asked for.
const LEAVING_AHEAD: usize = 16;
/// A tag of an entry that lies in the second bucket of its key.
const SECOND: u16 = 1 << 15;

/// Positions that may hold a key: what the tags of its buckets let through.
#[derive(Clone, Copy, Debug)]
pub struct Hits {
    at: [u32; 2 * WAYS],
    count: usize,
}

impl Hits {
    const NONE: Self = Self {
        at: [0; 2 * WAYS],
        count: 0,
    };

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
    buckets: Lines,
    entries: Vec<E>,
    home: Vec<u32>,
    /// Timers, by position.
    pub wheel: Wheel,
    free: u32,
    len: usize,
    capacity: usize,
    /// Where a full pool is looked at next.
    hand: u32,
    /// Entries that left, as far as 32 bits count.
    removals: u32,
    empty: E,
}

/// What [`Slab::announce_entries`] saw.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// The first position whose tag fits, or [`NIL`].
    at: u32,
    removals: u32,
    /// There may be such entries.
    pub any: bool,
}

impl Hint {
    /// Nothing was seen, or not looked for.
    pub const NONE: Self = Self {
        at: NIL,
        removals: 0,
        any: false,
    };
}

/// A tag: 15 bits of the hash, never 0.
fn tag_of(hash: u64) -> u16 {
    ((hash & 0x7fff) as u16).max(1)
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
            buckets: Lines::zeroed(buckets),
            entries: Vec::with_capacity(capacity),
            home: Vec::with_capacity(capacity),
            wheel: Wheel::new(capacity),
            free: NIL,
            len: 0,
            capacity,
            hand: 0,
            removals: 0,
            empty,
        }
    }

    /// Bytes of all arrays for `capacity` entries.
    pub fn memory_bytes(capacity: usize) -> u64 {
        (buckets_for(capacity) * size_of::<Line>()
            + capacity * (size_of::<E>() + size_of::<u32>())
            + Wheel::memory_bytes(capacity)) as u64
    }

    /// Writes to every page, so that no later packet waits for one.
    pub fn prefault(&mut self) {
        ask_for_huge_pages(&self.entries);
        ask_for_huge_pages(&self.home);
        self.buckets.prefault();
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

    /// The first bucket of a hash.
    fn first(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// How far the second bucket of a tag's keys lies behind the first; never all the way round.
    fn distance(&self, tag: u16) -> usize {
        let mixed = u64::from(tag & !SECOND).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((mixed * (self.buckets.len() as u64 - 1)) >> 32) as usize + 1
    }

    fn second(&self, first: usize, tag: u16) -> usize {
        let second = first + self.distance(tag);
        second.checked_sub(self.buckets.len()).unwrap_or(second)
    }

    /// The other bucket of an entry that lies in `bucket` under `tag`.
    fn other(&self, bucket: usize, tag: u16) -> usize {
        if tag & SECOND == 0 {
            self.second(bucket, tag)
        } else {
            let distance = self.distance(tag);
            bucket
                .checked_sub(distance)
                .unwrap_or_else(|| bucket + self.buckets.len() - distance)
        }
    }

    /// Asks the CPU for the first bucket of `hash`.
    #[inline]
    pub fn announce(&self, hash: u64) {
        prefetch(&self.buckets[self.first(hash)]);
    }

    /// Asks the CPU for the entries whose tag is that of `hash`, once its bucket is near.
    #[inline]
    pub fn announce_entries(&self, hash: u64) -> Hint {
        let (first, tag) = (self.first(hash), tag_of(hash));
        let bucket = &self.buckets[first];
        let mut hint = Hint {
            at: NIL,
            any: bucket.sent_on() != 0,
            removals: self.removals,
        };
        if hint.any {
            prefetch(&self.buckets[self.second(first, tag)]);
        }
        for at in bucket.under(tag) {
            prefetch(&self.entries[at as usize]);
            if hint.at == NIL {
                hint.at = at;
                hint.any = true;
            }
        }
        hint
    }

    /// The entry that [`Slab::announce_entries`] met first, while it still lies there.
    #[inline]
    pub fn hinted(&self, hint: Hint) -> Option<(u32, &E)> {
        // Only what left its position can make room for another there.
        if hint.removals != self.removals {
            return None;
        }
        Some((hint.at, self.entries.get(hint.at as usize)?))
    }

    /// No entry has this hash. May say false where none has, too.
    #[inline]
    pub fn lacks(&self, hash: u64) -> bool {
        let bucket = &self.buckets[self.first(hash)];
        bucket.sent_on() == 0 && matching(bucket.tags(), tag_of(hash)) == 0
    }

    /// The first answer of `accept` for an entry whose tag is that of `hash`, with the entry's position.
    #[inline]
    pub fn find<R>(
        &self,
        hash: u64,
        mut accept: impl FnMut(u32, &E) -> Option<R>,
    ) -> Option<(u32, R)> {
        let (first, tag) = (self.first(hash), tag_of(hash));
        let mut among = |bucket: &Line, tag| {
            let answer = |at| Some((at, accept(at, &self.entries[at as usize])?));
            bucket.under(tag).find_map(answer)
        };
        let bucket = &self.buckets[first];
        let found = among(bucket, tag);
        if found.is_some() || bucket.sent_on() == 0 {
            return found;
        }
        among(&self.buckets[self.second(first, tag)], tag | SECOND)
    }

    /// Positions whose tag is that of `hash`; the caller compares keys.
    #[inline]
    pub fn hits(&self, hash: u64) -> Hits {
        let (first, tag) = (self.first(hash), tag_of(hash));
        let mut hits = Hits::NONE;
        let bucket = &self.buckets[first];
        bucket.under(tag).for_each(|at| hits.push(at));
        if bucket.sent_on() != 0 {
            let second = &self.buckets[self.second(first, tag)];
            second.under(tag | SECOND).for_each(|at| hits.push(at));
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
        let mut hits = Hits::NONE;
        if self.is_full() {
            let most = hits.at.len().min(self.capacity);
            while hits.count < most {
                hits.push(((self.hand as usize + hits.count) % self.capacity) as u32);
            }
            self.hand = ((self.hand as usize + 1) % self.capacity) as u32;
            return hits;
        }
        let first = self.first(hash);
        for index in [first, self.second(first, tag_of(hash))] {
            let bucket = &self.buckets[index];
            for way in 0..WAYS {
                if bucket.tag(way) != 0 {
                    hits.push(bucket.at(way));
                }
            }
        }
        hits
    }

    /// The position at a hand that goes round, for a full pool. Asks the CPU for what the next turns will need.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "positions fit 31 bits, by the assertion in `new`"
    )]
    pub fn turn(&mut self) -> u32 {
        let at = self.hand as usize;
        let soon = (at + LEAVING_AHEAD) % self.capacity;
        prefetch(&self.entries[soon]);
        prefetch(&self.buckets[self.home[soon] as usize / WAYS]);
        self.hand = ((at + 1) % self.capacity) as u32;
        at as u32
    }

    /// Neither a free position nor room for another.
    pub fn is_full(&self) -> bool {
        self.free == NIL && self.entries.len() == self.capacity
    }

    /// A free way for a key: in its first bucket, else in its second, else where an entry of either can move
    /// over into its other bucket. With the tag that the entry has there.
    fn make_way(&mut self, hash: u64) -> Option<(usize, usize, u16)> {
        let (first, tag) = (self.first(hash), tag_of(hash));
        if let Some(way) = self.buckets[first].free_way() {
            return Some((first, way, tag));
        }
        let second = self.second(first, tag);
        if let Some(way) = self.buckets[second].free_way() {
            return Some((second, way, tag | SECOND));
        }
        let both = [(first, tag), (second, tag | SECOND)];
        both.into_iter().find_map(|(bucket, tag)| {
            let way = (0..WAYS).find(|&way| self.move_over(bucket, way))?;
            Some((bucket, way, tag))
        })
    }

    /// Moves the entry there into its other bucket, if that has room.
    fn move_over(&mut self, from: usize, way: usize) -> bool {
        let (tag, at) = (self.buckets[from].tag(way), self.buckets[from].at(way));
        let to = self.other(from, tag);
        let Some(free) = self.buckets[to].free_way() else {
            return false;
        };
        self.vacate(from, way);
        self.occupy(to, free, tag ^ SECOND, at);
        self.home[at as usize] = home(to, free);
        true
    }

    fn occupy(&mut self, index: usize, way: usize, tag: u16, at: u32) {
        let bucket = &mut self.buckets[index];
        bucket.set_tag(way, tag);
        bucket.set_at(way, at);
        if tag & SECOND != 0 {
            let first = self.other(index, tag);
            self.buckets[first].0[2] += ONE_SENT_ON;
        }
    }

    fn vacate(&mut self, index: usize, way: usize) {
        let tag = self.buckets[index].tag(way);
        self.buckets[index].set_tag(way, 0);
        if tag & SECOND != 0 {
            let first = self.other(index, tag);
            self.buckets[first].0[2] -= ONE_SENT_ON;
        }
    }

    /// Puts an entry in with its timer, or says that both buckets or the pool are full.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "positions fit 31 bits, by the assertion in `new`"
    )]
    pub fn insert(&mut self, hash: u64, entry: E, slot: i64) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let (bucket, way, tag) = self.make_way(hash)?;
        let home = home(bucket, way);
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
        self.occupy(bucket, way, tag, at);
        self.wheel.link(at, slot);
        self.len += 1;
        Some(at)
    }

    /// Takes an entry out, and its timer. Those that came together leave together: the CPU is asked for the bucket
    /// of one that came a little later.
    pub fn remove(&mut self, at: u32) {
        if let Some(&soon) = self.home.get(at as usize + LEAVING_AHEAD) {
            prefetch(&self.buckets[soon as usize / WAYS]);
        }
        self.wheel.unlink(at);
        let home = self.home[at as usize] as usize;
        self.vacate(home / WAYS, home % WAYS);
        self.wheel.set_free(at, self.free);
        self.free = at;
        self.len -= 1;
        self.removals = self.removals.wrapping_add(1);
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

/// A place in the buckets as one number.
#[allow(
    clippy::cast_possible_truncation,
    reason = "1.5 times as many places as positions of 31 bits"
)]
fn home(bucket: usize, way: usize) -> u32 {
    (bucket * WAYS + way) as u32
}

#[cfg(test)]
mod tests;
