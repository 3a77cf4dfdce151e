//! A pool of entries, found through buckets of one cache line, with a timer each.
//!
//! A key has two buckets; its tag gives the distance from the first to the second. A new entry goes into the first
//! bucket, or into the second where the first is full. Each bucket counts its overflowed entries, so that nearly
//! every lookup, hit or miss, reads one line. Where both buckets are full, an entry moves into its other bucket.
//! The buckets have 1.5 times as many places as the pool, so the pool is nearly always full first. Entries lie
//! densely in the pool: a flood of new ones writes memory in sequence.

use super::bucket::{Buckets, Hits, Place, SECOND, WAYS, tag_of};
use super::prefault;
use super::timers::{NIL, Wheel};
use crate::snapshot::snapshot;
use crate::sys::huge_pages::with_room;
use crate::sys::lines::Line;
use crate::sys::prefetch::prefetch;

/// How many entries ahead of a removal the bucket is prefetched.
const LEAVING_AHEAD: usize = 16;

/// A fixed number of entries with their buckets and timers.
pub struct Slab<E> {
    buckets: Buckets,
    entries: Vec<E>,
    /// The place in the buckets of each position, see [`home`].
    home: Vec<u32>,
    pub wheel: Wheel,
    free: u32,
    len: usize,
    capacity: usize,
    /// Next candidate for eviction from a full pool (CLOCK).
    hand: u32,
    /// Removals, modulo 2^32.
    removals: u32,
    empty: E,
}

snapshot! {
    [E: borsh::BorshDeserialize + borsh::BorshSchema + borsh::BorshSerialize] Slab<E>;
    values: buckets, wheel, free, len, hand, removals;
    lists: entries, home;
    fixed: capacity, empty;
}

/// What [`Slab::prefetch_entries`] found, valid until the next removal.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// The first position whose tag fits, [`NIL`], or [`SECOND_BUCKET`].
    at: u32,
    removals: u32,
}

/// No position: the entry may lie in its second bucket.
const SECOND_BUCKET: u32 = NIL - 1;

impl Default for Hint {
    fn default() -> Self {
        Self {
            at: NIL,
            removals: 0,
        }
    }
}

impl Hint {
    /// An entry under this hash is possible.
    #[inline(always)]
    pub fn any(self) -> bool {
        self.at != NIL
    }
}

impl<E: Copy> Slab<E> {
    /// Reserves all memory for `capacity` entries; `empty` fills it in [`Slab::prefault`].
    pub fn new(capacity: usize, empty: E) -> Self {
        Self {
            buckets: Buckets::new(capacity),
            entries: with_room(capacity),
            home: with_room(capacity),
            wheel: Wheel::new(capacity),
            free: NIL,
            len: 0,
            capacity,
            hand: 0,
            removals: 0,
            empty,
        }
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (Buckets::memory_bytes(capacity)
            + capacity * (size_of::<E>() + size_of::<u32>())
            + Wheel::memory_bytes(capacity)) as u64
    }

    /// Writes to every page: no later packet takes a page fault.
    pub fn prefault(&mut self) {
        self.buckets.0.prefault();
        prefault(&mut self.entries, self.capacity, self.empty);
        prefault(&mut self.home, self.capacity, 0);
        self.wheel.prefault(self.capacity);
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, at: u32) -> &E {
        &self.entries[at as usize]
    }

    pub fn get_mut(&mut self, at: u32) -> &mut E {
        &mut self.entries[at as usize]
    }

    /// Prefetches the first bucket of `hash`.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.buckets.prefetch(hash);
    }

    /// Prefetches the entries with the tag of `hash`. The bucket should be in cache by then.
    #[inline]
    pub fn prefetch_entries(&self, hash: u64) -> Hint {
        let (first, tag) = (self.buckets.first(hash), tag_of(hash));
        let bucket = &self.buckets.0[first];
        let mut found = NIL;
        if bucket.overflowed() != 0 {
            prefetch(&self.buckets.0[self.buckets.second(first, tag)]);
            found = SECOND_BUCKET;
        }
        let mut under = bucket.under(tag);
        if let Some(at) = under.next() {
            found = at;
            prefetch(&self.entries[at as usize]);
            for other in under {
                prefetch(&self.entries[other as usize]);
            }
        }
        Hint {
            at: found,
            removals: self.removals,
        }
    }

    /// The first entry of the hint, unless an entry was removed since.
    #[inline]
    pub fn hinted(&mut self, hint: Hint) -> Option<(u32, &mut E)> {
        // A position changes its entry only after a removal.
        if hint.removals != self.removals {
            return None;
        }
        Some((hint.at, self.entries.get_mut(hint.at as usize)?))
    }

    /// The first `Some` of `accept` among the entries with the tag of `hash`, and the entry's position.
    #[inline]
    pub fn find<R>(
        &self,
        hash: u64,
        mut accept: impl FnMut(u32, &E) -> Option<R>,
    ) -> Option<(u32, R)> {
        let (first, tag) = (self.buckets.first(hash), tag_of(hash));
        let mut among = |bucket: &Line, tag| {
            let answer = |at| Some((at, accept(at, &self.entries[at as usize])?));
            bucket.under(tag).find_map(answer)
        };
        let bucket = &self.buckets.0[first];
        let found = among(bucket, tag);
        if found.is_some() || bucket.overflowed() == 0 {
            return found;
        }
        among(
            &self.buckets.0[self.buckets.second(first, tag)],
            tag | SECOND,
        )
    }

    /// Calls `what` for each entry with the tag of `hash`.
    pub fn each(&self, hash: u64, mut what: impl FnMut(u32, &E)) {
        self.find(hash, |at, entry| {
            what(at, entry);
            None::<()>
        });
    }

    /// Candidates for eviction, to make room for `hash`: all of its two buckets, or, where the pool is full, a few
    /// positions from the hand on. Entries lie roughly in the order of arrival, so these are old ones.
    pub fn rivals(&mut self, hash: u64) -> Hits {
        if self.is_full() {
            let mut hits = Hits::NONE;
            for step in 0..self.capacity.min(2 * WAYS) {
                hits.push(position((self.hand as usize + step) % self.capacity));
            }
            self.hand = position((self.hand as usize + 1) % self.capacity);
            return hits;
        }
        self.buckets.rivals(hash, |tag, _| tag != 0)
    }

    pub fn is_full(&self) -> bool {
        self.free == NIL && self.entries.len() == self.capacity
    }

    fn occupy(&mut self, index: usize, way: usize, tag: u16, at: u32) {
        let bucket = &mut self.buckets.0[index];
        bucket.set_tag(way, tag);
        bucket.set_at(way, at);
        if tag & SECOND != 0 {
            let first = self.buckets.other(index, tag);
            let count = self.buckets.0[first].overflowed();
            self.buckets.0[first].set_overflowed(count + 1);
        }
    }

    fn vacate(&mut self, index: usize, way: usize) {
        let tag = self.buckets.0[index].tag(way);
        self.buckets.0[index].set_tag(way, 0);
        if tag & SECOND != 0 {
            let first = self.buckets.other(index, tag);
            let count = self.buckets.0[first].overflowed();
            self.buckets.0[first].set_overflowed(count - 1);
        }
    }

    /// Adds an entry with its timer; `None` where the pool or both buckets are full.
    pub fn insert(&mut self, hash: u64, entry: E, slot: i64) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        let Place {
            bucket,
            way,
            tag,
            moves_to,
        } = self.buckets.place_for(hash, Line::free_way)?;
        if let Some((to, free)) = moves_to {
            let line = &self.buckets.0[bucket];
            let (tag, at) = (line.tag(way), line.at(way));
            self.vacate(bucket, way);
            self.occupy(to, free, tag ^ SECOND, at);
            self.home[at as usize] = home(to, free);
        }
        let home = home(bucket, way);
        let at = if self.free == NIL {
            self.entries.push(entry);
            self.home.push(home);
            self.wheel.push();
            position(self.entries.len() - 1)
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

    /// Removes an entry and its timer. Entries that arrived together expire together, so the bucket of a later one
    /// is prefetched.
    pub fn remove(&mut self, at: u32) {
        if let Some(&soon) = self.home.get(at as usize + LEAVING_AHEAD) {
            prefetch(&self.buckets.0[soon as usize / WAYS]);
        }
        self.wheel.unlink(at);
        let home = self.home[at as usize] as usize;
        self.vacate(home / WAYS, home % WAYS);
        self.wheel.set_free(at, self.free);
        self.free = at;
        self.len -= 1;
        self.removals = self.removals.wrapping_add(1);
    }

    /// Moves the timers of `slot` for which `due` gives a later one.
    pub fn settle_slot(&mut self, slot: i64, due: impl Fn(u32, &E) -> i64) {
        let mut next = self.wheel.first(slot);
        while let Some(at) = next {
            next = self.wheel.after(at);
            let due = due(at, &self.entries[at as usize]);
            if due > slot {
                self.wheel.relink(at, due);
            }
        }
    }

    /// Sorts the timers of `slot`; `ordered` is `<=` over positions with their entries.
    pub fn sort_slot(&mut self, slot: i64, mut ordered: impl FnMut(u32, &E, u32, &E) -> bool) {
        let entries = &self.entries;
        self.wheel.sort(slot, |a, b| {
            ordered(a, &entries[a as usize], b, &entries[b as usize])
        });
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "positions fit 31 bits, by the assertion in `new`; places are 1.5 times as many"
)]
fn position(at: usize) -> u32 {
    at as u32
}

/// A place in the buckets as one number.
fn home(bucket: usize, way: usize) -> u32 {
    position(bucket * WAYS + way)
}

#[cfg(test)]
mod tests;
