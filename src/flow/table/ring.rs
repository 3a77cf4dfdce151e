//! A ring of entries that leave in the order in which they came, found through buckets of one cache line.
//!
//! Entries are numbered as they come, modulo 2^32. A bucket holds numbers, and what leaves touches no bucket: a number
//! that is no longer live is stale, and its place is free. A bucket also holds the newest number that overflowed
//! from it into a second bucket, so that nearly every lookup, hit or miss, reads one line. (A stale number looks
//! live again after 2^32 entries: then a place stays taken, or an entry of another key is compared, until it is
//! stale again.)

use super::bucket::{Buckets, Hits, Place, SECOND, WAYS, tag_of};
use super::prefault;
use crate::snapshot::snapshot;
use crate::sys::huge_pages::with_room;
use crate::sys::lines::Line;
use crate::sys::prefetch::prefetch;

/// A fixed number of entries with their buckets.
pub struct Ring<E> {
    buckets: Buckets,
    entries: Vec<E>,
    capacity: usize,
    /// The oldest entry's number, and its place among the entries.
    tail: u32,
    tail_place: usize,
    len: u32,
    empty: E,
}

snapshot! {
    [E: borsh::BorshDeserialize + borsh::BorshSchema + borsh::BorshSerialize] Ring<E>;
    values: buckets, tail, tail_place, len;
    lists: entries;
    fixed: capacity, empty;
}

impl<E: Copy> Ring<E> {
    /// Reserves all memory for `capacity` entries; `empty` fills it in [`Ring::prefault`].
    pub fn new(capacity: usize, empty: E) -> Self {
        Self {
            buckets: Buckets::new(capacity),
            entries: with_room(capacity),
            capacity,
            // Fresh buckets hold zeros: stale.
            tail: 1,
            tail_place: 0,
            len: 0,
            empty,
        }
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (Buckets::memory_bytes(capacity) + capacity * size_of::<E>()) as u64
    }

    /// Writes to every page: no later packet takes a page fault.
    pub fn prefault(&mut self) {
        self.buckets.0.prefault();
        prefault(&mut self.entries, self.capacity, self.empty);
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// The oldest entry's number.
    pub fn tail(&self) -> u32 {
        self.tail
    }

    /// The number of the entry that comes next.
    pub fn head(&self) -> u32 {
        self.tail.wrapping_add(self.len)
    }

    #[inline]
    pub fn is_live(&self, at: u32) -> bool {
        at.wrapping_sub(self.tail) < self.len
    }

    #[inline]
    fn place(&self, at: u32) -> usize {
        let place = self.tail_place + at.wrapping_sub(self.tail) as usize;
        place.checked_sub(self.capacity).unwrap_or(place)
    }

    /// A live entry.
    #[inline]
    pub fn get(&self, at: u32) -> &E {
        &self.entries[self.place(at)]
    }

    #[inline]
    pub fn get_mut(&mut self, at: u32) -> &mut E {
        let place = self.place(at);
        &mut self.entries[place]
    }

    /// Neighbours in memory: the live entries from a number on, which may be the head's; of entries behind the end of
    /// memory none.
    pub fn run_mut(&mut self, from: u32) -> &mut [E] {
        let left = self.head().wrapping_sub(from) as usize;
        let place = self.place(from);
        let end = self.entries.len().min(place + left);
        &mut self.entries[place..end]
    }

    /// Lets the oldest entries go.
    pub fn leave(&mut self, entries: u32) {
        debug_assert!(self.len >= entries, "fewer entries");
        self.tail_place = self.place(self.tail.wrapping_add(entries));
        self.tail = self.tail.wrapping_add(entries);
        self.len -= entries;
    }

    /// Prefetches the first bucket of `hash`.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        self.buckets.prefetch(hash);
    }

    /// Live numbers of `bucket` under `tag`.
    #[inline(always)]
    fn under(&self, bucket: &Line, tag: u16) -> impl Iterator<Item = u32> {
        bucket.under(tag).filter(|&at| self.is_live(at))
    }

    /// Prefetches the entries with the tag of `hash`. The bucket should be in cache by then.
    #[inline]
    pub fn prefetch_entries(&self, hash: u64) {
        let (first, tag) = (self.buckets.first(hash), tag_of(hash));
        let bucket = &self.buckets.0[first];
        if self.is_live(bucket.overflowed()) {
            prefetch(&self.buckets.0[self.buckets.second(first, tag)]);
        }
        for at in self.under(bucket, tag) {
            prefetch(self.get(at));
        }
    }

    /// Where an entry of this hash goes, if surely no other has the hash and its first bucket has a place.
    #[inline]
    pub fn vacancy(&self, hash: u64) -> Option<Place> {
        let (index, tag) = (self.buckets.first(hash), tag_of(hash));
        let bucket = &self.buckets.0[index];
        let may_be_known =
            self.is_live(bucket.overflowed()) || self.under(bucket, tag).next().is_some();
        if may_be_known || self.is_full() {
            return None;
        }
        Some(Place {
            bucket: index,
            way: self.stale_way(bucket)?,
            tag,
            moves_to: None,
        })
    }

    #[inline]
    fn stale_way(&self, bucket: &Line) -> Option<usize> {
        (0..WAYS).find(|&way| !self.is_live(bucket.at(way)))
    }

    /// Numbers with the tag of `hash`; the caller compares keys.
    #[inline]
    pub fn hits(&self, hash: u64) -> Hits {
        let (first, tag) = (self.buckets.first(hash), tag_of(hash));
        let mut hits = Hits::NONE;
        let bucket = &self.buckets.0[first];
        self.under(bucket, tag).for_each(|at| hits.push(at));
        if self.is_live(bucket.overflowed()) {
            let second = &self.buckets.0[self.buckets.second(first, tag)];
            self.under(second, tag | SECOND)
                .for_each(|at| hits.push(at));
        }
        hits
    }

    #[inline]
    fn occupy(&mut self, index: usize, way: usize, tag: u16, at: u32) {
        let bucket = &mut self.buckets.0[index];
        bucket.set_tag(way, tag);
        bucket.set_at(way, at);
        if tag & SECOND == 0 {
            return;
        }
        let first = self.buckets.other(index, tag);
        let newest = self.buckets.0[first].overflowed();
        // A moved entry may be older than one that overflowed before it.
        if !self.is_live(newest) || newest.wrapping_sub(self.tail) < at.wrapping_sub(self.tail) {
            self.buckets.0[first].set_overflowed(at);
        }
    }

    /// Adds an entry to a ring that is not full. `None` where both buckets are: [`Ring::forget`] one of
    /// [`Ring::rivals`] first.
    pub fn insert(&mut self, hash: u64, entry: E) -> Option<u32> {
        let place = self
            .buckets
            .place_for(hash, |bucket| self.stale_way(bucket))?;
        Some(self.insert_at(place, || entry))
    }

    /// Adds an entry at a place that a look-up has just found.
    #[inline(always)]
    pub fn insert_at(&mut self, place: Place, entry: impl FnOnce() -> E) -> u32 {
        let Place {
            bucket,
            way,
            tag,
            moves_to,
        } = place;
        if let Some((to, free)) = moves_to {
            let line = &self.buckets.0[bucket];
            let (tag, at) = (line.tag(way), line.at(way));
            self.occupy(to, free, tag ^ SECOND, at);
        }
        let at = self.head();
        self.len += 1;
        let place = self.place(at);
        match self.entries.get_mut(place) {
            Some(place) => *place = entry(),
            // As long as the ring was never full.
            None => self.entries.push(entry()),
        }
        self.occupy(bucket, way, tag, at);
        at
    }

    /// The live entries of both buckets of `hash`.
    pub fn rivals(&self, hash: u64) -> Hits {
        self.buckets.rivals(hash, |_, at| self.is_live(at))
    }

    /// The bucket and the way of an entry in one of the buckets of `hash`.
    fn find(&self, hash: u64, at: u32) -> Option<(usize, usize)> {
        let both = self.buckets.both(hash).into_iter();
        let mut places = both.flat_map(|bucket| (0..WAYS).map(move |way| (bucket, way)));
        places.find(|&(bucket, way)| self.buckets.0[bucket].at(way) == at)
    }

    /// Takes an entry out of a bucket of `hash`: no lookup finds it any more. It stays in the ring until its turn.
    pub fn forget(&mut self, hash: u64, at: u32) {
        if let Some((bucket, way)) = self.find(hash, at) {
            let stale = self.tail.wrapping_sub(1);
            self.buckets.0[bucket].set_tag(way, 0);
            self.buckets.0[bucket].set_at(way, stale);
        }
    }

    /// Exchanges two entries, given by number and hash. No lookup finds the second any more.
    pub fn exchange(&mut self, (kept, kept_hash): (u32, u64), (lost, lost_hash): (u32, u64)) {
        self.forget(lost_hash, lost);
        if let Some((bucket, way)) = self.find(kept_hash, kept) {
            let tag = self.buckets.0[bucket].tag(way);
            self.occupy(bucket, way, tag, lost);
        }
        let places = [kept, lost].map(|at| self.place(at));
        self.entries.swap(places[0], places[1]);
    }
}

/// As a distance between numbers.
#[allow(clippy::cast_possible_truncation, reason = "at most 2^31 entries")]
pub fn number(entries: usize) -> u32 {
    entries as u32
}

#[cfg(test)]
mod tests;
