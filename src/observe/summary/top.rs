//! The keys with the highest counts, in fixed memory.
//!
//! Exact until more keys come than there are places. From then on Space-Saving (Metwally et al., 2005): a new key takes
//! the place of one with the least count, and that count is its error. A key with more than a share of 1 / places of all
//! counts is among them.

use std::collections::HashMap;
use std::hash::Hash;

/// A key with its count: at least `count - error`, at most `count`.
#[derive(Clone, Debug)]
pub struct Place<K, V> {
    pub key: K,
    pub count: u64,
    pub error: u64,
    /// What was counted of the key since it took the place.
    pub value: V,
}

impl<K, V> Place<K, V> {
    /// What the key has at least.
    pub fn at_least(&self) -> u64 {
        self.count - self.error
    }
}

/// Counts by key.
#[derive(Debug)]
pub struct Top<K, V> {
    room: usize,
    places: Vec<Place<K, V>>,
    index: HashMap<K, usize>,
    /// Keys whose place another took.
    displaced: u64,
    /// The least count when the hand began its turn.
    least: u64,
    /// Where the search for that count goes on.
    hand: usize,
}

impl<K: Copy + Eq + Hash + Ord, V: Default> Top<K, V> {
    /// Room for so many keys, at least one.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            places: Vec::with_capacity(room),
            index: HashMap::with_capacity(room),
            displaced: 0,
            least: 0,
            hand: room,
        }
    }

    /// Bytes of so many places; what values own comes on top.
    pub fn memory_bytes(room: usize) -> u64 {
        // A hash map has a byte of control for each slot, and of its slots at least 7/16 are taken.
        let index = room * 16 / 7 * (size_of::<(K, usize)>() + 1);
        (room * size_of::<Place<K, V>>() + index) as u64
    }

    /// Counts the key. Returns its value, and the value of the key that lost its place to it.
    pub fn add(&mut self, key: K) -> (&mut V, Option<V>) {
        self.add_many(key, 1)
    }

    /// Counts the key so many times, at least once.
    pub fn add_many(&mut self, key: K, times: u64) -> (&mut V, Option<V>) {
        if let Some(&at) = self.index.get(&key) {
            let place = &mut self.places[at];
            place.count += times;
            return (&mut place.value, None);
        }
        let mut new = Place {
            key,
            count: times,
            error: 0,
            value: V::default(),
        };
        if self.places.len() < self.room {
            self.index.insert(key, self.places.len());
            self.places.push(new);
            let last = self.places.last_mut().expect("just pushed");
            return (&mut last.value, None);
        }
        let at = self.weakest();
        let place = &mut self.places[at];
        new.error = place.count;
        new.count = place.count + times;
        let old = std::mem::replace(place, new);
        self.index.remove(&old.key);
        self.index.insert(key, at);
        self.displaced += 1;
        (&mut place.value, Some(old.value))
    }

    /// A place with the least count. The hand takes all that have it before it looks for the least count anew: in a flood
    /// of new keys a step costs little.
    fn weakest(&mut self) -> usize {
        loop {
            if self.hand == self.room {
                self.hand = 0;
                let counts = self.places.iter().map(|place| place.count);
                self.least = counts.min().unwrap_or(0);
            }
            let at = self.hand;
            self.hand += 1;
            if self.places[at].count == self.least {
                return at;
            }
        }
    }

    /// Whether every key has had a place, so that all counts are exact.
    pub fn is_exact(&self) -> bool {
        self.displaced == 0
    }

    /// Keys that have a place.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// The counts of a key without a place are at most so many.
    pub fn unseen(&self) -> u64 {
        match self.is_exact() {
            true => 0,
            false => {
                let counts = self.places.iter().map(|place| place.count);
                counts.min().unwrap_or(0)
            }
        }
    }

    /// The `most` keys that surely have the highest counts, highest first.
    pub fn first(&self, most: usize) -> Vec<&Place<K, V>> {
        let mut all: Vec<_> = self.places.iter().collect();
        all.sort_unstable_by_key(|place| {
            let rank = (place.at_least(), place.count);
            (std::cmp::Reverse(rank), place.key)
        });
        all.truncate(most);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn counts_are_exact_while_there_is_room_and_then_bounded(
            keys in prop::collection::vec(0_u32..40, 0..600),
            room in 1_usize..50,
        ) {
            let mut top: Top<u32, u64> = Top::new(room);
            let mut truth = BTreeMap::new();
            for &key in &keys {
                // A power of two has many more.
                let key = if key % 3 == 0 { 8 } else { key };
                let times = u64::from(key % 5) + 1;
                *top.add_many(key, times).0 += times;
                *truth.entry(key).or_insert(0_u64) += times;
            }
            prop_assert_eq!(top.is_exact(), truth.len() <= room);
            let kept = top.first(room);
            prop_assert_eq!(kept.len(), truth.len().min(room));
            for place in &kept {
                let real = truth[&place.key];
                prop_assert!(place.at_least() <= real && real <= place.count);
                prop_assert_eq!(place.value, place.at_least());
                prop_assert!(!top.is_exact() || place.error == 0);
            }
            let unseen = top.unseen();
            for (key, &real) in &truth {
                let is_kept = kept.iter().any(|place| place.key == *key);
                prop_assert!(is_kept || real <= unseen, "{key}: {real} > {unseen}");
            }
            let all: u64 = truth.values().sum();
            prop_assert!(unseen <= all / room as u64);
            prop_assert!(kept.is_sorted_by_key(|place| std::cmp::Reverse(place.at_least())));
        }
    }

    #[test]
    fn who_loses_its_place_gives_back_its_value() {
        let mut top: Top<u8, u64> = Top::new(2);
        *top.add(1).0 = 10;
        top.add(1);
        *top.add(2).0 = 20;
        let (value, old) = top.add(3);
        assert_eq!((*value, old), (0, Some(20)));
        let first = top.first(2);
        assert_eq!((first[0].key, first[0].count, first[0].error), (1, 2, 0));
        assert_eq!((first[1].key, first[1].count, first[1].error), (3, 2, 1));
    }
}
