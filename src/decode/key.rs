//! Addresses and ports as numbers.

use super::vlan;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of [`Key::kind`].
const V6: u32 = 1;
const JOINED: u32 = 1 << 1;
const TAGGED: u32 = 1 << 2;

/// Addresses, ports and protocol of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The addresses are IPv6.
    pub v6: bool,
    /// Sender; an IPv4 address lies in the low 32 bits.
    pub src: u128,
    /// Receiver.
    pub dst: u128,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Identifier of an ICMP echo, else 0.
    pub id: u16,
    /// Read from joined fragments. Matches only other joined keys.
    pub joined: bool,
    /// VLAN identifiers with `--key vlan`, as [`vlan::pack_key`] gives them, else 0.
    pub tags: u32,
}

/// An address as a number: [`IpAddr`] costs a branch and a change of byte order at each reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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
        Self {
            v6: src.is_ipv6() || dst.is_ipv6(),
            src: Address::from(src).bits,
            dst: Address::from(dst).bits,
            src_port,
            dst_port,
            proto,
            ..Self::default()
        }
    }

    /// The key of the other direction.
    pub fn reversed(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ..*self
        }
    }

    /// The sender's address.
    #[inline]
    pub fn src(&self) -> Address {
        Address::new(self.v6, self.src)
    }

    /// The receiver's address.
    #[inline]
    pub fn dst(&self) -> Address {
        Address::new(self.v6, self.dst)
    }

    /// Addresses, sender above receiver; of IPv6 their lower 32 bits.
    #[inline(always)]
    pub(crate) fn ends(&self) -> u64 {
        u64::from(word(self.src)) << 32 | u64::from(word(self.dst))
    }

    /// Ports, sender above receiver.
    #[inline(always)]
    pub(crate) fn ports(&self) -> u32 {
        u32::from(self.src_port) << 16 | u32::from(self.dst_port)
    }

    /// What is the same in both directions.
    #[inline(always)]
    pub(crate) fn kind(&self) -> u32 {
        u32::from(self.id) << 16
            | u32::from(self.proto) << 8
            | u32::from(self.tags != 0) << 2
            | u32::from(self.joined) << 1
            | u32::from(self.v6)
    }

    /// Of a [`Key::kind`]: whether [`Key::ends`] and [`Key::ports`] are all that is left of the key.
    #[inline(always)]
    pub(crate) fn is_short(kind: u32) -> bool {
        kind & (V6 | TAGGED) == 0
    }

    /// The key of these parts, see [`Key::ports`] and [`Key::kind`], and of a word that may hold tags.
    #[allow(clippy::cast_possible_truncation, reason = "parts of a word")]
    pub(crate) fn of_parts(src: u128, dst: u128, (ports, kind): (u32, u32), vlan: u32) -> Self {
        Self {
            v6: kind & V6 != 0,
            src,
            dst,
            src_port: (ports >> 16) as u16,
            dst_port: ports as u16,
            proto: (kind >> 8) as u8,
            id: (kind >> 16) as u16,
            joined: kind & JOINED != 0,
            tags: vlan::key_of(vlan),
        }
    }

    /// Equal for both directions.
    pub fn canonical(&self) -> Self {
        if (self.src, self.src_port) <= (self.dst, self.dst_port) {
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
