//! What was sent: a capture taken beside the sensor, read without any of its code.

use craft::Capture;
use std::collections::HashMap;
use std::net::IpAddr;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const SCTP: u8 = 132;

/// A packet of the manifest.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub ts_ns: i64,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub content: Content,
}

/// The content of a packet; ports are those of source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Tcp(Segment),
    Udp {
        src_port: u16,
        dst_port: u16,
        /// Of header and payload, as the header says.
        len: u16,
    },
    Icmp {
        kind: u8,
    },
    Sctp {
        dst_port: u16,
    },
}

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub payload: usize,
}

impl Segment {
    /// A SYN without ACK.
    pub fn is_syn(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }
}

impl Packet {
    pub fn tcp(&self) -> Option<Segment> {
        match self.content {
            Content::Tcp(segment) => Some(segment),
            _ => None,
        }
    }

    /// The port that it goes to, if it has one.
    pub fn dst_port(&self) -> Option<u16> {
        match self.content {
            Content::Tcp(segment) => Some(segment.dst_port),
            Content::Udp { dst_port, .. } | Content::Sctp { dst_port } => Some(dst_port),
            Content::Icmp { .. } => None,
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(bytes, at)?) << 16 | u32::from(u16_at(bytes, at + 2)?))
}

/// TCP headers in pieces: the bytes so far of each datagram, by its ends and identification.
type Pieces = HashMap<(IpAddr, IpAddr, u16), Vec<u8>>;

/// The packets of an Ethernet capture. A datagram in fragments, which must come in order, is one packet at the frame
/// that completes its TCP header.
pub fn packets(capture: &Capture) -> Vec<Packet> {
    let mut pieces = Pieces::new();
    let packet = |frame| packet(frame, &mut pieces);
    capture.frames.iter().filter_map(packet).collect()
}

fn packet(frame: &craft::Frame, pieces: &mut Pieces) -> Option<Packet> {
    let (ts_ns, frame) = (frame.ts_ns, &frame.bytes);
    let (src, dst, proto, payload) = match u16_at(frame, 12)? {
        0x0800 => ipv4(frame.get(14..)?, pieces)?,
        0x86DD => ipv6(frame.get(14..)?)?,
        _ => return None,
    };
    let content = match proto {
        TCP => Content::Tcp(segment(&payload)?),
        UDP => Content::Udp {
            src_port: u16_at(&payload, 0)?,
            dst_port: u16_at(&payload, 2)?,
            len: u16_at(&payload, 4)?,
        },
        ICMP => Content::Icmp {
            kind: *payload.first()?,
        },
        SCTP => Content::Sctp {
            dst_port: u16_at(&payload, 2)?,
        },
        _ => return None,
    };
    Some(Packet {
        ts_ns,
        src,
        dst,
        content,
    })
}

type Datagram = (IpAddr, IpAddr, u8, Vec<u8>);

fn ipv4(ip: &[u8], pieces: &mut Pieces) -> Option<Datagram> {
    let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let (src, dst, proto) = (address(12)?, address(16)?, *ip.get(9)?);
    let header = usize::from(ip[0] & 15) * 4;
    let total = usize::from(u16_at(ip, 2)?);
    // The capture may be cut short; the datagram's own length is not.
    let mut payload = ip.get(header..total.min(ip.len()))?.to_vec();
    payload.resize(total - header, 0);
    let fragment = u16_at(ip, 6)?;
    let (more, offset) = (fragment & 0x2000 != 0, usize::from(fragment & 0x1fff) * 8);
    if !more && offset == 0 {
        return Some((src, dst, proto, payload));
    }
    let whole = pieces.entry((src, dst, u16_at(ip, 4)?)).or_default();
    if whole.len() == offset {
        let had = whole.len();
        whole.extend(payload);
        if had < 14 && whole.len() >= 14 {
            let mut header = whole.clone();
            header.resize(20, 0);
            return Some((src, dst, proto, header));
        }
    }
    None
}

fn ipv6(ip: &[u8]) -> Option<Datagram> {
    let address = |at: usize| {
        Some(IpAddr::from(
            <[u8; 16]>::try_from(ip.get(at..at + 16)?).ok()?,
        ))
    };
    let mut payload = ip.get(40..)?.to_vec();
    payload.resize(usize::from(u16_at(ip, 4)?), 0);
    Some((address(8)?, address(24)?, *ip.get(6)?, payload))
}

fn segment(tcp: &[u8]) -> Option<Segment> {
    let header = usize::from(*tcp.get(12)? >> 4) * 4;
    Some(Segment {
        src_port: u16_at(tcp, 0)?,
        dst_port: u16_at(tcp, 2)?,
        seq: u32_at(tcp, 4)?,
        ack: u32_at(tcp, 8)?,
        flags: *tcp.get(13)?,
        payload: tcp.len().saturating_sub(header),
    })
}

/// Rewrites the time stamps: each SYN without ACK comes `step_ns` after the one before, and what follows it keeps
/// its distance to it. That is what the tool sends with a longer delay between probes.
pub fn space_probes(capture: &mut Capture, step_ns: i64) {
    let mut pieces = Pieces::new();
    let first_ns = capture.frames.first().map_or(0, |frame| frame.ts_ns);
    let (mut old_ns, mut new_ns, mut count) = (first_ns, first_ns, 0);
    for frame in &mut capture.frames {
        let packet = packet(frame, &mut pieces);
        if packet.is_some_and(|packet| packet.tcp().is_some_and(|tcp| tcp.is_syn())) {
            old_ns = frame.ts_ns;
            new_ns = first_ns + count * step_ns;
            count += 1;
        }
        frame.ts_ns = new_ns + (frame.ts_ns - old_ns).clamp(0, step_ns - 1);
    }
}
