//! The contract of detectors.
//!
//! A detector gets the contacts of what its shard owns in the order of their positions (`on_contact`), handles its
//! deadlines (`expire`) before the first contact behind them, ends all episodes at the end of the run (`finish`),
//! allocates in `new` only, reads no clock, and counts evictions. Its decisions depend on the contacts alone, never on
//! the number of shards. Of a source with one place (destination, port) it hears nothing; the first touch of a source
//! with more is handed in later (`admit`).

use super::Kind;
use super::contact::{Contact, ContactKind, Kinds, Owner};
use super::detection::Detection;
use super::distinct::firsts::First;
use super::place::{Element, Place, UNITED};
use super::sources::Sources;
use crate::counters::counters;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::snapshot::Snapshot;
use clap::Args;
use std::fmt::Debug;

/// A detection, and the deadline that caused it, if one did.
pub type Found = (Option<i64>, Detection);

/// What a kind of detection says about its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    /// Nothing: its packets accuse nobody.
    Nobody,
    /// That the source may be one of many that share the work.
    Crowd,
    /// What follows from how many of its places failed.
    Outcomes,
    /// What follows from the flags that it sent.
    Techniques,
}

/// Names of a kind of detection in logs.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Title at the start of a line: `Port scan`.
    pub title: &'static str,
    /// Ten times this plus the phase is the `signature_id` of an alert.
    pub signature: u32,
    /// What its detections say about their source.
    pub judge: Judge,
    /// Suricata's name of the protocol.
    pub proto: &'static str,
    /// Suricata's category of such alerts.
    pub category: &'static str,
    /// The note in Zeek's notice.log.
    pub zeek_note: &'static str,
}

/// A contact, and what a shard knows about it.
pub struct Sighting<'a> {
    /// The contact.
    pub contact: &'a Contact,
    /// Its source and what it touched.
    pub(super) place: &'a Place,
    /// The contact's kind.
    pub kind: ContactKind,
    /// Packet time at its position.
    pub watermark: i64,
    /// The sources, this contact included.
    pub(super) sources: &'a Sources,
}

impl<'a> Sighting<'a> {
    #[inline]
    pub(super) fn new(
        (contact, place, kind): (&'a Contact, &'a Place, ContactKind),
        watermark: i64,
        sources: &'a Sources,
    ) -> Self {
        Self {
            contact,
            place,
            kind,
            watermark,
            sources,
        }
    }

    /// The destination or, for rules about a pair, the address that stands for several.
    pub(super) fn target(&self) -> Address {
        match self.place.setting.is_united() {
            true => UNITED,
            false => self.contact.dst(),
        }
    }

    /// Tags of the key, and the network that stands for the source, if one does.
    pub(super) fn tags(&self) -> u32 {
        self.place.tags
    }

    /// [`Detector::expire`] is called before the first contact at or behind `deadline_ns`.
    #[inline]
    pub(super) fn wake_at(&self, deadline_ns: i64) {
        let wake_ns = &self.sources.wake_ns;
        wake_ns.set(wake_ns.get().min(deadline_ns));
    }
}

/// A detector.
pub trait Detector: Snapshot + Sized {
    /// The kind of its detections.
    const KIND: Kind;
    /// Its names in logs.
    const ABOUT: About;
    /// It gets the contacts of what its shard owns in this sense.
    const KEYED_BY: Owner;
    /// Contacts that it counts as touches.
    const TOUCHES: Kinds;
    /// Contacts that it counts as outcomes. Of all others it hears nothing.
    const OUTCOMES: Kinds;
    /// Its relative share of the detectors' memory.
    const WEIGHT: u64;
    /// Its flags.
    type Flags: Args + Clone + Debug;
    /// Its thresholds and capacities.
    type Rule: Copy + Debug;

    /// A rule that is off.
    const OFF: Self::Rule;

    /// The rule of the flags, with capacities for `bytes`; 0 if it is off.
    fn rule(flags: &Self::Flags, bytes: u64) -> Self::Rule;
    /// Whether the rule is on.
    fn is_on(rule: &Self::Rule) -> bool;
    /// Whether it asks if a source is local.
    fn asks_local(_: &Self::Rule) -> bool {
        false
    }
    /// The rule's window in nanoseconds.
    fn window_ns(rule: &Self::Rule) -> i64;
    /// Bytes that a detector with this rule takes.
    fn memory_bytes(rule: &Self::Rule) -> u64;
    /// Maximum of [`Detector::occupancy`].
    fn room(rule: &Self::Rule) -> usize;

    /// Allocates all its memory; `hasher` is the same in every shard.
    fn new(rule: Self::Rule, hasher: Hasher) -> Self;
    /// Writes to every page, so that a later flood causes no page faults.
    fn prefault(&mut self);
    /// Prefetches the cache lines of this place, some contacts before its turn.
    fn prefetch(&self, place: &Place);
    /// Takes the first touch of a source that touched a second place now.
    fn admit(&mut self, first: &First<Element>, sighting: &Sighting<'_>);
    /// Takes a contact. It counts also while the rule is off: the books compare the counts of all detectors of one
    /// owner.
    #[inline(always)]
    fn on_contact(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found)) {
        let (kind, counts) = (sighting.kind, self.counts_mut());
        if Self::TOUCHES.has(kind) {
            counts.touches += 1;
        } else if Self::OUTCOMES.has(kind) {
            counts.outcomes += 1;
        } else {
            counts.unheard += 1;
            return;
        }
        self.decide(sighting, out);
    }

    /// Handles a contact that is counted.
    fn decide(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found));
    /// Handles deadlines up to `watermark`.
    fn expire(&mut self, watermark: i64, sources: &Sources, out: &mut impl FnMut(Found));
    /// Goes on with the thresholds of another rule at `now_ns`, a packet time behind all contacts so far; capacities stay.
    /// What is under way goes on. A rule that was off at the start has no room and stays off.
    fn change(&mut self, rule: &Self::Rule, now_ns: i64);
    /// Tells of each episode under way that `wants` wants, as one that goes on at `at_ns`, a packet time behind all
    /// contacts so far.
    fn tell_running(
        &mut self,
        _at_ns: i64,
        _sources: &Sources,
        _wants: &impl Fn(&Detection) -> bool,
        _out: &mut impl FnMut(Found),
    ) {
    }
    /// The earliest deadline; it may turn out that nothing is due.
    fn next_deadline_ns(&self) -> i64;
    /// Ends all episodes at the end of the capture or run, at this packet time.
    fn finish(&mut self, now_ns: i64, sources: &Sources, out: &mut impl FnMut(Found));

    /// Packet time of the newest contact lost on its way: detections are then not `complete`.
    fn set_contact_lost(&mut self, ts_ns: Option<i64>);
    /// Entries held now.
    fn occupancy(&self) -> usize;
    /// Scans with smaller gaps between their steps are detected now; nanoseconds.
    fn detectable_gap_ns(&self, now_ns: i64) -> i64;
    /// Its counters.
    fn counts(&self) -> &DetectorCounts;
    /// The same, for [`Detector::on_contact`].
    fn counts_mut(&mut self) -> &mut DetectorCounts;
}

counters! {
    /// Counters of one detector, prefixed by the name of its kind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct DetectorCounts "" {
        touches: "Contacts that the rule counts",
        outcomes: "Answers, refusals and completed handshakes of them",
        unheard: "Contacts that this rule ignores",
        started: "Detections that began",
        continued: "Detections that went on: grown to twice, or with a higher verdict",
        ended: "Detections: summaries",
        subjects_evicted (loss): "Entries evicted from a full table with a touch younger than the window of at most an hour",
        subjects_forgotten: "The same, of a rule whose window is longer than an hour",
        episodes_evicted (loss): "Episodes evicted from a full table before their end",
        without_list: "Episodes without room for a list of all ports or hosts",
    }
}

impl DetectorCounts {
    pub(crate) fn contacts(&self) -> u64 {
        self.touches + self.outcomes + self.unheard
    }

    pub(crate) fn detections(&self) -> u64 {
        self.started + self.continued + self.ended
    }
}

/// What a contact's shard owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The contact's source.
    pub source: bool,
    /// The contact's target.
    pub target: bool,
}

impl Owned {
    #[inline]
    pub(crate) fn by(self, owner: Owner) -> bool {
        match owner {
            Owner::Source => self.source,
            Owner::Target => self.target,
        }
    }

    /// What of it concerns contacts of this kind.
    #[inline]
    pub(crate) fn of(self, kind: ContactKind) -> Self {
        Self {
            source: self.source && ContactKind::OF_SOURCES.has(kind),
            target: self.target && ContactKind::OF_TARGETS.has(kind),
        }
    }
}

/// A rule that remembers for longer cannot promise it: what it forgets is no loss.
pub(super) const LOSS_NS: i64 = 3_600_000_000_000;

/// One part in so many of the detectors' memory is for what is known of sources.
pub(super) const SOURCES: u64 = 3;

#[cfg(test)]
mod tests;
