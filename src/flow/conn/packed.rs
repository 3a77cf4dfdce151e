//! A connection as its table keeps it: one line of the cache that every packet changes, and the rest, which only
//! its first packet, a new letter of its history and its end need.

use super::{Conn, LINGER_NS, OTHER_IDLE_NS, TCP, TCP_IDLE_NS};
use crate::decode::packet::{
    Fragment, Packet, Tcp,
    tcp_flags::{ACK, FIN, RST, SYN},
};
use crate::flow::key::Key;
use crate::flow::record::{EndReason, History, Volume};
use crate::flow::tcp::{self, Sender};

/// Bits of [`Hot::flags`].
const V6: u16 = 1;
const JOINED: u16 = 1 << 1;
const RESET_ORIG: u16 = 1 << 2;
const RESET_RESP: u16 = 1 << 3;
const PROVEN: u16 = 1 << 4;
const FLIPPED: u16 = 1 << 5;
const RIVAL: u16 = 1 << 6;
const PREEXISTING: u16 = 1 << 7;
const GSO: u16 = 1 << 8;
const FRAGMENTED: u16 = 1 << 9;
const SATURATED: u16 = 1 << 10;

/// Letters of a history, each in lower case with its bit; the originator's lie [`UPPER`] higher.
const LETTERS: [u8; 6] = *b"shfrda";
const UPPER: usize = LETTERS.len();

/// What every packet needs. An IPv6 address has its lower 32 bits here, to be compared first.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Hot {
    /// Watermark at the last packet.
    pub touched_ns: i64,
    end_ns: i64,
    src: u32,
    dst: u32,
    src_port: u16,
    dst_port: u16,
    /// Lower 32 bits of what both sides sent, originator first.
    packets: [u32; 2],
    bytes: [u32; 2],
    payload: [u32; 2],
    flags: u16,
    /// Letters that the history has.
    seen: u16,
    /// First interface.
    pub interface: u16,
    id: u16,
    tcp_flags: [u8; 2],
    proto: u8,
}
const _: () = assert!(size_of::<Hot>() == 64);

/// The rest.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
pub struct Cold {
    src: u128,
    dst: u128,
    /// Stamp of the first packet.
    pub start_ns: i64,
    /// Upper 32 bits of what both sides sent.
    packets: [u32; 2],
    bytes: [u32; 2],
    payload: [u32; 2],
    /// Client's initial sequence number; the identifier of an ICMP echo.
    pub isn: u32,
    history: History,
    vlan: [u16; 2],
    vlan_count: u8,
}
const _: () = assert!(size_of::<Cold>() == 96);

impl Cold {
    /// Who sends packets of `key`, whose ports and lower bits are known to fit. Out of line: the compiler would
    /// else read these addresses for IPv4 too, which need them not, and wait for another line of memory.
    #[inline(never)]
    fn sender(&self, hot: &Hot, key: &Key) -> Option<Sender> {
        let ports = (hot.src_port, hot.dst_port);
        if (self.src, self.dst, ports) == (key.src, key.dst, (key.src_port, key.dst_port)) {
            Some(Sender::Orig)
        } else if (self.src, self.dst, ports) == (key.dst, key.src, (key.dst_port, key.src_port)) {
            Some(Sender::Resp)
        } else {
            None
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

#[allow(
    clippy::cast_possible_truncation,
    reason = "an IPv4 address, or the lower bits of one"
)]
fn word(address: u128) -> u32 {
    address as u32
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

/// The bits of the letters that a segment says, as [`tcp::push_segment`] has them.
#[inline(always)]
fn letters_of(tcp: &Tcp, sender: Sender) -> u16 {
    let flags = tcp.flags;
    let has = |flag: u8| u16::from(flags & flag != 0);
    let syn = has(SYN) << u16::from(flags & ACK != 0);
    let data = u16::from(tcp.payload_len > 0);
    let ack = u16::from(flags & (ACK | SYN | FIN | RST) == ACK) & !data;
    let bits = syn | has(FIN) << 2 | has(RST) << 3 | data << 4 | ack << 5;
    match sender {
        Sender::Orig => bits << UPPER,
        Sender::Resp => bits,
    }
}

/// The bits of a history.
fn seen(history: &History) -> u16 {
    let bit = |letter: &u8| {
        let place = LETTERS
            .iter()
            .position(|l| *l == letter.to_ascii_lowercase())?;
        let upper = if letter.is_ascii_uppercase() {
            UPPER
        } else {
            0
        };
        Some(1 << (place + upper))
    };
    history
        .letters
        .iter()
        .filter_map(bit)
        .fold(0, |all, bit: u16| all | bit)
}

impl Hot {
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

    /// When it ends if nothing more comes.
    #[inline]
    pub fn deadline(&self) -> i64 {
        let idle = if self.proto != TCP {
            OTHER_IDLE_NS
        } else if self.closed() {
            LINGER_NS
        } else {
            TCP_IDLE_NS
        };
        self.touched_ns.saturating_add(idle)
    }

    /// Why it ends at its deadline.
    pub fn natural_reason(&self) -> EndReason {
        if self.reset().is_some() {
            EndReason::Rst
        } else if self.closed() {
            EndReason::Fin
        } else {
            EndReason::Timeout
        }
    }

    /// A younger attempt on the same ports was answered: it is asked first.
    pub fn is_rival(&self) -> bool {
        self.has(RIVAL)
    }

    /// From now on a younger attempt is asked first.
    pub fn set_rival(&mut self) {
        self.flags |= RIVAL;
    }

    /// Who of it sends packets of `key`.
    #[inline]
    pub fn sender(&self, cold: &Cold, key: &Key) -> Option<Sender> {
        let flags = if key.v6 { V6 } else { 0 } | if key.joined { JOINED } else { 0 };
        let kind = (self.flags & (V6 | JOINED), self.proto, self.id);
        if kind != (flags, key.proto, key.id) {
            return None;
        }
        let (src, dst) = (word(key.src), word(key.dst));
        let mine = (self.src, self.dst, self.src_port, self.dst_port);
        let sender = if mine == (src, dst, key.src_port, key.dst_port) {
            Sender::Orig
        } else if mine == (dst, src, key.dst_port, key.src_port) {
            Sender::Resp
        } else {
            return None;
        };
        if key.v6 {
            return cold.sender(self, key);
        }
        Some(sender)
    }

    /// Accounts a packet; says whether it closed the connection.
    #[inline]
    pub fn add(
        &mut self,
        cold: &mut Cold,
        packet: &Packet,
        tcp: Option<&Tcp>,
        payload: u32,
        sender: Sender,
        watermark_ns: i64,
    ) -> bool {
        let was_closed = self.closed();
        let i = match sender {
            Sender::Orig => 0,
            Sender::Resp => 1,
        };
        add(&mut self.packets[i], &mut cold.packets[i], 1);
        add(&mut self.bytes[i], &mut cold.bytes[i], packet.wire_len);
        add(&mut self.payload[i], &mut cold.payload[i], payload);
        self.end_ns = self.end_ns.max(packet.ts_ns);
        self.touched_ns = watermark_ns;
        if packet.gso {
            self.flags |= GSO;
        }
        if packet.fragment == Fragment::First {
            self.flags |= FRAGMENTED;
        }
        let Some(tcp) = tcp else {
            self.add_data(cold, payload, sender);
            return false;
        };
        self.tcp_flags[i] |= tcp.flags;
        let letters = letters_of(tcp, sender);
        if letters & !self.seen != 0 {
            tcp::push_segment(&mut cold.history, sender, tcp);
            self.seen |= letters;
        }
        if tcp.flags & RST != 0 && !was_closed {
            self.flags |= match sender {
                Sender::Orig => RESET_ORIG,
                Sender::Resp => RESET_RESP,
            };
        }
        !was_closed && self.closed()
    }

    fn add_data(&mut self, cold: &mut Cold, payload: u32, sender: Sender) {
        let (letter, place) = match sender {
            Sender::Orig => (b'D', 4 + UPPER),
            Sender::Resp => (b'd', 4),
        };
        if payload > 0 && self.seen >> place & 1 == 0 {
            tcp::push_letter(&mut cold.history, letter);
            self.seen |= 1 << place;
        }
    }
}

/// The originator's key.
pub fn key(hot: &Hot, cold: &Cold) -> Key {
    Key {
        v6: hot.has(V6),
        src: cold.src,
        dst: cold.dst,
        src_port: hot.src_port,
        dst_port: hot.dst_port,
        proto: hot.proto,
        id: hot.id,
        joined: hot.has(JOINED),
    }
}

/// What orders records: start, key, initial sequence number.
pub fn order(hot: &Hot, cold: &Cold) -> (i64, Key, u32) {
    (cold.start_ns, key(hot, cold), cold.isn)
}

/// As the table keeps it.
pub fn pack(conn: &Conn) -> (Hot, Cold) {
    let flags = [
        (V6, conn.key.v6),
        (JOINED, conn.key.joined),
        (RESET_ORIG, conn.reset == Some(Sender::Orig)),
        (RESET_RESP, conn.reset == Some(Sender::Resp)),
        (PROVEN, conn.proven),
        (FLIPPED, conn.flipped),
        (PREEXISTING, conn.preexisting),
        (GSO, conn.gso),
        (FRAGMENTED, conn.fragmented),
        (SATURATED, conn.saturated),
    ];
    let flags = flags.into_iter().filter(|(_, set)| *set);
    let sides = [&conn.orig, &conn.resp];
    let hot = Hot {
        touched_ns: conn.touched_ns,
        end_ns: conn.end_ns,
        src: word(conn.key.src),
        dst: word(conn.key.dst),
        src_port: conn.key.src_port,
        dst_port: conn.key.dst_port,
        packets: sides.map(|side| low(side.packets)),
        bytes: sides.map(|side| low(side.bytes)),
        payload: sides.map(|side| low(side.payload_bytes)),
        flags: flags.fold(0, |all, (flag, _)| all | flag),
        seen: seen(&conn.history),
        interface: conn.interface,
        id: conn.key.id,
        tcp_flags: sides.map(|side| side.tcp_flags),
        proto: conn.key.proto,
    };
    let cold = Cold {
        src: conn.key.src,
        dst: conn.key.dst,
        start_ns: conn.start_ns,
        packets: sides.map(|side| high(side.packets)),
        bytes: sides.map(|side| high(side.bytes)),
        payload: sides.map(|side| high(side.payload_bytes)),
        isn: conn.isn,
        history: conn.history,
        vlan: conn.vlan,
        vlan_count: conn.vlan_count,
    };
    (hot, cold)
}

/// As records need it.
pub fn unpack(hot: &Hot, cold: &Cold) -> Conn {
    let side = |i: usize| Volume {
        packets: whole(hot.packets[i], cold.packets[i]),
        bytes: whole(hot.bytes[i], cold.bytes[i]),
        payload_bytes: whole(hot.payload[i], cold.payload[i]),
        tcp_flags: hot.tcp_flags[i],
    };
    Conn {
        key: key(hot, cold),
        start_ns: cold.start_ns,
        end_ns: hot.end_ns,
        touched_ns: hot.touched_ns,
        orig: side(0),
        resp: side(1),
        isn: cold.isn,
        history: cold.history,
        interface: hot.interface,
        vlan: cold.vlan,
        vlan_count: cold.vlan_count,
        reset: hot.reset(),
        proven: hot.has(PROVEN),
        flipped: hot.has(FLIPPED),
        preexisting: hot.has(PREEXISTING),
        gso: hot.has(GSO),
        fragmented: hot.has(FRAGMENTED),
        saturated: hot.has(SATURATED),
    }
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

    #[test]
    fn the_letters_of_a_segment_are_those_that_are_pushed() {
        for (flags, payload_len) in (0..=255).flat_map(|flags| [(flags, 0), (flags, 9)]) {
            let tcp = Tcp {
                src_port: 1,
                dst_port: 2,
                seq: 0,
                ack: 0,
                flags,
                payload_len,
            };
            for sender in [Sender::Orig, Sender::Resp] {
                let mut history = History::default();
                tcp::push_segment(&mut history, sender, &tcp);
                assert_eq!(letters_of(&tcp, sender), seen(&history), "{flags:#04x}");
            }
        }
    }
}
