//! A set of items: a hash table with open addressing, each item with two bits of state.

use super::question::{Item, ItemSet, Raised};
use super::state::TouchState;
use crate::splitmix::mix64;
use std::marker::PhantomData;

/// Maximum probes for an item. Limits the cost of items chosen to collide.
const PROBES: usize = 64;

/// A set in a number of words, which bounds its items.
pub struct HashSet<'a, I> {
    words: &'a mut [u64],
    item: PhantomData<I>,
}

/// An item of such a set.
pub trait Numbered: Item {
    /// The number of an item, below 2^62.
    fn number(self) -> u64;
}

impl<'a, I: Numbered> HashSet<'a, I> {
    pub fn new(words: &'a mut [u64]) -> Self {
        let item = PhantomData;
        Self { words, item }
    }

    /// Index and true if the item is there, else a free index and false; `None`: no room.
    #[allow(clippy::cast_possible_truncation, reason = "below the number of words")]
    fn place(&self, number: u64) -> Option<(usize, bool)> {
        let len = self.words.len();
        let home = (mix64(number) % len as u64) as usize;
        (0..PROBES)
            .map(|step| (home + step) % len)
            .find(|&at| self.words[at] == 0 || self.words[at] >> 2 == number)
            .map(|at| (at, self.words[at] != 0))
    }

    fn state(&self, at: usize) -> TouchState {
        TouchState::from_bits((self.words[at] & 3) as u8)
    }
}

impl<I: Numbered> ItemSet for HashSet<'_, I> {
    type Item = I;

    fn get(&self, item: I) -> TouchState {
        match self.place(item.number()) {
            Some((at, true)) => self.state(at),
            _ => TouchState::Untouched,
        }
    }

    fn raise(&mut self, item: I, state: TouchState) -> Raised {
        let number = item.number();
        let Some((at, known)) = self.place(number) else {
            return Raised::NoRoom;
        };
        let state = state.max(self.state(at));
        self.words[at] = number << 2 | state as u64;
        if known { Raised::Known } else { Raised::New }
    }

    fn states(&self) -> [u32; 4] {
        let mut states = [0; 4];
        for at in 0..self.words.len() {
            states[self.state(at) as usize] += 1;
        }
        states
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::lab::v4;
    use crate::inspect::place::Host;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The set against a map that holds all.
        #[test]
        fn a_set_of_hosts_keeps_the_highest_state_of_each(
            raised in prop::collection::vec((0_u32..400, 1_u8..4), 1..1500),
        ) {
            let mut words = vec![0; 4096];
            let mut set: HashSet<'_, Host> = HashSet::new(&mut words);
            let mut all: BTreeMap<Host, TouchState> = BTreeMap::new();
            for (n, state) in raised {
                let (host, state) = (Host::new(v4(n)), TouchState::from_bits(state));
                let known = all.get(&host).copied();
                let expected = if known.is_some() { Raised::Known } else { Raised::New };
                prop_assert_eq!(set.raise(host, state), expected);
                all.insert(host, state.max(known.unwrap_or(state)));
            }
            for (&host, &state) in &all {
                prop_assert_eq!(set.get(host), state);
            }
            let held: u32 = set.states()[1..].iter().sum();
            prop_assert_eq!(held as usize, all.len());
        }
    }
}
