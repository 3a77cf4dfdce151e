//! Pairs of which one port was touched so far: what nearly all pairs are, and all that a spoofed flood makes.
//!
//! 16 bytes a pair instead of a whole record, so that a slow scanner's first touch outlives a flood by as much
//! longer, in buckets of two neighbouring lines of the cache. A pair is known by 45 bits of its keyed hash and by
//! its bucket: a lookup in a full table takes another pair for it once in 2^42 times.

use super::port_map::PortState;
use crate::sys::lines::{Line, Lines};
use crate::sys::prefetch::prefetch;

/// Pairs a bucket holds.
const WAYS: usize = 8;
/// A place is taken.
const TAKEN: u64 = 1 << 63;
const STATE: u32 = 61;
const PORT: u32 = 45;
/// The bits of a name that are the upper bits of a hash; the others choose the bucket.
const HASH: u64 = (1 << PORT) - 1;

/// Lines of a bucket of eight pairs: their names (from the top: [`TAKEN`], [`PortState`], port, hash), and their
/// newest touches.
const BUCKET: usize = 2;

/// What is known of a pair with one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// The port.
    pub port: u16,
    /// Its newest touch.
    pub newest_ns: i64,
    /// What came back.
    pub state: PortState,
}

impl First {
    fn name(&self, hash: u64) -> u64 {
        TAKEN | (self.state as u64) << STATE | u64::from(self.port) << PORT | hash >> (64 - PORT)
    }
}

/// Where a pair lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    bucket: usize,
    way: usize,
}

/// The table.
pub struct Firsts {
    lines: Lines,
    held: usize,
}

impl Firsts {
    /// Room for `capacity` pairs, rounded up to whole buckets.
    pub fn new(capacity: usize) -> Self {
        Self {
            lines: Lines::zeroed(Self::buckets_for(capacity) * BUCKET),
            held: 0,
        }
    }

    fn buckets_for(capacity: usize) -> usize {
        capacity.div_ceil(WAYS).max(1)
    }

    /// Bytes that a table for `capacity` pairs takes.
    pub fn memory_bytes(capacity: usize) -> u64 {
        (Self::buckets_for(capacity) * BUCKET * size_of::<Line>()) as u64
    }

    /// Writes to every page.
    pub fn prefault(&mut self) {
        self.lines.prefault();
        self.held = 0;
    }

    /// Pairs held, and room for them.
    pub fn occupancy(&self) -> (usize, usize) {
        (self.held, self.lines.len() / BUCKET * WAYS)
    }

    /// By the bits that no name keeps, which are not those that chose the owner among the shards.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn bucket(&self, hash: u64) -> usize {
        let buckets = (self.lines.len() / BUCKET) as u128;
        ((u128::from(hash.rotate_left(PORT)) * buckets) >> 64) as usize * BUCKET
    }

    fn names(&self, bucket: usize) -> &[u64; WAYS] {
        &self.lines[bucket].0
    }

    fn newest_ns(&self, bucket: usize, way: usize) -> i64 {
        self.lines[bucket + 1].0[way].cast_signed()
    }

    /// Asks the CPU for the bucket of this hash.
    #[inline]
    pub fn announce(&self, hash: u64) {
        let bucket = self.bucket(hash);
        prefetch(&self.lines[bucket]);
        prefetch(&self.lines[bucket + 1]);
    }

    /// The place of the pair with this hash.
    #[inline]
    pub fn find(&self, hash: u64) -> Option<Place> {
        let index = self.bucket(hash);
        let wanted = TAKEN | hash >> (64 - PORT);
        let names = self.names(index);
        // Of all eight, without a branch for each: in a flood nearly every pair is new.
        let found = (0..WAYS).fold(0, |bits, way| {
            bits | u32::from(names[way] & (TAKEN | HASH) == wanted) << way
        });
        let way = found.trailing_zeros() as usize;
        (found != 0).then_some(Place { bucket: index, way })
    }

    /// What is known of the pair there.
    pub fn get(&self, place: Place) -> First {
        let name = self.names(place.bucket)[place.way];
        First {
            port: (name >> PORT & 0xffff) as u16,
            newest_ns: self.newest_ns(place.bucket, place.way),
            state: PortState::from_bits((name >> STATE & 3) as u8),
        }
    }

    /// Changes what is known of the pair there, whose port stays.
    pub fn set(&mut self, place: Place, first: First) {
        let hash = self.names(place.bucket)[place.way] << (64 - PORT);
        self.put(place, hash, first);
    }

    /// Takes the pair out.
    pub fn take(&mut self, place: Place) -> First {
        let first = self.get(place);
        self.lines[place.bucket].0[place.way] = 0;
        self.held -= 1;
        first
    }

    /// Puts a pair in. Where its bucket is full the one that was quiet for longest leaves: its newest touch.
    #[inline]
    pub fn insert(&mut self, hash: u64, first: First) -> Option<i64> {
        let bucket = self.bucket(hash);
        let names = self.names(bucket);
        let free = (0..WAYS).find(|&way| names[way] & TAKEN == 0);
        // Of equally old ones the one with the smaller hash, wherever it lies.
        let rank = |way: &usize| (self.newest_ns(bucket, *way), names[*way] & HASH);
        let oldest = || (0..WAYS).min_by_key(rank);
        let way = free.or_else(oldest).expect("a bucket has places");
        let gone = free.is_none().then(|| self.newest_ns(bucket, way));
        self.put(Place { bucket, way }, hash, first);
        self.held += usize::from(gone.is_none());
        gone
    }

    fn put(&mut self, place: Place, hash: u64, first: First) {
        self.lines[place.bucket].0[place.way] = first.name(hash);
        self.lines[place.bucket + 1].0[place.way] = first.newest_ns.cast_unsigned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(port: u16, newest_ns: i64) -> First {
        First {
            port,
            newest_ns,
            state: PortState::Touched,
        }
    }

    #[test]
    fn a_pair_takes_sixteen_bytes() {
        assert_eq!(Firsts::memory_bytes(1 << 10), 16 << 10);
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
        assert_eq!(firsts.occupancy(), (1000, 4096));
        for n in 0..1000 {
            let place = firsts.find(hash(n)).expect("put in");
            let mut found = firsts.get(place);
            assert_eq!(u64::from(found.port), n);
            found.state = PortState::Refused;
            firsts.set(place, found);
            assert_eq!(firsts.take(place), found);
            assert_eq!(firsts.find(hash(n)), None);
        }
        assert_eq!(firsts.occupancy().0, 0);
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
        assert_eq!(firsts.occupancy(), (8, 8));
    }
}
