//! The table of attempts: one cache line each, kept for the dedup horizon.
//!
//! What only few attempts need (volumes, history) lies in a tally ([`crate::flow::attempt::tally`]), which a flood of
//! single SYNs never touches.

mod evict;
pub mod record;
pub mod tally;
mod waits;

use super::conn::{Conn, TCP};
use super::counts::FlowCounts;
use super::key::Hasher;
use super::record::{EndReason, FlowEvent, When};
use super::table::ring::Ring;
use super::tcp::Sender;
use crate::capture::tunnels::Inside;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::tcp_flags::{CWR, ECE, FIN, PSH, RST, SYN, URG};
use crate::decode::vlan;
use crate::snapshot::snapshot;
use crate::time::durations::{HORIZON_NS, UNANSWERED_NS};
use crate::time::recent::PushedOut;
use tally::{Requester, Tallies, Tally};
use waits::Wait;

/// Attempts of one pair of endpoints that live in its own buckets; later ones live in buckets of
/// (endpoints, sequence number) and are met by exact numbers only.
pub const NEAR_MAX: usize = 4;

/// Attempts of one key live in at most so many places, and a packet looks at two keys: more never outlive at once.
const OUTLIVED: usize = 128;

/// Flags that a SYN may have and still need no tally: ECN and what some stacks add.
const EXTRA_SYN_FLAGS: [u8; 4] = [PSH, URG, ECE, CWR];

/// Longest frame of a SYN that needs no tally.
const PLAIN_WIRE_MAX: u32 = 0x1fff;

/// From this bit of [`AttemptEntry::rest`] on: [`Inside`].
pub(super) const INSIDE: u32 = 32 - Inside::BITS;
const _: () = assert!(PLAIN_WIRE_MAX << 16 == (1 << INSIDE) - (1 << 16));

/// Bit of [`AttemptEntry::vlan`]: answered, but the SYN+ACK was not seen.
const BY_DATA: u32 = 1 << 30;
/// Bit of [`AttemptEntry::vlan`]: evicted from full buckets, though not from the ring.
const FORGOTTEN: u32 = 1 << 31;

/// Bits of [`AttemptEntry::flags`].
pub mod bits {
    /// This and the next as in a key's kind.
    pub const V6: u16 = 1;
    pub const JOINED: u16 = 1 << 1;
    pub const ODD: u16 = 1 << 2;
    pub const FAR: u16 = 1 << 3;
    pub const ANSWERED: u16 = 1 << 4;
    pub const ENDED: u16 = 1 << 5;
    pub const MOVED: u16 = 1 << 6;
    pub const REOPENED: u16 = 1 << 7;
    pub const TALLY: u16 = 1 << 8;
    pub const REPORTED_ANSWERED: u16 = 1 << 9;
    pub const REPORTED_REFUSED: u16 = 1 << 10;
    pub const GSO: u16 = 1 << 11;
    pub const FRAGMENTED: u16 = 1 << 12;
    pub const RESET_ORIG: u16 = 1 << 13;
    pub const RESET_RESP: u16 = 1 << 14;
    pub const SATURATED: u16 = 1 << 15;
}
use bits::*;

/// An attempt.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(C)]
pub(crate) struct AttemptEntry {
    src: u128,
    dst: u128,
    /// Watermark at its first SYN.
    pub first_ns: i64,
    /// The client's initial sequence number.
    pub isn: u32,
    /// Once answered: the server's initial sequence number. Before: how far the SYN's stamp lay behind the
    /// watermark, in nanoseconds.
    pub(super) word: u32,
    /// See [`Key`].
    ports: u32,
    /// See [`bits`].
    pub flags: u16,
    /// First interface.
    pub interface: u16,
    /// VLAN identifiers and tags of the key (see [`vlan`]), which of [`EXTRA_SYN_FLAGS`] the SYN had, [`BY_DATA`] and
    /// [`FORGOTTEN`].
    vlan: u32,
    /// With a tally: its place. Without, of the only SYN: the tunnel that it came out of, 13 bits of the frame's bytes, 16
    /// of IP's.
    pub(super) rest: u32,
}
const _: () = assert!(size_of::<AttemptEntry>() == 64);

impl AttemptEntry {
    /// All of `mask` is set.
    pub fn has(&self, mask: u16) -> bool {
        self.flags & mask == mask
    }

    /// Its flow is open in this table.
    pub fn open(&self) -> bool {
        self.flags & (ENDED | MOVED) == 0
    }

    /// The server answered; the client's proof is still to come.
    pub fn waits_for_proof(&self) -> bool {
        self.open() && self.has(ANSWERED)
    }

    /// It ends as unanswered if nothing comes in time.
    fn waits_for_answer(&self) -> bool {
        self.open() && self.flags & (ANSWERED | REOPENED) == 0
    }

    /// When something happens to it if nothing more comes.
    pub fn deadline(&self) -> i64 {
        self.first_ns.saturating_add(match self.waits_for_answer() {
            true => UNANSWERED_NS,
            false => HORIZON_NS,
        })
    }

    /// The server's SYN+ACK was seen.
    pub fn was_synack_seen(&self) -> bool {
        self.has(ANSWERED) && self.vlan & BY_DATA == 0
    }

    /// The server's initial sequence number, once answered.
    pub fn server_isn(&self) -> u32 {
        self.word
    }

    /// Its key, client first.
    pub fn key(&self) -> Key {
        let mut key = Key::between(self.has(V6), (self.src, self.dst), TCP)
            .with_joined(self.has(JOINED))
            .with_tags(vlan::key_of(self.vlan));
        key.ports = self.ports;
        key
    }

    /// Who of this attempt sends packets of `key`.
    pub fn sender(&self, key: &Key) -> Option<Sender> {
        // The commonest difference first.
        let sender = if (self.ports, self.src, self.dst) == (key.ports, key.src, key.dst) {
            Sender::Orig
        } else if (self.ports.rotate_left(16), self.dst, self.src) == (key.ports, key.src, key.dst)
        {
            Sender::Resp
        } else {
            return None;
        };
        let kind = u32::from(self.flags & (V6 | JOINED));
        (key.is_segment_of(kind) && key.tags() == vlan::key_of(self.vlan)).then_some(sender)
    }

    /// The entry of a SYN, which takes a tally unless it is [`is_plain`].
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
    fn of(syn: &Headers, watermark_ns: i64) -> Self {
        let key = &syn.key;
        let odd = syn.flags & (FIN | RST) != 0;
        Self {
            src: key.src,
            dst: key.dst,
            first_ns: watermark_ns,
            isn: syn.seq,
            word: lag(syn, watermark_ns).unwrap_or(0),
            ports: key.ports,
            flags: (key.kind() as u16) & (V6 | JOINED) | if odd { ODD } else { 0 },
            interface: syn.interface,
            vlan: vlan_and_extra_flags(syn),
            rest: syn.inside.bits() << INSIDE
                | (syn.wire_len & PLAIN_WIRE_MAX) << 16
                | syn.ip_len.min(syn.wire_len) & 0xffff,
        }
    }

    /// VLAN identifiers and their number.
    pub(super) fn vlan(&self) -> ([u16; 2], u8) {
        vlan::unpack(self.vlan)
    }

    /// TCP flags of the only SYN.
    pub(super) fn syn_flags(&self) -> u8 {
        let mut flags = SYN;
        for (bit, flag) in EXTRA_SYN_FLAGS.into_iter().enumerate() {
            if self.vlan >> (26 + bit) & 1 == 1 {
                flags |= flag;
            }
        }
        flags
    }
}

/// The table.
pub(crate) struct Attempts {
    pub ring: Ring<AttemptEntry>,
    pub(super) tallies: Tallies,
    /// For an answer, and for the end of the horizon.
    waits: [Wait; 2],
    hasher: Hasher,
    /// Ended flows get a record.
    pub record_ends: bool,
    /// Entries that live in buckets of (endpoints, sequence number).
    pub far: usize,
    pub(super) pushed_out: PushedOut,
    /// Since when all packets are captured, see [`crate::flow::conn::Conns`].
    pub heard_ns: i64,
    /// Flows that outlived their attempts, and when: they are to go on elsewhere.
    pub outlived: Vec<(Conn, i64)>,
}

snapshot! {
    [] Attempts;
    values: ring, tallies, far, pushed_out, heard_ns;
    lists: waits, outlived;
    fixed: hasher, record_ends;
}

impl Attempts {
    /// Takes all memory for `capacity` attempts.
    pub fn new(capacity: usize, hasher: Hasher) -> Self {
        let ring = Ring::new(capacity, AttemptEntry::default());
        Self {
            waits: Wait::both(capacity, ring.tail()),
            ring,
            tallies: Tallies::new(capacity),
            hasher,
            record_ends: true,
            far: 0,
            pushed_out: PushedOut::default(),
            heard_ns: i64::MIN,
            outlived: Vec::with_capacity(OUTLIVED),
        }
    }

    /// Bytes of all arrays.
    pub fn memory_bytes(capacity: usize) -> u64 {
        Ring::<AttemptEntry>::memory_bytes(capacity)
            + Tallies::memory_bytes(capacity)
            + Wait::memory_bytes(capacity)
            + (OUTLIVED * size_of::<(Conn, i64)>()) as u64
    }

    /// Writes to every page.
    pub fn prefault(&mut self) {
        self.ring.prefault();
        self.tallies.prefault();
    }

    /// A SYN is known as a retransmission if it comes sooner than this after the first one: the horizon, and how
    /// young the attempts were that a full table pushed out.
    pub fn horizon_ns(&self, watermark_ns: i64) -> i64 {
        self.pushed_out.reach_ns(watermark_ns).min(HORIZON_NS)
    }

    /// The largest SYN payload so far.
    pub fn syn_payload(&self, at: u32) -> u32 {
        let entry = self.ring.get(at);
        if entry.has(TALLY) {
            self.tallies.get(entry.rest).syn_payload
        } else {
            0
        }
    }

    /// Brings an entry up to the watermark: ends its flow if that is due; `false` beyond the horizon.
    pub fn settle(
        &mut self,
        at: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let entry = self.ring.get(at);
        let (deadline, horizon) = (entry.deadline(), entry.first_ns.saturating_add(HORIZON_NS));
        if deadline > watermark_ns {
            return true;
        }
        if entry.open() {
            self.end_at(at, deadline, counts, out);
        }
        horizon > watermark_ns
    }

    /// Ends the flow of an entry; the entry stays.
    pub fn end(
        &mut self,
        at: u32,
        reason: EndReason,
        when: When,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let record = self.record_ends.then(|| self.record(at, reason));
        self.close(at, reason, counts);
        match record {
            Some(record) => out(when, FlowEvent::Ended(record)),
            None => counts.flows_untold += 1,
        }
    }

    fn close(&mut self, at: u32, reason: EndReason, counts: &mut FlowCounts) {
        counts.flows_closed[reason as usize] += 1;
        counts.flows_open -= 1;
        let entry = self.ring.get_mut(at);
        entry.flags |= ENDED;
        // A server may still acknowledge the data of a SYN.
        if entry.has(TALLY) && self.syn_payload(at) == 0 {
            self.drop_tally(at);
        }
    }

    fn drop_tally(&mut self, at: u32) {
        let entry = self.ring.get_mut(at);
        if entry.has(TALLY) {
            entry.flags &= !TALLY;
            self.tallies.give(entry.rest);
            entry.rest = 0;
            if !entry.has(ANSWERED) {
                entry.word = 0;
            }
        }
    }

    /// Gives the entry a tally that starts as `tally`; without a free tally it is marked saturated.
    pub(super) fn give_tally(
        &mut self,
        at: u32,
        tally: Tally,
        who: Requester,
        counts: &mut FlowCounts,
    ) {
        let entry = self.ring.get_mut(at);
        if let Some(place) = self.tallies.take(tally, who) {
            entry.flags |= TALLY;
            entry.rest = place;
        } else {
            counts.flows_without_volumes += u64::from(!entry.has(SATURATED));
            entry.flags |= SATURATED;
        }
    }

    /// Opens an ended attempt again: its next record counts from here.
    pub(super) fn reopen(
        &mut self,
        at: u32,
        start_ns: i64,
        who: Requester,
        counts: &mut FlowCounts,
    ) {
        counts.flows_reopened += 1;
        counts.flows_opened += 1;
        counts.flows_open += 1;
        let syn_payload = self.syn_payload(at);
        self.drop_tally(at);
        let entry = self.ring.get_mut(at);
        entry.flags &= !(ENDED | ANSWERED | RESET_ORIG | RESET_RESP | GSO | FRAGMENTED | SATURATED);
        entry.flags |= REOPENED;
        entry.vlan &= !BY_DATA;
        entry.word = 0;
        let tally = Tally {
            start_ns,
            end_ns: start_ns,
            syn_payload,
            ..Tally::default()
        };
        self.give_tally(at, tally, who, counts);
    }

    /// Opens an attempt by a SYN that surely is new and needs no tally, as nearly all of a flood. False: nothing was
    /// done.
    #[inline]
    pub fn open_plain(
        &mut self,
        hash: u64,
        syn: &Headers,
        watermark_ns: i64,
        counts: &mut FlowCounts,
    ) -> bool {
        if self.far > 0 {
            return false;
        }
        let Some(place) = self.ring.vacancy(hash) else {
            return false;
        };
        let is_plain = is_plain(syn, watermark_ns);
        if is_plain {
            counts.note_new();
            self.ring
                .insert_at(place, || AttemptEntry::of(syn, watermark_ns));
        }
        is_plain
    }

    /// A new attempt, somewhere in the buckets of a hash, which is that of (endpoints, sequence number) if `far`.
    pub fn open(
        &mut self,
        (hash, far): (u64, bool),
        syn: &Headers,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let mut entry = AttemptEntry::of(syn, watermark_ns);
        if far {
            entry.flags |= FAR;
            self.far += 1;
        }
        counts.note_new();
        let at = self.insert_entry(hash, entry, watermark_ns, counts, out);
        if !is_plain(syn, watermark_ns) {
            let tally = Tally {
                start_ns: syn.ts_ns,
                end_ns: syn.ts_ns,
                ..Tally::default()
            };
            self.give_tally(at, tally, Requester::Syn, counts);
            self.add(at, syn, Sender::Orig, counts);
        }
        out(When::Packet, FlowEvent::Attempt(syn.into()));
    }
}

/// Nanoseconds by which the stamp of a SYN lies behind the watermark; `None`: too many.
#[inline(always)]
fn lag(syn: &Headers, watermark_ns: i64) -> Option<u32> {
    u32::try_from(watermark_ns.wrapping_sub(syn.ts_ns)).ok()
}

/// Whether the entry of a SYN tells all that a record needs.
#[inline(always)]
fn is_plain(syn: &Headers, watermark_ns: i64) -> bool {
    let known = EXTRA_SYN_FLAGS
        .into_iter()
        .fold(SYN, |all, flag| all | flag);
    syn.flags & !known == 0
        && syn.payload_len == 0
        && !(syn.gso | syn.first_fragment)
        && syn.wire_len <= PLAIN_WIRE_MAX
        && lag(syn, watermark_ns).is_some()
}

/// [`AttemptEntry::vlan`] of a SYN.
#[inline(always)]
fn vlan_and_extra_flags(syn: &Headers) -> u32 {
    let mut word = vlan::pack_under(syn.key.tags(), syn.vlan, syn.vlan_count);
    if syn.flags != SYN {
        for (bit, flag) in EXTRA_SYN_FLAGS.into_iter().enumerate() {
            word |= u32::from(syn.flags & flag != 0) << (26 + bit);
        }
    }
    word
}

fn start_ns(tallies: &Tallies, entry: &AttemptEntry) -> i64 {
    if entry.has(TALLY) {
        tallies.get(entry.rest).start_ns
    } else if entry.has(ANSWERED) {
        entry.first_ns
    } else {
        entry.first_ns - i64::from(entry.word)
    }
}

/// Sort key of its record.
pub(super) fn order(tallies: &Tallies, entry: &AttemptEntry) -> (i64, Key, u32) {
    (start_ns(tallies, entry), entry.key(), entry.isn)
}
