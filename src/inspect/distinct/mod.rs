//! The engine of rules of one form: at least N distinct items of one subject within a window W.
//!
//! Subject and item are a pair and a port, or a source with a port and a host. For each item its newest touch t
//! counts; M is the newest of all. After a frame the rule holds if at least N items have M − t < W. The N most
//! recently touched items decide that exactly: the rule holds if and only if the N-th newest touch is inside the
//! window. It then holds until that touch is W old (`true_until`), and re-arms when it has been false for W.

use super::Kind;
use super::contact::{Contact, ContactKind, Owner};
use super::detector::{About, Detector, DetectorCounts, Found};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::time::timeline::Timeline;
use episode::Episode;
use episodes::item_set;
use firsts::{First, Firsts};
use gap::FloodLaw;
use question::{ItemSet as _, Question};
pub use rule::Rule;
use state::TouchState;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use subjects::{SubjectState, Subjects, Touch};

/// A detector for the question `Q`.
pub struct Distinct<Q: Question> {
    rule: Rule,
    hasher: Hasher,
    subjects: Subjects<Q::Subject, Q::Item>,
    firsts: Firsts<Q::Item>,
    /// Rates of new subjects: with one item, and with more.
    flood_laws: [FloodLaw; 2],
    episodes: Vec<Option<Episode>>,
    free_episodes: Vec<u32>,
    /// Items of episodes, [`Question::ITEM_SET_WORDS`] each.
    lists: Vec<u64>,
    free_lists: Vec<u32>,
    due: BinaryHeap<rule::Due>,
    generation: u32,
    last_eviction_ns: Option<i64>,
    /// Packet time reached so far.
    now_ns: i64,
    pub counts: DetectorCounts,
    /// Packet time of the newest contact lost on its way.
    contact_lost_ns: Option<i64>,
}

/// A contact with its derived values.
struct PreparedContact<'a> {
    contact: &'a Contact,
    target: Address,
    hash: u64,
    watermark: i64,
}

impl PreparedContact<'_> {
    /// Built lazily: contacts of a flood hardly ever need it.
    #[inline]
    fn subject<Q: Question>(&self) -> Q::Subject {
        Q::subject(self.contact, self.target)
    }

    fn touch<Q: Question>(&self) -> Touch<Q::Item> {
        Touch {
            ts_ns: self.contact.ts_ns,
            item: Q::item(self.contact),
            state: TouchState::Touched,
        }
    }
}

impl<Q: Question> Detector for Distinct<Q> {
    const KIND: Kind = Q::KIND;
    const ABOUT: About = Q::ABOUT;
    const KEYED_BY: Owner = Q::KEYED_BY;
    const WEIGHT: u64 = Q::WEIGHT;
    type Flags = Q::Flags;
    type Rule = Rule;

    fn rule(flags: &Q::Flags, bytes: u64) -> Rule {
        Rule::with_room::<Q>(bytes, Q::numbers(flags))
    }

    fn is_on(rule: &Rule) -> bool {
        rule.at_least > 0
    }

    fn memory_bytes(rule: &Rule) -> u64 {
        rule.memory_bytes::<Q>()
    }

    fn room(rule: &Rule) -> usize {
        rule.subjects + rule.firsts
    }

    fn new(rule: Rule, hasher: Hasher) -> Self {
        let count = |n: usize| u32::try_from(n).expect("limits are checked by Config");
        Self {
            rule,
            hasher,
            subjects: Subjects::new(rule.subjects, rule.at_least),
            firsts: Firsts::new(rule.firsts),
            flood_laws: [rule.firsts, rule.subjects].map(FloodLaw::new),
            episodes: vec![None; rule.episodes],
            free_episodes: (0..count(rule.episodes)).rev().collect(),
            lists: vec![0; rule.lists * Q::ITEM_SET_WORDS],
            free_lists: (0..count(rule.lists)).rev().collect(),
            due: BinaryHeap::with_capacity(rule.episodes + 1),
            generation: 0,
            last_eviction_ns: None,
            now_ns: i64::MIN,
            counts: DetectorCounts::default(),
            contact_lost_ns: None,
        }
    }

    fn prefault(&mut self) {
        self.subjects.prefault();
        self.firsts.prefault();
        self.lists.fill(std::hint::black_box(0));
    }

    fn occupancy(&self) -> usize {
        self.subjects.occupied + self.firsts.held
    }

    fn detectable_gap_ns(&self) -> i64 {
        let window_ns = self.rule.window_ns;
        let evicted = self.last_eviction_ns;
        if evicted.is_none_or(|at| at.saturating_add(window_ns) <= self.now_ns) {
            return window_ns;
        }
        let gaps = self.flood_laws.iter().map(|law| law.gap_ns(self.now_ns));
        gaps.fold(window_ns, i64::min)
    }

    #[inline]
    fn prefetch(&self, contact: &Contact) {
        if self.rule.at_least > 0 {
            let hash = Q::hash(&self.hasher, contact);
            self.subjects.prefetch(hash);
            self.firsts.prefetch(hash);
        }
    }

    fn decide(
        &mut self,
        contact: &Contact,
        target: Address,
        timeline: &Timeline<'_>,
        out: &mut impl FnMut(Found),
    ) {
        if !Self::is_on(&self.rule) {
            return;
        }
        let watermark = timeline.watermark_at(contact.position);
        self.now_ns = self.now_ns.max(watermark);
        let prepared = PreparedContact {
            contact,
            target,
            hash: Q::hash(&self.hasher, contact),
            watermark,
        };
        if contact.kind() == ContactKind::Touch {
            self.on_touch(&prepared, out);
        } else {
            self.on_outcome(&prepared, out);
        }
    }

    fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
        self.now_ns = self.now_ns.max(watermark);
        while let Some(&Reverse((deadline, index, generation))) = self.due.peek() {
            if deadline > watermark {
                return;
            }
            self.due.pop();
            if !self.is_current(index, generation) {
                continue;
            }
            let actual = self.ends_at(index);
            if actual > watermark {
                self.due.push(Reverse((actual, index, generation)));
            } else {
                self.end(index, actual, actual, out);
            }
        }
    }

    fn finish(&mut self, out: &mut impl FnMut(Found)) {
        for index in 0..u32::try_from(self.episodes.len()).expect("limits are checked by Config") {
            if let Some(episode) = &self.episodes[index as usize] {
                let last_ns = self.subjects.get(episode.slot).newest_ns;
                self.end(index, last_ns, self.now_ns.max(last_ns), out);
            }
        }
        self.due.clear();
    }

    fn set_contact_lost(&mut self, ts_ns: Option<i64>) {
        self.contact_lost_ns = ts_ns;
    }

    fn counts(&self) -> &DetectorCounts {
        &self.counts
    }

    fn counts_mut(&mut self) -> &mut DetectorCounts {
        &mut self.counts
    }
}

impl<Q: Question> Distinct<Q> {
    fn on_outcome(&mut self, prepared: &PreparedContact<'_>, out: &mut impl FnMut(Found)) {
        let item = Q::item(prepared.contact);
        let (state, proves) = match prepared.contact.kind() {
            ContactKind::Touch => (TouchState::Touched, false),
            ContactKind::Established => (TouchState::Touched, true),
            ContactKind::Answered => (TouchState::Answered, false),
            ContactKind::Refused => (TouchState::Refused, false),
        };
        let subject = || prepared.subject::<Q>();
        let Some(slot) = self.subjects.find(prepared.hash, subject) else {
            if let Some(place) = self.firsts.find(prepared.hash) {
                let first = self.firsts.get(place);
                if first.item == item {
                    let (state, proven) = (first.state.max(state), first.proven | proves);
                    let first = First {
                        state,
                        proven,
                        ..first
                    };
                    self.firsts.set(place, first);
                }
            }
            return;
        };
        self.end_if_over(slot, prepared.watermark, out);
        if proves {
            let held = self.subjects.get_mut(slot);
            held.proven_ns = held.proven_ns.max(prepared.contact.ts_ns);
        }
        let mut touches = self.subjects.touches_mut(slot).iter_mut();
        if let Some(touch) = touches.find(|touch| touch.item == item) {
            touch.state = touch.state.max(state);
        }
        if let Some(index) = self.subjects.get(slot).episode
            && let Some(episode) = self.episodes[index as usize].as_mut()
            && let Some(list) = episode.list
        {
            let mut items = item_set::<Q>(&mut self.lists, list);
            let before = items.get(item);
            if before == TouchState::Touched && state > before {
                episode.in_flight.answer();
            }
            if before != TouchState::Untouched {
                items.raise(item, state);
            }
        }
    }

    fn on_touch(&mut self, prepared: &PreparedContact<'_>, out: &mut impl FnMut(Found)) {
        let watermark = prepared.watermark;
        let Some(slot) = self.slot_with_items(prepared, out) else {
            return;
        };
        self.end_if_over(slot, watermark, out);
        let window_ns = self.rule.window_ns;
        self.subjects.touch(slot, prepared.touch::<Q>());
        let holds = self.subjects.holds(slot, window_ns);
        let oldest = self.subjects.oldest_kept_ns(slot);
        let held = self.subjects.get_mut(slot);
        let newest = held.newest_ns;
        let armed = held
            .true_until_ns
            .is_none_or(|until| newest >= until.saturating_add(window_ns));
        if holds {
            let until = oldest.saturating_add(window_ns);
            held.true_until_ns = Some(until);
            held.ends_ns = until
                .saturating_add(window_ns)
                .max(watermark.saturating_add(1));
        }
        match held.episode {
            None if holds && armed => self.start(slot, prepared, out),
            None => {}
            Some(index) => self.grow(index, prepared, out),
        }
    }

    /// The slot of a subject with more than one item, this touch included. One item alone decides nothing.
    fn slot_with_items(
        &mut self,
        prepared: &PreparedContact<'_>,
        out: &mut impl FnMut(Found),
    ) -> Option<u32> {
        let (hash, touch) = (prepared.hash, prepared.touch::<Q>());
        if let Some(slot) = self.subjects.find(hash, || prepared.subject::<Q>()) {
            return Some(slot);
        }
        let Some(place) = self.firsts.find(hash) else {
            let first = First {
                item: touch.item,
                newest_ns: touch.ts_ns,
                state: TouchState::Touched,
                proven: false,
            };
            self.flood_laws[0].on_new(self.now_ns);
            if let Some(newest_ns) = self.firsts.insert(hash, first) {
                self.note_evicted(newest_ns, prepared.watermark);
            }
            return None;
        };
        let first = self.firsts.get(place);
        if first.item == touch.item {
            let newest_ns = first.newest_ns.max(touch.ts_ns);
            let is_old = first.newest_ns.saturating_add(self.rule.window_ns) < touch.ts_ns;
            let first = First {
                newest_ns,
                proven: first.proven && !is_old,
                ..first
            };
            self.firsts.set(place, first);
            return None;
        }
        self.firsts.take(place);
        let slot = self.insert(prepared, out);
        if first.proven {
            self.subjects.get_mut(slot).proven_ns = first.newest_ns;
        }
        let known = Touch {
            ts_ns: first.newest_ns,
            item: first.item,
            state: first.state,
        };
        self.subjects.touch(slot, known);
        Some(slot)
    }

    /// Notes an evicted subject: if its newest touch is younger than W, a detection may be missed.
    fn note_evicted(&mut self, newest_ns: i64, watermark: i64) {
        if newest_ns.saturating_add(self.rule.window_ns) > watermark {
            self.counts.subjects_evicted += 1;
            self.last_eviction_ns = Some(watermark);
        }
    }

    fn insert(&mut self, prepared: &PreparedContact<'_>, out: &mut impl FnMut(Found)) -> u32 {
        let watermark = prepared.watermark;
        self.flood_laws[1].on_new(self.now_ns);
        let slot = self.subjects.choose_slot(prepared.hash);
        if let Some(victim) = self.subjects.occupant(slot) {
            let (episode, newest) = (victim.episode, victim.newest_ns);
            let was_open = episode.is_some_and(|index| self.evict(index, watermark, out));
            let until = if was_open { watermark } else { newest };
            self.note_evicted(until, watermark);
        }
        self.subjects.replace(
            slot,
            prepared.hash,
            SubjectState::new(prepared.subject::<Q>()),
        );
        slot
    }
}

mod episode;
mod episodes;
mod firsts;
mod gap;
#[cfg(test)]
pub(super) mod naive;
pub mod question;
pub mod rule;
pub mod state;
mod subjects;
