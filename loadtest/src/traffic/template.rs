//! Templates of frames: a frame is a copy with its addresses, ports, numbers and checksums written in.

use craft::{Flow, Ip, Link, Tcp, Udp};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Both ends of a frame. IPv4 addresses are the low 32 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Whether the addresses are IPv6.
    pub v6: bool,
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

impl Ends {
    /// Between two IPv4 addresses.
    #[must_use]
    pub fn v4(src: u32, src_port: u16, dst: u32, dst_port: u16) -> Self {
        Self {
            v6: false,
            src: src.into(),
            dst: dst.into(),
            src_port,
            dst_port,
        }
    }

    /// The ends with source and destination exchanged.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..self
        }
    }

    /// An address of these ends as `IpAddr`.
    #[must_use]
    pub fn address(self, address: u128) -> IpAddr {
        if self.v6 {
            Ipv6Addr::from(address).into()
        } else {
            Ipv4Addr::from(low32(address)).into()
        }
    }
}

/// The fields in which frames of one template differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields {
    /// Addresses and ports.
    pub ends: Ends,
    /// TCP sequence number.
    pub seq: u32,
    /// TCP acknowledgment number.
    pub ack: u32,
    /// IPv4 identification, IPv6 fragment identification.
    pub id: u16,
}

/// Offsets of the transport header and its checksum.
#[derive(Clone, Copy, Debug)]
struct Transport {
    at: usize,
    checksum_at: usize,
    /// TCP; else UDP.
    tcp: bool,
    /// Checksum of the constant parts, pseudo-header included.
    sum: u32,
}

/// A frame in which the fields are zero.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    v6: bool,
    /// Checksum of the constant parts of the IPv4 header.
    ip_sum: u32,
    /// Offset of the IPv4 identification.
    id_at: Option<usize>,
    transport: Option<Transport>,
    /// No field is written.
    fixed: bool,
}

const IP_AT: usize = 14;

impl Template {
    /// A TCP segment.
    #[must_use]
    pub fn tcp(v6: bool, flags: u8, options: &[u8], data: &[u8]) -> Self {
        let flow = no_flow(v6);
        let segment = Tcp::new(flow, flags, 0).options(options).data(data).bytes();
        let ip = Ip::new(flow.src, flow.dst, 6).bytes(&segment);
        Self::new(&ip, Some((&segment, true)))
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(v6: bool, data: &[u8]) -> Self {
        let flow = no_flow(v6);
        let datagram = Udp::new(flow, data).bytes();
        let ip = Ip::new(flow.src, flow.dst, 17).bytes(&datagram);
        Self::new(&ip, Some((&datagram, false)))
    }

    /// An IPv4 fragment of `payload`, which starts with a TCP (`tcp`) or UDP header.
    #[must_use]
    pub fn fragment(tcp: bool, payload: &[u8], from: usize, to: usize) -> Self {
        let flow = no_flow(false);
        let ip = Ip::new(flow.src, flow.dst, if tcp { 6 } else { 17 });
        let ip = ip.fragment(payload, from, to);
        Self::new(&ip, (from == 0).then_some((payload, tcp)))
    }

    /// An IP packet in which only the addresses change.
    #[must_use]
    pub fn addressed(ip: &[u8]) -> Self {
        Self::new(ip, None)
    }

    /// A frame that never changes.
    #[must_use]
    pub fn fixed(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self {
            bytes,
            v6: false,
            ip_sum: 0,
            id_at: None,
            transport: None,
            fixed: true,
        }
    }

    fn new(ip: &[u8], transport: Option<(&[u8], bool)>) -> Self {
        let mut bytes = Link::ethernet().frame(ip);
        let v6 = ip[0] >> 4 == 6;
        let header_len = if v6 { 40 } else { 20 };
        let at = IP_AT + header_len;
        let mut ip_sum = 0;
        if !v6 {
            bytes[IP_AT + 10..IP_AT + 12].fill(0);
            ip_sum = words(&bytes[IP_AT..at]);
        }
        let transport = transport.map(|(whole, tcp)| {
            let checksum_at = at + if tcp { 16 } else { 6 };
            bytes[checksum_at..checksum_at + 2].fill(0);
            // Ports and addresses are zero, so craft's checksum is the complement of the sum of the constant parts.
            let checksum =
                u16::from_be_bytes([whole[checksum_at - at], whole[checksum_at - at + 1]]);
            Transport {
                at,
                checksum_at,
                tcp,
                sum: u32::from(!checksum),
            }
        });
        Self {
            bytes,
            v6,
            ip_sum,
            id_at: (!v6).then_some(IP_AT + 4),
            transport,
            fixed: false,
        }
    }

    /// Length of the frame.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.bytes.len()
    }

    /// Writes the frame to the front of `out` and gives its length.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`Self::frame_len`].
    pub fn write(&self, fields: &Fields, out: &mut [u8]) -> usize {
        let len = self.bytes.len();
        out[..len].copy_from_slice(&self.bytes);
        if self.fixed {
            return len;
        }
        let ends = &fields.ends;
        debug_assert_eq!(ends.v6, self.v6, "IP version");
        let addresses = if self.v6 {
            put(out, IP_AT + 8, &ends.src.to_be_bytes());
            put(out, IP_AT + 24, &ends.dst.to_be_bytes());
            words(&ends.src.to_be_bytes()) + words(&ends.dst.to_be_bytes())
        } else {
            let (src, dst) = (low32(ends.src), low32(ends.dst));
            put(out, IP_AT + 12, &src.to_be_bytes());
            put(out, IP_AT + 16, &dst.to_be_bytes());
            words32(src) + words32(dst)
        };
        if let Some(at) = self.id_at {
            put(out, at, &fields.id.to_be_bytes());
            let sum = self.ip_sum + addresses + u32::from(fields.id);
            put(out, IP_AT + 10, &complement(sum).to_be_bytes());
        }
        if let Some(transport) = self.transport {
            self.transport(&transport, fields, addresses, out);
        }
        len
    }

    fn transport(&self, transport: &Transport, fields: &Fields, addresses: u32, out: &mut [u8]) {
        let (at, ends) = (transport.at, &fields.ends);
        put(out, at, &ends.src_port.to_be_bytes());
        put(out, at + 2, &ends.dst_port.to_be_bytes());
        let mut sum = transport.sum + addresses;
        sum += u32::from(ends.src_port) + u32::from(ends.dst_port);
        if transport.tcp {
            put(out, at + 4, &fields.seq.to_be_bytes());
            put(out, at + 8, &fields.ack.to_be_bytes());
            sum += words32(fields.seq) + words32(fields.ack);
        }
        // RFC 768: a sum of 0 is sent as all ones.
        let checksum = match complement(sum) {
            0 if !transport.tcp => 0xFFFF,
            checksum => checksum,
        };
        put(out, transport.checksum_at, &checksum.to_be_bytes());
    }

    /// The frame, and the checksums of the constant parts: IPv4, TCP.
    #[must_use]
    pub fn sums(&self) -> (&[u8], u32, u32) {
        let transport = self.transport.map_or(0, |transport| transport.sum);
        (&self.bytes, self.ip_sum, transport)
    }
}

fn no_flow(v6: bool) -> Flow {
    if v6 {
        Flow::v6([0; 8], 0, [0; 8], 0)
    } else {
        Flow::v4([0; 4], 0, [0; 4], 0)
    }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The low 32 bits.
#[must_use]
pub fn low32(address: u128) -> u32 {
    u32::try_from(address & u128::from(u32::MAX)).expect("masked")
}

fn words32(word: u32) -> u32 {
    (word >> 16) + (word & 0xFFFF)
}

fn words(bytes: &[u8]) -> u32 {
    bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

/// The Internet checksum from an unfolded sum.
fn complement(mut sum: u32) -> u16 {
    sum = words32(sum);
    sum = words32(sum);
    !u16::try_from(sum).expect("folded twice")
}

#[cfg(test)]
mod tests {
    use super::*;
    use craft::{ACK, PSH, SYN};

    fn ends(v6: bool) -> Ends {
        let (src, dst) = if v6 {
            (
                u128::MAX - 0x1234_5678,
                0x2001_0db8_ffff_0000_0000_0000_0000_0002,
            )
        } else {
            (0xC633_64FE, 0x0A00_0102)
        };
        Ends {
            v6,
            src,
            dst,
            src_port: 65535,
            dst_port: 80,
        }
    }

    #[test]
    fn a_written_template_is_the_frame_that_craft_builds() {
        for v6 in [false, true] {
            for (flags, data) in [(SYN, &b""[..]), (ACK, b"odd"), (PSH | ACK, &[0xFF; 1440])] {
                for (seq, ack) in [(0, 0), (u32::MAX, 1), (0xFFFF_0000, 0x0001_FFFF)] {
                    let ends = ends(v6);
                    let flow = Flow {
                        src: ends.address(ends.src),
                        dst: ends.address(ends.dst),
                        src_port: ends.src_port,
                        dst_port: ends.dst_port,
                    };
                    let tcp = Tcp::new(flow, flags, seq).ack(ack).data(data).bytes();
                    let ip = Ip::new(flow.src, flow.dst, 6).id(7).bytes(&tcp);
                    let mut out = [0xAA; 2048];
                    let fields = Fields {
                        ends,
                        seq,
                        ack,
                        id: if v6 { 0 } else { 7 },
                    };
                    let len = Template::tcp(v6, flags, &[], data).write(&fields, &mut out);
                    assert_eq!(out[..len], Link::ethernet().frame(&ip));
                    let udp = Udp::new(flow, data).bytes();
                    let ip = Ip::new(flow.src, flow.dst, 17).id(7).bytes(&udp);
                    let len = Template::udp(v6, data).write(&fields, &mut out);
                    assert_eq!(out[..len], Link::ethernet().frame(&ip));
                }
            }
        }
    }
}
