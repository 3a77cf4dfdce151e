//! The contract of detectors, and the macro that combines them.
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
use super::place::{Element, Place};
use super::sources::Sources;
use crate::counters::counters;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use clap::Args;
use std::cell::Cell;
use std::fmt::Debug;

/// A detection, and the deadline that caused it, if one did.
pub type Found = (Option<i64>, Detection);

/// Names of a kind of detection in logs.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Title at the start of a line: `Port scan`.
    pub title: &'static str,
    /// Ten times this plus the phase is the `signature_id` of an alert.
    pub signature: u32,
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
    pub(super) place: Place,
    /// The destination or, for rules about a pair, the address that stands for several.
    pub target: Address,
    /// Its source is one of our addresses.
    pub is_local: bool,
    /// Packet time at its position.
    pub watermark: i64,
    /// The sources, this contact included.
    pub(super) sources: &'a Sources,
    pub(super) wake_ns: &'a Cell<i64>,
}

impl Sighting<'_> {
    /// [`Detector::expire`] is called before the first contact at or behind `deadline_ns`.
    #[inline]
    pub(super) fn wake_at(&self, deadline_ns: i64) {
        self.wake_ns.set(self.wake_ns.get().min(deadline_ns));
    }
}

/// A detector.
pub trait Detector: Sized {
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
    #[inline]
    fn on_contact(&mut self, sighting: &Sighting<'_>, out: &mut impl FnMut(Found)) {
        let (kind, counts) = (sighting.contact.kind(), self.counts_mut());
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
    /// The earliest deadline; it may turn out that nothing is due.
    fn next_deadline_ns(&self) -> i64;
    /// Ends all episodes at the end of the capture or run.
    fn finish(&mut self, sources: &Sources, out: &mut impl FnMut(Found));

    /// Packet time of the newest contact lost on its way: detections are then not `complete`.
    fn set_contact_lost(&mut self, ts_ns: Option<i64>);
    /// Entries held now.
    fn occupancy(&self) -> usize;
    /// Scans with smaller gaps between their steps are detected now; nanoseconds.
    fn detectable_gap_ns(&self) -> i64;
    /// Its counters.
    fn counts(&self) -> &DetectorCounts;
    /// The same, for [`Detector::on_contact`].
    fn counts_mut(&mut self) -> &mut DetectorCounts;
}

counters! {
    /// Counters of one detector, prefixed by the name of its kind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DetectorCounts "" {
        touches: "Contacts that the rule counts",
        outcomes: "Answers, refusals and completed handshakes of them",
        unheard: "Other contacts",
        started: "Detections: rising edges",
        continued: "Detections: doublings",
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

/// What the operator's settings say about a contact.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The destination or, for rules about a pair, the address that stands for several.
    pub target: Address,
    /// Its source is one of our addresses. Not asked for where no rule wants to know.
    pub is_local: bool,
    /// Its destination is dark.
    pub is_dark: bool,
}

/// Combines the detectors: kinds, flags, rules, counters, and static calls to each.
macro_rules! detectors {
    ($( $kind:ident = $word:literal, $field:ident: $detector:ty, $about:literal; )+) => {
        words! {
            /// Kinds of detection.
            #[derive(PartialOrd, Ord)]
            pub enum Kind {
                $( #[doc = $about] $kind = $word, )+
            }
        }

        impl Kind {
            /// Its names in logs.
            pub fn about(self) -> &'static About {
                match self {
                    $( Self::$kind => &<$detector as Detector>::ABOUT, )+
                }
            }
        }

        /// The flags of all detectors.
        #[derive(Clone, Debug, clap::Args)]
        pub struct Flags {
            $(
                #[doc = $about]
                #[command(flatten)]
                pub $field: <$detector as Detector>::Flags,
            )+
        }

        impl Default for Flags {
            fn default() -> Self {
                $crate::inspect::detector::defaults()
            }
        }

        /// The rules of all detectors.
        #[derive(Clone, Copy, Debug)]
        pub struct Rules {
            /// Capacities of what is known of sources.
            pub sources: Room,
            $( #[doc = $about] pub $field: <$detector as Detector>::Rule, )+
        }

        impl Rules {
            /// No rule is on.
            pub const OFF: Self = Self {
                sources: Room::SMALLEST,
                $( $field: <$detector as Detector>::OFF, )+
            };

            /// Divides `bytes` by the weights of the detectors that are on.
            pub fn divide(bytes: u64, flags: &Flags) -> Self {
                let weights = [$(
                    if <$detector as Detector>::is_on(&<$detector as Detector>::rule(&flags.$field, 0)) {
                        <$detector as Detector>::WEIGHT
                    } else {
                        0
                    },
                )+];
                let for_sources = bytes / SOURCES;
                let shares = shares(bytes - for_sources, weights);
                Self {
                    sources: Room::for_bytes(for_sources),
                    $( $field: <$detector as Detector>::rule(&flags.$field, shares[Kind::$kind as usize]), )+
                }
            }

            /// Bytes that all detectors take.
            pub fn memory_bytes(&self) -> u64 {
                self.sources.memory_bytes()
                    $( + <$detector as Detector>::memory_bytes(&self.$field) )+
            }

            /// Capacity of each detector.
            pub fn rooms(&self) -> [usize; Kind::COUNT] {
                [$( <$detector as Detector>::room(&self.$field), )+]
            }

            /// The longest window of the rules that promise something: those of at most an hour.
            fn loss_ns(&self) -> i64 {
                let windows = [$( <$detector as Detector>::window_ns(&self.$field), )+];
                let windows = windows.into_iter().filter(|&window_ns| window_ns <= LOSS_NS);
                windows.max().unwrap_or(LOSS_NS)
            }

            /// The shortest window of the rules about sources that are on.
            fn proof_ns(&self) -> i64 {
                let windows = [$(
                    (<$detector as Detector>::KEYED_BY == Owner::Source && <$detector as Detector>::is_on(&self.$field))
                        .then(|| <$detector as Detector>::window_ns(&self.$field)),
                )+];
                windows.into_iter().flatten().min().unwrap_or(i64::MAX)
            }

            /// Whether a rule that is on needs contacts at their `owner`.
            pub fn need(&self, owner: Owner) -> bool {
                $( owner == <$detector as Detector>::KEYED_BY && <$detector as Detector>::is_on(&self.$field) )||+
            }
        }

        counters! {
            /// Counters of all detectors.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct AllCounts "" {
                sources (group SourceCounts as "sources_"): "What is known of sources",
                $( $field (group DetectorCounts as concat!($word, "_")): $about, )+
            }
        }

        impl AllCounts {
            /// Kind, owner and counters of each detector.
            pub fn all(&self) -> [(Kind, Owner, &DetectorCounts); Kind::COUNT] {
                [$( (Kind::$kind, <$detector as Detector>::KEYED_BY, &self.$field), )+]
            }

            /// The sum over all detectors.
            pub fn sum(&self) -> DetectorCounts {
                let mut sum = DetectorCounts::default();
                $( sum.add(&self.$field); )+
                sum
            }
        }

        /// All detectors of one shard.
        pub struct Detectors {
            /// What is known of sources.
            pub sources: Sources,
            /// No deadline is earlier.
            wake_ns: Cell<i64>,
            /// A rule asks whether a source is local.
            pub asks_local: bool,
            $( #[doc = $about] pub $field: $detector, )+
        }

        impl Detectors {
            /// Allocates all their memory. `evidence_key`: of the sets of what sources touched, secret live.
            pub fn new(rules: Rules, hasher: Hasher, evidence_key: u64) -> Self {
                Self {
                    sources: Sources::new(rules.sources, hasher, [rules.loss_ns(), rules.proof_ns()], evidence_key),
                    wake_ns: Cell::new(i64::MAX),
                    asks_local: false $( || <$detector as Detector>::asks_local(&rules.$field) )+,
                    $( $field: <$detector as Detector>::new(rules.$field, hasher), )+
                }
            }

            /// Writes to every page.
            pub fn prefault(&mut self) {
                self.sources.prefault();
                $( self.$field.prefault(); )+
            }

            /// Prefetches the cache lines of the contact's source and target.
            #[inline]
            pub fn prefetch(&self, contact: &Contact) {
                self.sources.prefetch(contact.source);
            }

            /// Prefetches the cache lines of the rules, if they hear of the contact's source.
            #[inline]
            pub fn prefetch_rules(&self, contact: &Contact, target: impl FnOnce() -> Address) {
                if self.sources.knows(contact.source) {
                    let place = place_of(contact, target());
                    $( self.$field.prefetch(&place); )+
                }
            }

            /// Hands a contact to each detector whose owner this shard is: of what concerns it, see `Owned::of`.
            /// `watermark`: packet time at its position.
            #[inline]
            pub fn on_contact(
                &mut self,
                contact: &Contact,
                owned: Owned,
                setting: &Setting,
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                if watermark >= self.wake_ns.get() {
                    self.expire(watermark, out);
                }
                let place = place_of(contact, setting.target);
                let admission = match owned.source {
                    true => self.sources.on_contact(contact, &place, setting.is_dark, watermark),
                    false => Admission::HeldBack,
                };
                if owned.target && contact.kind() == ContactKind::Established {
                    self.sources.befriend(contact, watermark);
                }
                let sighting = Sighting {
                    contact,
                    place,
                    target: setting.target,
                    is_local: setting.is_local,
                    watermark,
                    sources: &self.sources,
                    wake_ns: &self.wake_ns,
                };
                if let Admission::Passed(first) = &admission {
                    $(
                        if <$detector as Detector>::KEYED_BY == Owner::Source {
                            if let Some(first) = first {
                                self.$field.admit(first, &sighting);
                            }
                            self.$field.on_contact(&sighting, out);
                        }
                    )+
                }
                if owned.target {
                    $(
                        if <$detector as Detector>::KEYED_BY == Owner::Target {
                            self.$field.on_contact(&sighting, out);
                        }
                    )+
                }
            }

            /// Handles deadlines up to `watermark`.
            #[inline(never)]
            pub fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
                let mut next_ns = i64::MAX;
                $(
                    self.$field.expire(watermark, &self.sources, out);
                    next_ns = next_ns.min(self.$field.next_deadline_ns());
                )+
                self.wake_ns.set(next_ns);
            }

            /// Ends all episodes.
            pub fn finish(&mut self, out: &mut impl FnMut(Found)) {
                $( self.$field.finish(&self.sources, out); )+
            }

            /// See [`Detector::set_contact_lost`].
            pub fn set_contact_lost(&mut self, ts_ns: Option<i64>) {
                $( self.$field.set_contact_lost(ts_ns); )+
            }

            /// Entries held by each.
            pub fn occupancy(&self) -> [usize; Kind::COUNT] {
                [$( self.$field.occupancy(), )+]
            }

            /// See [`Detector::detectable_gap_ns`]; `now_ns` is packet time.
            pub fn detectable_gaps_ns(&self, now_ns: i64) -> [i64; Kind::COUNT] {
                let of_sources = self.sources.detectable_gap_ns(now_ns);
                [$(
                    match <$detector as Detector>::KEYED_BY {
                        Owner::Source => self.$field.detectable_gap_ns().min(of_sources),
                        // Many sources have no gaps.
                        Owner::Target => i64::MAX,
                    },
                )+]
            }

            /// Counters of each.
            pub fn counts(&self) -> AllCounts {
                AllCounts {
                    sources: self.sources.counts,
                    $( $field: *self.$field.counts(), )+
                }
            }
        }
    };
}
pub(super) use detectors;

/// A rule that remembers for longer cannot promise it: what it forgets is no loss.
pub(super) const LOSS_NS: i64 = 3_600_000_000_000;

/// One part in so many of the detectors' memory is for what is known of sources.
pub(super) const SOURCES: u64 = 3;

/// The flags of an empty command line.
pub(super) fn defaults<F: Args>() -> F {
    let command = F::augment_args(clap::Command::new("defaults"));
    let matches = command.get_matches_from(["defaults"]);
    F::from_arg_matches(&matches).expect("every flag has a default")
}

/// Divides `bytes` by weights.
pub(super) fn shares<const N: usize>(bytes: u64, weights: [u64; N]) -> [u64; N] {
    let all: u64 = weights.iter().sum();
    weights.map(|weight| bytes / all.max(1) * weight)
}

#[cfg(test)]
mod tests;
