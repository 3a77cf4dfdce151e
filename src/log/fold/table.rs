//! Decides which attempts are folded, and holds the open folds.

use super::{Fold, Foldable, SECOND_NS, Target, second_of};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::flow::record::Attempt;
use crate::snapshot::snapshot;

/// Open folds at most; a quarter of them is reserved for folds without a port.
pub const FOLDS_MAX: usize = 256;
/// The smallest table.
pub const FOLDS_MIN: usize = 16;
/// Index places per fold: at most half of them are taken.
const PLACES_EACH: usize = 2;
/// An index place without a fold.
const FREE: u16 = u16::MAX;
/// Sets of [`WAYS`] rates per fold.
const SETS_EACH: usize = 4;
const WAYS: usize = 4;

/// Rate of attempts to one (destination, port).
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct Rate {
    /// Keyed hash of destination and port.
    hash: u64,
    second: i64,
    /// Attempts in that second.
    count: u32,
    /// Every attempt is folded: the second before was above the rate, and no second since below half of it.
    folding: bool,
    /// Hint: index of its last fold.
    fold: u16,
}

impl Rate {
    fn turn(&mut self, second: i64, per_second: u32) {
        let follows = second == self.second.saturating_add(1);
        let above = self.count > per_second;
        let stays = self.folding && self.count > per_second / 2;
        self.folding = follows && (above || stays);
        (self.second, self.count) = (second, 0);
    }
}

/// The folds of one shard, or of the logger.
pub struct Folds {
    /// Attempts a second to one (destination, port) that are not folded.
    per_second: u32,
    /// Every attempt is folded, whatever its rate.
    all: bool,
    hasher: Hasher,
    rates: Vec<[Rate; WAYS]>,
    folds: Vec<Fold>,
    free: Vec<u16>,
    /// Open-addressing table of indices into `folds`, by hash of target and second.
    index: Vec<u16>,
    /// Lower bound of the open folds' seconds.
    oldest: i64,
    /// The current second of the attempts.
    now: i64,
    /// Attempts in open folds.
    held: u64,
    /// Of the last attempt: in a flood the next one has the same target.
    last: Option<Last>,
}

snapshot! {
    [] Folds;
    values: all, oldest, now, held, last;
    lists: rates, folds, free, index;
    fixed: per_second, hasher;
}

/// A destination and port, their hash, and the set and way of their rate.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct Last {
    dst: Address,
    port: u16,
    hash: u64,
    set: usize,
    way: usize,
    /// Its attempts are above the rate from this time on for a second, and this is their open fold.
    above: Option<(i64, u16)>,
}

impl Folds {
    #[cfg(test)]
    pub(crate) fn new(per_second: u32, keys: [u64; 2]) -> Self {
        Self::with_room(FOLDS_MAX, per_second, keys)
    }

    /// Allocates for `folds`, a power of two from [`FOLDS_MIN`] to [`FOLDS_MAX`]. Up to `per_second` attempts a second
    /// to one (destination, port) are not folded.
    ///
    /// # Panics
    ///
    /// For any other number.
    #[allow(clippy::cast_possible_truncation, reason = "256 folds")]
    pub fn with_room(folds: usize, per_second: u32, keys: [u64; 2]) -> Self {
        let sound = (FOLDS_MIN..=FOLDS_MAX).contains(&folds) && folds.is_power_of_two();
        assert!(sound, "no table has room for {folds} folds");
        Self {
            per_second,
            all: false,
            hasher: Hasher::new(keys),
            rates: vec![[Rate::default(); WAYS]; SETS_EACH * folds],
            folds: vec![Fold::empty(Target::default(), 0); folds],
            free: (0..folds as u16).rev().collect(),
            index: vec![FREE; PLACES_EACH * folds],
            oldest: i64::MAX,
            now: i64::MIN,
            held: 0,
            last: None,
        }
    }

    /// Writes to every page, before the first attempt.
    pub fn prefault(&mut self) {
        // Without the black box the compiler would allocate zeroed memory, whose pages are mapped at first use.
        let sets = self.rates.len();
        self.rates = std::hint::black_box(Vec::with_capacity(sets));
        self.rates.resize(sets, Default::default());
    }

    /// Open folds at most.
    pub fn room(&self) -> usize {
        self.folds.len()
    }

    /// Bytes of a table for `folds`, and of as many closed folds that are not yet in the log's queue.
    pub fn memory_bytes(folds: usize) -> u64 {
        let each = size_of::<(Fold, u16)>()
            + 2 * size_of::<Fold>()
            + SETS_EACH * size_of::<[Rate; WAYS]>()
            + PLACES_EACH * size_of::<u16>();
        (folds * each) as u64
    }

    /// Folds every attempt, or only those above the rate. For a log that cannot keep up.
    pub fn fold_all(&mut self, all: bool) {
        self.all = all;
    }

    /// Attempts in open folds.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Folds an attempt above the rate. False: it is not folded.
    #[inline]
    pub fn takes(&mut self, attempt: impl Into<Foldable>) -> bool {
        let attempt = attempt.into();
        if let Some(last) = &self.last
            && let Some((start_ns, number)) = last.above
            && (last.dst, last.port) == (attempt.dst, attempt.port)
            && attempt.ts_ns.wrapping_sub(start_ns).cast_unsigned() < SECOND_NS.cast_unsigned()
        {
            let rate = &mut self.rates[last.set][last.way];
            rate.count = rate.count.saturating_add(1);
            self.add(number, &attempt, false);
            return true;
        }
        self.decide(&attempt)
    }

    #[inline(never)]
    fn decide(&mut self, attempt: &Foldable) -> bool {
        // The rate may turn to another second.
        if let Some(last) = &mut self.last {
            last.above = None;
        }
        let second = second_of(attempt.ts_ns);
        let (dst, port) = (attempt.dst, attempt.port);
        let known = self
            .last
            .filter(|last| (last.dst, last.port) == (dst, port));
        let last = known.unwrap_or_else(|| self.look_up(dst, port, second));
        let Last { hash, set, way, .. } = last;
        let rate = &mut self.rates[set][way];
        // An attempt up to a second behind counts in the current second.
        if second > rate.second || second < rate.second.saturating_sub(1) {
            rate.turn(second, self.per_second);
        }
        rate.count = rate.count.saturating_add(1);
        let above = rate.folding || rate.count > self.per_second;
        if !above && !self.all {
            return false;
        }
        let (hint, second) = (rate.fold, rate.second);
        let number = self.fold_for(attempt, hash, hint, second);
        self.rates[set][way].fold = number;
        self.add(number, attempt, !above);
        let above = above.then_some((second.saturating_mul(SECOND_NS), number));
        self.last = Some(Last { above, ..last });
        true
    }

    fn look_up(&mut self, dst: Address, port: u16, second: i64) -> Last {
        let hash = self.hash(dst, Some(port));
        let (set, way) = self.rate(hash, second);
        let found = Last {
            dst,
            port,
            hash,
            set,
            way,
            above: None,
        };
        self.last = Some(found);
        found
    }

    /// Folds an attempt below the rate that found the log's queue full.
    pub fn put(&mut self, attempt: &Attempt) {
        let attempt = Foldable::from(*attempt);
        let hash = self.hash(attempt.dst, Some(attempt.port));
        // The fold of its own second may be closed.
        let second = second_of(attempt.ts_ns).max(self.now);
        let number = self.fold_for(&attempt, hash, 0, second);
        self.add(number, &attempt, true);
    }

    #[inline]
    fn add(&mut self, number: u16, attempt: &Foldable, pressure: bool) {
        self.folds[usize::from(number)].add(attempt, pressure);
        self.held += 1;
    }

    #[inline]
    fn hash(&self, dst: Address, port: Option<u16>) -> u64 {
        let port = port.map_or(0, |port| u64::from(port) + 1);
        let pair = self.hasher.pair(dst, dst);
        (pair ^ port << 32 ^ port).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    /// Set and way of a target's rate. In a full set the slowest is replaced.
    #[allow(clippy::cast_possible_truncation, reason = "below the number of sets")]
    #[inline]
    fn rate(&mut self, hash: u64, second: i64) -> (usize, usize) {
        let index = (hash >> 32) as usize & (self.rates.len() - 1);
        let set = &mut self.rates[index];
        if let Some(way) = (0..WAYS).find(|&way| set[way].hash == hash) {
            return (index, way);
        }
        // Rates of past seconds are replaced first.
        let rank = |way: &usize| {
            let rate = &set[*way];
            let current = rate.second.saturating_add(1) >= second;
            (current, rate.folding, rate.count)
        };
        let way = (0..WAYS).min_by_key(rank).unwrap_or(0);
        set[way] = Rate {
            hash,
            second,
            ..Rate::default()
        };
        (index, way)
    }

    /// Index of the fold for an attempt, opened if there is none.
    #[inline]
    fn fold_for(&mut self, attempt: &Foldable, hash: u64, hint: u16, second: i64) -> u16 {
        let target = Target {
            dst: Some(attempt.dst.into()),
            port: Some(attempt.port),
        };
        let hinted = &self.folds[usize::from(hint)];
        if hinted.count > 0 && hinted.target == target && hinted.second == second {
            return hint;
        }
        self.open(target, hash, second)
    }

    /// The open fold of a target or, in a full table, of a wider target.
    fn open(&mut self, target: Target, hash: u64, second: i64) -> u16 {
        let wide = Target {
            port: None,
            ..target
        };
        self.open_within(target, hash, second, self.folds.len() / 4)
            .or_else(|| {
                let hash = target.dst.map_or(1, |dst| self.hash(dst.into(), None));
                self.open_within(wide, hash, second, 2)
            })
            // Two folds are reserved for the widest target: one for each of two adjacent seconds.
            .or_else(|| self.open_within(Target::default(), 1, second, 0))
            .or_else(|| self.any_of_everything())
            .expect("two folds are reserved for the widest target")
    }

    /// The open fold of this target and second. Opened only while more than `kept` folds are free.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of places"
    )]
    fn open_within(&mut self, target: Target, hash: u64, second: i64, kept: usize) -> Option<u16> {
        let mut place = self.place(hash, second);
        while self.index[place] != FREE {
            let number = self.index[place];
            let fold = &self.folds[usize::from(number)];
            if fold.target == target && fold.second == second {
                return Some(number);
            }
            place = self.after(place);
        }
        if self.free.len() <= kept {
            return None;
        }
        let number = self.free.pop()?;
        self.index[place] = number;
        self.folds[usize::from(number)] = Fold::empty(target, second);
        self.oldest = self.oldest.min(second);
        Some(number)
    }

    /// First index place of the probe sequence.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of places"
    )]
    fn place(&self, hash: u64, second: i64) -> usize {
        let mixed = hash.wrapping_add(second.cast_unsigned()) >> 32 ^ hash ^ second.cast_unsigned();
        mixed as usize & (self.index.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.index.len() - 1)
    }

    /// Any open fold of the widest target: more seconds are open than folds are reserved.
    fn any_of_everything(&self) -> Option<u16> {
        let of_everything = |number: &&u16| {
            **number != FREE && self.folds[usize::from(**number)].target == Target::default()
        };
        self.index.iter().find(of_everything).copied()
    }

    /// Closes the folds whose second is over at `ts_ns`, and returns them in order.
    pub fn close_before(&mut self, ts_ns: i64) -> Vec<Fold> {
        self.now = self.now.max(second_of(ts_ns));
        let now = self.now;
        if now <= self.oldest {
            return Vec::new();
        }
        self.close(|fold| fold.second < now)
    }

    /// Closes the folds of earlier seconds and, after a clock was set back, of seconds that are more than one ahead.
    /// Returns them in order.
    pub fn close_apart(&mut self, ts_ns: i64) -> Vec<Fold> {
        let now = second_of(ts_ns);
        if now == self.now {
            return Vec::new();
        }
        self.now = now;
        self.close(|fold| fold.second < now || fold.second > now.saturating_add(1))
    }

    /// Closes all folds and returns them in order.
    pub fn close_all(&mut self) -> Vec<Fold> {
        if self.held == 0 {
            return Vec::new();
        }
        self.close(|_| true)
    }

    fn close(&mut self, over: impl Fn(&Fold) -> bool) -> Vec<Fold> {
        if let Some(last) = &mut self.last {
            last.above = None;
        }
        let (mut closed, mut left) = (Vec::new(), Vec::new());
        let open = self.index.iter_mut().filter(|number| **number != FREE);
        for number in open.map(|number| std::mem::replace(number, FREE)) {
            let fold = &mut self.folds[usize::from(number)];
            if over(fold) {
                self.held -= fold.count;
                self.free.push(number);
                closed.push(fold.clone());
                fold.count = 0;
            } else {
                left.push(number);
            }
        }
        self.oldest = i64::MAX;
        for number in left {
            let Fold { target, second, .. } = self.folds[usize::from(number)];
            self.oldest = self.oldest.min(second);
            let hash = target
                .dst
                .map_or(1, |dst| self.hash(dst.into(), target.port));
            let mut place = self.place(hash, second);
            while self.index[place] != FREE {
                place = self.after(place);
            }
            self.index[place] = number;
        }
        closed.sort_unstable_by_key(|fold| fold.order());
        closed
    }

    /// Reopens a fold that found the log's queue full. It grows on, and is closed with the current second.
    pub fn take_back(&mut self, fold: &Fold) {
        let Target { dst, port } = fold.target;
        let hash = dst.map_or(1, |dst| self.hash(dst.into(), port));
        let number = self.open(fold.target, hash, self.now.max(fold.second));
        self.folds[usize::from(number)].merge(fold);
        self.held += fold.count;
    }
}

#[cfg(test)]
mod tests;
