//! The table of attempts: one cache line each, kept for the dedup horizon.
//!
//! What only few attempts need (volumes, history) lies in a tally beside the entry, which a flood of
//! single SYNs never touches.

use super::conns::TCP;
use super::counts::FlowCounts;
use super::key::Key;
use super::record::{Attempt, EndReason, FlowEvent, History, When};
use super::slab::Slab;
use super::tcp::Sender;
use super::timers;
use crate::decode::packet::{
    Fragment, Packet, Tcp,
    tcp_flags::{FIN, RST, SYN},
};
use std::cmp::Ordering;

/// A SYN is a retransmission until this long after the first one.
pub const HORIZON_NS: i64 = 130_000_000_000;
/// An attempt without an answer ends after this.
pub const UNANSWERED_NS: i64 = 5_000_000_000;
/// Attempts of one pair of endpoints that live in its own buckets; later ones live in buckets of
/// (endpoints, sequence number) and are met by exact numbers only.
pub const NEAR_MAX: usize = 4;

/// Bits of [`Entry::flags`].
#[allow(missing_docs, reason = "the names say it")]
pub mod bits {
    pub const V6: u16 = 1;
    pub const ODD: u16 = 1 << 1;
    pub const JOINED: u16 = 1 << 2;
    pub const FAR: u16 = 1 << 3;
    pub const ANSWERED: u16 = 1 << 4;
    pub const ENDED: u16 = 1 << 5;
    pub const PROMOTED: u16 = 1 << 6;
    pub const REOPENED: u16 = 1 << 7;
    pub const TALLY: u16 = 1 << 8;
    pub const TOLD_ANSWERED: u16 = 1 << 9;
    pub const TOLD_REFUSED: u16 = 1 << 10;
    pub const GSO: u16 = 1 << 11;
    pub const FRAGMENTED: u16 = 1 << 12;
    pub const RESET_ORIG: u16 = 1 << 13;
    pub const RESET_RESP: u16 = 1 << 14;
    pub const SATURATED: u16 = 1 << 15;
}
use bits::*;

/// An attempt.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    src: u128,
    dst: u128,
    /// Watermark at its first SYN.
    pub first_ns: i64,
    /// The client's initial sequence number.
    pub isn: u32,
    /// With a tally: the server's initial sequence number. Without: how far the SYN's stamp lay behind
    /// the watermark, in nanoseconds.
    pub(super) word: u32,
    src_port: u16,
    dst_port: u16,
    /// See [`bits`].
    pub flags: u16,
    /// First interface.
    pub interface: u16,
    /// Two VLAN identifiers of 12 bits, their number in the top bits.
    vlan: u32,
    /// Frame bytes of the only SYN, until there is a tally.
    pub(super) wire_len: u32,
}
const _: () = assert!(size_of::<Entry>() == 64);

/// What an attempt needs beyond its first SYN.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) bytes: [u32; 2],
    pub(super) payload: [u32; 2],
    pub(super) packets: [u16; 2],
    /// Largest payload of a SYN: a server may acknowledge it.
    pub syn_payload: u32,
    pub(super) history: History,
    pub(super) flags: [u8; 2],
}

const EMPTY: Entry = Entry {
    src: 0,
    dst: 0,
    first_ns: 0,
    isn: 0,
    word: 0,
    src_port: 0,
    dst_port: 0,
    flags: 0,
    interface: 0,
    vlan: 0,
    wire_len: 0,
};
pub(super) const EMPTY_TALLY: Tally = Tally {
    start_ns: 0,
    end_ns: 0,
    bytes: [0; 2],
    payload: [0; 2],
    packets: [0; 2],
    syn_payload: 0,
    history: History { letters: [0; 12] },
    flags: [0; 2],
};

impl Entry {
    /// All of `mask` is set.
    pub fn has(&self, mask: u16) -> bool {
        self.flags & mask == mask
    }

    /// Its flow is open in this table.
    pub fn open(&self) -> bool {
        self.flags & (ENDED | PROMOTED) == 0
    }

    /// When something happens to it if nothing more comes.
    pub fn deadline(&self) -> i64 {
        let waits = self.open() && self.flags & (ANSWERED | REOPENED) == 0;
        self.first_ns
            .saturating_add(if waits { UNANSWERED_NS } else { HORIZON_NS })
    }

    /// The server's initial sequence number, once answered.
    pub fn server_isn(&self) -> u32 {
        self.word
    }

    /// Its key, client first.
    pub fn key(&self) -> Key {
        Key {
            v6: self.has(V6),
            src: self.src,
            dst: self.dst,
            src_port: self.src_port,
            dst_port: self.dst_port,
            proto: TCP,
            id: 0,
            joined: self.has(JOINED),
        }
    }

    /// Who of this attempt sends packets of `key`.
    pub fn sender(&self, key: &Key) -> Option<Sender> {
        let own = self.key();
        if own == *key {
            Some(Sender::Orig)
        } else if own == key.reversed() {
            Some(Sender::Resp)
        } else {
            None
        }
    }

    /// VLAN identifiers and their number.
    pub(super) fn vlan(&self) -> ([u16; 2], u8) {
        let id = |shift: u32| (self.vlan >> shift & 0xfff) as u16;
        ([id(0), id(12)], (self.vlan >> 24) as u8)
    }
}

/// The table.
pub struct Attempts {
    /// Entries and timers.
    pub slab: Slab<Entry>,
    pub(super) tallies: Vec<Tally>,
    /// Entries that live in buckets of (endpoints, sequence number).
    pub far: usize,
}

impl Attempts {
    /// Takes all memory for `capacity` attempts.
    pub fn new(capacity: usize) -> Self {
        let slab = Slab::new(capacity, EMPTY);
        let tallies = Vec::with_capacity(slab.capacity());
        Self {
            slab,
            tallies,
            far: 0,
        }
    }

    /// Bytes of all arrays.
    pub fn memory_bytes(capacity: usize) -> u64 {
        let rounded = capacity.div_ceil(super::slab::WAYS).max(2) * super::slab::WAYS;
        Slab::<Entry>::memory_bytes(capacity) + (rounded * size_of::<Tally>()) as u64
    }

    /// Writes to every page.
    pub fn prefault(&mut self) {
        self.slab.prefault();
        let (capacity, filled) = (self.slab.capacity(), self.tallies.len());
        self.tallies.resize(capacity, EMPTY_TALLY);
        self.tallies.truncate(filled);
    }

    /// Stamp of the entry's first packet.
    pub(super) fn start_ns(&self, at: u32, entry: &Entry) -> i64 {
        if entry.has(TALLY) {
            self.tallies[at as usize].start_ns
        } else {
            entry.first_ns - i64::from(entry.word)
        }
    }

    /// The largest SYN payload so far.
    pub fn syn_payload(&self, at: u32) -> u32 {
        if self.slab.get(at).has(TALLY) {
            self.tallies[at as usize].syn_payload
        } else {
            0
        }
    }

    /// Order of records by content.
    pub fn cmp_content(&self, a: (u32, &Entry), b: (u32, &Entry)) -> Ordering {
        let start = self.start_ns(a.0, a.1).cmp(&self.start_ns(b.0, b.1));
        start
            .then_with(|| a.1.key().cmp(&b.1.key()))
            .then_with(|| a.1.isn.cmp(&b.1.isn))
    }

    /// Sorts a slot by (deadline, content), or by content alone.
    pub fn sort_slot(&mut self, slot: i64, by_deadline: bool) {
        let tallies = &self.tallies;
        let start = |at: u32, entry: &Entry| {
            if entry.has(TALLY) {
                tallies[at as usize].start_ns
            } else {
                entry.first_ns - i64::from(entry.word)
            }
        };
        self.slab.sort_slot(slot, |a, x, b, y| {
            let deadline = if by_deadline {
                x.deadline().cmp(&y.deadline())
            } else {
                Ordering::Equal
            };
            deadline
                .then_with(|| start(a, x).cmp(&start(b, y)))
                .then_with(|| x.key().cmp(&y.key()))
                .then_with(|| x.isn.cmp(&y.isn))
                .is_le()
        });
    }

    /// Brings an entry up to the watermark: says what fell due; `false` when it is gone.
    pub fn settle(
        &mut self,
        at: u32,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> bool {
        let entry = self.slab.get(at);
        let (deadline, horizon) = (entry.deadline(), entry.first_ns.saturating_add(HORIZON_NS));
        if deadline > watermark_ns {
            return true;
        }
        if entry.open() {
            let reason = if entry.has(ANSWERED) {
                EndReason::Timeout
            } else {
                EndReason::Unanswered
            };
            self.end(at, reason, When::Deadline(deadline), counts, out);
        }
        if horizon <= watermark_ns {
            self.remove(at);
            return false;
        }
        true
    }

    /// Takes an entry out.
    pub fn remove(&mut self, at: u32) {
        self.far -= usize::from(self.slab.get(at).has(FAR));
        self.slab.remove(at);
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
        counts.closed[reason as usize] += 1;
        counts.open -= 1;
        let record = self.record(at, reason);
        self.slab.get_mut(at).flags |= ENDED;
        out(when, FlowEvent::Ended(record));
    }

    /// Opens an ended attempt again: its next record counts from here.
    pub fn reopen(&mut self, at: u32, packet: &Packet, counts: &mut FlowCounts) {
        counts.reopened += 1;
        counts.opened += 1;
        counts.open += 1;
        let keep = self.syn_payload(at);
        let entry = self.slab.get_mut(at);
        entry.flags &= !(ENDED | ANSWERED | RESET_ORIG | RESET_RESP | GSO | FRAGMENTED | SATURATED);
        entry.flags |= REOPENED | TALLY;
        entry.word = 0;
        self.tallies[at as usize] = Tally {
            start_ns: packet.ts_ns,
            end_ns: packet.ts_ns,
            syn_payload: keep,
            ..EMPTY_TALLY
        };
    }

    /// Makes room among two full buckets and puts the entry in.
    fn insert_entry(
        &mut self,
        hash: u64,
        entry: Entry,
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) -> u32 {
        let slot = timers::slot_of(entry.deadline());
        if let Some(at) = self.slab.insert(hash, entry, slot) {
            return at;
        }
        let rivals = self.slab.rivals(hash);
        for &at in rivals.as_slice() {
            self.settle(at, watermark_ns, counts, out);
        }
        if let Some(at) = self.slab.insert(hash, entry, slot) {
            return at;
        }
        let victim = rivals.as_slice().iter().copied().min_by(|&a, &b| {
            let (x, y) = (self.slab.get(a), self.slab.get(b));
            let waits = |entry: &Entry| entry.open() && entry.has(ANSWERED);
            (waits(x), x.first_ns)
                .cmp(&(waits(y), y.first_ns))
                .then_with(|| self.cmp_content((a, x), (b, y)))
        });
        let victim = victim.expect("two full buckets hold sixteen entries");
        counts.evicted_attempts += 1;
        if self.slab.get(victim).open() {
            self.end(victim, EndReason::Evicted, When::Packet, counts, out);
        }
        self.remove(victim);
        self.slab
            .insert(hash, entry, slot)
            .expect("the victim left a place")
    }

    /// A new attempt.
    #[allow(clippy::too_many_arguments, reason = "the hot path takes no detour")]
    pub fn open(
        &mut self,
        hash: u64,
        key: &Key,
        far: bool,
        (packet, tcp): (&Packet, &Tcp),
        watermark_ns: i64,
        counts: &mut FlowCounts,
        out: &mut impl FnMut(When, FlowEvent),
    ) {
        let odd = tcp.flags & (FIN | RST) != 0;
        let lag = watermark_ns.wrapping_sub(packet.ts_ns);
        let mut flags = 0;
        for (bit, set) in [(V6, key.v6), (ODD, odd), (JOINED, key.joined), (FAR, far)] {
            flags |= if set { bit } else { 0 };
        }
        let vlan = u32::from(packet.vlan[0] & 0xfff)
            | u32::from(packet.vlan[1] & 0xfff) << 12
            | u32::from(packet.vlan_count) << 24;
        let small = u32::try_from(lag).ok();
        let plain = small.is_some()
            && tcp.flags == SYN
            && tcp.payload_len == 0
            && !packet.gso
            && packet.fragment == Fragment::Whole;
        let entry = Entry {
            src: key.src,
            dst: key.dst,
            first_ns: watermark_ns,
            isn: tcp.seq,
            word: if plain { small.unwrap_or(0) } else { 0 },
            src_port: key.src_port,
            dst_port: key.dst_port,
            flags,
            interface: packet.interface,
            vlan,
            wire_len: if plain { packet.wire_len } else { 0 },
        };
        counts.attempts += 1;
        counts.opened += 1;
        counts.open += 1;
        self.far += usize::from(far);
        let at = self.insert_entry(hash, entry, watermark_ns, counts, out);
        if at as usize == self.tallies.len() {
            self.tallies.push(EMPTY_TALLY);
        }
        if !plain {
            self.slab.get_mut(at).flags |= TALLY;
            self.tallies[at as usize] = Tally {
                start_ns: packet.ts_ns,
                end_ns: packet.ts_ns,
                ..EMPTY_TALLY
            };
            self.add(at, packet, tcp, Sender::Orig);
        }
        out(
            When::Packet,
            FlowEvent::Attempt(Attempt {
                ts_ns: packet.ts_ns,
                tuple: key.tuple(),
                isn: tcp.seq,
                odd,
                interface: packet.interface,
                vlan: packet.vlan,
                vlan_count: packet.vlan_count,
            }),
        );
    }
}
