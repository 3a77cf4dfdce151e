//! What the flow stage reads of a TCP segment or a UDP datagram, as plain numbers.

use super::key::Key;
use super::net::{FLAGS_END, proto};
use super::packet::{Fragment, Packet, Reach, Tcp, Transport, tcp_flags::*};
use super::{vlan, wire_len};
use crate::capture::frame::{Frame, LinkType, PLAIN_DEPTH};
use crate::capture::tunnels::Inside;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
/// The least length of a TCP header.
const TCP: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;

/// Headers as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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
    /// Bytes from the IP header on, by its length field and at most those of the frame.
    pub ip_len: u32,
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
    /// The tunnel that they came out of.
    pub inside: Inside,
}

/// What places a whole segment or datagram.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// Whether they are IPv6, source and destination.
    pub ends: (bool, u128, u128),
    /// Source and destination.
    pub ports: (u16, u16),
    /// TCP flags; `None`: UDP.
    pub flags: Option<u8>,
}

const _: () = assert!(PLAIN_DEPTH == ETHERNET + IPV6 + FLAGS_END);

/// How many of a frame's first bytes decoding reads at most: a frame cut there decodes to the same packet. All of them
/// unless the frame holds a whole segment or datagram behind plain headers. Its `wire_len` must be at least its caplen.
#[inline]
pub fn depth(frame: &Frame<'_>) -> usize {
    let all = frame.bytes.len();
    let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV6 }>() else {
        return all;
    };
    let proto = if PLAIN_IPV4.holds(head) && UNFRAGMENTED.holds(head) {
        head[23]
    } else if PLAIN_IPV6.holds(head) {
        head[20]
    } else {
        return all;
    };
    let is_plain = frame.link == LinkType::Ethernet && matches!(proto, proto::TCP | proto::UDP);
    match is_plain {
        true => all.min(PLAIN_DEPTH),
        false => all,
    }
}

/// Bits of a word of a frame, from a byte on.
struct Bits {
    from: usize,
    mask: u32,
    value: u32,
}

/// Of Ethernet and IPv4 without options.
const PLAIN_IPV4: Bits = Bits {
    from: 12,
    mask: 0xffff_ff00,
    value: 0x0800_4500,
};
/// Of Ethernet and IPv6.
const PLAIN_IPV6: Bits = Bits {
    from: 12,
    mask: 0xffff_f000,
    value: 0x86dd_6000,
};
/// Of IPv4: neither an offset nor "more fragments".
const UNFRAGMENTED: Bits = Bits {
    from: 20,
    mask: 0x3fff_0000,
    value: 0,
};
/// The same, and it carries TCP.
const WHOLE_TCP: Bits = Bits {
    from: 20,
    mask: 0x3fff_00ff,
    value: proto::TCP as u32,
};

impl Bits {
    #[inline(always)]
    fn holds<const LEN: usize>(&self, head: &[u8; LEN]) -> bool {
        u32::from_be_bytes(at(head, self.from)) & self.mask == self.value
    }
}

/// Some bytes of a header.
#[inline(always)]
fn at<const LEN: usize, const N: usize>(head: &[u8; LEN], from: usize) -> [u8; N] {
    // Of a constant place: the compiler knows that it is inside.
    *head[from..].first_chunk().expect("inside the header")
}

#[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn low(number: u64) -> u32 {
    number as u32
}

impl Headers {
    /// Reads what most frames are, a whole TCP segment behind plain headers of Ethernet and IPv4, in the fewest
    /// instructions. False for every other frame: then `self` is half written, and [`Headers::read_lean_ipv6`] and
    /// [`Headers::read_plain`] read the frame.
    #[inline(always)]
    pub fn read_lean(&mut self, frame: &Frame<'_>) -> bool {
        let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV4 + FLAGS_END }>() else {
            return false;
        };
        let is_lean =
            PLAIN_IPV4.holds(head) && WHOLE_TCP.holds(head) && frame.link == LinkType::Ethernet;
        if !is_lean || frame.gso {
            return false;
        }
        let len = u16::from_be_bytes(at(head, 16));
        self.key = Key::v4_segment(u64::from_be_bytes(at(head, 26)));
        self.read_segment::<{ ETHERNET + IPV4 }, _>(frame, head, len.into())
    }

    /// The same over IPv6 without extension headers.
    #[inline(always)]
    pub fn read_lean_ipv6(&mut self, frame: &Frame<'_>) -> bool {
        let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV6 + FLAGS_END }>() else {
            return false;
        };
        let is_lean =
            PLAIN_IPV6.holds(head) && head[20] == proto::TCP && frame.link == LinkType::Ethernet;
        if !is_lean || frame.gso {
            return false;
        }
        let address = |from: usize| u128::from_be_bytes(at(head, from));
        self.key = Key::between(true, (address(22), address(38)), proto::TCP);
        let len = IPV6 + usize::from(u16::from_be_bytes(at(head, 18)));
        self.read_segment::<{ ETHERNET + IPV6 }, _>(frame, head, len)
    }

    /// Reads a TCP header at a fixed offset. The IP packet has `len` bytes, with its own header.
    #[inline(always)]
    fn read_segment<const AT: usize, const LEN: usize>(
        &mut self,
        frame: &Frame<'_>,
        head: &[u8; LEN],
        len: usize,
    ) -> bool {
        let wire = (frame.wire_len as usize).max(frame.bytes.len()) - ETHERNET;
        let len = wire.min(len);
        let [offset, flags] = at(head, AT + 12);
        let header_len = usize::from(offset >> 4) * 4;
        if len < AT - ETHERNET + FLAGS_END || header_len < TCP {
            return false;
        }
        self.key.ports = u32::from_be_bytes(at(head, AT));
        let numbers = u64::from_be_bytes(at(head, AT + 4));
        (self.seq, self.ack, self.flags) = ((numbers >> 32) as u32, low(numbers), flags);
        self.payload_len = low(len.saturating_sub(AT - ETHERNET + header_len) as u64);
        self.ip_len = low(len as u64);
        self.note_frame(frame);
        true
    }

    /// Notes what stands outside the bytes of a plain frame.
    #[inline(always)]
    fn note_frame(&mut self, frame: &Frame<'_>) {
        self.ts_ns = frame.ts_ns;
        self.interface = frame.interface;
        (self.wire_len, self.vlan, self.vlan_count) = (frame.wire_len, [0; 2], 0);
        if let Some(tag) = frame.vlan {
            self.wire_len = wire_len(frame);
            (self.vlan[0], self.vlan_count) = (tag.tci & 0x0fff, 1);
        }
        (self.gso, self.first_fragment) = (false, false);
        (self.reach, self.inside) = (Reach::Plain, Inside::NONE);
    }

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
        if PLAIN_IPV4.holds(head) && UNFRAGMENTED.holds(head) {
            let address = |from: usize| u128::from(u32::from_be_bytes(at(head, from)));
            self.key = Key::between(false, (address(26), address(30)), head[23]);
            let len = usize::from(u16::from_be_bytes(at(head, 16)));
            len >= IPV4 && self.read_transport::<{ ETHERNET + IPV4 }>(frame, len - IPV4)
        } else if PLAIN_IPV6.holds(head)
            && let Some(head) = frame.bytes.first_chunk::<{ ETHERNET + IPV6 }>()
        {
            let address = |from: usize| u128::from_be_bytes(at(head, from));
            self.key = Key::between(true, (address(22), address(38)), head[20]);
            let len = usize::from(u16::from_be_bytes(at(head, 18)));
            self.read_transport::<{ ETHERNET + IPV6 }>(frame, len)
        } else {
            false
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
        let ports = [bytes[0], bytes[1], bytes[2], bytes[3]];
        self.key.ports = u32::from_be_bytes(ports);
        self.payload_len = u32::try_from(payload_len).unwrap_or(u32::MAX);
        self.ip_len = low((AT - ETHERNET + len) as u64);
        self.note_frame(frame);
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
            ip_len: packet.ip_len,
            vlan: packet.vlan,
            interface: packet.interface,
            vlan_count: packet.vlan_count,
            gso: packet.gso,
            first_fragment: packet.fragment == Fragment::First,
            reach: packet.reach,
            inside: packet.inside,
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
            ends: (key.v6(), key.src, key.dst),
            ports: (key.src_port(), key.dst_port()),
            flags: self.is_segment().then_some(self.flags),
        })
    }
}
