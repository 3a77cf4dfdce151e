//! The engine of rules about rates at one destination: at least N packets within a second of packet time.
//!
//! Packets are counted in slots of W, from multiples of W on. A slot with N or more is judged at its end
//! ([`FloodRule::is_flood`]). A flood continues when its packets have doubled, and ends after ten slots with less than
//! N / 2 each. From N / 2 packets of a slot on, its sources are counted: how many, and which send most.

mod change;
mod crowd;
mod flooded;
mod target;

use super::Kind;
use super::contact::{Contact, ContactKind, DATAGRAMS, Kinds, Owner};
use super::detection::{Phase, Subject};
use super::detector::{About, Detector, DetectorCounts, Found, Sighting};
use super::distinct::firsts::First;
use super::place::{Element, Place};
use super::sources::Sources;
use super::table::Table;
use super::threshold::{Range, Within};
use crate::flow::key::Hasher;
use crate::snapshot::snapshot;
use clap::Args;
use flooded::Flooded;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::IpAddr;
pub use target::Slot;
use target::Target;

/// What differs between such rules.
pub trait FloodRule {
    // See `Detector`.
    const KIND: Kind;
    const ABOUT: About;
    const WEIGHT: u64;
    /// Packets of the flood.
    const PACKETS: Kinds;
    /// Connections that were completed.
    const COMPLETED: Kinds;
    type Flags: Args + Clone + Debug;

    fn threshold(flags: &Self::Flags) -> Within;
    /// The port that a contact is counted at; `None`: all ports of a destination count together.
    fn port(contact: &Contact) -> Option<u16>;
    /// Whether a slot with at least N packets is a flood.
    fn is_flood(_: &Slot) -> bool {
        true
    }
}

/// Reads N and W of such a rule.
///
/// # Errors
///
/// Names the ranges.
pub fn rate(value: &str) -> Result<Within, String> {
    let (counts, windows) = (10..=100_000_000, ["1s", "10s"]);
    Range { counts, windows }.read(value)
}

/// A rule and its capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// N: packets in a slot; 0: the rule is off.
    pub at_least: u32,
    /// W: the length of a slot in nanoseconds.
    pub window_ns: i64,
    /// Destinations.
    pub targets: usize,
    /// Floods at a time, those that may become one included.
    pub floods: usize,
}

/// Deadline and index of a flood, and its generation.
type Due = Reverse<(i64, u32, u32)>;

/// A detector for the rule `R`.
pub struct Flood<R> {
    rule: Rule,
    hasher: Hasher,
    targets: Table<Target>,
    /// Key and index of the destination of the last contact: in a flood mostly the next one's, too.
    last: ((u64, u64), usize),
    floods: Vec<Option<Flooded>>,
    free: Vec<u32>,
    due: BinaryHeap<Due>,
    generation: u32,
    /// The slot of the last contact, its start and its end.
    slot: (i64, i64, i64),
    contact_lost_ns: Option<i64>,
    counts: DetectorCounts,
    kind: PhantomData<R>,
}

snapshot! {
    [R] Flood<R>;
    values: targets, last, generation, slot, contact_lost_ns, counts;
    lists: floods, free, due;
    fixed: rule, hasher, kind;
}

impl<R: FloodRule> Detector for Flood<R> {
    const KIND: Kind = R::KIND;
    const ABOUT: About = R::ABOUT;
    const KEYED_BY: Owner = Owner::Target;
    const TOUCHES: Kinds = R::PACKETS;
    const OUTCOMES: Kinds = R::COMPLETED;
    const WEIGHT: u64 = R::WEIGHT;
    type Flags = R::Flags;
    type Rule = Rule;
    const OFF: Rule = Rule {
        at_least: 0,
        window_ns: 1_000_000_000,
        targets: 0,
        floods: 0,
    };

    fn rule(flags: &R::Flags, bytes: u64) -> Rule {
        let Within { count, window_ns } = R::threshold(flags);
        if count == 0 {
            return Self::OFF;
        }
        let room = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX);
        let floods = room(bytes / 4, FLOOD_BYTES as u64).clamp(1, FLOODS_MAX);
        let left = bytes.saturating_sub((floods * FLOOD_BYTES) as u64);
        let bucket = Table::<Target>::memory_bytes(8);
        Rule {
            at_least: count,
            window_ns,
            targets: room(left, bucket).max(1) * 8,
            floods,
        }
    }

    fn is_on(rule: &Rule) -> bool {
        rule.at_least > 0
    }

    fn window_ns(rule: &Rule) -> i64 {
        rule.window_ns
    }

    fn memory_bytes(rule: &Rule) -> u64 {
        Table::<Target>::memory_bytes(rule.targets) + (rule.floods * FLOOD_BYTES) as u64
    }

    fn room(rule: &Rule) -> usize {
        rule.targets
    }

    fn new(rule: Rule, hasher: Hasher) -> Self {
        let floods = u32::try_from(rule.floods).expect("bounded");
        Self {
            rule,
            hasher,
            targets: Table::new(rule.targets),
            last: ((0, 0), 0),
            floods: (0..floods).map(|_| None).collect(),
            free: (0..floods).rev().collect(),
            due: BinaryHeap::with_capacity(rule.floods + 1),
            generation: 0,
            slot: (0, 0, 0),
            contact_lost_ns: None,
            counts: DetectorCounts::default(),
            kind: PhantomData,
        }
    }

    fn prefault(&mut self) {
        self.targets.prefault();
    }

    fn prefetch(&self, _: &Place) {}

    fn admit(&mut self, _: &First<Element>, _: &Sighting<'_>) {}

    #[inline(always)]
    fn decide(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found)) {
        let contact = sighting.contact;
        let slot = self.slot_of(contact.ts_ns);
        let Some(at) = self.target(sighting, slot, out) else {
            return;
        };
        let target = self.targets.get_mut(at);
        if R::COMPLETED.has(sighting.kind) {
            target.slot_mut(slot, contact.ts_ns).completed += 1;
            return;
        }
        let packets = match sighting.kind {
            ContactKind::Datagrams => DATAGRAMS,
            _ => 1,
        };
        let now = target.slot_mut(slot, contact.ts_ns);
        let before = now.packets;
        let sum = before.wrapping_add(packets);
        now.packets = if sum < before { u32::MAX } else { sum };
        let flood = match target.flood {
            None => self.watch_if_due(at, (slot, before), sighting),
            flood => flood,
        };
        if let Some(index) = flood
            && let Some(flooded) = &mut self.floods[index as usize]
        {
            flooded.add(sighting, packets);
        }
    }

    fn expire(&mut self, watermark: i64, _: &Sources, out: &mut impl FnMut(Found)) {
        while let Some(&Reverse((deadline, index, generation))) = self.due.peek() {
            if deadline > watermark {
                return;
            }
            self.due.pop();
            let flooded = self.floods[index as usize].as_ref();
            if flooded.is_some_and(|flooded| flooded.generation == generation) {
                self.judge(index, deadline, out);
            }
        }
    }

    fn change(&mut self, rule: &Rule, now_ns: i64) {
        self.change_rule(rule, now_ns);
    }

    fn next_deadline_ns(&self) -> i64 {
        (self.due.peek()).map_or(i64::MAX, |Reverse((deadline, ..))| *deadline)
    }

    fn finish(&mut self, _: i64, _: &Sources, out: &mut impl FnMut(Found)) {
        for index in 0..u32::try_from(self.floods.len()).expect("bounded") {
            if let Some(flooded) = self.floods[index as usize].as_ref() {
                let (at, last_ns) = (flooded.at, flooded.last_ns);
                // The slot under way is all that there will be of it.
                let over = self.targets.get(at).slot();
                if self.take_slot(index, over, last_ns, out) {
                    self.end(index, last_ns, out);
                }
            }
        }
        self.due.clear();
    }

    fn set_contact_lost(&mut self, ts_ns: Option<i64>) {
        self.contact_lost_ns = ts_ns;
    }

    fn occupancy(&self) -> usize {
        self.targets.held
    }

    /// A flood has no gaps.
    fn detectable_gap_ns(&self, _: i64) -> i64 {
        i64::MAX
    }

    fn counts(&self) -> &DetectorCounts {
        &self.counts
    }

    fn counts_mut(&mut self) -> &mut DetectorCounts {
        &mut self.counts
    }
}

/// Maximum of [`Rule::floods`].
const FLOODS_MAX: usize = 256;
const FLOOD_BYTES: usize = size_of::<Option<Flooded>>() + size_of::<Due>() + 4;

impl<R: FloodRule> Flood<R> {
    /// The slot of a time: mostly that of the last one, without a division.
    #[inline(always)]
    fn slot_of(&mut self, ts_ns: i64) -> i64 {
        let (slot, start_ns, end_ns) = self.slot;
        if (start_ns..end_ns).contains(&ts_ns) {
            return slot;
        }
        self.next_slot(ts_ns)
    }

    #[inline(never)]
    fn next_slot(&mut self, ts_ns: i64) -> i64 {
        let window_ns = self.rule.window_ns;
        let slot = ts_ns.div_euclid(window_ns);
        let start_ns = slot.saturating_mul(window_ns);
        self.slot = (slot, start_ns, start_ns.saturating_add(window_ns));
        slot
    }

    /// The destination of a contact; `None`: the rule is off.
    #[inline(always)]
    fn target(
        &mut self,
        sighting: &Sighting<'_>,
        slot: i64,
        out: &mut impl FnMut(Found),
    ) -> Option<usize> {
        let (place, port) = (sighting.place, R::port(sighting.contact));
        // No key is (0, 0).
        let number = place.host.bits() | 1 << 63 | u64::from(port.is_some()) << 62;
        let tags = u64::from(place.tags) << 16 | u64::from(port.unwrap_or(0));
        let (key, at) = self.last;
        match key == (number, tags) {
            true => Some(at),
            false => self.target_elsewhere((number, tags), slot, sighting, out),
        }
    }

    #[inline(never)]
    fn target_elsewhere(
        &mut self,
        (number, tags): (u64, u64),
        slot: i64,
        sighting: &Sighting<'_>,
        out: &mut impl FnMut(Found),
    ) -> Option<usize> {
        if self.rule.at_least == 0 {
            return None;
        }
        let hash = self.hasher.source_and(tags, number);
        let at = self.targets.find(hash).unwrap_or_else(|| {
            let (at, gone) = (self.targets).insert(hash, Target::new(slot, sighting.contact.ts_ns));
            if let Some(gone) = gone {
                self.counts.subjects_forgotten += u64::from(gone.is_in_slot(slot));
                if let Some(index) = gone.flood {
                    self.evict(index, sighting.watermark, out);
                }
            }
            at
        });
        self.last = ((number, tags), at);
        Some(at)
    }

    /// Counts the sources of a destination from now on if its slot, which had `before` packets, may become a flood.
    #[inline]
    fn watch_if_due(
        &mut self,
        at: usize,
        (slot, before): (i64, u32),
        sighting: &Sighting<'_>,
    ) -> Option<u32> {
        let watch = (self.rule.at_least / 2).max(1);
        let is_due = (self.targets.get(at)).is_due(before, watch, self.rule.at_least);
        let index = is_due.then(|| self.watch(at, slot, sighting))?;
        self.counts.without_list += u64::from(index.is_none() && before < watch);
        index
    }

    /// `None`: there is no room.
    #[inline(never)]
    fn watch(&mut self, at: usize, slot: i64, sighting: &Sighting<'_>) -> Option<u32> {
        if self.free.is_empty() {
            self.forget_least(at);
        }
        let index = self.free.pop()?;
        self.generation = self.generation.wrapping_add(1);
        let contact = sighting.contact;
        let dst: IpAddr = contact.dst().into();
        let subject = match R::port(contact) {
            Some(port) => Subject::TargetPort { dst, port },
            None => Subject::Target { dst },
        };
        let first_ns = contact.ts_ns.min(self.targets.get(at).first_ns);
        let of = (at, first_ns, self.generation);
        let flooded = Flooded::new(of, (subject, contact.tags()), contact);
        self.floods[index as usize] = Some(flooded);
        self.targets.get_mut(at).flood = Some(index);
        let deadline = self
            .slot_end_ns(slot)
            .max(sighting.watermark.saturating_add(1));
        self.due.push(Reverse((deadline, index, self.generation)));
        sighting.wake_at(deadline);
        Some(index)
    }

    /// Frees the room of the destination that is no flood yet and has the fewest packets, if they are fewer than these:
    /// should it become one, nobody knows.
    fn forget_least(&mut self, at: usize) {
        let of = |at: usize| self.targets.get(at).packets();
        let watched = (0_u32..).zip(&self.floods).filter_map(|(index, flooded)| {
            let flooded = flooded.as_ref().filter(|flooded| !flooded.is_started())?;
            Some((of(flooded.at), index))
        });
        if let Some((_, index)) = watched.min().filter(|(packets, _)| *packets < of(at)) {
            self.counts.without_list += 1;
            self.forget(index);
        }
    }

    fn slot_end_ns(&self, slot: i64) -> i64 {
        slot.saturating_add(1).saturating_mul(self.rule.window_ns)
    }

    /// Judges the slot that ends at `deadline_ns`, or the last one before it.
    fn judge(&mut self, index: u32, deadline_ns: i64, out: &mut impl FnMut(Found)) {
        let window_ns = self.rule.window_ns;
        let over = deadline_ns.div_euclid(window_ns) - 1;
        if self.take_slot(index, over, deadline_ns, out)
            && let Some(flooded) = &self.floods[index as usize]
        {
            let next_ns = deadline_ns.saturating_add(window_ns);
            (self.due).push(Reverse((next_ns, index, flooded.generation)));
        }
    }

    /// Takes the slot `over`: the flood starts, goes on or ends at `ts_ns`. False: there is none any more.
    fn take_slot(
        &mut self,
        index: u32,
        over: i64,
        ts_ns: i64,
        out: &mut impl FnMut(Found),
    ) -> bool {
        let at_least = self.rule.at_least;
        let flooded = self.floods[index as usize].as_mut();
        let flooded = flooded.expect("named while it exists");
        let slot = self.targets.get_mut(flooded.at).take_slot(over);
        let found = if flooded.is_started() {
            flooded.go_on(&slot, over, at_least)
        } else if slot.packets >= at_least && R::is_flood(&slot) {
            flooded.start(&slot, over);
            Some(Phase::Started)
        } else {
            self.forget(index);
            return false;
        };
        match found {
            None => {}
            Some(Phase::Ended) => {
                self.end(index, ts_ns, out);
                return false;
            }
            Some(phase) => {
                match phase {
                    Phase::Started => self.counts.started += 1,
                    _ => self.counts.continued += 1,
                }
                self.emit(index, phase, ts_ns, out);
            }
        }
        true
    }

    fn emit(&mut self, index: u32, phase: Phase, ts_ns: i64, out: &mut impl FnMut(Found)) {
        let flooded = self.floods[index as usize].as_ref();
        let flooded = flooded.expect("named while it exists");
        let lost_ns = self.contact_lost_ns;
        let of = (R::KIND, !R::COMPLETED.is_empty());
        let mut found = flooded.detection(of, phase, ts_ns, self.rule.window_ns);
        found.complete = lost_ns.is_none_or(|lost| lost < found.first_ns);
        found.exact = found.complete;
        out((Some(ts_ns), found));
    }

    fn end(&mut self, index: u32, ts_ns: i64, out: &mut impl FnMut(Found)) {
        self.counts.ended += 1;
        self.emit(index, Phase::Ended, ts_ns, out);
        self.forget(index);
    }

    /// Ends a flood whose destination left a full table.
    fn evict(&mut self, index: u32, watermark: i64, out: &mut impl FnMut(Found)) {
        let flooded = self.floods[index as usize].as_ref();
        if flooded.is_some_and(Flooded::is_started) {
            self.counts.episodes_evicted += 1;
            self.end(index, watermark, out);
        } else {
            self.forget(index);
        }
    }

    fn forget(&mut self, index: u32) {
        if let Some(flooded) = self.floods[index as usize].take() {
            let target = self.targets.get_mut(flooded.at);
            if target.flood == Some(index) {
                target.flood = None;
            }
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests;
