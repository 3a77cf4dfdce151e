//! IPv4 and IPv6 headers, extension headers, fragments, and the Internet checksum.

use std::net::IpAddr;

/// The Internet checksum over the concatenation of `parts`; all but the last are of even length.
///
/// Source: RFC 1071.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u64::from(u16::from_be_bytes([pair[0], low]));
        }
    }
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// The checksum of a transport message `body` (its own checksum field 0) under its pseudo-header.
pub(crate) fn pseudo_checksum(src: IpAddr, dst: IpAddr, proto: u8, body: &[u8]) -> u16 {
    let len = u32::try_from(body.len())
        .expect("fits a packet")
        .to_be_bytes();
    checksum(&[&octets(src), &octets(dst), &len, &[0, proto], body])
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// An IPv6 extension header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ext {
    /// Its own protocol number: 0 hop-by-hop, 43 routing, 44 fragment, 51 authentication,
    /// 60 destination options, 135 mobility.
    pub kind: u8,
    /// Bytes behind the next-header and length bytes; padded with zeros to a legal length.
    pub body: Vec<u8>,
}

impl Ext {
    /// Hop-by-hop (0) or destination (60) options filled with one `PadN`, `len` bytes in all.
    #[must_use]
    pub fn padding(kind: u8, len: usize) -> Self {
        let len = len.max(8).next_multiple_of(8);
        let pad = u8::try_from(len - 4).unwrap_or(u8::MAX);
        let mut body = vec![1, pad];
        body.resize(len - 2, 0);
        Self { kind, body }
    }

    /// A fragment header for a whole packet (RFC 6946: an atomic fragment).
    #[must_use]
    pub fn atomic(id: u32) -> Self {
        Self::fragment(0, false, id)
    }

    /// A fragment header; `offset` in bytes, a multiple of 8.
    #[must_use]
    pub fn fragment(offset: u16, more: bool, id: u32) -> Self {
        let mut body = ((offset & !7) | u16::from(more)).to_be_bytes().to_vec();
        body.extend(id.to_be_bytes());
        Self { kind: 44, body }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        let unit = if self.kind == 51 { 4 } else { 8 };
        let len = (2 + self.body.len()).next_multiple_of(unit);
        let field = match self.kind {
            44 => 0, // reserved: the fragment header has one length
            51 => len / 4 - 2,
            _ => len / 8 - 1,
        };
        let mut out = vec![next, u8::try_from(field).expect("fits an extension header")];
        out.extend(&self.body);
        out.resize(len, 0);
        out
    }
}

/// An IP header; the family follows the addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Sender.
    pub src: IpAddr,
    /// Receiver.
    pub dst: IpAddr,
    /// IP protocol number of the payload.
    pub proto: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub tos: u8,
    /// Identification; IPv4 uses the low 16 bits, IPv6 only in fragments.
    pub id: u32,
    /// IPv4: do not fragment.
    pub dont_fragment: bool,
    /// IPv4 option bytes; padded with zeros to a multiple of 4, at most 40.
    pub options: Vec<u8>,
    /// IPv6 extension headers, outermost first.
    pub ext: Vec<Ext>,
}

impl Ip {
    /// A plain header.
    ///
    /// # Panics
    ///
    /// If the addresses are of different families.
    #[must_use]
    pub fn new(src: IpAddr, dst: IpAddr, proto: u8) -> Self {
        assert_eq!(src.is_ipv4(), dst.is_ipv4(), "one family");
        let (options, ext) = (Vec::new(), Vec::new());
        Self {
            src,
            dst,
            proto,
            ttl: 64,
            tos: 0,
            id: 0,
            dont_fragment: false,
            options,
            ext,
        }
    }

    /// Sets the identification.
    #[must_use]
    pub fn id(mut self, id: u32) -> Self {
        self.id = id;
        self
    }

    /// Sets the IPv4 options.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// Appends an IPv6 extension header.
    #[must_use]
    pub fn ext(mut self, ext: Ext) -> Self {
        self.ext.push(ext);
        self
    }

    /// The whole packet.
    #[must_use]
    pub fn bytes(&self, payload: &[u8]) -> Vec<u8> {
        if self.src.is_ipv4() {
            self.v4(payload, 0, false)
        } else {
            self.v6(&self.ext, payload)
        }
    }

    /// The packet as fragments: `cuts` are payload offsets, ascending multiples of 8.
    ///
    /// `&[8, 16]` cuts a SYN of 20 bytes as `nmap -f` does; `&[8]` makes only its first cut.
    /// In IPv6 every extension header stays in front of the fragment header.
    ///
    /// # Panics
    ///
    /// If a cut is not a multiple of 8 or lies outside the payload.
    #[must_use]
    pub fn fragments(&self, payload: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut starts = vec![0];
        starts.extend(cuts);
        let mut ends = cuts.to_vec();
        ends.push(payload.len());
        starts
            .iter()
            .zip(&ends)
            .map(|(&from, &to)| self.fragment(payload, from, to))
            .collect()
    }

    /// One fragment: `payload[from..to]` at its place, "more fragments" unless it reaches the end.
    ///
    /// # Panics
    ///
    /// If `from` is not a multiple of 8, or the range lies outside the payload.
    #[must_use]
    pub fn fragment(&self, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
        assert_eq!(from % 8, 0, "offsets count 8 bytes");
        let (offset, more) = (u16::try_from(from).expect("fits"), to < payload.len());
        let part = &payload[from..to];
        if self.src.is_ipv4() {
            return self.v4(part, offset, more);
        }
        let mut ext = self.ext.clone();
        ext.push(Ext::fragment(offset, more, self.id));
        self.v6(&ext, part)
    }

    fn v4(&self, payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
        let header_len = 20 + self.options.len().next_multiple_of(4);
        let words = u8::try_from(header_len / 4).expect("short");
        assert!(words <= 15, "{header_len} bytes of IPv4 header");
        let total = u16::try_from(header_len + payload.len()).expect("fits a packet");
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(more) << 13;
        let [_, _, id_high, id_low] = self.id.to_be_bytes();
        let mut out = vec![0x40 | words, self.tos];
        out.extend(total.to_be_bytes());
        out.extend([id_high, id_low]);
        out.extend((flags | (offset / 8)).to_be_bytes());
        out.extend([self.ttl, self.proto, 0, 0]);
        out.extend(octets(self.src));
        out.extend(octets(self.dst));
        out.extend(&self.options);
        out.resize(header_len, 0);
        let sum = checksum(&[&out]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(payload);
        out
    }

    fn v6(&self, ext: &[Ext], payload: &[u8]) -> Vec<u8> {
        let mut chain = Vec::new();
        for (i, header) in ext.iter().enumerate() {
            chain.extend(header.bytes(ext.get(i + 1).map_or(self.proto, |next| next.kind)));
        }
        let len = u16::try_from(chain.len() + payload.len()).expect("fits a packet");
        let first = ext.first().map_or(self.proto, |header| header.kind);
        let mut out = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
        out.extend(len.to_be_bytes());
        out.extend([first, self.ttl]);
        out.extend(octets(self.src));
        out.extend(octets(self.dst));
        out.extend(chain);
        out.extend(payload);
        out
    }
}
