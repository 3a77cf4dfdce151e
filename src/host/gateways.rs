//! Next hops of the routes to most of the world, in every routing table: default routes, and the parts of one that VPNs
//! and providers set instead of it.

use std::io;
use std::net::IpAddr;

use nix::sys::socket::SockProtocol;

use super::netlink::{Message, Netlink, address, aligned, attributes, u16_at};

/// `struct rtmsg`: family, lengths of destination and source, tos, table, protocol, scope, type, flags.
const RTMSG_BYTES: usize = 12;
/// `struct rtnexthop`: length, flags, hops, interface.
const NEXTHOP_BYTES: usize = 8;

const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const RTN_UNICAST: u8 = 1;
/// A route with a longer prefix goes to less than a sixteenth of all addresses, and is no default route. VPNs set halves
/// (0.0.0.0/1 and 128.0.0.0/1, ::/1 and 8000::/1) or smaller parts, and 2000::/3 is all that is assigned of IPv6.
const DEFAULT_BITS_MAX: u8 = 4;

/// Gateways of all routes whose prefix has at most four bits, sorted; all next hops of a multipath route.
///
/// Dumps every route, which takes about a second on a router with a full table.
///
/// # Errors
///
/// Those of rtnetlink.
///
/// Source: `linux/rtnetlink.h`.
pub fn gateways() -> io::Result<Vec<IpAddr>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute, 0, false)?;
    let mut all = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0; RTMSG_BYTES];
        body[0] = u8::try_from(family).expect("2 and 10");
        match netlink.dump(libc::RTM_GETROUTE, &body, next_hops) {
            Ok(found) => all.extend(found.into_iter().flatten()),
            // A host without IPv6.
            Err(error) if is_unsupported(&error) => {}
            Err(error) => return Err(error),
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(libc::EAFNOSUPPORT) || code == Some(libc::EOPNOTSUPP)
}

/// Next hops of an RTM_NEWROUTE; `None` unless it is a default route or a large part of one.
fn next_hops(message: Message<'_>) -> Option<Vec<IpAddr>> {
    let [_, destination_bits, _, _, _, _, _, kind] = *message.body.first_chunk::<8>()?;
    if message.kind != libc::RTM_NEWROUTE
        || destination_bits > DEFAULT_BITS_MAX
        || kind != RTN_UNICAST
    {
        return None;
    }
    let mut found = Vec::new();
    for (kind, value) in attributes(message.body.get(RTMSG_BYTES..)?) {
        if kind == RTA_MULTIPATH {
            each_hop(value, &mut found);
        } else {
            found.extend(gateway(kind, value));
        }
    }
    Some(found)
}

/// Gateways of an RTA_MULTIPATH. Ends at the first next hop whose length cannot be right.
fn each_hop(mut bytes: &[u8], found: &mut Vec<IpAddr>) {
    while let Some(length) = u16_at(bytes, 0).map(usize::from) {
        let Some(inside) = bytes.get(NEXTHOP_BYTES..length) else {
            return;
        };
        found.extend(attributes(inside).filter_map(|(kind, value)| gateway(kind, value)));
        bytes = bytes.get(aligned(length)..).unwrap_or(&[]);
    }
}

/// The address in RTA_GATEWAY, or in RTA_VIA (an IPv4 route through an IPv6 router), which starts with a family.
fn gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    match kind {
        RTA_GATEWAY => address(value),
        RTA_VIA => address(value.get(2..)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn hop(value: &[u8]) -> Vec<u8> {
        let inside = attribute(RTA_GATEWAY, value);
        let length = u16::try_from(NEXTHOP_BYTES + inside.len()).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.resize(NEXTHOP_BYTES, 0);
        [bytes, inside].concat()
    }

    fn route(bits: u8, kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![2, bits, 0, 0, 254, 3, 0, kind, 0, 0, 0, 0];
        body.extend(attributes.concat());
        body
    }

    fn hops(body: &[u8]) -> Option<Vec<String>> {
        let message = Message {
            kind: libc::RTM_NEWROUTE,
            flags: 0,
            sequence: 1,
            port: 0,
            body,
        };
        let found = next_hops(message)?;
        Some(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_routes_to_most_of_the_world_that_forward_have_gateways() {
        let one = attribute(RTA_GATEWAY, &[192, 0, 2, 1]);
        let default = route(0, RTN_UNICAST, std::slice::from_ref(&one));
        assert_eq!(hops(&default), Some(vec!["192.0.2.1".to_owned()]));
        // Halves, as VPNs set them, and 2000::/3.
        for bits in [1, 3, DEFAULT_BITS_MAX] {
            let part = route(bits, RTN_UNICAST, std::slice::from_ref(&one));
            assert_eq!(hops(&part), Some(vec!["192.0.2.1".to_owned()]), "/{bits}");
        }
        for bits in [DEFAULT_BITS_MAX + 1, 8, 24] {
            let net = route(bits, RTN_UNICAST, std::slice::from_ref(&one));
            assert_eq!(hops(&net), None, "/{bits}");
        }
        // RTN_BLACKHOLE
        assert_eq!(hops(&route(0, 6, &[one])), None);
        assert_eq!(hops(&route(0, RTN_UNICAST, &[])), Some(vec![]));
    }

    #[test]
    fn every_one_of_several_next_hops_counts_and_those_of_the_other_family() {
        let mut router = [0; 18];
        router[..2].copy_from_slice(&10_u16.to_ne_bytes());
        router[2..].copy_from_slice(&std::net::Ipv6Addr::LOCALHOST.octets());
        let several = [hop(&[192, 0, 2, 1]), hop(&[192, 0, 2, 2])].concat();
        let body = route(
            0,
            RTN_UNICAST,
            &[
                attribute(RTA_MULTIPATH, &several),
                attribute(RTA_VIA, &router),
            ],
        );
        let expected = ["192.0.2.1", "192.0.2.2", "::1"].map(str::to_owned);
        assert_eq!(hops(&body), Some(expected.to_vec()));
    }

    #[test]
    fn cut_messages_are_passed_over() {
        let several = [hop(&[192, 0, 2, 1]), hop(&[192, 0, 2, 2])].concat();
        let body = route(0, RTN_UNICAST, &[attribute(RTA_MULTIPATH, &several)]);
        for cut in 0..body.len() {
            assert!(
                hops(&body[..cut]).is_none_or(|found| found.is_empty()),
                "{cut}"
            );
        }
        for length in 0..8_u16 {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.resize(64, 0);
            each_hop(&bytes, &mut Vec::new());
        }
    }

    #[test]
    fn this_hosts_routes_can_be_read() {
        assert!(gateways().is_ok());
    }
}
