//! Addresses and ports as numbers.

use super::{net::proto, vlan};
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of [`Key::kind`].
const V6: u32 = 1;
const JOINED: u32 = 1 << 1;
const TAGGED: u32 = 1 << 2;

/// Addresses, ports and protocol of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Key {
    /// Sender; an IPv4 address lies in the low 32 bits.
    pub src: u128,
    /// Receiver.
    pub dst: u128,
    /// Sender's port above the receiver's.
    pub(crate) ports: u32,
    /// What is the same in both directions, but for tags: see [`Key::kind`].
    kind: u32,
    /// VLAN identifiers with `--key vlan`, marked as such, else 0.
    tags: u32,
}

impl Ord for Key {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        let ends = |key: &Self| (key.src, key.dst, key.ports);
        let rest = |key: &Self| (key.proto(), key.id(), key.joined(), key.tags);
        (self.v6().cmp(&other.v6()))
            .then_with(|| ends(self).cmp(&ends(other)))
            .then_with(|| rest(self).cmp(&rest(other)))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An address as a number: [`IpAddr`] costs a branch and a change of byte order at each reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Address {
    /// It is IPv6.
    pub v6: bool,
    /// IPv4 in the low 32 bits.
    pub bits: u128,
}

impl Address {
    #[inline]
    pub(crate) fn new(v6: bool, bits: u128) -> Self {
        Self { v6, bits }
    }
}

impl From<IpAddr> for Address {
    #[inline]
    fn from(addr: IpAddr) -> Self {
        let bits = match addr {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let v6 = addr.is_ipv6();
        Self { v6, bits }
    }
}

impl From<Address> for IpAddr {
    #[inline]
    fn from(Address { v6, bits }: Address) -> Self {
        match v6 {
            true => Self::V6(Ipv6Addr::from_bits(bits)),
            false => Self::V4(Ipv4Addr::from_bits(word(bits))),
        }
    }
}

impl Key {
    /// The key of a packet without an ICMP identifier.
    pub fn new(src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16, proto: u8) -> Self {
        let v6 = src.is_ipv6() || dst.is_ipv6();
        let ends = (Address::from(src).bits, Address::from(dst).bits);
        Self {
            ports: u32::from(src_port) << 16 | u32::from(dst_port),
            ..Self::between(v6, ends, proto)
        }
    }

    /// The key of a packet between two addresses, sender first, without ports.
    #[inline(always)]
    pub fn between(v6: bool, (src, dst): (u128, u128), proto: u8) -> Self {
        Self {
            src,
            dst,
            ports: 0,
            kind: u32::from(proto) << 8 | u32::from(v6),
            tags: 0,
        }
    }

    /// The key of a TCP segment without ports, from addresses as they stand in a header, sender above receiver.
    #[inline(always)]
    pub(crate) fn v4_segment(ends: u64) -> Self {
        let ends = (u128::from(ends >> 32), u128::from(ends & 0xffff_ffff));
        Self::between(false, ends, proto::TCP)
    }

    /// The same with the identifier of an ICMP echo.
    pub fn with_id(self, id: u16) -> Self {
        let kind = self.kind & 0xffff | u32::from(id) << 16;
        Self { kind, ..self }
    }

    /// The same, read from joined fragments or not.
    pub fn with_joined(self, joined: bool) -> Self {
        let kind = self.kind & !JOINED | if joined { JOINED } else { 0 };
        Self { kind, ..self }
    }

    /// The same under these tags.
    pub fn with_tags(self, tags: u32) -> Self {
        let kind = self.kind & !TAGGED | if tags == 0 { 0 } else { TAGGED };
        Self { kind, tags, ..self }
    }

    /// The addresses are IPv6.
    #[inline(always)]
    pub fn v6(&self) -> bool {
        self.kind & V6 != 0
    }

    /// IP protocol number.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub fn proto(&self) -> u8 {
        (self.kind >> 8) as u8
    }

    /// Identifier of an ICMP echo, else 0.
    pub fn id(&self) -> u16 {
        (self.kind >> 16) as u16
    }

    /// Read from joined fragments. Matches only other joined keys.
    #[inline(always)]
    pub fn joined(&self) -> bool {
        self.kind & JOINED != 0
    }

    /// VLAN identifiers with `--key vlan`, marked as such, else 0.
    #[inline(always)]
    pub fn tags(&self) -> u32 {
        self.tags
    }

    /// The key of the other direction.
    pub fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            ports: self.ports.rotate_left(16),
            ..*self
        }
    }

    /// The sender's address.
    #[inline]
    pub fn src(&self) -> Address {
        Address::new(self.v6(), self.src)
    }

    /// The receiver's address.
    #[inline]
    pub fn dst(&self) -> Address {
        Address::new(self.v6(), self.dst)
    }

    /// Addresses, sender above receiver; of IPv6 their lower 32 bits.
    #[inline(always)]
    pub(crate) fn ends(&self) -> u64 {
        u64::from(word(self.src)) << 32 | u64::from(word(self.dst))
    }

    /// Sender's port.
    #[inline(always)]
    pub fn src_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }

    /// Receiver's port.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a part of a word")]
    pub fn dst_port(&self) -> u16 {
        self.ports as u16
    }

    /// Identifier of an ICMP echo, protocol, and whether there are tags, fragments were joined, addresses are IPv6.
    #[inline(always)]
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }

    /// Of a [`Key::kind`]: whether [`Key::ends`] and the ports are all that is left of the key.
    #[inline(always)]
    pub(crate) fn is_short(kind: u32) -> bool {
        kind & (V6 | TAGGED) == 0
    }

    /// Whether it is that of a TCP segment which has just these bits of a [`Key::kind`], tags aside.
    #[inline(always)]
    pub(crate) fn is_segment_of(&self, bits: u32) -> bool {
        self.kind & !TAGGED == u32::from(proto::TCP) << 8 | bits
    }

    /// The key of these parts, see [`Key::kind`], and of a word that may hold tags.
    pub(crate) fn of_parts(src: u128, dst: u128, (ports, kind): (u32, u32), vlan: u32) -> Self {
        Self {
            src,
            dst,
            ports,
            kind,
            tags: vlan::key_of(vlan),
        }
    }

    /// Equal for both directions.
    pub fn canonical(&self) -> Self {
        if (self.src, self.src_port()) <= (self.dst, self.dst_port()) {
            *self
        } else {
            self.reversed()
        }
    }
}

/// An IPv4 address, or the lower 32 bits of an IPv6 address.
#[allow(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
pub(crate) fn word(address: u128) -> u32 {
    address as u32
}
