//! The table of subjects with more than one item, each with its most recently touched ones.
//!
//! Buckets of eight slots chosen by a keyed hash; a full bucket gives up the subject that was touched
//! longest ago, those inside an episode last. A lookup reads eight tags of 16 bits before any subject.

use super::question::Item;
use super::state::TouchState;
use crate::sys::huge_pages::ask_for_huge_pages;
use crate::sys::prefetch::prefetch;
use std::cmp::Reverse;

const WAYS: usize = 8;

/// An item's newest touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch<I> {
    /// Time stamp of the newest touch.
    pub ts_ns: i64,
    /// The item.
    pub item: I,
    /// What came back.
    pub state: TouchState,
}

impl<I: Item> Touch<I> {
    const NONE: Self = Self {
        ts_ns: 0,
        item: I::NONE,
        state: TouchState::Untouched,
    };
}

/// What is kept of a subject, beside its touches: all that the rule needs.
#[derive(Clone, Copy, Debug)]
pub struct Held<S> {
    /// The subject.
    pub subject: S,
    /// M: the newest touch of all.
    pub newest_ns: i64,
    /// Until when the rule holds, as of the last touch at which it did.
    pub true_until_ns: Option<i64>,
    /// When an episode of it ends: W after `true_until_ns`, and never before packet time moves on. Touches
    /// stamped far behind packet time would else be due at once, at a place that depends on chunks.
    pub ends_ns: i64,
    /// The episode it is in.
    pub episode: Option<u32>,
    /// The source completed a handshake.
    pub proven: bool,
    count: u8,
}

impl<S> Held<S> {
    /// A subject without touches.
    pub fn new(subject: S) -> Self {
        Self {
            subject,
            newest_ns: i64::MIN,
            true_until_ns: None,
            ends_ns: i64::MIN,
            episode: None,
            proven: false,
            count: 0,
        }
    }
}

/// The table.
pub struct Subjects<S, I> {
    tags: Vec<[u16; WAYS]>,
    held: Vec<Option<Held<S>>>,
    touches: Vec<Touch<I>>,
    /// Touches kept of each subject: N of the rule.
    keep: usize,
    occupied: usize,
}

impl<S: Copy + Eq, I: Item> Subjects<S, I> {
    /// Room for `capacity` subjects of `keep` touches, rounded up to whole buckets.
    pub fn new(capacity: usize, keep: usize) -> Self {
        let buckets = Self::buckets_for(capacity);
        Self {
            tags: vec![[0; WAYS]; buckets],
            held: vec![None; buckets * WAYS],
            touches: vec![Touch::NONE; buckets * WAYS * keep],
            keep,
            occupied: 0,
        }
    }

    fn buckets_for(capacity: usize) -> usize {
        capacity.div_ceil(WAYS).max(1)
    }

    /// Bytes that a table for `capacity` subjects of `keep` touches takes.
    pub fn memory_bytes(capacity: usize, keep: usize) -> u64 {
        let each = size_of::<u16>() + size_of::<Option<Held<S>>>() + keep * size_of::<Touch<I>>();
        (Self::buckets_for(capacity) * WAYS * each) as u64
    }

    /// Writes to every page. Before the first touch.
    pub fn prefault(&mut self) {
        ask_for_huge_pages(&self.tags);
        ask_for_huge_pages(&self.held);
        ask_for_huge_pages(&self.touches);
        self.tags.fill(std::hint::black_box([0; WAYS]));
        self.held.fill(std::hint::black_box(None));
        self.touches.fill(std::hint::black_box(Touch::NONE));
    }

    /// Subjects held, and room for them.
    pub fn occupancy(&self) -> (usize, usize) {
        (self.occupied, self.held.len())
    }

    /// The bucket of a subject's hash and its tag there, which is never 0.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets"
    )]
    fn home(&self, hash: u64) -> (usize, u16) {
        let mixed = hash.rotate_left(24);
        let bucket = ((u128::from(mixed) * self.tags.len() as u128) >> 64) as usize;
        (bucket, (hash & 0xffff) as u16 | 1)
    }

    /// Asks the CPU for the tags of this hash.
    #[inline]
    pub fn announce(&self, hash: u64) {
        prefetch(&self.tags[self.home(hash).0]);
    }

    /// The slot that holds `subject`, whose hash this is.
    #[inline]
    pub fn find(&self, hash: u64, subject: impl Fn() -> S) -> Option<u32> {
        let (bucket, tag) = self.home(hash);
        // Nearly all subjects of a flood are not here: one test says so.
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

    /// Where a subject goes: a free slot of its bucket, or the one to give up.
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

    /// The subject in `slot`, if there is one.
    pub fn occupant(&self, slot: u32) -> Option<&Held<S>> {
        self.held[slot as usize].as_ref()
    }

    /// Puts a new subject into the `slot` that was chosen for its hash.
    pub fn replace(&mut self, slot: u32, hash: u64, held: Held<S>) {
        let (bucket, tag) = self.home(hash);
        self.tags[bucket][slot as usize % WAYS] = tag;
        if self.held[slot as usize].replace(held).is_none() {
            self.occupied += 1;
        }
    }

    /// The subject in a slot that holds one.
    pub fn get(&self, slot: u32) -> &Held<S> {
        self.held[slot as usize]
            .as_ref()
            .expect("slots are named while they hold a subject")
    }

    /// The subject in a slot that holds one.
    pub fn get_mut(&mut self, slot: u32) -> &mut Held<S> {
        self.held[slot as usize]
            .as_mut()
            .expect("slots are named while they hold a subject")
    }

    /// The items kept of the subject in `slot`, in no order.
    pub fn touches(&self, slot: u32) -> &[Touch<I>] {
        let first = slot as usize * self.keep;
        &self.touches[first..first + usize::from(self.get(slot).count)]
    }

    /// The items kept of the subject in `slot`, in no order.
    pub fn touches_mut(&mut self, slot: u32) -> &mut [Touch<I>] {
        let (first, count) = (slot as usize * self.keep, self.get(slot).count);
        &mut self.touches[first..first + usize::from(count)]
    }

    /// Records a touch; keeps the most recently touched items, whatever order touches come in.
    pub fn touch(&mut self, slot: u32, touch: Touch<I>) {
        let pair = self.get_mut(slot);
        pair.newest_ns = pair.newest_ns.max(touch.ts_ns);
        let known = self.touches_mut(slot).iter_mut();
        if let Some(known) = known.into_iter().find(|known| known.item == touch.item) {
            known.ts_ns = known.ts_ns.max(touch.ts_ns);
            return;
        }
        let count = usize::from(self.get(slot).count);
        if count < self.keep {
            self.touches[slot as usize * self.keep + count] = touch;
            self.get_mut(slot).count += 1;
            return;
        }
        // Of equally old touches the higher item leaves: the same one in every order of arrival.
        let age = |touch: &Touch<I>| (touch.ts_ns, Reverse(touch.item));
        let oldest = self.touches_mut(slot).iter_mut().min_by_key(|t| age(t));
        let oldest = oldest.expect("the rule keeps at least two items");
        if age(&touch) > age(oldest) {
            *oldest = touch;
        }
    }

    /// The oldest touch kept: the N-th newest item once N are kept.
    pub fn oldest_kept_ns(&self, slot: u32) -> i64 {
        let times = self.touches(slot).iter().map(|touch| touch.ts_ns);
        times.min().unwrap_or(i64::MIN)
    }

    /// Whether N items were touched within `window_ns` before the newest touch.
    pub fn holds(&self, slot: u32, window_ns: i64) -> bool {
        let pair = self.get(slot);
        let age = i128::from(pair.newest_ns) - i128::from(self.oldest_kept_ns(slot));
        usize::from(pair.count) >= self.keep && age < i128::from(window_ns)
    }
}
