//! What the flow stage reads of a TCP segment or a UDP datagram, as plain numbers.

use super::key::Key;
use super::net::{FLAGS_END, proto};
use super::packet::{Fragment, Packet, Reach, Tcp, Transport, tcp_flags::*};
use super::wire_len;
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

impl Headers {
    /// Reads what most frames are, by fixed offsets: Ethernet, IPv4 without options or IPv6 without extension headers,
    /// a whole TCP segment or UDP datagram. `None` for every other frame: use [`super::packet()`], which reads these
    /// alike.
    #[inline(always)]
    pub fn plain(frame: &Frame<'_>) -> Option<Self> {
        let bytes = frame.bytes;
        if frame.link != LinkType::Ethernet || frame.gso {
            return None;
        }
        let head = bytes.first_chunk::<{ ETHERNET + IPV4 + FLAGS_END }>()?;
        let u16_at = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let u32_at =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let headers = |v6, src, dst, proto| Self {
            key: Key {
                v6,
                src,
                dst,
                proto,
                ..Key::default()
            },
            ts_ns: frame.ts_ns,
            wire_len: wire_len(frame),
            vlan: [frame.vlan.map_or(0, |tag| tag.tci & 0x0fff), 0],
            interface: frame.interface,
            vlan_count: u8::from(frame.vlan.is_some()),
            ..Self::default()
        };
        match [head[12], head[13], head[14]] {
            [0x08, 0x00, 0x45] => {
                // No fragment: offset and "more fragments" are 0.
                let whole = u16_at(20) & 0x3fff == 0;
                let len = usize::from(u16_at(16)).checked_sub(IPV4)?;
                let (src, dst) = (u128::from(u32_at(26)), u128::from(u32_at(30)));
                let headers = headers(false, src, dst, head[23]);
                whole.then_some(headers.behind::<{ ETHERNET + IPV4 }>(frame, len)?)
            }
            [0x86, 0xdd, 0x60..=0x6f] => {
                let [src, dst] = *bytes.get(22..54)?.as_chunks::<16>().0 else {
                    return None;
                };
                let (src, dst) = (u128::from_be_bytes(src), u128::from_be_bytes(dst));
                let headers = headers(true, src, dst, head[20]);
                headers.behind::<{ ETHERNET + IPV6 }>(frame, usize::from(u16_at(18)))
            }
            _ => None,
        }
    }

    /// Reads the transport header at a fixed offset, behind which the IP packet has `len` bytes.
    #[inline(always)]
    fn behind<const AT: usize>(self, frame: &Frame<'_>, len: usize) -> Option<Self> {
        let bytes = frame.bytes.get(AT..)?;
        let wire = (frame.wire_len as usize).max(frame.bytes.len()) - AT;
        let len = len.min(wire);
        match self.key.proto {
            proto::TCP if len >= FLAGS_END => {
                let [a, b, c, d, s0, s1, s2, s3, a0, a1, a2, a3, offset, flags] =
                    *bytes.first_chunk::<FLAGS_END>()?;
                let header = usize::from(offset >> 4) * 4;
                if header < 20 {
                    return None;
                }
                Some(Self {
                    key: Key {
                        src_port: u16::from_be_bytes([a, b]),
                        dst_port: u16::from_be_bytes([c, d]),
                        ..self.key
                    },
                    seq: u32::from_be_bytes([s0, s1, s2, s3]),
                    ack: u32::from_be_bytes([a0, a1, a2, a3]),
                    flags,
                    payload_len: u32::try_from(len.saturating_sub(header)).ok()?,
                    ..self
                })
            }
            proto::UDP if len >= UDP => {
                let [a, b, c, d, high, low, ..] = *bytes.first_chunk::<UDP>()?;
                let payload = usize::from(u16::from_be_bytes([high, low])).checked_sub(UDP)?;
                Some(Self {
                    key: Key {
                        src_port: u16::from_be_bytes([a, b]),
                        dst_port: u16::from_be_bytes([c, d]),
                        ..self.key
                    },
                    payload_len: u32::try_from(payload.min(len - UDP)).ok()?,
                    ..self
                })
            }
            _ => None,
        }
    }

    /// The headers of a decoded segment or datagram. `None`: it is neither.
    pub fn of(packet: &Packet) -> Option<Self> {
        let key = |src_port, dst_port, proto| {
            Key::new(packet.src, packet.dst, src_port, dst_port, proto)
        };
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
        let key = Key {
            joined: true,
            ..Key::new(src, dst, tcp.src_port, tcp.dst_port, proto::TCP)
        };
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
        self.key.proto == proto::TCP
    }

    /// A SYN without ACK, with any other flags: it touches a port and may open a connection.
    #[inline(always)]
    pub fn is_touch(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }

    /// What places them, of an unfragmented segment or datagram that the fanout program can follow.
    #[inline]
    pub fn as_whole(&self) -> Option<Whole> {
        let key = &self.key;
        (self.reach == Reach::Plain && !self.first_fragment).then(|| Whole {
            ends: (key.src(), key.dst()),
            ports: (key.src_port, key.dst_port),
            flags: self.is_segment().then_some(self.flags),
        })
    }
}
