//! The macro that combines the detectors.

use clap::Args;

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
                $crate::inspect::combine::defaults()
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

            /// Whether [`Detectors::change`] puts the flag `key` in force in a run that began with these rules; `None`: it is
            /// no flag of a detector.
            pub fn takes(&self, key: &str, new: &Self) -> Option<bool> {
                $(
                    if $crate::inspect::combine::has_flag::<<$detector as Detector>::Flags>(key) {
                        let is_on = <$detector as Detector>::is_on;
                        return Some(is_on(&self.$field) || !is_on(&new.$field));
                    }
                )+
                None
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
            #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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
            /// A rule asks whether a source is local.
            pub asks_local: bool,
            $( #[doc = $about] pub $field: $detector, )+
        }

        impl $crate::snapshot::Snapshot for Detectors {
            fn save(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
                self.sources.save(to)?;
                $( self.$field.save(to)?; )+
                Ok(())
            }

            fn restore(&mut self, from: &mut dyn std::io::Read) -> std::io::Result<()> {
                self.sources.restore(from)?;
                $( self.$field.restore(from)?; )+
                // All deadlines are looked at before the next contact.
                self.sources.wake_ns.set(i64::MIN);
                Ok(())
            }

            fn layout(layout: &mut $crate::snapshot::Layout) {
                Sources::layout(layout);
                $(
                    layout.add($word.as_bytes());
                    <$detector>::layout(layout);
                )+
            }
        }

        impl Detectors {
            /// Allocates all their memory. `evidence_key`: of the sets of what sources touched, secret live.
            pub fn new(rules: Rules, hasher: Hasher, evidence_key: u64) -> Self {
                Self {
                    sources: Sources::new(rules.sources, hasher, [rules.loss_ns(), rules.proof_ns()], evidence_key),
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
            pub fn prefetch_rules(&mut self, contact: &Contact, is_united: impl FnOnce() -> bool) {
                if self.sources.knows(contact.source) {
                    let setting = Setting::default().with(Setting::UNITED, is_united());
                    let place = place_of(contact, setting, self.sources.evidence_key);
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
                setting: Setting,
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                if watermark >= self.sources.wake_ns.get() {
                    self.expire(watermark, out);
                }
                let place = place_of(contact, setting, self.sources.evidence_key);
                // Nearly all contacts of a flood: what follows from the kind is decided here, once for all rules.
                match contact.kind() {
                    ContactKind::Touch => self.on_kind((contact, place, ContactKind::Touch), owned, watermark, out),
                    kind => self.on_other_kind((contact, place, kind), owned, watermark, out),
                }
            }

            #[inline(never)]
            fn on_other_kind(
                &mut self,
                contact: (&Contact, Place, ContactKind),
                owned: Owned,
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                self.on_kind(contact, owned, watermark, out);
            }

            #[inline(always)]
            fn on_kind(
                &mut self,
                (contact, place, kind): (&Contact, Place, ContactKind),
                owned: Owned,
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                if owned.source {
                    self.on_source::<false>((contact, &place, kind), watermark, out);
                    if contact.src().v6 {
                        self.on_networks((contact, place), watermark, out);
                    }
                }
                if owned.target {
                    if kind == ContactKind::Established {
                        self.sources.befriend(contact, watermark);
                    }
                    let sighting = Sighting::new((contact, &place, kind), watermark, &self.sources);
                    $(
                        if <$detector as Detector>::KEYED_BY == Owner::Target {
                            self.$field.on_contact(&sighting, out);
                        }
                    )+
                }
            }

            /// Hands a contact to the rules about its source, once that has touched a second place.
            #[inline(always)]
            fn on_source<const IS_NETWORK: bool>(
                &mut self,
                (contact, place, kind): (&Contact, &Place, ContactKind),
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                match self.sources.on_contact::<IS_NETWORK>((contact, place, kind), watermark) {
                    Admission::HeldBack => {}
                    Admission::Passed(first) => self.on_known(contact, place, kind, &first, watermark, out),
                }
            }

            /// Hands a contact to the rules about its source, after the `first` one if that was held back.
            #[inline(never)]
            fn on_known(
                &mut self,
                contact: &Contact,
                place: &Place,
                kind: ContactKind,
                first: &Option<First<Element>>,
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                let sighting = Sighting::new((contact, place, kind), watermark, &self.sources);
                let mut is_told = false;
                let out = &mut |found: Found| {
                    is_told |= found.1.is_about(contact, place);
                    out(found);
                };
                $(
                    if <$detector as Detector>::KEYED_BY == Owner::Source {
                        if let Some(first) = first {
                            self.$field.admit(first, &sighting);
                        }
                        self.$field.on_contact(&sighting, out);
                    }
                )+
                if is_told {
                    self.sources.note_told(place.source, watermark);
                }
            }

            /// Hands a contact to the rules about the networks of its source, /64 and /48: whoever uses many addresses
            /// of one is seen there. What was told of an address or of the smaller network is not told again.
            #[inline(never)]
            fn on_networks(
                &mut self,
                (contact, mut place): (&Contact, Place),
                watermark: i64,
                out: &mut impl FnMut(Found),
            ) {
                let is_touch = ContactKind::TOUCHES.has(contact.kind());
                for network in Network::ALL {
                    if is_touch && self.sources.is_told(place.source, watermark) {
                        return;
                    }
                    let contact = self.sources.of_network(contact, network);
                    place = Place {
                        tags: network.mark(contact.tags()),
                        ..place_of(&contact, place.setting, self.sources.evidence_key)
                    };
                    self.on_source::<true>((&contact, &place, contact.kind()), watermark, out);
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
                self.sources.wake_ns.set(next_ns);
            }

            /// See [`Detector::change`].
            pub fn change(&mut self, rules: &Rules, now_ns: i64) {
                $( self.$field.change(&rules.$field, now_ns); )+
                self.asks_local = false $( || <$detector as Detector>::asks_local(&rules.$field) )+;
                self.sources.change_windows([rules.loss_ns(), rules.proof_ns()]);
            }

            /// See [`Detector::tell_running`].
            pub fn tell_running(
                &mut self,
                at_ns: i64,
                wants: &impl Fn(&detection::Detection) -> bool,
                out: &mut impl FnMut(Found),
            ) {
                $( self.$field.tell_running(at_ns, &self.sources, wants, out); )+
            }

            /// Ends all episodes at this packet time.
            pub fn finish(&mut self, now_ns: i64, out: &mut impl FnMut(Found)) {
                $( self.$field.finish(now_ns, &self.sources, out); )+
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
                        Owner::Source => self.$field.detectable_gap_ns(now_ns).min(of_sources),
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

/// The flags of an empty command line.
pub(super) fn defaults<F: Args>() -> F {
    let command = F::augment_args(clap::Command::new("defaults"));
    let matches = command.get_matches_from(["defaults"]);
    F::from_arg_matches(&matches).expect("every flag has a default")
}

/// Whether these flags have one with this long name.
pub(super) fn has_flag<F: Args>(key: &str) -> bool {
    let command = F::augment_args(clap::Command::new("flags"));
    let mut longs = command.get_arguments().map(clap::Arg::get_long);
    longs.any(|long| long == Some(key))
}

/// Divides `bytes` by weights.
pub(super) fn shares<const N: usize>(bytes: u64, weights: [u64; N]) -> [u64; N] {
    let all: u64 = weights.iter().sum();
    weights.map(|weight| bytes / all.max(1) * weight)
}
