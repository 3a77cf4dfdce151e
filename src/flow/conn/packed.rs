//! A connection as its table stores it: one cache line that every packet changes, and the rest, used only by the
//! first packet, a new history letter and the end.

mod convert;
mod stream;

use super::{LINGER_NS, OTHER_IDLE_NS, TCP, TCP_IDLE_NS, TCP_UNHEARD_NS};
use crate::capture::tunnels::Inside;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::decode::vlan;
use crate::flow::letters::{self, Letters};
use crate::flow::record::{EndReason, Outcome, Technique};
use crate::flow::tcp::Sender;
pub use convert::{pack, unpack, unpack_settled};
use stream::Hole;

/// Bits of [`Hot::flags`].
const RESET_ORIG: u16 = 1;
const RESET_RESP: u16 = 1 << 1;
/// Bytes are missing that may still come, see [`Hole`].
const HOLE: u16 = 1 << 2;
const FLIPPED: u16 = 1 << 3;
const RIVAL: u16 = 1 << 4;
const PREEXISTING: u16 = 1 << 5;
const GSO: u16 = 1 << 6;
const FRAGMENTED: u16 = 1 << 7;
const SATURATED: u16 = 1 << 8;
/// Each direction has an interface of its own, see [`Cold`].
const SPLIT: u16 = 1 << 9;
/// Another attempt on the same ports was open when its handshake was proven.
const TWIN: u16 = 1 << 10;
/// Answered, but the client's proof was not seen.
const SYNACK: u16 = 1 << 11;
const BY_DATA: u16 = 1 << 12;
/// The handshake was proven.
const PROVEN: u16 = SYNACK | BY_DATA;
/// Its first packet may ask or probe, so that the answer tells: UDP, or midstream TCP.
const ASKS: u16 = 1 << 13;
/// Its first packet had FIN.
const MAIMON: u16 = 1 << 14;
/// UDP: an ICMP error quoted the originator.
const UNREACHABLE: u16 = 1 << 15;
/// TCP: its attempt has an older one. No bit is free, and this one is of UDP only.
const REOPENED: u16 = UNREACHABLE;

/// Bits of [`Cold::vlan`] above those of [`vlan`]. From here on [`Inside`].
const INSIDE: u32 = 26;
const _: () = assert!(vlan::MASK >> INSIDE == 0 && INSIDE + Inside::BITS < 31);
/// The [`Hole`] is the originator's.
const ORIG_HOLE: u32 = 1 << 31;

/// Packets of a side in the lower half of [`Hot::counts`], link bytes in the upper one, 15 bits each: the 16th bit of
/// each is set only within an addition, which then goes to [`Cold`].
const COUNT_BITS: u32 = 15;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
const FULL: u32 = (1 << COUNT_BITS) | (1 << (COUNT_BITS + 16));
/// More bytes of a link header and padding than these are added in [`Hot::add`].
const LINK_MAX: u32 = 64;

/// What every packet needs.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(C, align(64))]
pub struct Hot {
    /// Watermark at the last packet.
    pub touched_ns: i64,
    end_ns: i64,
    /// [`Key::ends`], originator first. Of IPv6 they are compared first, then the rest of the addresses.
    ends: u64,
    /// See [`Key`], originator's above the responder's.
    ports: u32,
    /// [`Key::kind`].
    kind: u32,
    /// See [`COUNT_BITS`]; of both sides, originator first, like all that follows.
    counts: [u32; 2],
    /// Lower 32 bits of the frames' bytes.
    bytes: [u32; 2],
    /// TCP: the sequence number that comes next, as far as was seen; another one shows what was sent again or missed. It
    /// counts payload, too: see [`Cold::payload`]. Other protocols: the lower 32 bits of the payload.
    next: [u32; 2],
    flags: u16,
    /// Bits of the history's letters.
    seen: u16,
    /// Of both directions, unless they are split.
    interface: u16,
    tcp_flags: [u8; 2],
}
const _: () = assert!(size_of::<Hot>() == 64);

#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(C, align(64))]
pub struct Cold {
    pub start_ns: i64,
    /// The upper 96 bits of both addresses.
    ends: [[u32; 3]; 2],
    /// What does not fit into [`Hot::counts`]: packets and link bytes.
    packets: [u32; 2],
    link: [u32; 2],
    /// Upper 32 bits of the frames' bytes.
    bytes: [u32; 2],
    /// Payload bytes less [`Hot::next`], 48 bits.
    payload: [u32; 2],
    payload_high: [u16; 2],
    pub isn: u32,
    history: Letters,
    /// See [`vlan`]; tags of the key are in it. And [`INSIDE`], [`ORIG_HOLE`].
    vlan: u32,
    /// Of the responder's direction, where they are split.
    interface_resp: u16,
    unused: u16,
    retransmitted_packets: [u32; 2],
    retransmitted_bytes: [u32; 2],
    missed_bytes: [u32; 2],
    hole: Hole,
}
const _: () = assert!(size_of::<Cold>() == 128);

/// The part of an address that [`Hot::ends`] does not have.
#[allow(clippy::cast_possible_truncation, reason = "parts of a number")]
fn upper(address: u128) -> [u32; 3] {
    [32, 64, 96].map(|from| (address >> from) as u32)
}

fn address([a, b, c]: [u32; 3], lowest: u32) -> u128 {
    [c, b, a, lowest]
        .into_iter()
        .fold(0, |all, word| all << 32 | u128::from(word))
}

impl Cold {
    /// Whether `sender` has this key by the upper parts of addresses and tags. Out of line: the compiler would otherwise
    /// read them for plain IPv4 too and wait for another cache line.
    #[inline(never)]
    pub fn is_sender(&self, sender: Sender, key: &Key) -> bool {
        let [orig, resp] = self.ends;
        let ends = match sender {
            Sender::Orig => [orig, resp],
            Sender::Resp => [resp, orig],
        };
        ends == [upper(key.src), upper(key.dst)] && vlan::key_of(self.vlan) == key.tags()
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the lower half is meant, the upper one is kept beside it"
)]
fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    low(value >> 32)
}

impl Hot {
    fn proto(&self) -> u8 {
        (self.kind >> 8 & 0xff) as u8
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn reset(&self) -> Option<Sender> {
        if self.has(RESET_ORIG) {
            Some(Sender::Orig)
        } else if self.has(RESET_RESP) {
            Some(Sender::Resp)
        } else {
            None
        }
    }

    /// Reset, or both sides have sent FIN.
    #[inline]
    pub fn closed(&self) -> bool {
        self.flags & (RESET_ORIG | RESET_RESP) != 0
            || self.tcp_flags[0] & self.tcp_flags[1] & FIN != 0
    }

    /// When it ends without another packet, where all packets are captured since `heard_ns`.
    #[inline]
    pub fn deadline(&self, heard_ns: i64) -> i64 {
        let idle = if self.proto() != TCP {
            OTHER_IDLE_NS
        } else if self.closed() {
            LINGER_NS
        } else if heard_ns > self.touched_ns && self.has_attempt() {
            let limit = self.touched_ns.saturating_add(TCP_UNHEARD_NS);
            return heard_ns.saturating_add(TCP_IDLE_NS).min(limit);
        } else {
            TCP_IDLE_NS
        };
        self.touched_ns.saturating_add(idle)
    }

    /// Its SYN was seen and answered.
    pub fn has_attempt(&self) -> bool {
        self.has(PROVEN | SYNACK | BY_DATA)
    }

    /// The reason of an end at the deadline.
    pub fn natural_reason(&self) -> EndReason {
        if self.reset().is_some() {
            EndReason::Rst
        } else if self.closed() {
            EndReason::Fin
        } else {
            EndReason::Timeout
        }
    }

    /// A younger attempt on the same ports was answered, or another connection on them lives: numbers decide.
    pub fn has_rival(&self) -> bool {
        self.has(RIVAL)
    }

    /// Another attempt on the same ports was open when its handshake was proven.
    pub fn is_twin(&self) -> bool {
        self.has(TWIN)
    }

    pub fn set_rival(&mut self) {
        self.flags |= RIVAL;
    }

    /// Its first packet was reported as one that asks.
    pub fn asks(&self) -> bool {
        self.has(ASKS)
    }

    pub fn set_asks(&mut self) {
        self.flags |= ASKS;
    }

    /// Its first packet is a probe of this technique if a RST answers it.
    pub fn set_probe(&mut self, technique: Technique) {
        self.flags |= match technique {
            Technique::Maimon => ASKS | MAIMON,
            _ => ASKS,
        };
    }

    /// The technique with which midstream TCP began, if its responder's first segment is a RST with this number and
    /// nobody has sent payload.
    pub fn probe_before_answer(&self, cold: &Cold, reset_seq: u32) -> Option<Technique> {
        let answered = self.has_sent(cold, Sender::Resp);
        let spoke = self.payload(cold, 0) > 0;
        if !self.asks() || answered || spoke || reset_seq != self.next[1] {
            return None;
        }
        Some(match self.has(MAIMON) {
            true => Technique::Maimon,
            false => Technique::Ack,
        })
    }

    /// Notes an ICMP error that quotes the originator; true for the first one of a flow that asks.
    pub fn note_unreachable(&mut self) -> bool {
        let is_first = self.asks() && !self.has(UNREACHABLE);
        self.flags |= UNREACHABLE;
        is_first
    }

    /// Packets of each side, originator first.
    pub fn packets(&self, cold: &Cold) -> [u64; 2] {
        [0, 1].map(|i| u64::from(cold.packets[i]) << COUNT_BITS | u64::from(self.low_packets(i)))
    }

    fn low_packets(&self, i: usize) -> u32 {
        self.counts[i] & COUNT_MASK
    }

    /// Bytes of frames that are none of IP's.
    fn link(&self, cold: &Cold, i: usize) -> u64 {
        u64::from(cold.link[i]) << COUNT_BITS | u64::from(self.counts[i] >> 16 & COUNT_MASK)
    }

    /// Whether a side has sent anything.
    fn has_sent(&self, cold: &Cold, sender: Sender) -> bool {
        let by_letters = self.seen & letters::bits_of_side(sender) != 0;
        by_letters || self.packets(cold)[sender as usize] > 0
    }

    /// Whether the next datagram may make an outcome: the responder's first, and each 64th behind the originator's first
    /// while the responder has sent nothing. Counts are those of the lower halves, so it may be true for too many.
    #[inline]
    pub fn may_tell(&self, sender: Sender) -> bool {
        const LAST: u32 = Outcome::DATAGRAMS - 1;
        const _: () = assert!(Outcome::DATAGRAMS.is_power_of_two());
        self.low_packets(1) == 0 && (sender == Sender::Resp || self.low_packets(0) & LAST == 0)
    }

    /// The side that sends packets of `key`; `None` for another connection.
    #[inline]
    pub fn sender(&self, cold: &Cold, key: &Key) -> Option<Sender> {
        if Key::is_short(key.kind()) {
            return self.sender_of_ends(key);
        }
        if self.kind != key.kind() {
            return None;
        }
        // The lower bits and the ports of both ends may be the same.
        let (own, ports) = ((self.ends, self.ports), key.ports);
        let is_orig = own == (key.ends(), ports);
        let is_resp = own == (key.ends().rotate_left(32), ports.rotate_left(16));
        if is_orig && cold.is_sender(Sender::Orig, key) {
            Some(Sender::Orig)
        } else if is_resp && cold.is_sender(Sender::Resp, key) {
            Some(Sender::Resp)
        } else {
            None
        }
    }

    /// The same by [`Key::ends`], ports and kind alone: all of a short key.
    #[inline(always)]
    pub fn sender_of_ends(&self, key: &Key) -> Option<Sender> {
        let (ends, ports) = (key.ends(), key.ports);
        if self.kind != key.kind() {
            None
        } else if (self.ends, self.ports) == (ends, ports) {
            Some(Sender::Orig)
        } else if (self.ends, self.ports) == (ends.rotate_left(32), ports.rotate_left(16)) {
            Some(Sender::Resp)
        } else {
            None
        }
    }

    /// Whether a packet only adds to this connection: it comes from its interface, opens and ends nothing, and the
    /// connection has not timed out.
    #[inline]
    pub fn only_adds(&self, packet: &Headers, watermark_ns: i64) -> bool {
        // It was touched at an earlier watermark: their distance has no sign.
        let untouched_ns = watermark_ns.wrapping_sub(self.touched_ns).cast_unsigned();
        untouched_ns < LINGER_NS.cast_unsigned()
            && packet.flags & (SYN | FIN | RST) == 0
            && !self.has(RIVAL | SPLIT | HOLE)
            && self.interface == packet.interface
    }

    /// Whether this is the interface of a direction; its first packet decides.
    pub fn comes_its_way(&mut self, cold: &mut Cold, interface: u16, sender: Sender) -> bool {
        if self.has(SPLIT) {
            return interface
                == match sender {
                    Sender::Orig => self.interface,
                    Sender::Resp => cold.interface_resp,
                };
        }
        if self.interface == interface {
            return true;
        }
        let is_first = !self.has_sent(cold, sender);
        if is_first {
            cold.interface_resp = match sender {
                Sender::Orig => std::mem::replace(&mut self.interface, interface),
                Sender::Resp => interface,
            };
            self.flags |= SPLIT;
        }
        is_first
    }

    /// Accounts a segment that [`Hot::only_adds`], if this line has all that it needs. False: nothing was done, and
    /// [`Hot::add`] takes it.
    #[inline(always)]
    pub fn add_here(&mut self, segment: &Headers, sender: Sender, watermark_ns: i64) -> bool {
        let i = sender as usize;
        let is_next = segment.seq == self.next[i];
        if !is_next
            || segment.flags & ACK == 0
            || self.seen & letters::plain_letter(segment, sender) == 0
        {
            return false;
        }
        let Some(bytes) = self.bytes[i].checked_add(segment.wire_len) else {
            return false;
        };
        let Some(next) = self.next[i].checked_add(segment.payload_len) else {
            return false;
        };
        let link = segment.wire_len.wrapping_sub(segment.ip_len);
        let counts = self.counts[i].wrapping_add(link << 16).wrapping_add(1);
        if link >= LINK_MAX || counts & FULL != 0 || segment.gso | segment.first_fragment {
            return false;
        }
        (self.counts[i], self.bytes[i], self.next[i]) = (counts, bytes, next);
        self.end_ns = self.end_ns.max(segment.ts_ns);
        self.touched_ns = watermark_ns;
        self.tcp_flags[i] |= segment.flags;
        true
    }

    fn count(&mut self, cold: &mut Cold, packet: &Headers, i: usize) {
        let packets = self.low_packets(i) + 1;
        let link = packet.wire_len.saturating_sub(packet.ip_len);
        let link = u64::from(self.counts[i] >> 16 & COUNT_MASK) + u64::from(link);
        cold.packets[i] = cold.packets[i].wrapping_add(packets >> COUNT_BITS);
        cold.link[i] = cold.link[i].wrapping_add(low(link >> COUNT_BITS));
        self.counts[i] = (low(link) & COUNT_MASK) << 16 | packets & COUNT_MASK;
        let (bytes, carries) = self.bytes[i].overflowing_add(packet.wire_len);
        self.bytes[i] = bytes;
        cold.bytes[i] = cold.bytes[i].wrapping_add(u32::from(carries));
    }

    /// Accounts a packet, where all packets are captured since `heard_ns`; true if it closed the connection.
    #[inline]
    pub fn add(
        &mut self,
        cold: &mut Cold,
        packet: &Headers,
        sender: Sender,
        (watermark_ns, heard_ns): (i64, i64),
    ) -> bool {
        let i = sender as usize;
        let unheard = self.touched_ns < heard_ns;
        self.count(cold, packet, i);
        self.end_ns = self.end_ns.max(packet.ts_ns);
        self.touched_ns = watermark_ns;
        if packet.gso {
            self.flags |= GSO;
        }
        if packet.first_fragment {
            self.flags |= FRAGMENTED;
        }
        if self.proto() != TCP {
            let payload = self.payload(cold, i) + u64::from(packet.payload_len);
            self.next[i] = self.next[i].wrapping_add(packet.payload_len);
            self.set_payload(cold, i, payload);
            // As Zeek: a UDP datagram is data even if empty (UDP.cc), other protocols have no history.
            if self.proto() == super::UDP {
                self.add_letters(cold, letters::data_letter(sender));
            }
            return false;
        }
        let is_first = !self.has_attempt() && self.seen & letters::bits_of_side(sender) == 0;
        self.add_letters(cold, letters::letter_bit(packet, sender));
        self.follow(cold, packet, sender, is_first || unheard);
        let was_closed = self.closed();
        self.tcp_flags[i] |= packet.flags;
        if packet.flags & (FIN | RST) == 0 || was_closed {
            return false;
        }
        if packet.flags & RST != 0 {
            self.flags |= match sender {
                Sender::Orig => RESET_ORIG,
                Sender::Resp => RESET_RESP,
            };
        }
        self.closed()
    }

    #[inline]
    fn add_letters(&mut self, cold: &mut Cold, letters: u16) {
        let new = letters & !self.seen;
        if new != 0 {
            cold.history
                .push(|history| letters::push_letters(history, new));
            self.seen |= letters;
        }
    }
}

/// The originator's key.
pub fn key(hot: &Hot, cold: &Cold) -> Key {
    let [src, dst] = cold.ends;
    let (src, dst) = (address(src, high(hot.ends)), address(dst, low(hot.ends)));
    Key::of_parts(src, dst, (hot.ports, hot.kind), cold.vlan)
}

/// Sort key of records: start, key, initial sequence number.
pub fn order(hot: &Hot, cold: &Cold) -> (i64, Key, u32) {
    (cold.start_ns, key(hot, cold), cold.isn)
}
