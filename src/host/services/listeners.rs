//! Listening TCP sockets and bound, unconnected UDP sockets, from `NETLINK_SOCK_DIAG`.

use super::{Bound, LISTENERS_MAX, TCP, UDP};
use crate::host::netlink::{self, Message, Netlink};
use crate::host::open_sockets::{CLOSE, LISTEN, SOCK_DIAG_BY_FAMILY, request};
use nix::sys::socket::SockProtocol;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

/// Bytes of `struct inet_diag_msg`; attributes follow.
const MESSAGE_BYTES: usize = 72;
/// `INET_DIAG_SKV6ONLY`: u8, of IPv6 sockets that listen or are closed.
const V6ONLY: u16 = 11;
/// `INET_DIAG_CGROUP_ID`: u64, since Linux 5.8.
const CGROUP_ID: u16 = 21;

/// A socket that waits for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Socket {
    pub proto: u8,
    pub bound: Bound,
    pub port: u16,
    /// The socket's inode; 0: none.
    pub inode: u32,
    /// The inode of the cgroup it was made in.
    pub cgroup: Option<u64>,
}

/// The sockets of the calling thread's namespace, at most [`LISTENERS_MAX`], TCP first.
///
/// # Errors
///
/// Those of `socket`, `send` and `recvmsg`, and the kernel's answer.
pub(super) fn sockets() -> io::Result<Vec<Socket>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkSockDiag, 0, false)?;
    let mut found = Vec::new();
    for (proto, state) in [(TCP, LISTEN), (UDP, CLOSE)] {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let body = request(family, proto, 1 << state);
            let room = LISTENERS_MAX - found.len();
            let parse = |message: Message<'_>| socket(message, proto);
            match netlink.dump_at_most(room, SOCK_DIAG_BY_FAMILY, &body, parse) {
                Ok(more) => found.extend(more),
                // A kernel without IPv6 or without udp_diag.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Reads `struct inet_diag_msg` and its attributes: family, state, timer, retrans; from byte 4 `inet_diag_sockid`
/// (ports, addresses, interface, cookie: 48 bytes), then expires, queues, uid, and from byte 68 the inode.
///
/// Source: `inet_sk_diag_fill` and `inet_diag_msg_attrs_fill` (net/ipv4/inet_diag.c).
pub(super) fn socket(message: Message<'_>, proto: u8) -> Option<Socket> {
    let body = message.body;
    if message.kind != SOCK_DIAG_BY_FAMILY || body.len() < MESSAGE_BYTES {
        return None;
    }
    let family = i32::from(body[0]);
    let address = match family {
        libc::AF_INET => netlink::address(&body[8..12])?,
        libc::AF_INET6 => netlink::address(&body[8..24])?,
        _ => return None,
    };
    let port = u16::from_be_bytes(*body[4..].first_chunk()?);
    let remote_port = u16::from_be_bytes(*body[6..].first_chunk()?);
    let inode = u32::from_ne_bytes(*body[68..].first_chunk()?);
    let (mut v6only, mut cgroup) = (false, None);
    for (kind, value) in netlink::attributes(&body[MESSAGE_BYTES..]) {
        match kind {
            V6ONLY => v6only = value.first().is_some_and(|&flag| flag != 0),
            CGROUP_ID => cgroup = value.first_chunk().copied().map(u64::from_ne_bytes),
            _ => {}
        }
    }
    let bound = bound(address, v6only);
    (port != 0 && remote_port == 0).then_some(Socket {
        proto,
        bound,
        port,
        inode,
        cgroup,
    })
}

fn bound(address: IpAddr, v6only: bool) -> Bound {
    match address {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if v6only => Bound::AnyV6,
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Bound::Any,
        address => match address.to_canonical() {
            address if address.is_unspecified() => Bound::AnyV4,
            address => Bound::Address(address),
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message as the kernel writes it: `family` 4 or 6, address, port, inode, attributes.
    pub fn body(address: IpAddr, port: u16, inode: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![0; MESSAGE_BYTES];
        body[4..6].copy_from_slice(&port.to_be_bytes());
        body[68..72].copy_from_slice(&inode.to_ne_bytes());
        match address {
            IpAddr::V4(address) => {
                body[0] = 2;
                body[8..12].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                body[0] = 10;
                body[8..24].copy_from_slice(&address.octets());
            }
        }
        for (kind, value) in attributes {
            let length = u16::try_from(4 + value.len()).expect("short");
            body.extend(length.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body
    }

    fn read(body: &[u8]) -> Option<Socket> {
        let message = Message {
            kind: SOCK_DIAG_BY_FAMILY,
            flags: 0,
            sequence: 0,
            port: 0,
            body,
        };
        socket(message, TCP)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn wildcards_of_both_families_and_v6_only_sockets_are_told_apart() {
        let of = |address, v6only| {
            let body = body(ip(address), 80, 1, &[(V6ONLY, &[v6only])]);
            read(&body).expect("a socket").bound
        };
        assert_eq!(of("0.0.0.0", 0), Bound::AnyV4);
        assert_eq!(of("::", 0), Bound::Any);
        assert_eq!(of("::", 1), Bound::AnyV6);
        assert_eq!(of("::ffff:0.0.0.0", 0), Bound::AnyV4);
        let mapped = Bound::Address(ip("192.0.2.1"));
        assert_eq!(of("::ffff:192.0.2.1", 0), mapped);
        assert_eq!(of("192.0.2.1", 0), mapped);
        assert_eq!(of("2001:db8::1", 1), Bound::Address(ip("2001:db8::1")));
    }

    #[test]
    fn cgroup_and_inode_are_read_wherever_the_attribute_is() {
        let id = 0x1_0000_0007_u64;
        let attributes: [(u16, &[u8]); 3] =
            [(8, &[0]), (CGROUP_ID, &id.to_ne_bytes()), (V6ONLY, &[1])];
        let found = read(&body(ip("::"), 443, 77, &attributes)).expect("a socket");
        assert_eq!((found.port, found.inode, found.cgroup), (443, 77, Some(id)));
        assert_eq!(found.bound, Bound::AnyV6);
    }

    #[test]
    fn a_short_message_is_no_socket_and_lying_lengths_end_the_attributes() {
        let id = 7_u64.to_ne_bytes();
        let whole = body(ip("192.0.2.1"), 80, 1, &[(CGROUP_ID, &id)]);
        for cut in 0..MESSAGE_BYTES {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
        }
        for cut in MESSAGE_BYTES..whole.len() {
            let found = read(&whole[..cut]).expect("a socket");
            assert_eq!(found.cgroup, None, "cut at {cut}");
        }
        for length in [0_u16, 1, 3, 11, 13, u16::MAX] {
            let mut lying = whole.clone();
            lying[MESSAGE_BYTES..MESSAGE_BYTES + 2].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(read(&lying).expect("a socket").cgroup, None, "{length}");
        }
    }

    #[test]
    fn a_connected_socket_one_without_a_port_and_another_family_are_none() {
        let whole = body(ip("192.0.2.1"), 80, 1, &[]);
        assert!(read(&whole).is_some());
        let changed = |at: usize, to: u8| {
            let mut changed = whole.clone();
            changed[at] = to;
            read(&changed)
        };
        assert_eq!(changed(7, 9), None, "a remote port");
        assert_eq!(changed(0, 1), None, "AF_UNIX");
        assert_eq!(read(&body(ip("192.0.2.1"), 0, 1, &[])), None);
        let other = Message {
            kind: 2,
            flags: 0,
            sequence: 0,
            port: 0,
            body: &whole,
        };
        assert_eq!(socket(other, TCP), None);
    }
}
