//! Addresses that the helper never blocks, whatever it is told.
//!
//! The policy has its own, longer list. This one holds even against a sensor that an attacker has taken over.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The shortest IPv4 prefix that can be blocked.
pub const V4_PREFIX_MIN: u8 = 16;
/// The shortest IPv6 prefix that can be blocked.
pub const V6_PREFIX_MIN: u8 = 32;

/// This network, loopback, link-local, multicast, reserved and broadcast.
const NEVER_V4: [Ipv4Net; 5] = [
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
    Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// Unspecified, loopback and IPv4-compatible; IPv4-mapped; link-local, without which no neighbour is found; multicast.
const NEVER_V6: [Ipv6Net; 4] = [
    Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 96),
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Whether `net` must not be blocked; `own`: the addresses of this host, and the broadcast addresses of its
/// networks.
pub fn is_protected(net: IpNet, own: &[IpAddr]) -> bool {
    let never = match net {
        IpNet::V4(net) => {
            let overlaps = |other: &Ipv4Net| other.contains(&net) || net.contains(other);
            net.prefix_len() < V4_PREFIX_MIN || NEVER_V4.iter().any(overlaps)
        }
        IpNet::V6(net) => {
            let overlaps = |other: &Ipv6Net| other.contains(&net) || net.contains(other);
            net.prefix_len() < V6_PREFIX_MIN || NEVER_V6.iter().any(overlaps)
        }
    };
    never || own.iter().any(|address| net.contains(address))
}
