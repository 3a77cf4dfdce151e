//! Packet in, connection events out.
//!
//! In: packets in the order of their frames, each with the watermark (the running maximum of packet
//! time). Out: attempts, their outcomes, probes and loads, ended flows. All memory is taken by [`Flows::new`]; results
//! depend neither on the hash keys nor on when [`Flows::expire`] is called, as long as nothing is evicted.
//!
//! Three tables, so that what anybody can spoof never displaces what is proven: attempts (`attempt`),
//! connections with a proven handshake, and the rest (midstream TCP, UDP, ICMP, other protocols, and connections that were
//! answered and outlived their attempts, though nobody saw their proof).

pub(crate) mod attempt;
mod closed;
pub(crate) mod conn;
mod counts;
mod early;
mod fragments;
pub mod key;
mod letters;
mod limits;
#[cfg(test)]
mod naive;
mod others;
mod probes;
pub mod record;
mod segments;
mod snapshot;
mod sweep;
pub(crate) mod table;
pub(crate) mod tcp;
#[cfg(test)]
mod tests;

use crate::decode::key::Key;
use crate::decode::packet::{
    Packet, Transport,
    tcp_flags::{RST, SYN},
};
use crate::decode::{Headers, vlan};
use attempt::bits::{ENDED, FAR, MOVED};
use attempt::tally::Requester;
use attempt::{Attempts, NEAR_MAX};
use conn::{Conns, Hot};
pub use counts::FlowCounts;
use early::Early;
pub use early::OUTCOMES_MAX;
use fragments::Fragments;
use key::Hasher;
pub use limits::Limits;
use record::{FlowEvent, When};
use std::net::SocketAddr;
use table::slab::Hint;
use tcp::Sender;

/// The way of a packet through the flow stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// A SYN without ACK.
    Touch,
    /// Any other TCP segment.
    Segment,
    /// A UDP datagram.
    Datagram,
    /// Any other packet.
    #[default]
    Other,
}

/// Where a flow may lie.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lookup {
    hash: u64,
    /// The first guess of the look-up, by [`Flows::prefetch_entries`]: among established connections ([`Lane::Segment`]) or others
    /// ([`Lane::Datagram`]).
    hint: Hint,
    /// The packet's.
    pub lane: Lane,
}

impl Headers {
    #[inline(always)]
    fn lane(&self) -> Lane {
        match (self.is_segment(), self.is_touch()) {
            (false, _) => Lane::Datagram,
            (true, true) => Lane::Touch,
            (true, false) => Lane::Segment,
        }
    }
}

/// The connection state of one shard.
pub struct Flows {
    hasher: Hasher,
    attempts: Attempts,
    established: Conns,
    others: Conns,
    fragments: Fragments,
    early: Early,
    preexisting: Vec<Key>,
    counts: FlowCounts,
    /// The watermark so far.
    now_ns: i64,
    /// No timer lies in an earlier slot.
    swept: i64,
    /// Before this time no wheel wraps.
    wraps_ns: i64,
    /// The slot that is sorted.
    prepared: Option<i64>,
    /// VLAN identifiers are a part of keys.
    by_vlan: bool,
    /// How many slots the sweep may lag before a packet sweeps.
    behind_max: i64,
}

impl Flows {
    /// Takes all memory. `keys` should be the same in no two runs.
    pub fn new(limits: Limits, keys: [u64; 2]) -> Self {
        let hasher = Hasher::new(keys);
        Self {
            hasher,
            attempts: Attempts::new(limits.attempts, hasher),
            established: Conns::new(limits.established, limits.parts, hasher),
            others: Conns::new(limits.others, limits.parts, hasher),
            fragments: Fragments::new(limits.fragments),
            early: Early::new(),
            preexisting: Vec::with_capacity(limits::PREEXISTING_MAX),
            counts: FlowCounts::default(),
            now_ns: i64::MIN,
            swept: i64::MIN,
            wraps_ns: i64::MIN,
            prepared: None,
            by_vlan: false,
            behind_max: table::timers::BEHIND_MAX,
        }
    }

    /// Touches every page of every table. For live runs, before the first packet.
    pub fn prefault(&mut self) {
        self.attempts.prefault();
        self.established.prefault();
        self.others.prefault();
        self.early.prefault();
    }

    /// Turns records of ended flows on, which is the default, or off.
    pub fn record_ends(&mut self, on: bool) {
        self.attempts.record_ends = on;
        self.established.record_ends = on;
        self.others.record_ends = on;
    }

    /// Makes VLAN identifiers a part of keys: the same addresses and ports under other tags are another flow.
    pub fn key_by_vlan(&mut self) {
        self.by_vlan = true;
    }

    /// From now on all packets are captured, which is the default, or only those that open, answer or end a connection:
    /// then the silence of a connection says nothing.
    pub fn hear_all(&mut self, all: bool) {
        let heard_ns = if all { self.now_ns } else { i64::MAX };
        self.attempts.heard_ns = heard_ns;
        self.established.heard_ns = heard_ns;
        self.others.heard_ns = heard_ns;
    }

    /// Takes the TCP connections that are open at the start: their midstream flows are flagged.
    pub fn preexisting(&mut self, open: impl IntoIterator<Item = (SocketAddr, SocketAddr)>) {
        for (a, b) in open {
            if self.preexisting.len() == limits::PREEXISTING_MAX {
                self.counts.preexisting_dropped += 1;
                continue;
            }
            let key = Key::new(a.ip(), b.ip(), a.port(), b.port(), conn::TCP);
            self.preexisting.push(key.canonical());
        }
        self.preexisting.sort_unstable();
        self.preexisting.dedup();
    }

    /// Packet time reached so far.
    pub fn now_ns(&self) -> i64 {
        self.now_ns
    }

    /// The counters.
    pub fn counts(&self) -> &FlowCounts {
        &self.counts
    }

    /// A SYN that comes again within this time is known as a retransmission: the dedup horizon, or the age of the
    /// youngest attempt that a full table evicted.
    pub fn dedup_horizon_ns(&self) -> i64 {
        self.attempts.horizon_ns(self.now_ns)
    }

    /// Entries held: attempts, established, others.
    pub fn held(&self) -> [usize; 3] {
        [
            self.attempts.ring.len(),
            self.established.slab.len(),
            self.others.slab.len(),
        ]
    }

    /// Completes and hashes a key and prefetches the cache lines of its bucket. Give `lookup` to [`Flows::on_headers`]
    /// some packets later.
    #[inline(always)]
    pub fn prefetch(&self, headers: &mut Headers, lookup: &mut Lookup) {
        if self.by_vlan {
            headers.key_by_vlan();
        }
        let hash = self.hasher.hash(&headers.key);
        let lane = headers.lane();
        match lane {
            Lane::Touch => self.attempts.ring.prefetch_bucket(hash),
            Lane::Segment => {
                self.established.slab.prefetch_bucket(hash);
                if headers.flags & (SYN | RST) != 0 {
                    self.attempts.ring.prefetch_bucket(hash);
                }
            }
            Lane::Datagram => self.others.slab.prefetch_bucket(hash),
            Lane::Other => {}
        }
        (lookup.hash, lookup.lane) = (hash, lane);
    }

    /// Prefetches the entry of the flow, some packets after [`Flows::prefetch`]. True: a segment whose flow is not among
    /// the established connections; the other buckets where it may lie are prefetched, and
    /// [`Flows::prefetch_elsewhere`] is to follow.
    #[inline(always)]
    pub fn prefetch_entries(&self, lookup: &mut Lookup) -> bool {
        let hash = lookup.hash;
        if lookup.lane == Lane::Segment {
            lookup.hint = self.established.slab.prefetch_entries(hash);
            if lookup.hint.any() {
                return false;
            }
            self.attempts.ring.prefetch_bucket(hash);
            self.others.slab.prefetch_bucket(hash);
            return true;
        }
        match lookup.lane {
            Lane::Touch => self.attempts.ring.prefetch_entries(hash),
            Lane::Datagram => lookup.hint = self.others.slab.prefetch_entries(hash),
            Lane::Segment | Lane::Other => {}
        }
        false
    }

    /// Prefetches the entries in buckets that [`Flows::prefetch_entries`] asked for.
    #[inline]
    pub fn prefetch_elsewhere(&self, lookup: &Lookup) {
        self.attempts.ring.prefetch_entries(lookup.hash);
        self.others.slab.prefetch_entries(lookup.hash);
    }

    /// Takes a segment that only adds to its open connection, as most do. False: nothing was done,
    /// [`Flows::on_headers`] takes it.
    #[inline(always)]
    pub fn add_segment(&mut self, segment: &Headers, lookup: &Lookup, watermark_ns: i64) -> bool {
        let now = self.now_ns.max(watermark_ns);
        let added =
            now < self.wraps_ns && (self.established).add_segment(lookup.hint, segment, now);
        if added {
            self.note_added(now);
        }
        added
    }

    /// The same of a datagram.
    #[inline]
    pub fn add_datagram(&mut self, datagram: &Headers, lookup: &Lookup, watermark_ns: i64) -> bool {
        let now = self.now_ns.max(watermark_ns);
        let added = now < self.wraps_ns
            && (self.others).add_to_open(lookup.hint, datagram, now, Hot::may_tell);
        if added {
            self.note_added(now);
        }
        added
    }

    #[inline(always)]
    fn note_added(&mut self, now: i64) {
        self.now_ns = now;
        self.counts.flow_packets += 1;
        self.counts.packets_accounted += 1;
    }

    /// Takes a SYN that only opens an attempt, as nearly all of a flood. False: nothing was done, [`Flows::on_headers`]
    /// takes it.
    #[inline]
    pub fn open_attempt(&mut self, syn: &Headers, lookup: &Lookup, watermark_ns: i64) -> bool {
        let now = self.now_ns.max(watermark_ns);
        let opened = now < self.wraps_ns
            && !self.early.holds(lookup.hash)
            && (self.attempts).open_plain(lookup.hash, syn, now, &mut self.counts);
        if opened {
            self.now_ns = now;
            self.counts.flow_packets += 1;
            self.counts.syn_packets += 1;
            self.counts.packets_accounted += 1;
        }
        opened
    }

    /// Takes a segment or datagram, with what [`Flows::prefetch`] returned for it. `watermark_ns` is the running maximum
    /// of packet time over all frames up to and with this one, of all shards; a smaller one than before is ignored.
    #[inline]
    pub fn on_headers(
        &mut self,
        headers: &Headers,
        lookup: &Lookup,
        watermark_ns: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let now = self.advance(watermark_ns, out);
        self.counts.flow_packets += 1;
        match lookup.lane {
            Lane::Touch => self.on_touch(headers, lookup.hash, now, out),
            Lane::Segment => self.on_segment(headers, lookup.hash, now, out),
            Lane::Datagram | Lane::Other => self.on_other(headers, lookup.hash, now, out),
        }
    }

    /// Counts a packet of no flow, see [`FlowCounts::packets_martian`].
    pub fn note_martian(&mut self) {
        self.counts.flow_packets += 1;
        self.counts.packets_martian += 1;
    }

    /// Takes any packet, as [`Flows::on_headers`].
    ///
    /// Returns the SYN that this packet completed, where it was cut into two fragments: the attempt is made here, the
    /// contact is the caller's.
    pub fn on_packet(
        &mut self,
        packet: &Packet,
        watermark_ns: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<Headers> {
        if let Some(mut headers) = Headers::of(packet) {
            let mut lookup = Lookup::default();
            self.prefetch(&mut headers, &mut lookup);
            self.on_headers(&headers, &lookup, watermark_ns, out);
            return None;
        }
        let now = self.advance(watermark_ns, out);
        self.counts.flow_packets += 1;
        match &packet.transport {
            Transport::Icmp(icmp) => self.on_icmp(packet, icmp, now, out),
            Transport::Other { proto } => {
                let key = self.key(packet, Key::new(packet.src, packet.dst, 0, 0, *proto));
                let hash = self.hasher.hash(&key);
                self.on_other(&Headers::new(packet, key, 0), hash, now, out);
            }
            _ => {
                self.counts.fragments += 1;
                if !matches!(packet.transport, Transport::TinyFragment { .. }) {
                    self.counts.fragment_bytes += u64::from(packet.wire_len);
                }
                return self.on_half(packet, now, out);
            }
        }
        None
    }

    /// A key of a packet, which has tags where they are a part of keys.
    pub fn key(&self, packet: &Packet, key: Key) -> Key {
        let tags = match self.by_vlan {
            true => vlan::pack_key(packet.vlan, packet.vlan_count),
            false => 0,
        };
        key.with_tags(tags)
    }

    fn on_half(
        &mut self,
        packet: &Packet,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> Option<Headers> {
        let key = self.key(packet, Key::new(packet.src, packet.dst, 0, 0, conn::TCP));
        let hash = self.hasher.hash(&key);
        let evicted = &mut self.counts.evicted_fragments;
        let tcp = (self.fragments).join((&self.hasher, hash), &key, packet, now, evicted)?;
        self.counts.headers_joined += 1;
        let mut syn = Headers::joined(packet, &tcp);
        syn.key = syn.key.with_tags(key.tags());
        if !syn.is_touch() {
            return None;
        }
        self.counts.syn_joined += 1;
        let hash = self.hasher.hash(&syn.key);
        self.on_touch(&syn, hash, now, out);
        Some(syn)
    }

    /// A SYN without ACK.
    fn on_touch(
        &mut self,
        syn: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        self.counts.syn_packets += 1;
        let (known, near) = self.known_attempt(hash, syn, now, out);
        if let Some(at) = known {
            return self.on_retransmission(at, syn, hash, now, out);
        }
        let bucket = match near {
            ..NEAR_MAX => (hash, false),
            _ => (self.hasher.far(hash, syn.seq), true),
        };
        self.counts.packets_accounted += u64::from(!syn.key.joined());
        let counts = &mut self.counts;
        self.attempts.open(bucket, syn, now, counts, out);
        if self.early.holds(hash) {
            self.answer_early(syn, hash, now, out);
        }
    }

    /// The live attempt of these endpoints and this sequence number, and how many live in their buckets.
    fn known_attempt(
        &mut self,
        hash: u64,
        syn: &Headers,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> (Option<u32>, usize) {
        let (key, isn) = (&syn.key, syn.seq);
        let (mut known, mut near) = (None, 0);
        let hits = self.attempts.ring.hits(hash);
        for &at in hits.as_slice() {
            let entry = self.attempts.ring.get(at);
            let Some(sender) = entry.sender(key) else {
                continue;
            };
            if entry.has(FAR) || !self.attempts.settle(at, now, &mut self.counts, out) {
                continue;
            }
            near += 1;
            if sender == Sender::Orig && self.attempts.ring.get(at).isn == isn {
                known = Some(at);
            }
        }
        if known.is_none() && self.attempts.far > 0 {
            let hits = self.attempts.ring.hits(self.hasher.far(hash, isn));
            for &at in hits.as_slice() {
                let entry = self.attempts.ring.get(at);
                if entry.has(FAR)
                    && entry.isn == isn
                    && entry.sender(key) == Some(Sender::Orig)
                    && self.attempts.settle(at, now, &mut self.counts, out)
                {
                    known = Some(at);
                }
            }
        }
        (known, near)
    }

    fn on_retransmission(
        &mut self,
        at: u32,
        syn: &Headers,
        hash: u64,
        now: i64,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let key = &syn.key;
        let entry = *self.attempts.ring.get(at);
        if entry.interface != syn.interface {
            self.counts.syn_other_interface += 1;
            self.counts.syn_joined_elsewhere += u64::from(key.joined());
            return;
        }
        self.counts.syn_retransmitted += 1;
        let counted = u64::from(!key.joined());
        if !entry.has(MOVED) {
            if entry.has(ENDED) {
                let counts = &mut self.counts;
                self.attempts.reopen(at, syn.ts_ns, Requester::Syn, counts);
            }
            self.attempts.add(at, syn, Sender::Orig, &mut self.counts);
            self.counts.packets_accounted += counted;
            return self.move_closed(at, hash, now, out);
        }
        self.take_outlived(out);
        for table in [&mut self.established, &mut self.others] {
            let counts = &mut self.counts;
            let conn = table.of_attempt((hash, key), entry.isn, now, counts, out);
            if let Some((conn, sender)) = conn {
                counts.packets_accounted += counted;
                return table.add(conn, syn, sender, now);
            }
        }
        self.counts.packets_after_end += counted;
    }
}
