//! What a rule counts, of whom: all that two rules of this form differ in.

use super::state::TouchState;
use crate::flow::key::Hasher;
use crate::inspect::Kind;
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::detection::{Evidence, Extent, Subject};
use crate::inspect::detector::About;
use clap::Args;
use std::fmt::Debug;
use std::net::IpAddr;

/// The question of one rule: how many distinct items of one subject?
pub trait Question: Sized {
    /// The kind of its detections.
    const KIND: Kind;
    /// What people read of it.
    const ABOUT: About;
    /// Its part of the room for all detectors, against the parts of the others.
    const WEIGHT: u64;
    /// Who has all contacts of a subject.
    const KEYED_BY: Owner;
    /// Words of 64 bits that keep every item of one episode.
    const SEEN_WORDS: usize;
    /// Its flags.
    type Flags: Args + Clone + Debug;
    /// Whose items are counted.
    type Subject: Copy + Eq + Debug;
    /// What is counted.
    type Item: Item;
    /// Every item of one episode.
    type Seen<'a>: Seen<Item = Self::Item>;

    /// N and W of the flags, in nanoseconds; N = 0: the rule is off.
    fn numbers(flags: &Self::Flags) -> (usize, i64);
    /// Whom a contact is about; `target` is its destination in the eyes of the rule, or what stands for several.
    fn subject(contact: &Contact, target: IpAddr) -> Self::Subject;
    /// The keyed hash of that.
    fn hash(hasher: &Hasher, contact: &Contact) -> u64;
    /// What it touched.
    fn item(contact: &Contact) -> Self::Item;
    /// The subject as detections name it; `dst` is where the deciding packet went.
    fn named(subject: &Self::Subject, dst: IpAddr) -> Subject;
    /// A view of the words of one episode.
    fn seen(words: &mut [u64]) -> Self::Seen<'_>;
    /// How far an episode reaches: `count` items, which are kept in `seen`, if at all, or `deciding` ones.
    fn extent(count: u32, which: Which<'_, Self>) -> Extent;
}

/// Which items an extent names.
pub enum Which<'a, Q: Question> {
    /// Those that decided, ascending.
    Deciding(&'a [Q::Item]),
    /// All of the episode.
    Seen(Q::Seen<'a>),
    /// There was no room to keep them.
    Unknown,
}

/// What is counted: 16 bits beside the hash of a subject, and so many whole words.
pub trait Item: Copy + Eq + Ord + Debug {
    /// Words beside the 16 bits: 0 or 1.
    const WORDS: usize;
    /// The item's value when none is meant.
    const NONE: Self;

    /// The 16 bits, and the word.
    fn parts(self) -> (u16, u64);
    /// The item of these parts.
    fn of(short: u16, word: u64) -> Self;
}

/// Whether an item was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It was not.
    New,
    /// It was.
    Known,
    /// It was not, and there is no room for it.
    NoRoom,
}

/// Every item of one episode with what became of it.
pub trait Seen {
    /// What is kept.
    type Item: Item;

    /// The state of `item`.
    fn get(&self, item: Self::Item) -> TouchState;
    /// Raises `item` to `state`; an item never goes back.
    fn raise(&mut self, item: Self::Item, state: TouchState) -> Raised;
    /// How many items are in each state.
    fn states(&self) -> [u32; 4];

    /// How the items answered. Of those that did not, up to `in_flight` may still do so; the others are unanswered.
    fn evidence(&self, in_flight: u32) -> Evidence {
        let [_, silent, answered, refused] = self.states();
        let pending = silent.min(in_flight);
        Evidence {
            refused,
            unanswered: silent - pending,
            answered,
            pending,
        }
    }
}
