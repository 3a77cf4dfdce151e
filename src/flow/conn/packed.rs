//! A connection as its table stores it: one cache line that every packet changes, and the rest, used only by the
//! first packet, a new history letter and the end.

mod convert;

use super::{LINGER_NS, OTHER_IDLE_NS, TCP, TCP_IDLE_NS, TCP_UNHEARD_NS};
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::tcp_flags::{ACK, FIN, RST, SYN};
use crate::decode::vlan;
use crate::flow::record::{EndReason, History, Outcome, Technique};
use crate::flow::tcp::{self, Sender};
pub use convert::{pack, unpack};

/// Bits of [`Hot::flags`].
const RESET_ORIG: u16 = 1;
const RESET_RESP: u16 = 1 << 1;
const PROVEN: u16 = 1 << 2;
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
/// Its first packet may ask or probe, so that the answer tells: UDP, or midstream TCP.
const ASKS: u16 = 1 << 13;
/// Its first packet had FIN.
const MAIMON: u16 = 1 << 14;
/// UDP: an ICMP error quoted the originator.
const UNREACHABLE: u16 = 1 << 15;
/// TCP: its attempt has an older one. No bit is free, and this one is of UDP only.
const REOPENED: u16 = UNREACHABLE;

/// What every packet needs.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(C, align(64))]
pub struct Hot {
    /// Watermark at the last packet.
    pub touched_ns: i64,
    end_ns: i64,
    /// [`Key::ends`], originator first. Of IPv6 they are compared first, then whole addresses.
    ends: u64,
    /// See [`Key`], originator's above the responder's.
    ports: u32,
    /// [`Key::kind`].
    kind: u32,
    /// Lower 32 bits of what both sides sent, originator first.
    packets: [u32; 2],
    bytes: [u32; 2],
    payload: [u32; 2],
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
#[repr(C, align(32))]
pub struct Cold {
    src: u128,
    dst: u128,
    pub start_ns: i64,
    /// Upper 32 bits of what both sides sent.
    packets: [u32; 2],
    bytes: [u32; 2],
    payload: [u32; 2],
    pub isn: u32,
    history: History,
    /// See [`vlan`]; tags of the key are in it.
    vlan: u32,
    /// The sequence number that each side sends next, as far as was seen: kept while the connection has a rival. Of
    /// midstream TCP as the first packet says.
    next: [u32; 2],
    /// Of each direction, originator first, where they are split.
    interfaces: [u16; 2],
}
const _: () = assert!(size_of::<Cold>() == 96);

impl Cold {
    /// Whether `sender` has this key by whole addresses and tags. Out of line: the compiler would otherwise read them for
    /// plain IPv4 too and wait for another cache line.
    #[inline(never)]
    pub fn is_sender(&self, sender: Sender, key: &Key) -> bool {
        let ends = match sender {
            Sender::Orig => (self.src, self.dst),
            Sender::Resp => (self.dst, self.src),
        };
        ends == (key.src, key.dst) && vlan::key_of(self.vlan) == key.tags()
    }

    /// How far the numbers of a segment lie from those that come next.
    pub fn distance(&self, segment: &Headers, sender: Sender) -> u64 {
        let i = sender as usize;
        let apart = |a: u32, b: u32| u64::from(a.wrapping_sub(b).cast_signed().unsigned_abs());
        let acked = match segment.flags & ACK {
            0 => 0,
            _ => apart(segment.ack, self.next[1 - i]),
        };
        apart(segment.seq, self.next[i]) + acked
    }

    /// Notes what a side has sent.
    pub fn note_next(&mut self, segment: &Headers, sender: Sender) {
        let next = &mut self.next[sender as usize];
        let end = tcp::end_of(segment);
        if segment.flags & RST == 0 && tcp::after(end, *next) {
            *next = end;
        }
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

fn whole(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// Adds to a counter in two halves.
#[inline(always)]
fn add(low: &mut u32, high: &mut u32, value: u32) {
    let (sum, carries) = low.overflowing_add(value);
    *low = sum;
    if carries {
        *high += 1;
    }
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
        let [_, answers] = self.packets(cold);
        let spoke = (self.payload[0], cold.payload[0]) != (0, 0);
        if !self.asks() || answers > 0 || spoke || reset_seq != cold.next[1] {
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
        [0, 1].map(|i| whole(self.packets[i], cold.packets[i]))
    }

    /// Whether the next datagram may make an outcome: the responder's first, and each 64th behind the originator's first
    /// while the responder has sent nothing. Counts are those of the lower halves, so it may be true for too many.
    #[inline]
    pub fn may_tell(&self, sender: Sender) -> bool {
        const LAST: u32 = Outcome::DATAGRAMS - 1;
        const _: () = assert!(Outcome::DATAGRAMS.is_power_of_two());
        self.packets[1] == 0 && (sender == Sender::Resp || self.packets[0] & LAST == 0)
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
            && !self.has(RIVAL | SPLIT)
            && self.interface == packet.interface
    }

    /// Whether this is the interface of a direction; its first packet decides.
    pub fn comes_its_way(&mut self, cold: &mut Cold, interface: u16, sender: Sender) -> bool {
        let i = sender as usize;
        if self.has(SPLIT) {
            return cold.interfaces[i] == interface;
        }
        if self.interface == interface {
            return true;
        }
        let is_first = (self.packets[i], cold.packets[i]) == (0, 0);
        if is_first {
            cold.interfaces = [self.interface; 2];
            cold.interfaces[i] = interface;
            self.flags |= SPLIT;
        }
        is_first
    }

    /// Accounts a segment that [`Hot::only_adds`], if this line has all that it needs. False: nothing was done, and
    /// [`Hot::add`] takes it.
    #[inline(always)]
    pub fn add_here(&mut self, segment: &Headers, sender: Sender, watermark_ns: i64) -> bool {
        let i = sender as usize;
        if segment.flags & ACK == 0 || self.seen & tcp::plain_letter(segment, sender) == 0 {
            return false;
        }
        let Some(packets) = self.packets[i].checked_add(1) else {
            return false;
        };
        let Some(bytes) = self.bytes[i].checked_add(segment.wire_len) else {
            return false;
        };
        let Some(payload) = self.payload[i].checked_add(segment.payload_len) else {
            return false;
        };
        if segment.gso | segment.first_fragment {
            return false;
        }
        (self.packets[i], self.bytes[i], self.payload[i]) = (packets, bytes, payload);
        self.end_ns = self.end_ns.max(segment.ts_ns);
        self.touched_ns = watermark_ns;
        self.tcp_flags[i] |= segment.flags;
        true
    }

    /// Accounts a packet; true if it closed the connection.
    #[inline]
    pub fn add(
        &mut self,
        cold: &mut Cold,
        packet: &Headers,
        sender: Sender,
        watermark_ns: i64,
    ) -> bool {
        let i = sender as usize;
        add(&mut self.packets[i], &mut cold.packets[i], 1);
        add(&mut self.bytes[i], &mut cold.bytes[i], packet.wire_len);
        add(
            &mut self.payload[i],
            &mut cold.payload[i],
            packet.payload_len,
        );
        self.end_ns = self.end_ns.max(packet.ts_ns);
        self.touched_ns = watermark_ns;
        if packet.gso {
            self.flags |= GSO;
        }
        if packet.first_fragment {
            self.flags |= FRAGMENTED;
        }
        if self.proto() != TCP {
            // As Zeek: a UDP datagram is data even if empty (UDP.cc), other protocols have no history.
            if self.proto() == super::UDP {
                self.add_letters(cold, tcp::data_letter(sender));
            }
            return false;
        }
        self.add_letters(cold, tcp::letters_of(packet, sender));
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
            tcp::push_letters(&mut cold.history, new);
            self.seen |= letters;
        }
    }
}

/// The originator's key.
pub fn key(hot: &Hot, cold: &Cold) -> Key {
    Key::of_parts(cold.src, cold.dst, (hot.ports, hot.kind), cold.vlan)
}

/// Sort key of records: start, key, initial sequence number.
pub fn order(hot: &Hot, cold: &Cold) -> (i64, Key, u32) {
    (cold.start_ns, key(hot, cold), cold.isn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_beyond_32_bits() {
        let (mut lower, mut upper) = (u32::MAX - 1, 7);
        add(&mut lower, &mut upper, 1500);
        assert_eq!(
            whole(lower, upper),
            (7 << 32) + u64::from(u32::MAX - 1) + 1500
        );
    }
}
