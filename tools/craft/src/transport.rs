//! TCP, UDP and ICMP, from fields to bytes with right checksums.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::ip::pseudo_checksum;

/// TCP flag: no more data from the sender.
pub const FIN: u8 = 0x01;
/// TCP flag: synchronize sequence numbers.
pub const SYN: u8 = 0x02;
/// TCP flag: reset.
pub const RST: u8 = 0x04;
/// TCP flag: push.
pub const PSH: u8 = 0x08;
/// TCP flag: the acknowledgment number is valid.
pub const ACK: u8 = 0x10;
/// TCP flag: the urgent pointer is valid.
pub const URG: u8 = 0x20;
/// TCP flag: ECN echo.
pub const ECE: u8 = 0x40;
/// TCP flag: congestion window reduced.
pub const CWR: u8 = 0x80;

/// Both ends of a conversation, seen from the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Sender's address.
    pub src: IpAddr,
    /// Receiver's address, of the same family.
    pub dst: IpAddr,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
}

impl Flow {
    /// Between two IPv4 addresses.
    #[must_use]
    pub fn v4(src: [u8; 4], src_port: u16, dst: [u8; 4], dst_port: u16) -> Self {
        let (src, dst) = (Ipv4Addr::from(src).into(), Ipv4Addr::from(dst).into());
        Self {
            src,
            dst,
            src_port,
            dst_port,
        }
    }

    /// Between two IPv6 addresses, given as eight 16-bit groups.
    #[must_use]
    pub fn v6(src: [u16; 8], src_port: u16, dst: [u16; 8], dst_port: u16) -> Self {
        let (src, dst) = (Ipv6Addr::from(src).into(), Ipv6Addr::from(dst).into());
        Self {
            src,
            dst,
            src_port,
            dst_port,
        }
    }

    /// The same conversation, seen from the other end.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
        }
    }

    /// The same flow to another receiver's port.
    #[must_use]
    pub fn to_port(self, dst_port: u16) -> Self {
        Self { dst_port, ..self }
    }

    /// The same flow from another sender's port.
    #[must_use]
    pub fn from_port(self, src_port: u16) -> Self {
        Self { src_port, ..self }
    }
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Addresses (for the checksum) and ports.
    pub flow: Flow,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number, written with any flags.
    pub ack: u32,
    /// Byte 13 of the header.
    pub flags: u8,
    /// Receive window.
    pub window: u16,
    /// Option bytes; padded with zeros to a multiple of 4, at most 40.
    pub options: Vec<u8>,
    /// Payload.
    pub data: Vec<u8>,
    /// A false data offset, in 32-bit words; `None` writes the true one.
    pub data_offset: Option<u8>,
}

impl Tcp {
    /// A segment without options and payload, and acknowledgment number 0.
    #[must_use]
    pub fn new(flow: Flow, flags: u8, seq: u32) -> Self {
        let (options, data) = (Vec::new(), Vec::new());
        Self {
            flow,
            seq,
            ack: 0,
            flags,
            window: 64240,
            options,
            data,
            data_offset: None,
        }
    }

    /// Sets the acknowledgment number, not the flag.
    #[must_use]
    pub fn ack(mut self, ack: u32) -> Self {
        self.ack = ack;
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// Sets the payload.
    #[must_use]
    pub fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// Header and payload.
    ///
    /// # Panics
    ///
    /// With more than 40 bytes of options.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len().next_multiple_of(4);
        assert!(header_len <= 60, "{header_len} bytes of TCP header");
        let words = u8::try_from(header_len / 4).expect("at most 15");
        let mut out = Vec::with_capacity(header_len + self.data.len());
        out.extend(self.flow.src_port.to_be_bytes());
        out.extend(self.flow.dst_port.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.push(self.data_offset.unwrap_or(words) << 4);
        out.push(self.flags);
        out.extend(self.window.to_be_bytes());
        out.extend([0; 4]);
        out.extend(&self.options);
        out.resize(header_len, 0);
        out.extend(&self.data);
        let sum = pseudo_checksum(self.flow.src, self.flow.dst, 6, &out);
        out[16..18].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// A UDP datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Addresses (for the checksum) and ports.
    pub flow: Flow,
    /// Payload.
    pub data: Vec<u8>,
}

impl Udp {
    /// A datagram with `data`.
    #[must_use]
    pub fn new(flow: Flow, data: &[u8]) -> Self {
        Self {
            flow,
            data: data.to_vec(),
        }
    }

    /// Header and payload.
    ///
    /// # Panics
    ///
    /// With more than 65,527 bytes of payload.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let len = u16::try_from(8 + self.data.len()).expect("fits a datagram");
        let mut out = Vec::with_capacity(8 + self.data.len());
        out.extend(self.flow.src_port.to_be_bytes());
        out.extend(self.flow.dst_port.to_be_bytes());
        out.extend(len.to_be_bytes());
        out.extend([0; 2]);
        out.extend(&self.data);
        // RFC 768: a sum of 0 is sent as all ones; 0 means none.
        let sum = match pseudo_checksum(self.flow.src, self.flow.dst, 17, &out) {
            0 => 0xFFFF,
            sum => sum,
        };
        out[6..8].copy_from_slice(&sum.to_be_bytes());
        out
    }
}

/// ICMP and ICMPv6 messages. `v6` follows the family of the source address.
pub mod icmp {
    use std::net::IpAddr;

    use crate::ip::{checksum, pseudo_checksum};

    /// A message of any type: `rest` are bytes 4 to 7, `body` those behind them.
    #[must_use]
    pub fn message(
        (src, dst): (IpAddr, IpAddr),
        kind: u8,
        code: u8,
        rest: [u8; 4],
        body: &[u8],
    ) -> Vec<u8> {
        let mut out = vec![kind, code, 0, 0];
        out.extend(rest);
        out.extend(body);
        let sum = if src.is_ipv6() {
            pseudo_checksum(src, dst, 58, &out)
        } else {
            checksum(&[&out])
        };
        out[2..4].copy_from_slice(&sum.to_be_bytes());
        out
    }

    /// An echo request, or the reply.
    #[must_use]
    pub fn echo(ends: (IpAddr, IpAddr), reply: bool, id: u16, seq: u16, data: &[u8]) -> Vec<u8> {
        let kind = match (ends.0.is_ipv6(), reply) {
            (false, false) => 8,
            (false, true) => 0,
            (true, false) => 128,
            (true, true) => 129,
        };
        let ([a, b], [c, d]) = (id.to_be_bytes(), seq.to_be_bytes());
        message(ends, kind, 0, [a, b, c, d], data)
    }

    /// An error that quotes the first `quote_len` bytes of the IP packet `quoted`.
    ///
    /// Port unreachable is (3, 3), in ICMPv6 (1, 4); prohibited (3, 13) and (1, 1).
    #[must_use]
    pub fn error(
        ends: (IpAddr, IpAddr),
        kind: u8,
        code: u8,
        quoted: &[u8],
        quote_len: usize,
    ) -> Vec<u8> {
        message(
            ends,
            kind,
            code,
            [0; 4],
            &quoted[..quote_len.min(quoted.len())],
        )
    }
}
