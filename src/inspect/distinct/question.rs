//! What differs between rules of the form: N distinct items of one subject within W.

use super::state::TouchState;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::inspect::Kind;
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::detection::{Evidence, Extent, Subject};
use crate::inspect::detector::About;
use clap::Args;
use std::fmt::Debug;
use std::net::IpAddr;

/// One rule of this form.
pub trait Question: Sized {
    // See `Detector`.
    const KIND: Kind;
    const ABOUT: About;
    const WEIGHT: u64;
    const KEYED_BY: Owner;
    type Flags: Args + Clone + Debug;
    /// Length of [`Question::ItemSet`] in words of 64 bits.
    const ITEM_SET_WORDS: usize;
    type Subject: Copy + Eq + Debug;
    type Item: Item;
    /// The set of items of one episode.
    type ItemSet<'a>: ItemSet<Item = Self::Item>;

    /// N, and W in nanoseconds; N = 0: the rule is off.
    fn numbers(flags: &Self::Flags) -> (usize, i64);
    /// The subject of a contact; `target` as in [`Detector::on_contact`](crate::inspect::detector::Detector::on_contact).
    fn subject(contact: &Contact, target: Address) -> Self::Subject;
    /// The keyed hash of the subject.
    fn hash(hasher: &Hasher, contact: &Contact) -> u64;
    fn item(contact: &Contact) -> Self::Item;
    /// The subject in detections; `dst`: destination of the deciding packet.
    fn named(subject: &Self::Subject, dst: IpAddr) -> Subject;
    fn item_set(words: &mut [u64]) -> Self::ItemSet<'_>;
    fn extent(count: u32, which: ExtentItems<'_, Self>) -> Extent;
}

/// Items that an extent names.
pub enum ExtentItems<'a, Q: Question> {
    /// The deciding ones, ascending.
    Deciding(&'a [Q::Item]),
    /// All of the episode.
    All(Q::ItemSet<'a>),
    /// No list was free for them.
    Unknown,
}

/// An item: 16 bits, and `WORDS` words.
pub trait Item: Copy + Eq + Ord + Debug {
    /// 0 or 1.
    const WORDS: usize;
    /// Placeholder in free slots.
    const NONE: Self;

    fn parts(self) -> (u16, u64);
    fn of(short: u16, word: u64) -> Self;
}

/// Result of [`ItemSet::raise`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// Added to the set.
    New,
    /// In the set already; its state may have risen.
    Known,
    /// Not in the set, which is full.
    NoRoom,
}

/// The set of items of one episode with their states.
pub trait ItemSet {
    type Item: Item;

    fn get(&self, item: Self::Item) -> TouchState;
    /// Raises `item` to `state`; a state never decreases.
    fn raise(&mut self, item: Self::Item, state: TouchState) -> Raised;
    /// Number of items in each state.
    fn states(&self) -> [u32; 4];

    /// Outcomes of the items. Of those without an answer, up to `in_flight` are pending, the others unanswered.
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
