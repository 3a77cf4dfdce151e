//! What differs between rules of the form: N distinct items of one subject within W.

use super::item::Item;
use super::state::TouchState;
pub use super::subjects::KEEP_MAX;
use super::subjects::Touch;
pub(in crate::inspect) use super::subjects::is_inside;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::inspect::Kind;
use crate::inspect::contact::{Contact, ContactKind, Kinds, Owner};
use crate::inspect::detection::{Crowd, Evidence, Extent, Subject};
use crate::inspect::detector::About;
use crate::inspect::place::Place;
use crate::time::durations::UNANSWERED_NS;
use borsh::{BorshDeserialize, BorshSchema, BorshSerialize};
use clap::Args;
use std::fmt::Debug;
use std::iter;
use std::net::IpAddr;

/// What contacts mean to a rule.
#[derive(Clone, Copy, Debug)]
pub struct Hears {
    /// An item is touched.
    pub touches: Kinds,
    /// It answered.
    pub answers: Kinds,
    /// It refused.
    pub refusals: Kinds,
    /// The source proved that it is where it says.
    pub proofs: Kinds,
}

impl Hears {
    /// A rule about attempts of TCP.
    pub const ATTEMPTS: Self = Self {
        touches: ContactKind::SYNS,
        answers: Kinds::of(&[ContactKind::Answered]),
        refusals: Kinds::of(&[ContactKind::Refused]),
        proofs: Kinds::of(&[ContactKind::Established]),
    };
}

/// N and W of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// N; 0: the rule is off.
    pub at_least: usize,
    /// N for our own addresses as sources.
    pub at_least_local: usize,
    /// W in nanoseconds.
    pub window_ns: i64,
}

/// One rule of this form.
pub trait Question: Sized {
    // See `Detector`.
    const KIND: Kind;
    const ABOUT: About;
    const WEIGHT: u64;
    const KEYED_BY: Owner;
    const HEARS: Hears;
    type Flags: Args + Clone + Debug;
    /// Length of [`Question::ItemSet`] in words of 64 bits.
    const ITEM_SET_WORDS: usize;
    type Subject: Copy + Eq + Debug + BorshDeserialize + BorshSchema + BorshSerialize;
    type Item: Item;
    /// The set of items of one episode.
    type ItemSet<'a>: ItemSet<Item = Self::Item>;

    fn threshold(flags: &Self::Flags) -> Threshold;
    /// Touches are so alike that the next one often says nothing new.
    const REPEATS: bool = false;
    /// The time of a touch as the rule reads it.
    #[inline]
    fn touch_ns(ts_ns: i64) -> i64 {
        ts_ns
    }
    /// Whether a touch at `ts_ns` is read as one at `touch_ns`, which is a time as the rule reads it.
    #[inline]
    fn is_same_time(touch_ns: i64, ts_ns: i64) -> bool {
        touch_ns == ts_ns
    }
    /// How many of the most recently touched items decide.
    fn keep(rule: &Threshold) -> usize {
        rule.at_least.max(rule.at_least_local)
    }
    /// Whether the rule holds for these most recently touched items, the newest touch of which was at `newest_ns`: the
    /// time of the oldest of the N newest touches that fulfil it.
    #[inline]
    fn holds(
        touches: &[Touch<Self::Item>],
        newest_ns: i64,
        (at_least, window_ns): (usize, i64),
    ) -> Option<i64> {
        let oldest_ns = nth_newest_ns(touches.iter().map(|touch| touch.ts_ns), at_least)?;
        is_inside(oldest_ns, newest_ns, window_ns).then_some(oldest_ns)
    }
    /// Items whose failures say nothing against the source.
    fn spared() -> impl Iterator<Item = Self::Item> {
        iter::empty()
    }
    /// The subject of a contact; `target` and `tags` as in [`Sighting`](crate::inspect::detector::Sighting).
    fn subject(contact: &Contact, target: Address, tags: u32) -> Self::Subject;
    /// The keyed hash of the subject.
    fn hash(hasher: &Hasher, place: &Place) -> u64;
    fn item(place: &Place) -> Self::Item;
    /// The subject in detections; `dst`: destination of the deciding packet.
    fn named(subject: &Self::Subject, dst: IpAddr) -> Subject;
    fn item_set(words: &mut [u64]) -> Self::ItemSet<'_>;
    fn extent(count: u32, which: ExtentItems<'_, Self>) -> Extent;
    /// The sources of these items, for a rule about a target.
    fn crowd(_: &[Touch<Self::Item>]) -> Option<Crowd> {
        None
    }
}

/// Whether an item has failed at `newest_ns`: it refused, or was silent for as long as an answer may take.
pub(in crate::inspect) fn has_failed<I>(touch: &Touch<I>, newest_ns: i64) -> bool {
    match touch.state {
        TouchState::Refused => true,
        TouchState::Answered => false,
        _ => !is_inside(touch.ts_ns, newest_ns, UNANSWERED_NS),
    }
}

/// The `n`-th newest time, if there are as many.
pub(in crate::inspect) fn nth_newest_ns(
    times: impl ExactSizeIterator<Item = i64>,
    n: usize,
) -> Option<i64> {
    let count = times.len();
    if count <= n {
        return if count == n { times.min() } else { None };
    }
    let mut kept = [i64::MIN; KEEP_MAX];
    for (place, ts_ns) in kept.iter_mut().zip(times) {
        *place = ts_ns;
    }
    let (_, nth_ns, _) = kept[..count.min(KEEP_MAX)].select_nth_unstable_by(n - 1, |a, b| b.cmp(a));
    Some(*nth_ns)
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
        let [_, silent, refused, answered] = self.states();
        let pending = silent.min(in_flight);
        Evidence {
            refused,
            unanswered: silent - pending,
            answered,
            pending,
            spared: 0,
        }
    }
}
