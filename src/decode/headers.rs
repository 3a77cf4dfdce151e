//! What the flow stage reads of a TCP segment or a UDP datagram, as plain numbers.

use super::key::Key;
use super::net::{FLAGS_END, proto};
use super::packet::{Fragment, Packet, Reach, Tcp, Transport, tcp_flags::*};
use super::{vlan, wire_len};
use crate::capture::frame::{Frame, LinkType};
use std::net::IpAddr;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;

/// Headers as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Sender first.
    pub key: Key,
    /// Time stamp of the frame, nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// Sequence number of TCP, else 0.
    pub seq: u32,
    /// Acknowledgment number of TCP, even without the ACK flag, else 0.
    pub ack: u32,
    /// Bytes of the frame on the wire.
    pub wire_len: u32,
    /// Bytes behind these headers, on the wire.
    pub payload_len: u32,
    /// VLAN identifiers, outermost first.
    pub vlan: [u16; 2],
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// Identifiers set in `vlan`.
    pub vlan_count: u8,
    /// Flags of TCP, else 0.
    pub flags: u8,
    /// Several segments in one frame.
    pub gso: bool,
    /// The first of several fragments.
    pub first_fragment: bool,
    /// Whether the fanout program can follow them.
    pub reach: Reach,
}

/// What places a whole segment or datagram.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Source and destination.
    pub ends: (IpAddr, IpAddr),
    /// Source and destination.
    pub ports: (u16, u16),
    /// TCP flags; `None`: UDP.
    pub flags: Option<u8>,
}

/// How many of a frame's first bytes decoding reads at most: a frame cut there decodes to the same packet. All of them
/// unless the frame holds a whole segment or datagram behind plain headers. Its `wire_len` must be at least its caplen.
#[inline]
pub fn depth(frame: &Frame<'_>) -> usize {
    let all = frame.bytes.len();
    let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV6 }>() else {
        return all;
    };
    let proto = match [head[12], head[13], head[14]] {
        [0x08, 0x00, 0x45] if head[20] & 0x3f == 0 && head[21] == 0 => head[23],
        [0x86, 0xdd, 0x60..=0x6f] => head[20],
        _ => return all,
    };
    let is_plain = frame.link == LinkType::Ethernet && matches!(proto, proto::TCP | proto::UDP);
    match is_plain {
        true => all.min(ETHERNET + IPV6 + FLAGS_END),
        false => all,
    }
}

impl Headers {
    /// Reads the commonest frames by fixed offsets: Ethernet, IPv4 without options or IPv6 without extension headers, a
    /// whole TCP segment or UDP datagram. False for every other frame: then `self` is half written, and
    /// [`super::packet()`] reads the frame. For the commonest frames both give the same headers.
    ///
    /// In place: a copy would cost as much as the reading.
    #[inline(always)]
    pub fn read_plain(&mut self, frame: &Frame<'_>) -> bool {
        if frame.link != LinkType::Ethernet || frame.gso {
            return false;
        }
        let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV4 + FLAGS_END }>() else {
            return false;
        };
        match [head[12], head[13], head[14]] {
            [0x08, 0x00, 0x45] => {
                let src = u32::from_be_bytes([head[26], head[27], head[28], head[29]]);
                let dst = u32::from_be_bytes([head[30], head[31], head[32], head[33]]);
                let ends = (u128::from(src), u128::from(dst));
                self.key = Key::between(false, ends, head[23]);
                let len = u16::from_be_bytes([head[16], head[17]]);
                // No fragment: offset and "more fragments" are 0.
                let is_whole = u16::from_be_bytes([head[20], head[21]]) & 0x3fff == 0;
                is_whole
                    && usize::from(len) >= IPV4
                    && self.read_transport::<{ ETHERNET + IPV4 }>(frame, usize::from(len) - IPV4)
            }
            [0x86, 0xdd, 0x60..=0x6f] => {
                let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV6 }>() else {
                    return false;
                };
                let address = |at: usize| {
                    let bytes = std::array::from_fn(|byte| head[at + byte]);
                    u128::from_be_bytes(bytes)
                };
                self.key = Key::between(true, (address(22), address(38)), head[20]);
                let len = u16::from_be_bytes([head[18], head[19]]);
                self.read_transport::<{ ETHERNET + IPV6 }>(frame, usize::from(len))
            }
            _ => false,
        }
    }

    /// Reads the transport header at a fixed offset. The IP packet has `len` bytes from there on.
    #[inline(always)]
    fn read_transport<const AT: usize>(&mut self, frame: &Frame<'_>, len: usize) -> bool {
        let Some((_, bytes)) = frame.bytes.split_at_checked(AT) else {
            return false;
        };
        let wire = (frame.wire_len as usize).max(frame.bytes.len()) - AT;
        let len = len.min(wire);
        let payload_len = match self.key.proto() {
            proto::TCP if len >= FLAGS_END => {
                let Some(header) = bytes.first_chunk::<FLAGS_END>() else {
                    return false;
                };
                let u32_at = |at: usize| {
                    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
                };
                (self.seq, self.ack, self.flags) = (u32_at(4), u32_at(8), header[13]);
                let header_len = usize::from(header[12] >> 4) * 4;
                if header_len < 20 {
                    return false;
                }
                len.saturating_sub(header_len)
            }
            proto::UDP if len >= UDP => {
                let Some(header) = bytes.first_chunk::<UDP>() else {
                    return false;
                };
                (self.seq, self.ack, self.flags) = (0, 0, 0);
                let datagram = usize::from(u16::from_be_bytes([header[4], header[5]]));
                if datagram < UDP {
                    return false;
                }
                datagram.min(len) - UDP
            }
            _ => return false,
        };
        let [a, b, c, d] = [bytes[0], bytes[1], bytes[2], bytes[3]];
        self.key.src_port = u16::from_be_bytes([a, b]);
        self.key.dst_port = u16::from_be_bytes([c, d]);
        self.payload_len = u32::try_from(payload_len).unwrap_or(u32::MAX);
        self.ts_ns = frame.ts_ns;
        self.wire_len = wire_len(frame);
        self.interface = frame.interface;
        self.vlan = [frame.vlan.map_or(0, |tag| tag.tci & 0x0fff), 0];
        self.vlan_count = u8::from(frame.vlan.is_some());
        (self.gso, self.first_fragment, self.reach) = (false, false, Reach::Plain);
        true
    }

    /// The headers of a decoded segment or datagram. `None`: it is neither.
    pub fn of(packet: &Packet) -> Option<Self> {
        let key =
            |src_port, dst_port, proto| Key::new(packet.src, packet.dst, src_port, dst_port, proto);
        match &packet.transport {
            Transport::Tcp(tcp) => {
                let key = key(tcp.src_port, tcp.dst_port, proto::TCP);
                Some(Self::new(packet, key, tcp.payload_len).with_numbers(tcp))
            }
            Transport::Udp(udp) => {
                let key = key(udp.src_port, udp.dst_port, proto::UDP);
                Some(Self::new(packet, key, udp.payload_len))
            }
            _ => None,
        }
    }

    /// Headers without numbers of TCP.
    pub(crate) fn new(packet: &Packet, key: Key, payload_len: u32) -> Self {
        Self {
            key,
            ts_ns: packet.ts_ns,
            wire_len: packet.wire_len,
            payload_len,
            vlan: packet.vlan,
            interface: packet.interface,
            vlan_count: packet.vlan_count,
            gso: packet.gso,
            first_fragment: packet.fragment == Fragment::First,
            reach: packet.reach,
            ..Self::default()
        }
    }

    /// Headers of a SYN that was joined from two fragments, the second of which is `packet`.
    pub(crate) fn joined(packet: &Packet, tcp: &Tcp) -> Self {
        let (src, dst) = (packet.src, packet.dst);
        let key = Key::new(src, dst, tcp.src_port, tcp.dst_port, proto::TCP).with_joined(true);
        Self {
            reach: Reach::Joined,
            ..Self::new(packet, key, tcp.payload_len).with_numbers(tcp)
        }
    }

    fn with_numbers(self, tcp: &Tcp) -> Self {
        Self {
            seq: tcp.seq,
            ack: tcp.ack,
            flags: tcp.flags,
            ..self
        }
    }

    /// Of a TCP segment.
    #[inline(always)]
    pub fn is_segment(&self) -> bool {
        self.key.proto() == proto::TCP
    }

    /// A SYN without ACK, with any other flags: it touches a port and may open a connection.
    #[inline(always)]
    pub fn is_touch(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// Makes the VLAN identifiers a part of the key.
    pub fn key_by_vlan(&mut self) {
        let tags = vlan::pack_key(self.vlan, self.vlan_count);
        self.key = self.key.with_tags(tags);
    }

    /// What places them, of an unfragmented segment or datagram that the fanout program can follow.
    #[inline]
    pub fn as_whole(&self) -> Option<Whole> {
        let key = &self.key;
        (self.reach == Reach::Plain && !self.first_fragment).then(|| Whole {
            ends: (key.src().into(), key.dst().into()),
            ports: (key.src_port, key.dst_port),
            flags: self.is_segment().then_some(self.flags),
        })
    }
}
