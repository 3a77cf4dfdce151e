//! What is known of sources, in front of all rules about them.
//!
//! A source that has touched one place (destination, port) so far can fulfil no rule: it takes 24 bytes in the gate,
//! and no rule hears of it. Nearly all sources of a spoofed flood are such. With its second place it passes: the rules
//! get the first touch, then everything. From then on its standing is kept: how many places it touched, how many
//! answered, whether it completed a handshake. Verdicts follow from that.

mod friends;
mod standing;

use super::contact::{Contact, ContactKind};
use super::detection::SourceEvidence;
use super::distinct::firsts::{First, Firsts};
use super::distinct::gap::FloodLaw;
use super::distinct::state::TouchState;
use super::network::Network;
use super::place::{Element, Host, Place, Way};
use super::setting::Setting;
use super::table::Table;
use crate::counters::counters;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::snapshot::snapshot;
use crate::splitmix::mix64;
use friends::Friends;
use standing::{Mark, Standing};
use std::cell::Cell;

counters! {
    /// Counters of the table of sources, prefixed by `sources_`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct SourceCounts "" {
        held_back: "Contacts of sources with one destination and port: no rule can hold for them",
        passed: "Contacts handed to the rules about sources",
        networks_held_back: "Contacts of IPv6 networks with one destination and port",
        networks_passed: "Contacts handed to the rules as those of an IPv6 network",
        new: "Sources that touched a second destination or port",
        evicted (loss): "Sources evicted from a full table with a touch younger than the windows of at most an hour",
        forgotten: "Sources evicted from a full table with an older touch",
    }
}

/// Capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Sources with one place.
    pub firsts: usize,
    /// Sources with more.
    pub standings: usize,
    /// Pairs of friends.
    pub friends: usize,
}

impl SourceCounts {
    #[inline(always)]
    fn pass<const IS_NETWORK: bool>(&mut self) {
        match IS_NETWORK {
            true => self.networks_passed += 1,
            false => self.passed += 1,
        }
    }

    #[inline(always)]
    fn hold_back<const IS_NETWORK: bool>(&mut self) {
        match IS_NETWORK {
            true => self.networks_held_back += 1,
            false => self.held_back += 1,
        }
    }
}

impl Room {
    /// One bucket of each.
    pub const SMALLEST: Self = Self {
        firsts: 8,
        standings: 8,
        friends: 8,
    };

    /// For so many bytes: five eighths for the gate, a quarter for standings, an eighth for friends.
    pub fn for_bytes(bytes: u64) -> Self {
        let count = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX);
        let eight = |count: usize| (count / 8 * 8).max(8);
        Self {
            firsts: eight(count(bytes / 8 * 5, Firsts::<Element>::memory_bytes(8) / 8)),
            standings: eight(count(bytes / 4, Table::<Standing>::memory_bytes(8) / 8)),
            friends: eight(count(bytes / 8, 8)),
        }
    }

    /// Bytes that they take.
    pub fn memory_bytes(&self) -> u64 {
        Firsts::<Element>::memory_bytes(self.firsts)
            + Table::<Standing>::memory_bytes(self.standings)
            + Friends::memory_bytes(self.friends)
    }
}

/// What a contact is worth to the rules about its source.
pub(super) enum Admission {
    /// Nothing: the source has touched one place so far.
    HeldBack,
    /// It is handed to them, after the first touch of the source if that was held back.
    Passed(Option<First<Element>>),
}

/// Sources that are known to be strangers from their prefetch to their turn.
const ABSENT: usize = 512;

#[allow(clippy::cast_possible_truncation, reason = "its lowest bits are meant")]
fn absent(source: u64) -> usize {
    source as usize % ABSENT
}

/// The sources of a shard.
pub struct Sources {
    hasher: Hasher,
    /// Key of the sets of places: fixed in `read`, so that every run prints the same, and secret live.
    pub(super) evidence_key: u64,
    /// No rule has an earlier deadline. Here, for this is what every rule sees.
    pub(super) wake_ns: Cell<i64>,
    gate: Firsts<Element>,
    standings: Table<Standing>,
    /// Sources without a standing, by [`absent`], under the stamp of the time when that was found.
    absent: [u64; ABSENT],
    /// Another one after each admission.
    stamp: u64,
    friends: Friends,
    /// Rates of new sources: with one place, and with more.
    flood_laws: [FloodLaw; 2],
    /// Packet time of the newest eviction of a source with a young touch, and of any source.
    last_eviction_ns: [Option<i64>; 2],
    /// What is younger is lost to some rule.
    loss_ns: i64,
    /// A touch older than this proves nothing about the next one of the same place.
    proof_ns: i64,
    /// Its counters.
    pub counts: SourceCounts,
}

snapshot! {
    [] Sources;
    values: gate, standings, absent, stamp, friends, flood_laws, last_eviction_ns, counts;
    fixed: hasher, evidence_key, wake_ns, loss_ns, proof_ns;
}

impl Sources {
    /// Allocates all its memory.
    ///
    /// `loss_ns`: the longest window of rules that promise something; `proof_ns`: the shortest of rules about sources.
    /// `evidence_key`: see the field.
    pub fn new(
        room: Room,
        hasher: Hasher,
        [loss_ns, proof_ns]: [i64; 2],
        evidence_key: u64,
    ) -> Self {
        Self {
            hasher,
            evidence_key,
            wake_ns: Cell::new(i64::MAX),
            gate: Firsts::new(room.firsts),
            standings: Table::new(room.standings),
            absent: [0; ABSENT],
            stamp: 0,
            friends: Friends::new(room.friends),
            flood_laws: [room.firsts, room.standings].map(FloodLaw::new),
            last_eviction_ns: [None; 2],
            loss_ns,
            proof_ns,
            counts: SourceCounts::default(),
        }
    }

    /// Other windows of the rules: see [`Sources::new`].
    pub(super) fn change_windows(&mut self, [loss_ns, proof_ns]: [i64; 2]) {
        (self.loss_ns, self.proof_ns) = (loss_ns, proof_ns);
    }

    /// Writes to every page.
    pub fn prefault(&mut self) {
        self.gate.prefault();
        self.standings.prefault();
        self.friends.prefault();
    }

    /// Prefetches the cache lines of a source.
    #[inline]
    pub(super) fn prefetch(&self, source: u64) {
        self.standings.prefetch(source);
        self.gate.prefetch(source);
    }

    /// Whether the rules hear of this source. That they don't is known from then on until another source is admitted.
    #[inline]
    pub(super) fn knows(&mut self, source: u64) -> bool {
        let is_known = self.standings.find(source).is_some();
        if !is_known {
            self.absent[absent(source)] = source ^ self.stamp;
        }
        is_known
    }

    /// Whether [`Sources::knows`] found a short time ago that the rules don't hear of this source.
    #[inline(always)]
    fn is_absent(&self, source: u64) -> bool {
        self.absent[absent(source)] == source ^ self.stamp
    }

    /// Sources held.
    pub fn held(&self) -> usize {
        self.gate.held + self.standings.held
    }

    /// Packet time of the newest eviction that a rule with this window may have suffered from.
    pub(super) fn last_eviction_ns(&self, window_ns: i64) -> Option<i64> {
        self.last_eviction_ns[usize::from(window_ns > self.loss_ns)]
    }

    /// Scans whose steps follow each other faster pass the gate and stay; nanoseconds.
    pub(super) fn detectable_gap_ns(&self, now_ns: i64) -> i64 {
        match self.last_eviction_ns[0] {
            Some(at) if at.saturating_add(self.loss_ns) > now_ns => {
                let gaps = self.flood_laws.iter().map(|law| law.gap_ns(now_ns));
                gaps.fold(i64::MAX, i64::min)
            }
            _ => i64::MAX,
        }
    }

    /// Takes a contact of a source that this shard owns; `kind` is the contact's.
    #[inline(always)]
    pub(super) fn on_contact<const IS_NETWORK: bool>(
        &mut self,
        (contact, place, kind): (&Contact, &Place, ContactKind),
        watermark: i64,
    ) -> Admission {
        if !self.is_absent(place.source)
            && let Some(at) = self.standings.find(place.source)
        {
            let (mark, key) = (self.mark(place, kind), self.evidence_key);
            let standing = self.standings.get_mut(at);
            standing.on_contact(contact, (place, mark), key, watermark);
            self.counts.pass::<IS_NETWORK>();
            return Admission::Passed(None);
        }
        let first = match ContactKind::TOUCHES.has(kind) {
            true => self.on_touch((contact, place, kind), watermark),
            false => {
                self.on_outcome(contact, place);
                None
            }
        };
        let Some(first) = first else {
            self.counts.hold_back::<IS_NETWORK>();
            return Admission::HeldBack;
        };
        self.counts.pass::<IS_NETWORK>();
        self.admit(contact, place, &first, watermark);
        Admission::Passed(Some(first))
    }

    /// A touch of a source without a standing: its first one, if this is another place.
    #[inline(always)]
    fn on_touch(
        &mut self,
        (contact, place, kind): (&Contact, &Place, ContactKind),
        watermark: i64,
    ) -> Option<First<Element>> {
        let item = Element::new(place, Way::of(kind));
        let at = match self.gate.entry(place.source) {
            Ok(at) => at,
            Err(vacant) => {
                self.flood_laws[0].on_new(watermark);
                let first = First {
                    item,
                    newest_ns: contact.ts_ns,
                    state: TouchState::Touched,
                    proven: false,
                };
                if let Some(newest_ns) = self.gate.insert_at(vacant, first) {
                    self.note_evicted(newest_ns, watermark);
                }
                return None;
            }
        };
        let first = self.gate.get(at);
        if first.item != item {
            return Some(self.gate.take(at));
        }
        let is_old = first.newest_ns.saturating_add(self.proof_ns) < contact.ts_ns;
        let first = First {
            newest_ns: first.newest_ns.max(contact.ts_ns),
            proven: first.proven && !is_old,
            ..first
        };
        self.gate.set(at, first);
        None
    }

    /// The outcome of the only touch of a source.
    fn on_outcome(&mut self, contact: &Contact, place: &Place) {
        let Some(at) = self.gate.find(place.source) else {
            return;
        };
        let (first, kind) = (self.gate.get(at), contact.kind());
        if !(first.item).shares_outcome(place, Way::of(kind)) {
            return;
        }
        let first = First {
            state: first.state.max(TouchState::after(kind)),
            proven: first.proven || kind == ContactKind::Established,
            ..first
        };
        self.gate.set(at, first);
    }

    /// Gives a standing to a source that touched a second place.
    #[inline(never)]
    fn admit(&mut self, contact: &Contact, place: &Place, first: &First<Element>, watermark: i64) {
        self.counts.new += 1;
        self.stamp = mix64(self.counts.new);
        self.flood_laws[1].on_new(watermark);
        let (way, key) = (first.item.way.touch(), self.evidence_key);
        let mark = self.mark(&first.item.place(place), way);
        let mut standing = Standing::new(first, mark, key, watermark);
        let mark = self.mark(place, contact.kind());
        standing.on_contact(contact, (place, mark), key, watermark);
        if let (_, Some(gone)) = self.standings.insert(place.source, standing) {
            self.note_evicted(gone.newest_ns, watermark);
        }
    }

    fn note_evicted(&mut self, newest_ns: i64, watermark: i64) {
        self.last_eviction_ns[1] = Some(watermark);
        if newest_ns.saturating_add(self.loss_ns) > watermark {
            self.counts.evicted += 1;
            self.last_eviction_ns[0] = Some(watermark);
        } else {
            self.counts.forgotten += 1;
        }
    }

    /// What stands for a place in the sets of standings.
    fn mark(&self, place: &Place, kind: ContactKind) -> Option<Mark> {
        Mark::new(self.evidence_key, place, Way::of(kind))
    }

    /// The bit of a place in those sets.
    #[cfg(test)]
    pub(super) fn bit(&self, place: &Place, kind: ContactKind) -> Option<u8> {
        self.mark(place, kind).map(Mark::bit)
    }

    /// A detection told of this source.
    pub(super) fn note_told(&mut self, source: u64, watermark: i64) {
        if let Some(at) = self.standings.find(source) {
            self.standings.get_mut(at).note_told(watermark);
        }
    }

    /// Whether a detection told of this source within the last hour.
    pub(super) fn is_told(&self, source: u64, watermark: i64) -> bool {
        let at = self.standings.find(source);
        at.is_some_and(|at| self.standings.get(at).is_told(watermark))
    }

    /// The contact as one of a network of its source.
    pub(super) fn of_network(&self, contact: &Contact, network: Network) -> Contact {
        let hash = self.hasher.source(network.address(contact.src()));
        let source = self.hasher.tagged(hash, network.mark(contact.tags()));
        network.contact(contact, source)
    }

    /// The destination of an established connection, which this shard owns, was contacted by the source first.
    #[inline]
    pub(super) fn befriend(&mut self, contact: &Contact, watermark: i64) {
        if contact.src == contact.dst {
            return;
        }
        let (dst, tags) = (contact.dst(), contact.tags());
        let pair = self.hasher.pair(dst, contact.src());
        let pair = self.hasher.tagged(pair, tags);
        self.friends.insert(pair, watermark);
        self.friends
            .insert(self.anybodys_friend(dst, tags), watermark);
        if dst.v6 {
            for network in Network::ALL {
                let (dst, tags) = (network.address(dst), network.mark(tags));
                self.friends
                    .insert(self.anybodys_friend(dst, tags), watermark);
            }
        }
    }

    /// The place among friends of an address, or of a network by its first address and marked tags, whoever contacted
    /// it. No pair hashes to it but by chance.
    fn anybodys_friend(&self, address: Address, tags: u32) -> u64 {
        mix64(self.hasher.tagged(self.hasher.source(address), tags))
    }

    /// What is known of a source, and whether `target` contacted it first within the last half hour.
    pub(super) fn evidence(
        &self,
        (src, tags): (Address, u32),
        target: Option<Address>,
        now_ns: i64,
    ) -> SourceEvidence {
        let source = self.hasher.tagged(self.hasher.source(src), tags);
        let at = self.standings.find(source);
        let friendly = target.is_some_and(|target| {
            let pair = self.hasher.tagged(self.hasher.pair(src, target), tags);
            self.friends.knows(pair, now_ns)
        });
        let is_contacted = |src, tags| self.friends.knows(self.anybodys_friend(src, tags), now_ns);
        let contacted = is_contacted(src, tags);
        let is_address = src.v6 && Network::of(tags).is_none();
        let subnet_contacted = match is_address {
            true => is_contacted(Network::Subnet.address(src), Network::Subnet.mark(tags)),
            false => contacted,
        };
        let known = at.map(|at| self.standings.get(at).evidence(now_ns));
        SourceEvidence {
            friendly,
            contacted,
            subnet_contacted,
            ..known.unwrap_or_default()
        }
    }
}

/// What a contact touched. `key` is [`Sources::evidence_key`].
#[inline(always)]
pub(super) fn place_of(contact: &Contact, setting: Setting, key: u64) -> Place {
    let src = Host::new(contact.src());
    Place {
        source: contact.source,
        src,
        who: match key {
            0 => mix64(src.bits()),
            _ => contact.source,
        },
        tags: contact.tags(),
        host: Host::new(contact.dst()),
        setting,
        port: contact.port,
    }
}

#[cfg(test)]
mod tests;
