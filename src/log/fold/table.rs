//! Which attempts are folded, and the folds that are open.

use super::{Fold, Target, second_of};
use crate::flow::key::Hasher;
use crate::flow::record::Attempt;
use std::collections::HashMap;

/// Folds that are open at once; three quarters of them with their port.
const FOLDS_MAX: usize = 256;
/// Rates that are followed, in sets of [`WAYS`].
const SETS: usize = 1024;
const WAYS: usize = 4;

/// How fast attempts to one (destination, port) come.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    /// Keyed hash of destination and port.
    hash: u64,
    second: i64,
    /// Attempts in that second; 0: free.
    count: u32,
    /// Every attempt is folded: the second before was above the rate, and no second since below half of it.
    folding: bool,
    /// Where its fold lies, if that is still its own.
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
    /// Attempts a second to one (destination, port) that are written one by one.
    per_second: u32,
    /// Every attempt is folded, whatever its rate.
    all: bool,
    hasher: Hasher,
    rates: Vec<[Rate; WAYS]>,
    folds: Vec<Fold>,
    free: Vec<u16>,
    index: HashMap<Target, u16>,
    /// No open fold is of an earlier second.
    oldest: i64,
    /// Attempts in open folds.
    held: u64,
}

#[allow(clippy::cast_possible_truncation, reason = "256 folds")]
fn numbers() -> impl Iterator<Item = u16> {
    (0..FOLDS_MAX as u16).rev()
}

impl Folds {
    /// Takes all memory. Up to `per_second` attempts a second to one (destination, port) stay lines.
    pub fn new(per_second: u32, keys: [u64; 2]) -> Self {
        Self {
            per_second,
            all: false,
            hasher: Hasher::new(keys),
            rates: vec![[Rate::default(); WAYS]; SETS],
            folds: vec![Fold::empty(Target::default(), 0); FOLDS_MAX],
            free: numbers().collect(),
            index: HashMap::with_capacity(2 * FOLDS_MAX),
            oldest: i64::MAX,
            held: 0,
        }
    }

    /// Bytes of one table.
    pub fn memory_bytes() -> u64 {
        let entry = size_of::<(Target, u16)>() + 1;
        // The map keeps a load of at most 7/8, in a power of two.
        let index = (2 * FOLDS_MAX * 8 / 7).next_power_of_two() * entry;
        (SETS * size_of::<[Rate; WAYS]>() + FOLDS_MAX * (size_of::<Fold>() + 2) + index) as u64
    }

    /// Whether every attempt is folded, whatever its rate: the log cannot keep up.
    pub fn fold_all(&mut self, all: bool) {
        self.all = all;
    }

    /// Attempts in open folds.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Folds an attempt, if it is to be folded.
    #[inline]
    pub fn takes(&mut self, attempt: &Attempt) -> bool {
        let second = second_of(attempt.ts_ns);
        let (set, way) = self.rate(attempt, second);
        let rate = &mut self.rates[set][way];
        // One stamped behind the others counts where they are.
        if second > rate.second {
            rate.turn(second, self.per_second);
        }
        rate.count = rate.count.saturating_add(1);
        let above = rate.folding || rate.count > self.per_second;
        if !above && !self.all {
            return false;
        }
        let (hint, second) = (rate.fold, rate.second);
        let number = self.fold_for(attempt, hint, second);
        self.rates[set][way].fold = number;
        self.folds[usize::from(number)].add(attempt, !above);
        self.held += 1;
        true
    }

    /// The rate of an attempt's target; where its set is full the slowest gives way.
    #[allow(clippy::cast_possible_truncation, reason = "below the number of sets")]
    #[inline]
    fn rate(&mut self, attempt: &Attempt, second: i64) -> (usize, usize) {
        let port = u64::from(attempt.tuple.dst_port);
        let pair = self.hasher.pair(attempt.tuple.dst, attempt.tuple.dst);
        let hash = (pair ^ port << 48 ^ port).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let index = (hash >> 32) as usize % SETS;
        let set = &mut self.rates[index];
        if let Some(way) = (0..WAYS).find(|&way| set[way].hash == hash) {
            return (index, way);
        }
        // One whose second is long over comes before any that counts now.
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

    /// The fold that takes an attempt, opened if need be.
    #[inline]
    fn fold_for(&mut self, attempt: &Attempt, hint: u16, second: i64) -> u16 {
        let target = Target {
            dst: Some(attempt.tuple.dst),
            port: Some(attempt.tuple.dst_port),
        };
        let hinted = &self.folds[usize::from(hint)];
        if hinted.count > 0 && hinted.target == target {
            return hint;
        }
        self.open(target, second)
    }

    /// The open fold of a target or, where the table is full, of what contains it.
    fn open(&mut self, target: Target, second: i64) -> u16 {
        let Target { dst, port } = target;
        let wider = [
            (Target { dst, port }, FOLDS_MAX / 4),
            (Target { dst, port: None }, 1),
            (Target::default(), 0),
        ];
        for (target, kept) in wider {
            if let Some(&number) = self.index.get(&target) {
                return number;
            }
            if self.free.len() > kept
                && let Some(number) = self.free.pop()
            {
                self.index.insert(target, number);
                self.folds[usize::from(number)] = Fold::empty(target, second);
                self.oldest = self.oldest.min(second);
                return number;
            }
        }
        unreachable!("one fold is kept for what has no other")
    }

    /// Takes out the folds whose second is over at `ts_ns`, in order.
    pub fn close_before(&mut self, ts_ns: i64) -> Vec<Box<Fold>> {
        let now = second_of(ts_ns);
        if now <= self.oldest {
            return Vec::new();
        }
        self.close(|fold| fold.second < now)
    }

    /// Takes out all folds, in order.
    pub fn close_all(&mut self) -> Vec<Box<Fold>> {
        self.close(|_| true)
    }

    fn close(&mut self, over: impl Fn(&Fold) -> bool) -> Vec<Box<Fold>> {
        let Self {
            folds,
            free,
            index,
            held,
            ..
        } = self;
        let (mut closed, mut oldest) = (Vec::new(), i64::MAX);
        index.retain(|_, number| {
            let fold = &mut folds[usize::from(*number)];
            if !over(fold) {
                oldest = oldest.min(fold.second);
                return true;
            }
            *held -= fold.count;
            free.push(*number);
            closed.push(Box::new(fold.clone()));
            fold.count = 0;
            false
        });
        self.oldest = oldest;
        closed.sort_unstable_by_key(|fold| fold.order());
        closed
    }

    /// Takes a fold back for which the log has no room: it goes on growing, and is
    /// offered again a second later.
    pub fn take_back(&mut self, fold: &Fold) {
        let number = self.open(fold.target, fold.second.saturating_add(1));
        self.folds[usize::from(number)].merge(fold);
        self.held += fold.count;
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
