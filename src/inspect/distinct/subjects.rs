//! The table of subjects with more than one item, each with its N most recently touched items.
//!
//! Buckets of eight slots chosen by a keyed hash; a full bucket evicts the subject with the oldest newest touch, those
//! in an episode last. A lookup reads eight tags of 16 bits before any subject.

use super::item::Item;
use super::state::TouchState;
use crate::snapshot::{Layout, List as _, Snapshot, misfit};
use crate::sys::huge_pages::filled;
use crate::sys::prefetch::prefetch;
use std::cmp::Reverse;
use std::io::{self, Read, Write};

const WAYS: usize = 8;

/// Most items that a rule may keep.
pub const KEEP_MAX: usize = 64;

/// A touch at `ts_ns` counts at `newest_ns`.
pub(in crate::inspect) fn is_inside(ts_ns: i64, newest_ns: i64, window_ns: i64) -> bool {
    i128::from(newest_ns) - i128::from(ts_ns) < i128::from(window_ns)
}

/// The newest touch of an item, and when its wait for an answer began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Touch<I> {
    pub ts_ns: i64,
    /// The first touch in [`ticks`], modulo 2^32 of them: 52 days.
    first: u32,
    pub item: I,
    pub state: TouchState,
}

/// A tick is 2^20 ns, about a millisecond: so the first touch fits into what alignment leaves of a [`Touch`].
const TICK: u32 = 20;
const _: () = assert!(size_of::<Touch<u16>>() == 16);

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "modulo 2^32"
)]
fn ticks(ts_ns: i64) -> u32 {
    (ts_ns >> TICK) as u32
}

impl<I: Item> Touch<I> {
    const NONE: Self = Self {
        ts_ns: 0,
        first: 0,
        item: I::NONE,
        state: TouchState::Untouched,
    };

    /// The first touch of an item.
    pub fn new(ts_ns: i64, item: I, state: TouchState) -> Self {
        Self {
            ts_ns,
            first: ticks(ts_ns),
            item,
            state,
        }
    }

    /// Time of the first touch since the item came into the window; of several, to a millisecond.
    pub fn first_ns(&self) -> i64 {
        let passed = ticks(self.ts_ns).wrapping_sub(self.first);
        self.ts_ns.saturating_sub(i64::from(passed) << TICK)
    }

    /// Takes a further touch over. What was silent for a whole window waits anew.
    fn renew(&mut self, newer: Self, window_ns: i64) {
        if newer.ts_ns > self.ts_ns {
            if !is_inside(self.ts_ns, newer.ts_ns, window_ns) {
                self.first = newer.first;
            }
            self.ts_ns = newer.ts_ns;
        }
        self.item.renew(newer.item);
    }
}

/// The state of a subject, without its touches.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct SubjectState<S> {
    pub subject: S,
    /// Time of the newest touch: M.
    pub newest_ns: i64,
    /// The rule holds until then, as computed at the last touch at which it held.
    pub true_until_ns: Option<i64>,
    /// End of its episode: W after `true_until_ns`, but later than packet time. Otherwise touches stamped far behind
    /// packet time would be due at once, at a position that depends on chunks.
    pub ends_ns: i64,
    pub episode: Option<u32>,
    /// The newest handshake that the source completed; `i64::MIN`: none.
    pub proven_ns: i64,
    count: u8,
}

impl<S> SubjectState<S> {
    pub fn new(subject: S) -> Self {
        Self {
            subject,
            newest_ns: i64::MIN,
            true_until_ns: None,
            ends_ns: i64::MIN,
            episode: None,
            proven_ns: i64::MIN,
            count: 0,
        }
    }
}

pub struct Subjects<S, I> {
    tags: Vec<[u16; WAYS]>,
    held: Vec<Option<SubjectState<S>>>,
    touches: Vec<Touch<I>>,
    /// Touches kept for each subject: N of the rule.
    keep: usize,
    /// W of the rule.
    window_ns: i64,
    /// Subjects held.
    pub occupied: usize,
}

impl<S, I> Snapshot for Subjects<S, I>
where
    S: Copy + Eq + borsh::BorshDeserialize + borsh::BorshSchema + borsh::BorshSerialize,
    I: Item + borsh::BorshDeserialize + borsh::BorshSchema + borsh::BorshSerialize,
{
    fn save(&self, to: &mut dyn Write) -> io::Result<()> {
        (self.keep as u64).save(to)?;
        self.occupied.save(to)?;
        self.tags.save_list(to)?;
        self.held.save_list(to)?;
        self.touches.save_list(to)
    }

    /// A rule that was changed may keep more items than its threshold needs now: so does this one from now on.
    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut keep = 0_u64;
        keep.restore(from)?;
        let keep = usize::try_from(keep).unwrap_or(usize::MAX);
        if !(self.keep..=KEEP_MAX.max(self.keep)).contains(&keep) {
            return Err(misfit("a rule keeps another number of items"));
        }
        self.change(keep, self.window_ns);
        let lens = (self.tags.len(), self.held.len(), self.touches.len());
        self.occupied.restore(from)?;
        self.tags.restore_list(from)?;
        self.held.restore_list(from)?;
        self.touches.restore_list(from)?;
        let is_whole = lens == (self.tags.len(), self.held.len(), self.touches.len());
        if !is_whole
            || self
                .held
                .iter()
                .flatten()
                .any(|one| usize::from(one.count) > keep)
        {
            return Err(misfit("subjects of a rule are missing"));
        }
        Ok(())
    }

    fn layout(layout: &mut Layout) {
        layout.add(b"subjects");
        <(u64, usize, [u16; WAYS], Option<SubjectState<S>>, Touch<I>)>::layout(layout);
    }
}

impl<S: Copy + Eq, I: Item> Subjects<S, I> {
    /// `capacity` is rounded up to whole buckets.
    pub fn new(capacity: usize, keep: usize, window_ns: i64) -> Self {
        let buckets = Self::buckets_for(capacity);
        Self {
            tags: filled(buckets, [0; WAYS]),
            held: filled(buckets * WAYS, None),
            touches: filled(buckets * WAYS * keep, Touch::NONE),
            keep,
            window_ns,
            occupied: 0,
        }
    }

    /// Keeps at least `keep` items of each subject from now on, and judges them by another window.
    pub fn change(&mut self, keep: usize, window_ns: i64) {
        self.window_ns = window_ns;
        if keep <= self.keep {
            return;
        }
        let mut touches = filled(self.held.len() * keep, Touch::NONE);
        let wide = touches.chunks_exact_mut(keep);
        for (to, from) in wide.zip(self.touches.chunks_exact(self.keep)) {
            to[..self.keep].copy_from_slice(from);
        }
        (self.touches, self.keep) = (touches, keep);
    }

    fn buckets_for(capacity: usize) -> usize {
        capacity.div_ceil(WAYS).max(1)
    }

    pub fn memory_bytes(capacity: usize, keep: usize) -> u64 {
        let each =
            size_of::<u16>() + size_of::<Option<SubjectState<S>>>() + keep * size_of::<Touch<I>>();
        (Self::buckets_for(capacity) * WAYS * each) as u64
    }

    /// Writes to every page. Call before the first touch.
    pub fn prefault(&mut self) {
        self.tags.fill(std::hint::black_box([0; WAYS]));
        self.held.fill(std::hint::black_box(None));
        self.touches.fill(std::hint::black_box(Touch::NONE));
    }

    /// The bucket of a hash, and its tag, which is never 0.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn home(&self, hash: u64) -> (usize, u16) {
        let mixed = hash.rotate_left(24);
        let bucket = ((u128::from(mixed) * self.tags.len() as u128) >> 64) as usize;
        (bucket, (hash & 0xffff) as u16 | 1)
    }

    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.tags[self.home(hash).0]);
    }

    #[inline]
    pub fn find(&self, hash: u64, subject: impl Fn() -> S) -> Option<u32> {
        let (bucket, tag) = self.home(hash);
        // One test for the common case: nearly all subjects of a flood are not here.
        if !self.tags[bucket]
            .iter()
            .fold(false, |any, &held| any | (held == tag))
        {
            return None;
        }
        self.find_in(bucket, tag, &subject())
    }

    #[inline(never)]
    fn find_in(&self, bucket: usize, tag: u16, subject: &S) -> Option<u32> {
        let is_it = |way: &usize| {
            let held = &self.held[bucket * WAYS + way];
            self.tags[bucket][*way] == tag
                && held.as_ref().is_some_and(|held| held.subject == *subject)
        };
        let way = (0..WAYS).find(is_it)?;
        Some(u32::try_from(bucket * WAYS + way).expect("limits are checked by Config"))
    }

    /// The slot for a new subject: a free one of its bucket, or the one to evict.
    pub fn choose_slot(&self, hash: u64) -> u32 {
        let first = self.home(hash).0 * WAYS;
        let rank = |slot: &usize| {
            self.held[*slot]
                .as_ref()
                .map(|held| (held.episode.is_some(), held.newest_ns))
        };
        let slot = (first..first + WAYS).min_by_key(rank);
        u32::try_from(slot.expect("a bucket has slots")).expect("limits are checked by Config")
    }

    pub fn occupant(&self, slot: u32) -> Option<&SubjectState<S>> {
        self.held[slot as usize].as_ref()
    }

    /// Stores a new subject in the `slot` chosen for its hash.
    pub fn replace(&mut self, slot: u32, hash: u64, held: SubjectState<S>) {
        let (bucket, tag) = self.home(hash);
        self.tags[bucket][slot as usize % WAYS] = tag;
        if self.held[slot as usize].replace(held).is_none() {
            self.occupied += 1;
        }
    }

    pub fn get(&self, slot: u32) -> &SubjectState<S> {
        self.held[slot as usize]
            .as_ref()
            .expect("slots are named while they hold a subject")
    }

    pub fn get_mut(&mut self, slot: u32) -> &mut SubjectState<S> {
        self.held[slot as usize]
            .as_mut()
            .expect("slots are named while they hold a subject")
    }

    /// The items of a subject, unordered.
    pub fn touches(&self, slot: u32) -> &[Touch<I>] {
        let first = slot as usize * self.keep;
        &self.touches[first..first + usize::from(self.get(slot).count)]
    }

    pub fn touches_mut(&mut self, slot: u32) -> &mut [Touch<I>] {
        let (first, count) = (slot as usize * self.keep, self.get(slot).count);
        &mut self.touches[first..first + usize::from(count)]
    }

    /// Records a touch; keeps the N most recently touched items, whatever the order of arrival.
    pub fn touch(&mut self, slot: u32, touch: Touch<I>) {
        let pair = self.get_mut(slot);
        pair.newest_ns = pair.newest_ns.max(touch.ts_ns);
        let window_ns = self.window_ns;
        let known = self.touches_mut(slot).iter_mut();
        if let Some(known) = known.into_iter().find(|known| known.item == touch.item) {
            known.renew(touch, window_ns);
            return;
        }
        let count = usize::from(self.get(slot).count);
        if count < self.keep {
            self.touches[slot as usize * self.keep + count] = touch;
            self.get_mut(slot).count += 1;
            return;
        }
        // Ties by item, so that the order of arrival does not matter.
        let age = |touch: &Touch<I>| (touch.ts_ns, Reverse(touch.item));
        let oldest = self.touches_mut(slot).iter_mut().min_by_key(|t| age(t));
        let oldest = oldest.expect("the rule keeps at least two items");
        if age(&touch) > age(oldest) {
            *oldest = touch;
        }
    }
}
