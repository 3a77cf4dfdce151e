//! The contract of detectors, and the macro that combines them.
//!
//! A detector gets the contacts of what its shard owns in the order of their positions (`on_contact`), ends due
//! episodes (`expire`), ends the rest at the end of the run (`finish`), allocates in `new` only, reads no clock, and
//! counts evictions. Its decisions depend on the contacts alone, never on the number of shards.

use super::Kind;
use super::contact::{Contact, ContactKind, Owner};
use super::detection::Detection;
use crate::counters::counters;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::time::timeline::Timeline;
use clap::Args;
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
    /// Suricata's category of such alerts.
    pub category: &'static str,
    /// The note in Zeek's notice.log.
    pub zeek_note: &'static str,
}

/// A detector.
pub trait Detector: Sized {
    /// The kind of its detections.
    const KIND: Kind;
    /// Its names in logs.
    const ABOUT: About;
    /// It gets the contacts of what its shard owns in this sense.
    const KEYED_BY: Owner;
    /// Its relative share of the detectors' memory.
    const WEIGHT: u64;
    /// Its flags.
    type Flags: Args + Clone + Debug;
    /// Its thresholds and capacities.
    type Rule: Copy + Debug;

    /// The rule of the flags, with capacities for `bytes`; 0 if it is off.
    fn rule(flags: &Self::Flags, bytes: u64) -> Self::Rule;
    /// Whether the rule is on.
    fn is_on(rule: &Self::Rule) -> bool;
    /// Bytes that a detector with this rule takes.
    fn memory_bytes(rule: &Self::Rule) -> u64;
    /// Maximum of [`Detector::occupancy`].
    fn room(rule: &Self::Rule) -> usize;

    /// Allocates all its memory; `hasher` is the same in every shard.
    fn new(rule: Self::Rule, hasher: Hasher) -> Self;
    /// Writes to every page, so that a later flood causes no page faults.
    fn prefault(&mut self);
    /// Prefetches the cache lines of this contact, some contacts before its turn.
    fn prefetch(&self, contact: &Contact);
    /// Takes a contact. It counts also while the rule is off: the books compare the counts of all detectors of one
    /// owner. `target` is the destination or, for rules about a pair, the address that stands for several.
    #[inline]
    fn on_contact(
        &mut self,
        contact: &Contact,
        target: Address,
        timeline: &Timeline<'_>,
        out: &mut impl FnMut(Found),
    ) {
        let counts = self.counts_mut();
        match contact.kind() {
            ContactKind::Touch => counts.touches += 1,
            _ => counts.outcomes += 1,
        }
        self.decide(contact, target, timeline, out);
    }

    /// Handles a contact that is counted.
    fn decide(
        &mut self,
        contact: &Contact,
        target: Address,
        timeline: &Timeline<'_>,
        out: &mut impl FnMut(Found),
    );
    /// Ends episodes due at `watermark`.
    fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found));
    /// Ends all episodes at the end of the capture or run.
    fn finish(&mut self, out: &mut impl FnMut(Found));

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
        touches: "SYNs handed to the detector",
        outcomes: "Answers, refusals and completed handshakes handed to the detector",
        started: "Detections: rising edges",
        continued: "Detections: doublings",
        ended: "Detections: summaries",
        subjects_evicted (loss): "Entries evicted from a full table with a touch younger than the window",
        episodes_evicted (loss): "Episodes evicted from a full table before their end",
        without_list: "Episodes without room for a list of all ports or hosts",
    }
}

impl DetectorCounts {
    pub(crate) fn contacts(&self) -> u64 {
        self.touches + self.outcomes
    }

    pub(crate) fn detections(&self) -> u64 {
        self.started + self.continued + self.ended
    }
}

/// What a contact's shard owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The contact's pair.
    pub pair: bool,
    /// The contact's source.
    pub source: bool,
}

impl Owned {
    #[inline]
    pub(crate) fn by(self, owner: Owner) -> bool {
        match owner {
            Owner::Pair => self.pair,
            Owner::Source => self.source,
        }
    }
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
            $( #[doc = $about] pub $field: <$detector as Detector>::Rule, )+
        }

        impl Rules {
            /// Divides `bytes` by the weights of the detectors that are on.
            pub fn divide(bytes: u64, flags: &Flags) -> Self {
                let weights = [$(
                    if <$detector as Detector>::is_on(&<$detector as Detector>::rule(&flags.$field, 0)) {
                        <$detector as Detector>::WEIGHT
                    } else {
                        0
                    },
                )+];
                let shares = shares(bytes, weights);
                Self {
                    $( $field: <$detector as Detector>::rule(&flags.$field, shares[Kind::$kind as usize]), )+
                }
            }

            /// Bytes that all detectors take.
            pub fn memory_bytes(&self) -> u64 {
                0 $( + <$detector as Detector>::memory_bytes(&self.$field) )+
            }

            /// Capacity of each detector.
            pub fn rooms(&self) -> [usize; Kind::COUNT] {
                [$( <$detector as Detector>::room(&self.$field), )+]
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
            $( #[doc = $about] pub $field: $detector, )+
        }

        impl Detectors {
            /// Allocates all their memory.
            pub fn new(rules: Rules, hasher: Hasher) -> Self {
                Self { $( $field: <$detector as Detector>::new(rules.$field, hasher), )+ }
            }

            /// Writes to every page.
            pub fn prefault(&mut self) {
                $( self.$field.prefault(); )+
            }

            /// See [`Detector::prefetch`].
            #[inline]
            pub fn prefetch(&self, contact: &Contact) {
                $( self.$field.prefetch(contact); )+
            }

            /// Hands a contact to each detector whose owner this shard is.
            #[inline]
            pub fn on_contact(
                &mut self,
                contact: &Contact,
                owned: Owned,
                target: Address,
                timeline: &Timeline<'_>,
                out: &mut impl FnMut(Found),
            ) {
                $(
                    if owned.by(<$detector as Detector>::KEYED_BY) {
                        self.$field.on_contact(contact, target, timeline, out);
                    }
                )+
            }

            /// Ends episodes due at `watermark`.
            pub fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
                $( self.$field.expire(watermark, out); )+
            }

            /// Ends all episodes.
            pub fn finish(&mut self, out: &mut impl FnMut(Found)) {
                $( self.$field.finish(out); )+
            }

            /// See [`Detector::set_contact_lost`].
            pub fn set_contact_lost(&mut self, ts_ns: Option<i64>) {
                $( self.$field.set_contact_lost(ts_ns); )+
            }

            /// Entries held by each.
            pub fn occupancy(&self) -> [usize; Kind::COUNT] {
                [$( self.$field.occupancy(), )+]
            }

            /// See [`Detector::detectable_gap_ns`].
            pub fn detectable_gaps_ns(&self) -> [i64; Kind::COUNT] {
                [$( self.$field.detectable_gap_ns(), )+]
            }

            /// Counters of each.
            pub fn counts(&self) -> AllCounts {
                AllCounts { $( $field: *self.$field.counts(), )+ }
            }
        }
    };
}
pub(super) use detectors;

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
