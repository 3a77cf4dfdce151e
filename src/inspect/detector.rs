//! The contract of a detector, and the list of them as one.
//!
//! A detector is fed the contacts of what its shard owns, in the order of their positions (`on_contact`), ends what
//! is due (`expire`), ends the rest at the end of the run (`finish`), takes all its memory in `new`, never looks at
//! a clock, and counts what it had to push out. What it decides depends on the contacts alone, never on the number
//! of shards.

use super::Kind;
use super::contact::{Contact, Owner};
use super::detection::Detection;
use crate::counters::counters;
use crate::flow::key::Hasher;
use crate::time::timeline::Timeline;
use clap::Args;
use std::fmt::Debug;
use std::net::IpAddr;

/// A detection with the deadline that made it, if a deadline did.
pub type Found = (Option<i64>, Detection);

/// What people read of a kind of detection.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What it is called at the start of a line: `Port scan`.
    pub title: &'static str,
    /// Its number; ten times that plus the phase is the `signature_id` of an alert.
    pub signature: u32,
    /// Suricata's word for this class of alerts.
    pub category: &'static str,
    /// The name of a note in Zeek's notice.log.
    pub zeek_note: &'static str,
}

/// A detector.
pub trait Detector: Sized {
    /// The kind of its detections.
    const KIND: Kind;
    /// What people read of it.
    const ABOUT: About;
    /// Which contacts it is fed: those of what the shard owns in this sense.
    const KEYED_BY: Owner;
    /// Its part of the room for all detectors, against the parts of the others.
    const WEIGHT: u64;
    /// Its flags.
    type Flags: Args + Clone + Debug;
    /// Its numbers and its room.
    type Rule: Copy + Debug;

    /// The rule of the flags, with as much room as `bytes` give; none if it is off.
    fn rule(flags: &Self::Flags, bytes: u64) -> Self::Rule;
    /// Whether the rule asks for anything.
    fn is_on(rule: &Self::Rule) -> bool;
    /// Bytes that a detector with this rule takes.
    fn memory_bytes(rule: &Self::Rule) -> u64;
    /// What [`Detector::occupancy`] may come to.
    fn room(rule: &Self::Rule) -> usize;

    /// Takes all its memory; `hasher` is the same in every shard.
    fn new(rule: Self::Rule, hasher: Hasher) -> Self;
    /// Writes to every page, so that a flood later moves no memory.
    fn prefault(&mut self);
    /// Asks the CPU for the lines that this contact needs, some contacts before its turn.
    fn announce(&self, contact: &Contact);
    /// Takes one contact. `target` is what was touched in the eyes of rules about a pair: the destination, or one
    /// address that stands for several.
    fn on_contact(
        &mut self,
        contact: &Contact,
        target: IpAddr,
        timeline: &Timeline<'_>,
        out: &mut impl FnMut(Found),
    );
    /// Ends what is due at `watermark`.
    fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found));
    /// Ends whatever is open: the capture or the run is over.
    fn finish(&mut self, out: &mut impl FnMut(Found));

    /// Packet time of the newest contact that was lost on the way here: detections say so.
    fn set_contact_lost(&mut self, ts_ns: Option<i64>);
    /// Entries held now.
    fn occupancy(&self) -> usize;
    /// What is found whose steps follow each other by less than this, as of now, in nanoseconds.
    fn detectable_gap_ns(&self) -> i64;
    /// What it did.
    fn counts(&self) -> &DetectorCounts;
}

counters! {
    /// What one detector did. The name of its kind stands before each name.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct DetectorCounts "" {
        touches: "Touches that the detector saw",
        outcomes: "Answers, refusals and completed handshakes that the detector saw",
        started: "Detections: rising edges",
        continued: "Detections: doublings",
        ended: "Detections: summaries",
        subjects_evicted (loss): "Entries pushed out of a full table while a touch of theirs was younger than the window",
        episodes_evicted (loss): "Episodes pushed out of a full table before their end",
        without_list: "Episodes for which there was no room to keep all that was touched",
    }
}

impl DetectorCounts {
    /// Contacts that it saw.
    pub fn contacts(&self) -> u64 {
        self.touches + self.outcomes
    }

    /// Detections of any phase.
    pub fn detections(&self) -> u64 {
        self.started + self.continued + self.ended
    }
}

/// Which contacts a shard has all of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Those of the pair.
    pub pair: bool,
    /// Those of the source.
    pub source: bool,
}

impl Owned {
    /// Whether it has all contacts of `owner`.
    #[inline]
    pub fn by(self, owner: Owner) -> bool {
        match owner {
            Owner::Pair => self.pair,
            Owner::Source => self.source,
        }
    }
}

/// Makes one of the detectors: their kinds, flags, rules, counters, and the calls to each, without any pointer.
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
            /// What people read of it.
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
            /// Gives each detector its share of `bytes`: what it weighs of the weights of those that are on.
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

            /// Entries that each may hold.
            pub fn rooms(&self) -> [usize; Kind::COUNT] {
                [$( <$detector as Detector>::room(&self.$field), )+]
            }

            /// Whether any rule that is on needs all contacts of `owner` at one place.
            pub fn need(&self, owner: Owner) -> bool {
                $( owner == <$detector as Detector>::KEYED_BY && <$detector as Detector>::is_on(&self.$field) )||+
            }
        }

        counters! {
            /// What the detectors did.
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct AllCounts "" {
                $( $field (group DetectorCounts as concat!($word, "_")): $about, )+
            }
        }

        impl AllCounts {
            /// The counters of each detector, and whose contacts it is fed.
            pub fn all(&self) -> [(Kind, Owner, &DetectorCounts); Kind::COUNT] {
                [$( (Kind::$kind, <$detector as Detector>::KEYED_BY, &self.$field), )+]
            }

            /// What all of them did together.
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
            /// Takes all their memory.
            pub fn new(rules: Rules, hasher: Hasher) -> Self {
                Self { $( $field: <$detector as Detector>::new(rules.$field, hasher), )+ }
            }

            /// Writes to every page.
            pub fn prefault(&mut self) {
                $( self.$field.prefault(); )+
            }

            /// Asks the CPU for the lines that this contact needs.
            #[inline]
            pub fn announce(&self, contact: &Contact) {
                $( self.$field.announce(contact); )+
            }

            /// Feeds a contact to each detector that should have it.
            #[inline]
            pub fn on_contact(
                &mut self,
                contact: &Contact,
                owned: Owned,
                target: IpAddr,
                timeline: &Timeline<'_>,
                out: &mut impl FnMut(Found),
            ) {
                $(
                    if owned.by(<$detector as Detector>::KEYED_BY) {
                        self.$field.on_contact(contact, target, timeline, out);
                    }
                )+
            }

            /// Ends what is due at `watermark`.
            pub fn expire(&mut self, watermark: i64, out: &mut impl FnMut(Found)) {
                $( self.$field.expire(watermark, out); )+
            }

            /// Ends whatever is open.
            pub fn finish(&mut self, out: &mut impl FnMut(Found)) {
                $( self.$field.finish(out); )+
            }

            /// Says when the newest contact that was lost on the way here was stamped.
            pub fn set_contact_lost(&mut self, ts_ns: Option<i64>) {
                $( self.$field.set_contact_lost(ts_ns); )+
            }

            /// Entries that each holds now.
            pub fn occupancy(&self) -> [usize; Kind::COUNT] {
                [$( self.$field.occupancy(), )+]
            }

            /// See [`Detector::detectable_gap_ns`].
            pub fn detectable_gaps_ns(&self) -> [i64; Kind::COUNT] {
                [$( self.$field.detectable_gap_ns(), )+]
            }

            /// What each did.
            pub fn counts(&self) -> AllCounts {
                AllCounts { $( $field: *self.$field.counts(), )+ }
            }
        }
    };
}
pub(super) use detectors;

/// The flags of a command line that names none of them.
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
