//! The class and hash that the kernel's program ([`crate::capture::bpf::fanout::kernel`]) computes, in user space.

use std::net::IpAddr;

use super::{Demux, EXTENSION, EXTENSIONS, HashKind, Keys, QUOTING, TCP_FLAGS, UPPER, mix};
use crate::capture::frame::{Class, Frame, LinkType};
use crate::capture::tunnels::Tunnels;

const TCP: u8 = 6;
const UDP: u8 = 17;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The class and the hash that the kernel's program gives this frame.
///
/// Exact if `frame.bytes` are the whole frame or at least its first [`crate::capture::bpf::fanout::DEPTH`] bytes. The tag in
/// `frame.vlan` is ignored: the program does not see it either.
#[inline]
#[must_use]
pub fn demux(keys: &Keys, frame: &Frame<'_>) -> Demux {
    if let Some(demux) = commonest(keys, frame) {
        return demux;
    }
    uncommon(keys, frame)
}

/// [`demux`] of all other frames. Out of line: the commonest frames save no register for it.
#[inline(never)]
fn uncommon(keys: &Keys, frame: &Frame<'_>) -> Demux {
    place::<false>(keys, frame, &Tunnels::NONE).unwrap_or(BEYOND)
}

/// The same of a program that opens tunnels ([`super::program_with`]): datagrams into one are placed by their addresses.
#[must_use]
pub fn demux_with(keys: &Keys, frame: &Frame<'_>, tunnels: &Tunnels) -> Demux {
    place::<true>(keys, frame, tunnels).unwrap_or(BEYOND)
}

/// [`place`] for the commonest frames, by fixed offsets: Ethernet, IPv4 without options, TCP, no fragment.
#[inline]
fn commonest(keys: &Keys, frame: &Frame<'_>) -> Option<Demux> {
    let head = frame.bytes.first_chunk::<48>()?;
    let be16 = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let be32 = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let plain = frame.link == LinkType::Ethernet
        && [head[12], head[13], head[14]] == [0x08, 0x00, 0x45]
        && head[23] == TCP
        && be16(20) & 0x3fff == 0;
    plain.then(|| Demux {
        class: class(head[47]),
        hash: hash(keys, &[be32(26)], &[be32(30)], Some((be16(34), be16(36)))),
        key: HashKind::Flow,
        is_in_depth: true,
    })
}

const UNHASHED_DATA: Demux = Demux {
    class: Class::Data,
    hash: 0,
    key: HashKind::None,
    is_in_depth: true,
};

/// A field lies beyond the captured bytes.
const BEYOND: Demux = Demux {
    is_in_depth: false,
    ..UNHASHED_DATA
};

/// `None` if a field lies beyond the captured bytes. `tunnels` are looked at if `OPENS`.
#[inline]
fn place<const OPENS: bool>(keys: &Keys, frame: &Frame<'_>, tunnels: &Tunnels) -> Option<Demux> {
    let bytes = frame.bytes;
    let (mut ethertype, mut at) = match frame.link {
        LinkType::Ethernet => (be16(bytes, 12)?, 14),
        LinkType::RawIp => (by_version(bytes, 0)?, 0),
        LinkType::LinuxSll => (be16(bytes, 14)?, 16),
        LinkType::LinuxSll2 => (be16(bytes, 0)?, 20),
        // The number of an address family depends on the system, the IP version does not.
        LinkType::Null | LinkType::Loop => (by_version(bytes, 4)?, 4),
        LinkType::Other(_) => return Some(UNHASHED_DATA),
    };
    for _ in 0..2 {
        if !matches!(ethertype, 0x8100 | 0x88a8 | 0x9100) {
            break;
        }
        ethertype = be16(bytes, at + 2)?;
        at += 4;
    }
    match ethertype {
        0x0800 => ipv4::<OPENS>(keys, bytes, at, tunnels),
        0x86dd => ipv6::<OPENS>(keys, bytes, at, tunnels),
        _ => Some(UNHASHED_DATA),
    }
}

#[inline]
fn by_version(bytes: &[u8], at: usize) -> Option<u16> {
    Some(match byte(bytes, at)? >> 4 {
        4 => 0x0800,
        6 => 0x86dd,
        _ => 0,
    })
}

/// Class, and the fields to hash.
struct HashedFields {
    class: Class,
    /// Offset of the source address; the destination follows it.
    addresses: usize,
    ports: Option<(u16, u16)>,
}

impl HashedFields {
    fn data(addresses: usize) -> Self {
        Self {
            class: Class::Data,
            addresses,
            ports: None,
        }
    }

    /// Of a datagram into a tunnel the addresses alone: its source port differs between the directions of what is inside.
    #[inline(always)]
    fn outside<const OPENS: bool>(self, protocol: u8, tunnels: &Tunnels) -> Self {
        let is_tunnel = |(_, to)| tunnels.by_port(to).is_some();
        match OPENS && protocol == UDP && self.ports.is_some_and(is_tunnel) {
            true => Self {
                ports: None,
                ..self
            },
            false => self,
        }
    }

    fn of(self, class: Class) -> Self {
        Self { class, ..self }
    }

    fn demux(&self, hash: u32) -> Demux {
        Demux {
            class: self.class,
            hash,
            key: match self.ports {
                Some(_) => HashKind::Flow,
                None => HashKind::Pair,
            },
            is_in_depth: true,
        }
    }
}

#[inline]
fn ipv4<const OPENS: bool>(
    keys: &Keys,
    bytes: &[u8],
    ip: usize,
    tunnels: &Tunnels,
) -> Option<Demux> {
    let first = byte(bytes, ip)?;
    let header = usize::from(first & 15) * 4;
    if first >> 4 != 4 || header < 20 {
        return Some(UNHASHED_DATA);
    }
    let pair = HashedFields::data(ip + 12);
    let protocol = byte(bytes, ip + 9)?;
    let fragment = be16(bytes, ip + 6)?;
    let found = match (fragment & 0x1fff, fragment & 0x2000 != 0) {
        (0, more) => {
            let room = match more {
                false => u32::MAX,
                true => u32::from(be16(bytes, ip + 2)?).wrapping_sub(u32::from(first & 15) * 4),
            };
            let at = ip + header;
            match protocol {
                TCP | UDP => {
                    let found = ports(bytes, at, protocol, room, pair)?;
                    found.outside::<OPENS>(protocol, tunnels)
                }
                1 => quote4(bytes, at, pair)?,
                _ => pair,
            }
        }
        (1, _) if protocol == TCP => pair.of(Class::Open),
        _ => pair,
    };
    let a = [be32(bytes, found.addresses)?];
    let b = [be32(bytes, found.addresses + 4)?];
    Some(found.demux(hash(keys, &a, &b, found.ports)))
}

#[inline]
fn ipv6<const OPENS: bool>(
    keys: &Keys,
    bytes: &[u8],
    ip: usize,
    tunnels: &Tunnels,
) -> Option<Demux> {
    if byte(bytes, ip)? >> 4 != 6 {
        return Some(UNHASHED_DATA);
    }
    let found = behind_extensions::<OPENS>(bytes, ip, HashedFields::data(ip + 8), tunnels)?;
    let a = be128(bytes, found.addresses)?;
    let b = be128(bytes, found.addresses + 16)?;
    Some(found.demux(hash(keys, &a, &b, found.ports)))
}

fn behind_extensions<const OPENS: bool>(
    bytes: &[u8],
    ip: usize,
    pair: HashedFields,
    tunnels: &Tunnels,
) -> Option<HashedFields> {
    let mut next = byte(bytes, ip + 6)?;
    let mut at = ip + 40;
    let mut more = false;
    for _ in 0..EXTENSIONS {
        match next {
            0 | 43 | 60 => {
                let length = byte(bytes, at + 1)?;
                if length > EXTENSION {
                    return Some(pair);
                }
                next = byte(bytes, at)?;
                at += (usize::from(length) + 1) * 8;
            }
            44 => {
                let fragment = be16(bytes, at + 2)?;
                next = match fragment >> 3 {
                    0 => byte(bytes, at)?,
                    1 if byte(bytes, at)? == TCP => return Some(pair.of(Class::Open)),
                    _ => return Some(pair),
                };
                more |= fragment & 1 != 0;
                at += 8;
            }
            _ => break,
        }
    }
    let headers_len = u32::try_from(at - ip).ok()?;
    if headers_len > UPPER {
        return Some(pair);
    }
    let room = match more {
        false => u32::MAX,
        true => (u32::from(be16(bytes, ip + 4)?) + 40).wrapping_sub(headers_len),
    };
    match next {
        TCP | UDP => {
            let found = ports(bytes, at, next, room, pair)?;
            Some(found.outside::<OPENS>(next, tunnels))
        }
        58 => quote6(bytes, at, headers_len, pair),
        _ => Some(pair),
    }
}

/// TCP or UDP at `at`; `room` bytes of it are in this fragment.
#[inline]
fn ports(
    bytes: &[u8],
    at: usize,
    protocol: u8,
    room: u32,
    pair: HashedFields,
) -> Option<HashedFields> {
    let class = match protocol {
        TCP if room < TCP_FLAGS => return Some(pair.of(Class::Open)),
        TCP => class(byte(bytes, at + 13)?),
        _ if room < 4 => return Some(pair),
        _ => Class::Data,
    };
    Some(HashedFields {
        class,
        ports: Some((be16(bytes, at)?, be16(bytes, at + 2)?)),
        ..pair
    })
}

/// The class of a TCP segment with these flags.
#[inline]
fn class(flags: u8) -> Class {
    const CLASSES: [Class; 32] = {
        let (mut classes, mut flags) = ([Class::Data; 32], 0);
        while flags < 32 {
            classes[flags as usize] = class_of(flags);
            flags += 1;
        }
        classes
    };
    CLASSES[usize::from(flags) % 32]
}

const fn class_of(flags: u8) -> Class {
    let is_reset = flags & RST != 0;
    match (flags & SYN != 0, flags & ACK != 0) {
        (true, true) => Class::Control,
        (true, false) => Class::Open,
        _ if is_reset => Class::Control,
        (false, false) => Class::Open,
        (false, true) if flags & FIN != 0 => Class::Control,
        (false, true) => Class::Data,
    }
}

/// ICMP at `at`: an error goes to the worker of the packet it quotes.
fn quote4(bytes: &[u8], at: usize, pair: HashedFields) -> Option<HashedFields> {
    if !matches!(byte(bytes, at)?, 3 | 4 | 5 | 11 | 12) {
        return Some(pair);
    }
    let outer = pair.of(Class::Control);
    let room = bytes.len() - at;
    if room < 28 {
        return Some(outer);
    }
    let ip = at + 8;
    let first = byte(bytes, ip)?;
    let header = usize::from(first & 15) * 4;
    if first >> 4 != 4 || header < 20 {
        return Some(outer);
    }
    let whole = be16(bytes, ip + 6)? & 0x1fff == 0;
    let ports = match byte(bytes, ip + 9)? {
        TCP | UDP if whole && header + 12 > room => return Some(outer),
        TCP | UDP if whole => Some((be16(bytes, ip + header)?, be16(bytes, ip + header + 2)?)),
        _ => None,
    };
    Some(HashedFields {
        class: Class::Control,
        addresses: ip + 12,
        ports,
    })
}

/// ICMPv6 at `at`, `headers_len` bytes after the start of its IPv6 header.
fn quote6(bytes: &[u8], at: usize, headers_len: u32, pair: HashedFields) -> Option<HashedFields> {
    if !matches!(byte(bytes, at)?, 1..=4) {
        return Some(pair);
    }
    let outer = pair.of(Class::Control);
    let room = bytes.len() - at;
    if headers_len > QUOTING || room < 48 {
        return Some(outer);
    }
    let ip = at + 8;
    if byte(bytes, ip)? >> 4 != 6 {
        return Some(outer);
    }
    let ports = match byte(bytes, ip + 6)? {
        TCP | UDP if room < 52 => return Some(outer),
        TCP | UDP => Some((be16(bytes, ip + 40)?, be16(bytes, ip + 42)?)),
        _ => None,
    };
    Some(HashedFields {
        class: Class::Control,
        addresses: ip + 8,
        ports,
    })
}

#[inline]
fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

#[inline]
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..at + 2)?.first_chunk()?))
}

#[inline]
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..at + 4)?.first_chunk()?))
}

#[inline]
fn be128(bytes: &[u8], at: usize) -> Option<[u32; 4]> {
    Some(words(bytes.get(at..at + 16)?.first_chunk()?))
}

#[inline]
fn words(address: &[u8; 16]) -> [u32; 4] {
    let mut out = [0; 4];
    for (word, bytes) in out.iter_mut().zip(address.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    out
}

/// The hash of one end: its port and each word of its address.
#[inline]
fn end(keys: &Keys, address: &[u32], port: u16) -> u32 {
    let port = u32::from(port).wrapping_mul(keys.port);
    let mut sum = port.wrapping_add(keys.start);
    for (i, word) in address.iter().enumerate() {
        let high = word.wrapping_mul(keys.word[i]) >> 16;
        sum = sum.wrapping_add(high.wrapping_mul(keys.fold[i]));
    }
    sum | 1
}

#[inline]
fn hash(keys: &Keys, a: &[u32], b: &[u32], ports: Option<(u16, u16)>) -> u32 {
    let (from, to) = ports.unwrap_or_default();
    let product = end(keys, a, from).wrapping_mul(end(keys, b, to));
    mix(product).wrapping_mul(keys.last)
}

/// The hash of a flow, the same in both directions. Both addresses must be of one family.
#[inline]
#[must_use]
pub fn flow_hash(keys: &Keys, src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16) -> u32 {
    let ports = Some((src_port, dst_port));
    match (src, dst) {
        (IpAddr::V4(a), IpAddr::V4(b)) => hash(keys, &[a.to_bits()], &[b.to_bits()], ports),
        (a, b) => {
            let six = |ip| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => v6.octets(),
            };
            hash(keys, &words(&six(a)), &words(&six(b)), ports)
        }
    }
}

/// [`demux`] of a decoded TCP segment, or a UDP datagram (no `flags`), that is no fragment and whose headers the program
/// follows, between IPv6 addresses or not.
#[inline]
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    reason = "an IPv4 address is the lower bits"
)]
pub fn whole(
    keys: &Keys,
    (v6, src, dst): (bool, u128, u128),
    ports: (u16, u16),
    flags: Option<u8>,
) -> Demux {
    let ports = Some(ports);
    let hash = match v6 {
        false => hash(keys, &[src as u32], &[dst as u32], ports),
        true => {
            let [src, dst] = [src, dst].map(|address| words(&address.to_be_bytes()));
            hash(keys, &src, &dst, ports)
        }
    };
    Demux {
        class: flags.map_or(Class::Data, class),
        hash,
        key: HashKind::Flow,
        is_in_depth: true,
    }
}

/// The hash of two addresses: fragments, and protocols without ports.
#[must_use]
pub fn pair_hash(keys: &Keys, a: IpAddr, b: IpAddr) -> u32 {
    flow_hash(keys, a, b, 0, 0)
}
