//! The engine of rules of one form: at least N distinct items of one subject within a window W.
//!
//! Subject and item are a pair and a port, or a source with a port and a host. For each item its newest touch t
//! counts; M is the newest of all. After a frame the rule holds if at least N items have M − t < W. The N most
//! recently touched items decide that exactly: the rule holds if and only if the N-th newest touch is inside the
//! window. It then holds until that touch is W old (`true_until`), and re-arms when it has been false for W.

use super::Kind;
use super::contact::{Kinds, Owner};
use super::detection::Detection;
use super::detector::{About, Detector, DetectorCounts, Found, LOSS_NS, Sighting};
use super::place::{Element, Host, Place};
use super::sources::Sources;
use crate::flow::key::Hasher;
use crate::snapshot::snapshot;
use episode::Episode;
use episodes::item_set;
use firsts::{First, Firsts};
use gap::FloodLaw;
use item::Item as _;
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
    /// Destination and touch of the last contact: in a flood, the next one may say nothing else.
    last: (Host, u32, i64, Q::Item),
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
    pub counts: DetectorCounts,
    /// Packet time of the newest contact lost on its way.
    contact_lost_ns: Option<i64>,
}

snapshot! {
    [Q: Question] Distinct<Q>;
    values: subjects, firsts, last, flood_laws, generation, last_eviction_ns, counts, contact_lost_ns;
    lists: episodes, free_episodes, lists, free_lists, due;
    fixed: rule, hasher;
}

fn subject<Q: Question>(of: &Sighting<'_>) -> Q::Subject {
    Q::subject(of.contact, of.target(), of.tags())
}

fn touch<Q: Question>(of: &Sighting<'_>) -> Touch<Q::Item> {
    let ts_ns = Q::touch_ns(of.contact.ts_ns);
    Touch::new(ts_ns, Q::item(of.place), TouchState::Touched)
}

impl<Q: Question> Detector for Distinct<Q> {
    const KIND: Kind = Q::KIND;
    const ABOUT: About = Q::ABOUT;
    const KEYED_BY: Owner = Q::KEYED_BY;
    const TOUCHES: Kinds = Q::HEARS.touches;
    const OUTCOMES: Kinds = (Q::HEARS.answers)
        .with(Q::HEARS.refusals)
        .with(Q::HEARS.proofs);
    const WEIGHT: u64 = Q::WEIGHT;
    type Flags = Q::Flags;
    type Rule = Rule;
    const OFF: Rule = Rule::OFF;

    fn rule(flags: &Q::Flags, bytes: u64) -> Rule {
        Rule::with_room::<Q>(bytes, Q::threshold(flags))
    }

    fn is_on(rule: &Rule) -> bool {
        rule.at_least > 0
    }

    fn asks_local(rule: &Rule) -> bool {
        rule.at_least_local > 0
    }

    fn window_ns(rule: &Rule) -> i64 {
        rule.window_ns
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
            subjects: Subjects::new(rule.subjects, Q::keep(&rule.threshold()), rule.window_ns),
            firsts: Firsts::new(rule.firsts),
            last: (Host::NOBODY, 0, 0, Q::Item::NONE),
            flood_laws: [rule.firsts, rule.subjects].map(FloodLaw::new),
            episodes: vec![None; rule.episodes],
            free_episodes: (0..count(rule.episodes)).rev().collect(),
            lists: vec![0; rule.lists * Q::ITEM_SET_WORDS],
            free_lists: (0..count(rule.lists)).rev().collect(),
            due: BinaryHeap::with_capacity(rule.episodes + 1),
            generation: 0,
            last_eviction_ns: None,
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

    fn detectable_gap_ns(&self, now_ns: i64) -> i64 {
        let window_ns = match Self::is_on(&self.rule) {
            true => self.rule.window_ns,
            false => return i64::MAX,
        };
        let evicted = self.last_eviction_ns;
        if evicted.is_none_or(|at| at.saturating_add(window_ns) <= now_ns) {
            return window_ns;
        }
        let gaps = self.flood_laws.iter().map(|law| law.gap_ns(now_ns));
        gaps.fold(window_ns, i64::min)
    }

    #[inline]
    fn prefetch(&self, place: &Place) {
        if self.rule.at_least > 0 {
            let hash = Q::hash(&self.hasher, place);
            self.subjects.prefetch(hash);
            self.firsts.prefetch(hash);
        }
    }

    fn admit(&mut self, first: &First<Element>, sighting: &Sighting<'_>) {
        if !Self::is_on(&self.rule) || !Self::TOUCHES.has(first.item.way.touch()) {
            return;
        }
        let place = first.item.place(sighting.place);
        let hash = Q::hash(&self.hasher, &place);
        let (item, newest_ns) = (Q::item(&place), first.newest_ns);
        let is_same = hash == Q::hash(&self.hasher, sighting.place);
        let slot = is_same.then(|| self.subjects.find(hash, || subject::<Q>(sighting)));
        if let Some(slot) = slot.flatten() {
            let touch = Touch::new(newest_ns, item, first.state);
            return self.subjects.touch(slot, touch);
        }
        if self.firsts.find(hash).is_none() {
            let first = First {
                item,
                newest_ns,
                state: first.state,
                proven: first.proven,
            };
            self.insert_first(hash, first, sighting.watermark);
        }
    }

    #[inline(always)]
    fn decide(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found)) {
        let is_touch = Self::TOUCHES.has(sighting.kind);
        if Q::REPEATS && is_touch && self.repeats(sighting) || !Self::is_on(&self.rule) {
            return;
        }
        match is_touch {
            true => self.on_touch(sighting, out),
            false => self.on_outcome(sighting, out),
        }
    }

    fn expire(&mut self, watermark: i64, sources: &Sources, out: &mut impl FnMut(Found)) {
        while let Some(&Reverse((deadline, index, generation))) = self.due.peek() {
            if deadline > watermark {
                return;
            }
            self.due.pop();
            if self.is_current(index, generation) {
                self.on_deadline(index, watermark, sources, out);
            }
        }
    }

    /// Where the new rule needs more items of a subject than are kept, those that were let go are missing: a scan under way
    /// is then detected up to a window later.
    fn change(&mut self, rule: &Rule, _: i64) {
        if self.rule.subjects == 0 {
            return;
        }
        let mut new = rule.threshold();
        if !Self::is_on(rule) {
            // What is under way ends by the old window.
            new.window_ns = self.rule.window_ns;
        }
        self.subjects.change(Q::keep(&new), new.window_ns);
        self.rule = Rule {
            at_least: new.at_least,
            at_least_local: new.at_least_local,
            window_ns: new.window_ns,
            ..self.rule
        };
        // What the last touch could not decide, the same one may decide now.
        self.last.0 = Host::NOBODY;
    }

    fn tell_running(
        &mut self,
        at_ns: i64,
        sources: &Sources,
        wants: &impl Fn(&Detection) -> bool,
        out: &mut impl FnMut(Found),
    ) {
        for index in (0_u32..).take(self.episodes.len()) {
            if self.episodes[index as usize].is_some() {
                self.tell(index, at_ns, sources, wants, out);
            }
        }
    }

    fn next_deadline_ns(&self) -> i64 {
        (self.due.peek()).map_or(i64::MAX, |Reverse((deadline, ..))| *deadline)
    }

    fn finish(&mut self, now_ns: i64, sources: &Sources, out: &mut impl FnMut(Found)) {
        for index in 0..u32::try_from(self.episodes.len()).expect("limits are checked by Config") {
            if let Some(episode) = &self.episodes[index as usize] {
                let last_ns = self.subjects.get(episode.slot).newest_ns;
                let known_ns = now_ns.max(last_ns);
                self.end(index, (last_ns, known_ns), sources, out);
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
    #[inline(never)]
    fn on_outcome(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found)) {
        // With it, the next touch may say more than the last one.
        self.last.0 = Host::NOBODY;
        let hash = Q::hash(&self.hasher, sighting.place);
        let (item, kind) = (Q::item(sighting.place), sighting.kind);
        let proves = Q::HEARS.proofs.has(kind);
        let state = TouchState::after(kind);
        let Some(slot) = (self.subjects).find(hash, || subject::<Q>(sighting)) else {
            if let Some(place) = self.firsts.find(hash) {
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
        let held = self.subjects.get_mut(slot);
        let (episode, known_ns) = (held.episode, held.proven_ns);
        if proves {
            held.proven_ns = known_ns.max(sighting.contact.ts_ns);
        }
        let mut touches = self.subjects.touches_mut(slot).iter_mut();
        if let Some(touch) = touches.find(|touch| touch.item == item) {
            touch.state = touch.state.max(state);
        }
        if let Some(index) = episode
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
        if let Some(index) = episode.filter(|_| proves) {
            self.on_proof(index, known_ns, sighting, out);
        }
    }

    /// Whether a touch says what the last one said, of the same destination and item at the same time.
    #[inline(always)]
    fn repeats(&mut self, sighting: &Sighting<'_>) -> bool {
        let (place, new) = (sighting.place, Q::item(sighting.place));
        let (host, tags, touch_ns, item) = &mut self.last;
        if (*host, *tags) == (place.host, place.tags)
            && *item == new
            && Q::is_same_time(*touch_ns, sighting.contact.ts_ns)
        {
            let is_known = item.covers(new);
            item.renew(new);
            return is_known;
        }
        self.remember(sighting);
        false
    }

    #[inline(never)]
    fn remember(&mut self, sighting: &Sighting<'_>) {
        let place = sighting.place;
        let touch_ns = Q::touch_ns(sighting.contact.ts_ns);
        self.last = (place.host, place.tags, touch_ns, Q::item(place));
    }

    #[inline(never)]
    fn on_touch(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found)) {
        let watermark = sighting.watermark;
        let hash = Q::hash(&self.hasher, sighting.place);
        let Some(slot) = self.slot_with_items(sighting, hash, out) else {
            return;
        };
        let window_ns = self.rule.window_ns;
        self.subjects.touch(slot, touch::<Q>(sighting));
        let at_least = match (sighting.place.setting.is_local(), self.rule.at_least_local) {
            (true, local @ 1..) => local,
            _ => self.rule.at_least,
        };
        let newest = self.subjects.get(slot).newest_ns;
        let holds = Q::holds(self.subjects.touches(slot), newest, (at_least, window_ns));
        let held = self.subjects.get_mut(slot);
        let armed = held
            .true_until_ns
            .is_none_or(|until| newest >= until.saturating_add(window_ns));
        if let Some(oldest) = holds {
            let until = oldest.saturating_add(window_ns);
            held.true_until_ns = Some(until);
            let ends_ns = until
                .saturating_add(window_ns)
                .max(watermark.saturating_add(1));
            // Fewer items may count than at the touch before: what is due stays due.
            held.ends_ns = match held.episode {
                Some(_) if !armed => held.ends_ns.max(ends_ns),
                _ => ends_ns,
            };
        }
        match held.episode {
            Some(index) if holds.is_some() && armed => {
                let at_ns = (watermark, watermark);
                self.end(index, at_ns, sighting.sources, out);
                self.start(slot, sighting, out);
            }
            None if holds.is_some() && armed => self.start(slot, sighting, out),
            None => {}
            Some(index) => self.grow(index, sighting, out),
        }
    }

    /// The slot of a subject with more than one item, this touch included. One item alone decides nothing.
    fn slot_with_items(
        &mut self,
        sighting: &Sighting<'_>,
        hash: u64,
        out: &mut impl FnMut(Found),
    ) -> Option<u32> {
        let touch = touch::<Q>(sighting);
        if let Some(slot) = (self.subjects).find(hash, || subject::<Q>(sighting)) {
            return Some(slot);
        }
        let Some(place) = self.firsts.find(hash) else {
            let first = First {
                item: touch.item,
                newest_ns: touch.ts_ns,
                state: TouchState::Touched,
                proven: false,
            };
            self.insert_first(hash, first, sighting.watermark);
            return None;
        };
        let first = self.firsts.get(place);
        if first.item == touch.item {
            let mut item = first.item;
            item.renew(touch.item);
            let newest_ns = first.newest_ns.max(touch.ts_ns);
            let is_old = first.newest_ns.saturating_add(self.rule.window_ns) < touch.ts_ns;
            let first = First {
                item,
                newest_ns,
                proven: first.proven && !is_old,
                ..first
            };
            self.firsts.set(place, first);
            return None;
        }
        self.firsts.take(place);
        let slot = self.insert(sighting, hash, out);
        if first.proven {
            self.subjects.get_mut(slot).proven_ns = first.newest_ns;
        }
        let known = Touch::new(first.newest_ns, first.item, first.state);
        self.subjects.touch(slot, known);
        Some(slot)
    }

    fn insert_first(&mut self, hash: u64, first: First<Q::Item>, watermark: i64) {
        self.flood_laws[0].on_new(watermark);
        if let Some(newest_ns) = self.firsts.insert(hash, first) {
            self.note_evicted(newest_ns, watermark);
        }
    }

    /// Notes an evicted subject: if its newest touch is younger than W, a detection may be missed.
    fn note_evicted(&mut self, newest_ns: i64, watermark: i64) {
        if newest_ns.saturating_add(self.rule.window_ns) > watermark {
            match self.rule.window_ns {
                ..=LOSS_NS => self.counts.subjects_evicted += 1,
                _ => self.counts.subjects_forgotten += 1,
            }
            self.last_eviction_ns = Some(watermark);
        }
    }

    fn insert(&mut self, of: &Sighting<'_>, hash: u64, out: &mut impl FnMut(Found)) -> u32 {
        let watermark = of.watermark;
        self.flood_laws[1].on_new(watermark);
        let slot = self.subjects.choose_slot(hash);
        if let Some(victim) = self.subjects.occupant(slot) {
            let (episode, newest) = (victim.episode, victim.newest_ns);
            let was_open =
                episode.is_some_and(|index| self.evict(index, watermark, of.sources, out));
            let until = if was_open { watermark } else { newest };
            self.note_evicted(until, watermark);
        }
        (self.subjects).replace(slot, hash, SubjectState::new(subject::<Q>(of)));
        slot
    }
}

#[cfg(test)]
mod change;
mod episode;
mod episodes;
pub(super) mod firsts;
pub(super) mod gap;
pub(super) mod item;
pub(super) mod item_set;
#[cfg(test)]
pub(super) mod naive;
pub mod question;
pub mod rule;
pub mod state;
pub(super) mod subjects;
