//! The list of interfaces, from rtnetlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use nix::sys::socket::SockProtocol;

use super::{Interface, NicCounters, link_type};
use crate::host::netlink::{self, Message, Netlink, attributes, u16_at, u32_at, u64_at};
use crate::words::until_zero;

/// `struct ifinfomsg`: family, pad, type (u16), index, flags, change.
pub(super) const IFINFO_BYTES: usize = 16;
/// `struct ifaddrmsg`: family, prefix length, flags, scope, index.
const IFADDR_BYTES: usize = 8;

const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_STATS64: u16 = 23;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_RUNNING: u32 = 0x40;

/// Every interface of the calling thread's namespace, by ifindex.
///
/// # Errors
///
/// Those of rtnetlink.
pub fn list() -> io::Result<Vec<Interface>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute, 0, false)?;
    let mut links = netlink.dump(libc::RTM_GETLINK, &[0; IFINFO_BYTES], link)?;
    let addresses = netlink.dump(libc::RTM_GETADDR, &[0; IFADDR_BYTES], address)?;
    links.sort_by_key(|interface| interface.ifindex);
    for (ifindex, net) in addresses {
        let owner = links.iter_mut().find(|link| link.ifindex == ifindex);
        if let Some(owner) = owner.filter(|owner| !owner.addresses.contains(&net)) {
            owner.addresses.push(net);
        }
    }
    Ok(links)
}

/// Every address of the namespace of `netlink`, also IPv6 ones that are new: their notification comes later.
///
/// # Errors
///
/// Those of rtnetlink.
pub fn addresses(netlink: &mut Netlink) -> io::Result<Vec<IpAddr>> {
    let found = netlink.dump(libc::RTM_GETADDR, &[0; IFADDR_BYTES], address)?;
    Ok(found.into_iter().map(|(_, net)| net.addr()).collect())
}

/// The broadcast addresses of all networks of interfaces: the one that is set, and the last address of each network with
/// more than two.
///
/// # Errors
///
/// Those of rtnetlink.
pub fn broadcasts(netlink: &mut Netlink) -> io::Result<Vec<IpAddr>> {
    let found = netlink.dump(libc::RTM_GETADDR, &[0; IFADDR_BYTES], |message| {
        Some(broadcasts_of(message))
    })?;
    Ok(found.into_iter().flatten().map(IpAddr::V4).collect())
}

/// Those of an RTM_NEWADDR.
fn broadcasts_of(message: Message<'_>) -> Vec<Ipv4Addr> {
    let Some((_, IpNet::V4(net))) = address(message) else {
        return Vec::new();
    };
    // Networks of two addresses and of one have none (RFC 3021).
    let last = (net.prefix_len() < 31).then(|| net.broadcast());
    let all = attributes(message.body.get(IFADDR_BYTES..).unwrap_or_default());
    let set = all.filter(|(kind, _)| *kind == IFA_BROADCAST);
    let set = set.filter_map(|(_, value)| match netlink::address(value)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    set.chain(last).collect()
}

/// Counters of one interface since it exists; `None` if it is gone.
///
/// # Errors
///
/// Those of rtnetlink, but ENODEV.
pub fn statistics(netlink: &mut Netlink, ifindex: u32) -> io::Result<Option<NicCounters>> {
    let mut body = [0; IFINFO_BYTES];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    match netlink.get(libc::RTM_GETLINK, &body, link) {
        Ok(found) => Ok(found.map(|interface| interface.counters)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an RTM_NEWLINK or RTM_DELLINK. `None` for messages about a bridge's ports: they have another address
/// family and do not describe the device.
pub(super) fn link(message: Message<'_>) -> Option<Interface> {
    let is_link = matches!(message.kind, libc::RTM_NEWLINK | libc::RTM_DELLINK);
    let family = *message.body.first()?;
    if !is_link || i32::from(family) != libc::AF_UNSPEC {
        return None;
    }
    let arphrd = u16_at(message.body, 2)?;
    let flags = u32_at(message.body, 8)?;
    let mut found = Interface {
        name: String::new(),
        ifindex: u32_at(message.body, 4)?,
        arphrd,
        link: link_type(arphrd),
        up: flags & IFF_UP != 0,
        running: flags & IFF_RUNNING != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        mtu: 0,
        rx_queues: 1,
        addresses: Vec::new(),
        counters: NicCounters::default(),
    };
    for (kind, value) in attributes(message.body.get(IFINFO_BYTES..)?) {
        match kind {
            IFLA_IFNAME => found.name = until_zero(value),
            IFLA_MTU => found.mtu = u32_at(value, 0)?,
            IFLA_NUM_RX_QUEUES => found.rx_queues = u32_at(value, 0)?,
            IFLA_STATS64 => found.counters = counters(value),
            _ => {}
        }
    }
    (!found.name.is_empty()).then_some(found)
}

/// Reads an RTM_NEWADDR or RTM_DELADDR: ifindex and address.
pub(super) fn address(message: Message<'_>) -> Option<(u32, IpNet)> {
    if !matches!(message.kind, libc::RTM_NEWADDR | libc::RTM_DELADDR) {
        return None;
    }
    let prefix = *message.body.get(1)?;
    let ifindex = u32_at(message.body, 4)?;
    let mut local = None;
    for (kind, value) in attributes(message.body.get(IFADDR_BYTES..)?) {
        // On a point-to-point link IFA_ADDRESS is the remote end; IFA_LOCAL is always the host's.
        match kind {
            IFA_LOCAL => local = netlink::address(value),
            IFA_ADDRESS if local.is_none() => local = netlink::address(value),
            _ => {}
        }
    }
    Some((ifindex, IpNet::new(local?, prefix).ok()?))
}

/// Reads `struct rtnl_link_stats64`. Fields that an old kernel lacks stay 0.
fn counters(value: &[u8]) -> NicCounters {
    let word = |index: usize| u64_at(value, index * 8).unwrap_or(0);
    NicCounters {
        rx_packets: word(0),
        tx_packets: word(1),
        rx_dropped: word(6),
        tx_dropped: word(7),
        rx_over_errors: word(11),
        rx_fifo_errors: word(14),
        rx_missed_errors: word(15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::frame::LinkType;

    #[test]
    fn the_loopback_device_is_listed_as_it_is() {
        let all = list().expect("rtnetlink answers anyone");
        let lo = all.iter().find(|link| link.name == "lo").expect("lo");
        assert!(lo.loopback);
        assert_eq!(lo.link, Some(LinkType::Ethernet));
        assert!(lo.mtu >= 1_280, "{lo:?}");
        assert!(lo.rx_queues >= 1);
        if lo.up {
            let localhost: IpNet = "127.0.0.1/8".parse().expect("a network");
            assert!(lo.addresses.contains(&localhost), "{lo:?}");
        }
    }

    #[test]
    fn one_interface_can_be_asked_and_one_that_is_not_there() {
        let mut netlink = Netlink::open(SockProtocol::NetlinkRoute, 0, false).expect("a socket");
        let all = list().expect("rtnetlink answers anyone");
        let lo = all.iter().find(|link| link.name == "lo").expect("lo");
        let now = statistics(&mut netlink, lo.ifindex).expect("an answer");
        assert!(now.expect("lo is there").rx_packets >= lo.counters.rx_packets);
        assert_eq!(
            statistics(&mut netlink, 0x7fff_fff0).expect("an answer"),
            None
        );
        // The socket is still in step with its requests.
        assert!(
            statistics(&mut netlink, lo.ifindex)
                .expect("an answer")
                .is_some()
        );
    }

    #[test]
    fn our_end_of_a_point_to_point_link_is_the_address() {
        let mut body = vec![2, 32, 0, 0];
        body.extend(5_u32.to_ne_bytes());
        for (kind, last) in [(IFA_LOCAL, 1_u8), (IFA_ADDRESS, 2)] {
            body.extend(8_u16.to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend([10, 0, 0, last]);
        }
        for order in [
            body.clone(),
            [&body[..8], &body[16..], &body[8..16]].concat(),
        ] {
            let message = Message {
                kind: libc::RTM_NEWADDR,
                flags: 0,
                sequence: 0,
                port: 0,
                body: &order,
            };
            let (ifindex, net) = address(message).expect("an address");
            assert_eq!((ifindex, net.to_string().as_str()), (5, "10.0.0.1/32"));
        }
    }

    #[test]
    fn a_network_has_the_broadcast_address_that_is_set_and_its_last_one() {
        let of = |bits: u8, set: Option<[u8; 4]>| {
            let mut body = vec![2, bits, 0, 0];
            body.extend(5_u32.to_ne_bytes());
            let local = Some([192, 0, 2, 1]);
            for (kind, value) in [(IFA_LOCAL, local), (IFA_BROADCAST, set)] {
                let Some(value) = value else { continue };
                body.extend(8_u16.to_ne_bytes());
                body.extend(kind.to_ne_bytes());
                body.extend(value);
            }
            let message = Message {
                kind: libc::RTM_NEWADDR,
                flags: 0,
                sequence: 0,
                port: 0,
                body: &body,
            };
            let found = broadcasts_of(message);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(24, None), ["192.0.2.255"]);
        assert_eq!(of(30, None), ["192.0.2.3"]);
        let set = Some([192, 0, 2, 127]);
        assert_eq!(of(24, set), ["192.0.2.127", "192.0.2.255"]);
        assert_eq!(of(32, set), ["192.0.2.127"]);
        for bits in [31, 32] {
            assert_eq!(of(bits, None), [""; 0], "/{bits}");
        }
    }

    #[test]
    fn a_message_about_a_bridge_port_is_not_about_the_device() {
        let mut body = [0; IFINFO_BYTES];
        body[0] = 7; // AF_BRIDGE
        let message = Message {
            kind: libc::RTM_DELLINK,
            flags: 0,
            sequence: 0,
            port: 0,
            body: &body,
        };
        assert_eq!(link(message), None);
    }
}
