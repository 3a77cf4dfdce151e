//! Which set of the table holds an address or prefix.

use ipnet::IpNet;
use std::net::IpAddr;

/// Start of the names of all sets.
const NAME: &str = "blocked";

/// A set: addresses of one family, all with prefixes of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SetKey {
    /// IPv4 prefixes of this length; 32: hosts.
    V4(u8),
    /// IPv6 prefixes of this length; 128: hosts.
    V6(u8),
}

impl SetKey {
    /// The sets of hosts. Every table has them; those of prefixes come with the first prefix of their length.
    pub const HOSTS: [Self; 2] = [Self::V4(32), Self::V6(128)];

    /// The set that holds `net`.
    pub fn of(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self::V4(net.prefix_len()),
            IpNet::V6(net) => Self::V6(net.prefix_len()),
        }
    }

    /// `blocked4` and `blocked6` for hosts, `blocked4_24` or `blocked6_64` for prefixes.
    pub fn name(self) -> String {
        match self {
            Self::V4(32) => format!("{NAME}4"),
            Self::V6(128) => format!("{NAME}6"),
            Self::V4(bits) => format!("{NAME}4_{bits}"),
            Self::V6(bits) => format!("{NAME}6_{bits}"),
        }
    }

    /// The set of this name; `None` if no set of ours has such a name.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(NAME)?;
        let (family, bits) = rest.split_once('_').unwrap_or((rest, ""));
        let key = match (family, bits) {
            ("4", "") => Self::V4(32),
            ("6", "") => Self::V6(128),
            ("4", bits) => Self::V4(bits.parse().ok().filter(|&bits| bits < 32)?),
            ("6", bits) => Self::V6(bits.parse().ok().filter(|&bits| bits < 128)?),
            _ => return None,
        };
        (key.name() == name).then_some(key)
    }

    /// Bytes of an address.
    pub fn address_bytes(self) -> usize {
        match self {
            Self::V4(_) => 4,
            Self::V6(_) => 16,
        }
    }

    /// The mask of its prefixes in network byte order; `None` for hosts.
    pub fn mask(self) -> Option<Vec<u8>> {
        let (bits, length) = match self {
            Self::V4(bits) => (bits, 4),
            Self::V6(bits) => (bits, 16),
        };
        if usize::from(bits) >= length * 8 {
            return None;
        }
        let mut mask = vec![0; length];
        for bit in 0..usize::from(bits) {
            mask[bit / 8] |= 0x80 >> (bit % 8);
        }
        Some(mask)
    }

    /// The element of this set with these bytes in network byte order.
    pub fn net(self, address: &[u8]) -> Option<IpNet> {
        let (address, bits) = match self {
            Self::V4(bits) => (IpAddr::from(<[u8; 4]>::try_from(address).ok()?), bits),
            Self::V6(bits) => (IpAddr::from(<[u8; 16]>::try_from(address).ok()?), bits),
        };
        IpNet::new(address, bits).ok()
    }
}

/// The first address of `net` in network byte order.
pub fn key_bytes(net: IpNet) -> Vec<u8> {
    match net.network() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_found_again_by_its_name_and_by_no_other() {
        let v4 = (0..=32).map(SetKey::V4);
        for key in v4.chain((0..=128).map(SetKey::V6)) {
            assert_eq!(SetKey::parse(&key.name()), Some(key));
        }
        for other in [
            "blocked",
            "blocked5",
            "blocked4_",
            "blocked4_32",
            "blocked4_024",
            "blocked6_129",
            "blocked6_+9",
            "scanners4",
        ] {
            assert_eq!(SetKey::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_masked_address_is_the_prefix_that_it_is_in() {
        for (net, inside) in [
            ("192.0.2.0/24", "192.0.2.255"),
            ("192.0.2.128/25", "192.0.2.200"),
            ("2001:db8:0:1::/64", "2001:db8::1:ffff:0:0:1"),
            ("2001:db8::/47", "2001:db8:1:ffff::"),
        ] {
            let net: IpNet = net.parse().expect("a network");
            let inside: IpAddr = inside.parse().expect("an address");
            let key = SetKey::of(net);
            let mask = key.mask().expect("a prefix");
            let bytes = key_bytes(IpNet::from(inside));
            let masked: Vec<u8> = bytes.iter().zip(&mask).map(|(a, b)| a & b).collect();
            assert_eq!(masked, key_bytes(net), "{net}");
            assert_eq!(key.net(&masked), Some(net));
        }
        assert_eq!(SetKey::V4(32).mask(), None);
        assert_eq!(SetKey::V6(128).mask(), None);
    }
}
