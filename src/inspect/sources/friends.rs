//! Who was contacted first: an address that answers a contact of ours is no scanner of ours.
//!
//! Active FTP, callbacks and logon services connect back to whoever connected to them.

use crate::snapshot::snapshot;
use crate::sys::lines::{Line, Lines};

const WAYS: usize = 8;
const MINUTE_NS: i64 = 60_000_000_000;
/// Friendship lasts so many minutes after the newest contact, as in Bro's trw-impl.
const MINUTES: u16 = 30;
const MINUTE: u64 = 0xffff;

/// A table of pairs, each with the minute of its newest contact. A full bucket forgets the oldest. A pair is identified
/// by its bucket and 48 bits of its keyed hash; 0 is a free place.
pub struct Friends {
    lines: Lines,
}

snapshot! {
    [] Friends;
    values: lines;
}

impl Friends {
    /// `capacity` is rounded up to whole buckets.
    pub fn new(capacity: usize) -> Self {
        Self {
            lines: Lines::zeroed(buckets_for(capacity)),
        }
    }

    pub fn memory_bytes(capacity: usize) -> u64 {
        (buckets_for(capacity) * size_of::<Line>()) as u64
    }

    pub fn prefault(&mut self) {
        self.lines.prefault();
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn bucket(&self, pair: u64) -> usize {
        ((u128::from(pair.rotate_left(48)) * self.lines.len() as u128) >> 64) as usize
    }

    /// `pair` made contact at `now_ns`.
    pub fn insert(&mut self, pair: u64, now_ns: i64) {
        let (bucket, now) = (self.bucket(pair), minute(now_ns));
        let name = pair | MINUTE | 1 << 16;
        let line = &mut self.lines[bucket];
        let age = |word: u64| now.wrapping_sub((word & MINUTE) as u16);
        let known = line.0.iter().position(|word| word | MINUTE == name);
        let free = || line.0.iter().position(|&word| word == 0);
        let oldest = || (0..WAYS).max_by_key(|&way| age(line.0[way]));
        let way = known.or_else(free).or_else(oldest);
        line.0[way.expect("a bucket has ways")] = name & !MINUTE | u64::from(now);
    }

    /// Whether `pair` made contact within the last half hour.
    pub fn knows(&self, pair: u64, now_ns: i64) -> bool {
        let name = pair | MINUTE | 1 << 16;
        let line = &self.lines[self.bucket(pair)];
        let known = line.0.iter().find(|&word| word | MINUTE == name);
        known.is_some_and(|word| minute(now_ns).wrapping_sub((word & MINUTE) as u16) <= MINUTES)
    }
}

fn buckets_for(capacity: usize) -> usize {
    capacity.div_ceil(WAYS).max(1)
}

/// The minute of packet time, modulo 2^16: 45 days.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "modulo 2^16"
)]
fn minute(now_ns: i64) -> u16 {
    now_ns.div_euclid(MINUTE_NS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friendship_lasts_for_half_an_hour_and_the_oldest_is_forgotten() {
        let mut friends = Friends::new(WAYS);
        let pair = |n: u64| (n + 1) << 17;
        for n in 0..8 {
            friends.insert(pair(n), n.cast_signed() * MINUTE_NS);
        }
        assert!((0..8).all(|n| friends.knows(pair(n), 8 * MINUTE_NS)));
        assert!(friends.knows(pair(0), 31 * MINUTE_NS - 1));
        assert!(!friends.knows(pair(0), 31 * MINUTE_NS));
        friends.insert(pair(0), 9 * MINUTE_NS);
        friends.insert(pair(8), 10 * MINUTE_NS);
        let known: Vec<u64> = (0..9)
            .filter(|&n| friends.knows(pair(n), 11 * MINUTE_NS))
            .collect();
        assert_eq!(known, [0, 2, 3, 4, 5, 6, 7, 8]);
    }
}
