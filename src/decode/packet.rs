//! A decoded packet: addresses, ports, flags, lengths. Owned data.

use crate::capture::tunnels::Inside;
use std::net::IpAddr;

/// TCP flag bits as in byte 13 of the header.
pub mod tcp_flags {
    #![allow(missing_docs, reason = "RFC 9293 names them")]
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

words! {
    /// Whether the fanout program can follow the headers, or the first obstacle.
    #[derive(Default, Hash)]
    pub enum Reach {
        /// No obstacle.
        #[default]
        Plain = "plain",
        /// Extension headers that the program does not follow: other kinds, longer or more of them.
        DeepExtension = "deep_extension",
        /// More inline VLAN tags than the program follows.
        DeepVlan = "deep_vlan",
        /// PPPoE session.
        Pppoe = "pppoe",
        /// MPLS labels.
        Mpls = "mpls",
        /// A TCP header joined from a tiny first fragment and the one at offset 8.
        Joined = "joined",
        /// Another way to carry IP that the program does not follow: 802.2, PPP, IPv6 under the
        /// EtherType of IPv4.
        OddLink = "odd_link",
        /// Inside a tunnel that `--decap` opened: the program places the frame by the addresses around it.
        Tunnel = "tunnel",
    }
}

/// A packet's place in a fragmented datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// A whole datagram, an IPv6 atomic fragment, or a later fragment ([`Transport::LaterFragment`],
    /// [`Transport::SecondFragment`]).
    #[default]
    Whole,
    /// The first fragment, with its transport header in reach.
    First,
}

/// TCP header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number, even without the ACK flag.
    pub ack: u32,
    /// Byte 13 of the header: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    pub flags: u8,
    /// Payload bytes on the wire, from the IP length (from the frame's length under GSO).
    pub payload_len: u32,
}

/// UDP header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Payload bytes on the wire.
    pub payload_len: u32,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quoted {
    /// Source address of the quoted packet.
    pub src: IpAddr,
    /// Destination address of the quoted packet.
    pub dst: IpAddr,
    /// IP protocol number of the quoted packet.
    pub proto: u8,
    /// Source port, 0 where the protocol has none.
    pub src_port: u16,
    /// Destination port, 0 where the protocol has none.
    pub dst_port: u16,
    /// TCP sequence number of the quoted segment.
    pub seq: Option<u32>,
}

/// ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Icmp {
    /// ICMPv6 rather than ICMP.
    pub v6: bool,
    /// Message type.
    pub kind: u8,
    /// Message code.
    pub code: u8,
    /// Echo identifier; 0 for messages without one.
    pub id: u16,
    /// Payload bytes after the 8-byte header, on the wire.
    pub payload_len: u32,
    /// For errors (unreachable, time exceeded, parameter problem, too big): the packet they quote.
    pub quoted: Option<Quoted>,
}

/// What the IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp(Udp),
    /// An ICMP or ICMPv6 message.
    Icmp(Icmp),
    /// Another IP protocol.
    Other {
        /// IP protocol number.
        proto: u8,
    },
    /// A first fragment too short to hold the TCP flags: the head of a header that the next fragment continues.
    TinyFragment {
        /// IP identification (16 bits) or IPv6 fragment identification.
        id: u32,
        /// The first bytes of the TCP header; the first 8 hold ports and sequence number.
        head: [u8; 8],
    },
    /// The fragment at offset 8, with the bytes of the TCP header from offset 8 on: acknowledgment
    /// number (4), data offset (1), flags (1).
    SecondFragment {
        /// IP identification (16 bits) or IPv6 fragment identification.
        id: u32,
        /// Bytes 8 to 13 of the TCP header.
        tail: [u8; 6],
        /// Bytes of this fragment's payload.
        payload_len: u32,
    },
    /// Any other later fragment; never attributed to a flow.
    LaterFragment {
        /// IP protocol number.
        proto: u8,
        /// Payload bytes.
        payload_len: u32,
    },
}

/// A decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Time stamp of the frame, nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// Bytes of the frame on the wire.
    pub wire_len: u32,
    /// Bytes from the IP header on, by its length field and at most those of the frame.
    pub ip_len: u32,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// VLAN identifiers, outermost first.
    pub vlan: [u16; 2],
    /// Identifiers set in `vlan` (further tags are not kept).
    pub vlan_count: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Place in a fragmented datagram.
    pub fragment: Fragment,
    /// Whether the fanout program can follow its headers.
    pub reach: Reach,
    /// The tunnel that it came out of.
    pub inside: Inside,
    /// Several segments in one frame.
    pub gso: bool,
    /// The headers behind IP.
    pub transport: Transport,
}

impl Packet {
    /// The TCP header, if there is one.
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }
}

impl Tcp {
    /// A SYN without ACK, with any other flags: it touches a port and may open a connection.
    pub fn is_touch(&self) -> bool {
        self.flags & (tcp_flags::SYN | tcp_flags::ACK) == tcp_flags::SYN
    }
}
