//! What rules count.

use borsh::{BorshDeserialize, BorshSchema, BorshSerialize};
use std::fmt::Debug;

/// An item: 16 bits, and `WORDS` words.
pub trait Item: Copy + Eq + Ord + Debug + BorshDeserialize + BorshSchema + BorshSerialize {
    /// 0 or 1.
    const WORDS: usize;
    /// Placeholder in free slots.
    const NONE: Self;

    fn parts(self) -> (u16, u64);
    fn of(short: u16, word: u64) -> Self;
    /// Takes over what a newer touch of the same item says.
    fn renew(&mut self, _: Self) {}
    /// Whether it says all that `newer` says, of the same item.
    fn covers(&self, _: Self) -> bool {
        true
    }
}

/// An item that a number stands for.
pub trait Numbered: Item {
    /// The number of an item, below 2^62.
    fn number(self) -> u64;
}
