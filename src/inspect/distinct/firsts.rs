//! The table of subjects with one item so far: nearly all subjects, and all of a spoofed flood.
//!
//! 16 bytes a subject (24 where the item is a host) instead of a full record, so that a slow scanner's first touch
//! survives longer in a flood. A bucket is neighbouring cache lines. A subject is identified by its bucket and 44 bits
//! of its keyed hash: a lookup in a full table finds a wrong subject once in 2^41 times.

use super::item::Item;
use super::state::TouchState;
use crate::snapshot::snapshot;
use crate::sys::lines::{Line, Lines};
use crate::sys::prefetch::prefetch;
use std::marker::PhantomData;

/// Subjects in a bucket.
const WAYS: usize = 8;
/// The place is taken.
const TAKEN: u64 = 1 << 63;
const STATE: u32 = 61;
const SHORT: u32 = 45;
/// The source completed a handshake.
const PROVEN: u64 = 1 << 44;
/// Bits of a name from the top of the hash; the other bits choose the bucket.
const HASH_BITS: u32 = 44;
const HASH: u64 = (1 << HASH_BITS) - 1;

/// A subject with one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First<I> {
    pub item: I,
    pub newest_ns: i64,
    pub state: TouchState,
    /// The source completed a handshake.
    pub proven: bool,
}

impl<I: Item> First<I> {
    fn name(&self, hash: u64) -> u64 {
        let proven = if self.proven { PROVEN } else { 0 };
        let short = u64::from(self.item.parts().0);
        TAKEN | (self.state as u64) << STATE | short << SHORT | proven | hash >> (64 - HASH_BITS)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    bucket: usize,
    way: usize,
}

/// Where a subject would be that the table doesn't hold.
#[derive(Clone, Copy, Debug)]
pub struct Vacant {
    bucket: usize,
    hash: u64,
}

/// The table. The lines of a bucket: eight names (from the top: [`TAKEN`], [`TouchState`], 16 bits of the item,
/// [`PROVEN`], hash), eight newest touches, and eight words of items, where an item has one.
pub struct Firsts<I> {
    lines: Lines,
    buckets: usize,
    pub held: usize,
    item: PhantomData<I>,
}

snapshot! {
    [I] Firsts<I>;
    values: lines, held;
    fixed: buckets, item;
}

impl<I: Item> Firsts<I> {
    const BUCKET: usize = 2 + I::WORDS;

    /// `capacity` is rounded up to whole buckets.
    pub fn new(capacity: usize) -> Self {
        let buckets = Self::buckets_for(capacity);
        Self {
            lines: Lines::zeroed(buckets * Self::BUCKET),
            buckets,
            held: 0,
            item: PhantomData,
        }
    }

    fn buckets_for(capacity: usize) -> usize {
        capacity.div_ceil(WAYS).max(1)
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (Self::buckets_for(capacity) * Self::BUCKET * size_of::<Line>()) as u64
    }

    pub fn prefault(&mut self) {
        self.lines.prefault();
        self.held = 0;
    }

    /// Uses hash bits that are neither in names nor used to choose the owner among shards.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn bucket(&self, hash: u64) -> usize {
        let bucket = (u128::from(hash.rotate_left(HASH_BITS)) * self.buckets as u128) >> 64;
        bucket as usize * Self::BUCKET
    }

    fn names(&self, bucket: usize) -> &[u64; WAYS] {
        &self.lines[bucket].0
    }

    fn newest_ns(&self, bucket: usize, way: usize) -> i64 {
        self.lines[bucket + 1].0[way].cast_signed()
    }

    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let bucket = self.bucket(hash);
        for line in &self.lines[bucket..bucket + Self::BUCKET] {
            prefetch(line);
        }
    }

    #[inline]
    pub fn find(&self, hash: u64) -> Option<Place> {
        self.find_in(self.bucket(hash), hash).ok()
    }

    /// The place of a subject, or where it would be.
    #[inline]
    pub fn entry(&self, hash: u64) -> Result<Place, Vacant> {
        self.find_in(self.bucket(hash), hash)
    }

    #[inline]
    fn find_in(&self, index: usize, hash: u64) -> Result<Place, Vacant> {
        let wanted = TAKEN | hash >> (64 - HASH_BITS);
        let line = &self.lines[index..][..Self::BUCKET][0];
        // In a flood nearly every subject is new.
        let mut bits = line.lower_halves_equal_to((wanted & 0xffff_ffff) as u32);
        while bits != 0 {
            let way = bits.trailing_zeros() as usize;
            if line.0[way] & (TAKEN | HASH) == wanted {
                return Ok(Place { bucket: index, way });
            }
            bits &= bits - 1;
        }
        Err(Vacant {
            bucket: index,
            hash,
        })
    }

    #[allow(clippy::cast_possible_truncation, reason = "16 bits and two")]
    pub fn get(&self, place: Place) -> First<I> {
        let name = self.names(place.bucket)[place.way];
        let word = match I::WORDS {
            0 => 0,
            _ => self.lines[place.bucket + 2].0[place.way],
        };
        First {
            item: I::of((name >> SHORT) as u16, word),
            newest_ns: self.newest_ns(place.bucket, place.way),
            state: TouchState::from_bits((name >> STATE) as u8),
            proven: name & PROVEN != 0,
        }
    }

    /// Replaces the subject there; its item must stay the same.
    pub fn set(&mut self, place: Place, first: First<I>) {
        let hash = self.names(place.bucket)[place.way] << (64 - HASH_BITS);
        self.put(place, hash, first);
    }

    /// Removes the subject there.
    pub fn take(&mut self, place: Place) -> First<I> {
        let first = self.get(place);
        self.lines[place.bucket].0[place.way] = 0;
        self.held -= 1;
        first
    }

    /// Inserts a subject. A full bucket evicts the one with the oldest newest touch, which is returned.
    #[inline]
    pub fn insert(&mut self, hash: u64, first: First<I>) -> Option<i64> {
        let bucket = self.bucket(hash);
        self.insert_at(Vacant { bucket, hash }, first)
    }

    /// The same, of a subject that was looked for.
    #[inline(always)]
    pub fn insert_at(&mut self, Vacant { bucket, hash }: Vacant, first: First<I>) -> Option<i64> {
        const _: () = assert!(TAKEN == 1 << 63 && WAYS == 8);
        let lines = &mut self.lines[bucket..][..Self::BUCKET];
        let taken = lines[0].highest_bits();
        if taken != 0xff {
            self.held += 1;
            put(lines, taken.trailing_ones() as usize % WAYS, first, hash);
            return None;
        }
        let way = oldest(lines);
        let gone = lines[1].0[way].cast_signed();
        put(lines, way, first, hash);
        Some(gone)
    }

    fn put(&mut self, Place { bucket, way }: Place, hash: u64, first: First<I>) {
        put(&mut self.lines[bucket..][..Self::BUCKET], way, first, hash);
    }
}

/// Writes a subject into a bucket.
#[inline(always)]
fn put<I: Item>(lines: &mut [Line], way: usize, first: First<I>, hash: u64) {
    lines[0].0[way] = first.name(hash);
    lines[1].0[way] = first.newest_ns.cast_unsigned();
    if I::WORDS > 0 {
        lines[2].0[way] = first.item.parts().1;
    }
}

/// The way of a bucket with the oldest newest touch. Ties by hash, so that the order of arrival does not matter.
#[inline(always)]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the lower half is meant"
)]
fn oldest(lines: &[Line]) -> usize {
    let times = &lines[1];
    let least = (times.0.iter()).fold(i64::MAX, |least, time| least.min(time.cast_signed()));
    let alike = times.lower_halves_equal_to(least as u32);
    match alike & (alike - 1) {
        0 => alike.trailing_zeros() as usize % WAYS,
        _ => least_name(lines, least),
    }
}

/// The way with the least hash of those touched at this time.
#[inline(never)]
fn least_name(lines: &[Line], newest_ns: i64) -> usize {
    let ways = (0..WAYS).filter(|&way| lines[1].0[way].cast_signed() == newest_ns);
    let least = ways.min_by_key(|&way| lines[0].0[way] & HASH);
    least.expect("the time is one of theirs")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(port: u16, newest_ns: i64) -> First<u16> {
        First {
            item: port,
            newest_ns,
            state: TouchState::Touched,
            proven: false,
        }
    }

    fn capacity(firsts: &Firsts<u16>) -> usize {
        firsts.lines.len() / Firsts::<u16>::BUCKET * WAYS
    }

    #[test]
    fn a_subject_takes_sixteen_bytes() {
        assert_eq!(Firsts::<u16>::memory_bytes(1 << 10), 16 << 10);
    }

    #[test]
    fn what_is_put_in_is_found_until_it_is_taken() {
        let mut firsts = Firsts::new(4096);
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Every value is a value: hash 0, port 0, time 0 and the ends of time.
        for (n, newest_ns) in (0..1000).zip([0, -1, i64::MIN, i64::MAX].into_iter().cycle()) {
            let port = u16::try_from(n).expect("below 1000");
            assert_eq!(firsts.insert(hash(n), first(port, newest_ns)), None);
        }
        assert_eq!((firsts.held, capacity(&firsts)), (1000, 4096));
        for n in 0..1000 {
            let place = firsts.find(hash(n)).expect("put in");
            let mut found = firsts.get(place);
            assert_eq!(u64::from(found.item), n);
            found.state = TouchState::Refused;
            found.proven = n % 3 == 0;
            firsts.set(place, found);
            assert_eq!(firsts.take(place), found);
            assert_eq!(firsts.find(hash(n)), None);
        }
        assert_eq!(firsts.held, 0);
    }

    #[test]
    fn the_one_that_was_quiet_for_longest_leaves_a_full_bucket() {
        let mut firsts = Firsts::new(WAYS);
        let hash = |n: u16| u64::from(n) << 32;
        for n in 0..8_u16 {
            let age = i64::from(n ^ 5);
            assert_eq!(firsts.insert(hash(n), first(n, age)), None);
        }
        assert_eq!(
            firsts.insert(hash(99), first(9, 100)),
            Some(0),
            "its newest touch"
        );
        assert_eq!(firsts.find(hash(5)), None);
        assert!(firsts.find(hash(99)).is_some());
        assert_eq!((firsts.held, capacity(&firsts)), (8, 8));
    }
}
