//! Addresses that no responder acts against: this host, its gateways and resolvers, and networks of `--allow`; no
//! firewall also time servers, peers of SSH connections, and private networks.

use crate::books::blocks::BlockRefusal;
use crate::books::responder::Refusal;
use crate::host::addresses::Localities;
use crate::host::gateways::gateways;
use crate::host::netlink::Netlink;
use crate::host::nic::broadcasts;
use crate::host::resolvers::resolvers;
use crate::host::time_servers::time_servers;
use ipnet::IpNet;
use nix::sys::socket::SockProtocol;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// A larger network is never blocked.
pub const PREFIX_LEAST_V4: u8 = 16;
pub const PREFIX_LEAST_V6: u8 = 32;

/// Unspecified (this network), loopback, multicast, reserved, broadcast and IPv4-mapped: RFC 6890, RFC 5771, RFC 4291.
static NO_HOST: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    networks(&[
        "0.0.0.0/8",
        "127.0.0.0/8",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "::ffff:0:0/96",
        "ff00::/8",
    ])
});
/// RFC 3927, RFC 4291.
static LINK_LOCAL: LazyLock<Vec<IpNet>> =
    LazyLock::new(|| networks(&["169.254.0.0/16", "fe80::/10"]));
/// RFC 1918, RFC 6598 (behind a carrier's translation), RFC 4193.
static PRIVATE: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    networks(&[
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "fc00::/7",
    ])
});

fn networks(texts: &[&str]) -> Vec<IpNet> {
    let parse = |text: &&str| text.parse().expect("written above");
    texts.iter().map(parse).collect()
}

/// A value that changes during a run: one writer, read a few times a second.
pub type Shared<T> = Arc<RwLock<Arc<T>>>;

/// Others that this host depends on: blocking them would cut it off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    gateways: Hosts,
    /// Of the networks of this host's interfaces.
    broadcasts: Hosts,
    resolvers: Hosts,
    /// Read for `--block` alone, as are [`Self::ssh_peers`].
    time_servers: Hosts,
    ssh_peers: Hosts,
}

/// Sorted addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Hosts(Vec<IpAddr>);

impl Hosts {
    fn of(hosts: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut hosts: Vec<_> = hosts.into_iter().map(|host| host.to_canonical()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self(hosts)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.0.binary_search(&address).is_ok()
    }

    fn touch(&self, net: &IpNet) -> bool {
        let first = self.0.partition_point(|host| *host < net.network());
        self.0.get(first).is_some_and(|host| net.contains(host))
    }
}

impl Surroundings {
    /// Reads routes and resolv.conf of this machine; for `--block` also the configuration of time servers.
    pub fn read(blocks: bool) -> io::Result<Self> {
        let mut around = Self::default();
        match around.renew(blocks) {
            Some(error) => Err(error),
            None => Ok(around),
        }
    }

    /// Reads all but peers of SSH connections anew. What cannot be read stays as it was; returns the first error.
    pub fn renew(&mut self, blocks: bool) -> Option<io::Error> {
        let mut first = None;
        let mut part = |hosts: &mut Hosts, what: &str, read: io::Result<Vec<IpAddr>>| match read {
            Ok(new) => *hosts = Hosts::of(new),
            Err(error) => {
                let says = format!("{what} cannot be read: {error}");
                first.get_or_insert_with(|| io::Error::new(error.kind(), says));
            }
        };
        if blocks {
            part(&mut self.time_servers, "time servers", time_servers());
        }
        part(&mut self.gateways, "routes", gateways());
        let broadcasts = broadcasts_here();
        part(&mut self.broadcasts, "broadcast addresses", broadcasts);
        part(&mut self.resolvers, "name servers", resolvers());
        first
    }

    /// The same with these peers of SSH connections.
    #[must_use]
    pub fn with_ssh_peers(self, peers: impl IntoIterator<Item = IpAddr>) -> Self {
        let ssh_peers = Hosts::of(peers);
        Self { ssh_peers, ..self }
    }

    /// These gateways and nothing else.
    #[cfg(test)]
    pub fn of(hosts: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            gateways: Hosts::of(hosts),
            ..Self::default()
        }
    }

    /// The same with these broadcast addresses.
    #[cfg(test)]
    #[must_use]
    pub fn with_broadcasts(self, hosts: impl IntoIterator<Item = IpAddr>) -> Self {
        let broadcasts = Hosts::of(hosts);
        Self { broadcasts, ..self }
    }

    /// These gateways, resolvers and time servers.
    #[cfg(test)]
    pub fn of_each([gateways, resolvers, time_servers]: [&[IpAddr]; 3]) -> Self {
        let of = |hosts: &[IpAddr]| Hosts::of(hosts.iter().copied());
        Self {
            gateways: of(gateways),
            resolvers: of(resolvers),
            time_servers: of(time_servers),
            ..Self::default()
        }
    }
}

fn broadcasts_here() -> io::Result<Vec<IpAddr>> {
    broadcasts(&mut Netlink::open(SockProtocol::NetlinkRoute, 0, false)?)
}

/// The guard list.
#[derive(Clone, Debug)]
pub struct Guard {
    /// `--allow` without its ports: a blocked source is blocked for every port.
    allow: Shared<Vec<IpNet>>,
    localities: Shared<Localities>,
    surroundings: Shared<Surroundings>,
    /// As of the last renewal.
    ours: Arc<Localities>,
    around: Arc<Surroundings>,
    allowed: Arc<Vec<IpNet>>,
}

/// The present value.
pub fn newest<T>(shared: &Shared<T>) -> Arc<T> {
    Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner))
}

impl Guard {
    /// `surroundings` are empty in `read`: the capture may be of another host.
    pub fn new(
        localities: &Shared<Localities>,
        surroundings: &Shared<Surroundings>,
        allow: &Shared<Vec<IpNet>>,
    ) -> Self {
        Self {
            allowed: newest(allow),
            allow: Arc::clone(allow),
            ours: newest(localities),
            around: newest(surroundings),
            localities: Arc::clone(localities),
            surroundings: Arc::clone(surroundings),
        }
    }

    /// The same with networks that never change.
    #[cfg(test)]
    pub fn allowing(
        localities: &Shared<Localities>,
        surroundings: &Shared<Surroundings>,
        allow: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        let allow = Arc::new(RwLock::new(Arc::new(allow.into_iter().collect())));
        Self::new(localities, surroundings, &allow)
    }

    /// Renews all lists; returns whether one has changed.
    pub fn renew(&mut self) -> bool {
        let (ours, around) = (newest(&self.localities), newest(&self.surroundings));
        let allowed = newest(&self.allow);
        let is_old = Arc::ptr_eq(&ours, &self.ours)
            && Arc::ptr_eq(&around, &self.around)
            && Arc::ptr_eq(&allowed, &self.allowed);
        if is_old {
            return false;
        }
        (self.ours, self.around, self.allowed) = (ours, around, allowed);
        true
    }

    /// Why a responder must spare this address, if so.
    pub fn refusal(&self, address: IpAddr) -> Option<Refusal> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|net| net.contains(&address)) {
            return Some(Refusal::Allowed);
        }
        let nobody = address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address == IpAddr::V4(Ipv4Addr::BROADCAST)
            || self.around.broadcasts.has(address);
        let (gateways, resolvers) = (&self.around.gateways, &self.around.resolvers);
        let is_near = gateways.has(address) || resolvers.has(address);
        let guarded = nobody || self.ours.is_ours(address) || is_near;
        guarded.then_some(Refusal::Guarded)
    }

    /// Why no firewall may drop packets of `net`, if so: it is too large, or an address in it is spared. `private`:
    /// private networks may be blocked.
    ///
    /// A network of IPv4-mapped addresses is judged as the IPv4 network that it stands for, and never blocked: no host
    /// has such an address, and a rule about it would match no IPv4 packet.
    pub fn spares(&self, net: &IpNet, private: bool) -> Option<BlockRefusal> {
        let mapped = mapped_to_v4(net);
        let net = mapped.as_ref().unwrap_or(net);
        let least = match net {
            IpNet::V4(_) => PREFIX_LEAST_V4,
            IpNet::V6(_) => PREFIX_LEAST_V6,
        };
        if net.prefix_len() < least {
            return Some(BlockRefusal::TooLarge);
        }
        let in_one_of = |nets: &[IpNet]| nets.iter().any(|one| overlap(one, net));
        let around = &self.around;
        let is_broadcast = around.broadcasts.touch(net);
        let reasons = [
            (BlockRefusal::NoHost, in_one_of(&NO_HOST) || is_broadcast),
            (BlockRefusal::OwnAddress, self.ours.touches(net)),
            (BlockRefusal::Gateway, around.gateways.touch(net)),
            (BlockRefusal::Resolver, around.resolvers.touch(net)),
            (BlockRefusal::TimeServer, around.time_servers.touch(net)),
            (BlockRefusal::SshPeer, around.ssh_peers.touch(net)),
            (
                BlockRefusal::Allowed,
                self.allowed.iter().any(|allowed| overlap(allowed, net)),
            ),
            (BlockRefusal::LinkLocal, in_one_of(&LINK_LOCAL)),
            (BlockRefusal::Private, !private && in_one_of(&PRIVATE)),
            (BlockRefusal::NoHost, mapped.is_some()),
        ];
        let found = reasons.into_iter().find(|(_, holds)| *holds);
        found.map(|(reason, _)| reason)
    }
}

/// Whether two networks share an address.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// The IPv4 network that an IPv6 network of mapped addresses (`::ffff:0:0/96`) stands for.
pub fn mapped_to_v4(net: &IpNet) -> Option<IpNet> {
    let IpNet::V6(net) = net else { return None };
    let length = net.prefix_len().checked_sub(96)?;
    let address = net.network().to_ipv4_mapped()?;
    IpNet::new(address.into(), length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn shared<T>(of: T) -> Shared<T> {
        Arc::new(RwLock::new(Arc::new(of)))
    }

    #[test]
    fn the_host_its_networks_gateways_and_resolvers_are_spared_and_whom_allow_names() {
        let local = ["10.0.0.0/8".parse().expect("a network")];
        let ours = shared(Localities::live(
            [ip("192.0.2.7"), ip("2001:db8::7")],
            &local,
        ));
        let routers: &[IpAddr] = &[ip("192.0.2.1"), ip("fe80::1")];
        let each = [routers, &[ip("::ffff:192.0.2.53")], &[ip("192.0.2.123")]];
        let around = shared(Surroundings::of_each(each));
        let allow = ["198.51.100.0/24", "2001:db8:5::/48"];
        let guard = Guard::allowing(
            &ours,
            &around,
            allow.map(|net| net.parse().expect("a network")),
        );
        let why = |address| guard.refusal(ip(address));
        for spared in [
            "192.0.2.7",
            "::ffff:192.0.2.7",
            "2001:db8::7",
            "10.255.0.1",
            "192.0.2.1",
            "192.0.2.53",
            "fe80::1",
            "0.0.0.0",
            "::",
            "127.0.0.5",
            "::1",
            "::ffff:127.0.0.1",
            "224.0.0.251",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert_eq!(why(spared), Some(Refusal::Guarded), "{spared}");
        }
        for allowed in ["198.51.100.255", "::ffff:198.51.100.1", "2001:db8:5::1"] {
            assert_eq!(why(allowed), Some(Refusal::Allowed), "{allowed}");
        }
        for other in [
            "192.0.2.8",
            "192.0.2.123",
            "2001:db8::8",
            "11.0.0.0",
            "198.51.101.0",
        ] {
            assert_eq!(why(other), None, "{other}");
        }
    }

    #[test]
    fn no_block_takes_an_address_that_is_spared_alone_or_in_a_network() {
        let ours = shared(Localities::live([ip("198.18.0.7"), ip("2001:db8::7")], &[]));
        let each: [&[IpAddr]; 3] = [
            &[ip("198.18.0.1"), ip("fe80::1")],
            &[ip("198.18.1.53")],
            &[ip("198.18.2.123")],
        ];
        let around = Surroundings::of_each(each)
            .with_ssh_peers([ip("::ffff:198.18.3.22")])
            .with_broadcasts([ip("198.18.5.255")]);
        let allow = "198.18.4.0/25".parse().expect("a network");
        let guard = Guard::allowing(&ours, &shared(around), [allow]);
        let why = |net: &str| {
            let net = crate::host::addresses::parse_network(net).expect("a network");
            guard.spares(&net, false).map(BlockRefusal::word)
        };
        for (net, reason) in [
            ("198.18.0.7", "own_address"),
            ("::ffff:198.18.0.7", "own_address"),
            ("2001:db8::/64", "own_address"),
            ("198.18.0.1", "gateway"),
            ("fe80::1", "gateway"),
            ("fe80::2", "link_local"),
            ("198.18.1.0/24", "resolver"),
            ("198.18.2.123", "time_server"),
            ("198.18.3.0/24", "ssh_peer"),
            ("198.18.4.0/24", "allowed"),
            ("198.18.4.5", "allowed"),
            ("127.0.0.1", "no_host"),
            ("::", "no_host"),
            ("224.0.0.1", "no_host"),
            ("ff02::1", "no_host"),
            ("255.255.255.255", "no_host"),
            ("169.254.1.1", "link_local"),
            ("10.1.2.3", "private"),
            ("172.31.0.1", "private"),
            ("192.168.0.0/24", "private"),
            ("100.64.0.1", "private"),
            ("fd00::1", "private"),
            ("0.0.0.0/0", "too_large"),
            ("2000::/3", "too_large"),
            ("198.16.0.0/15", "too_large"),
            ("241.0.0.1", "no_host"),
            // Of a network of this host.
            ("198.18.5.255", "no_host"),
            ("198.18.5.128/25", "no_host"),
            // Judged as what they stand for, and never blocked as themselves.
            ("::ffff:10.1.2.3", "private"),
            ("::ffff:198.18.9.9", "no_host"),
            ("::fffe:0:0/95", "no_host"),
        ] {
            assert_eq!(why(net), Some(reason), "{net}");
        }
        for net in [
            "198.18.0.8",
            "198.18.5.254",
            "198.18.4.128/25",
            "2001:db8:1::/64",
            "172.32.0.1",
        ] {
            assert_eq!(why(net), None, "{net}");
        }
        let private = "10.1.2.3/32".parse().expect("a network");
        assert_eq!(guard.spares(&private, true), None);
    }

    #[test]
    fn what_changes_is_taken_over_once() {
        let ours = shared(Localities::live([ip("192.0.2.7")], &[]));
        let around = shared(Surroundings::default());
        let mut guard = Guard::allowing(&ours, &around, []);
        assert!(!guard.renew());
        assert_eq!(guard.refusal(ip("192.0.2.8")), None);
        let net = "203.0.113.0/24".parse().expect("a network");
        *guard.allow.write().expect("nobody panics") = Arc::new(vec![net]);
        assert_eq!(guard.refusal(ip("203.0.113.9")), None);
        assert!(guard.renew());
        assert_eq!(guard.refusal(ip("203.0.113.9")), Some(Refusal::Allowed));
        Arc::make_mut(&mut ours.write().expect("no panic")).add(ip("192.0.2.8"));
        assert_eq!(guard.refusal(ip("192.0.2.8")), None);
        assert!(guard.renew() && !guard.renew());
        assert_eq!(guard.refusal(ip("192.0.2.8")), Some(Refusal::Guarded));
        *around.write().expect("no panic") = Arc::new(Surroundings::of([ip("192.0.2.1")]));
        assert!(guard.renew() && !guard.renew());
        assert_eq!(guard.refusal(ip("192.0.2.1")), Some(Refusal::Guarded));
    }

    #[test]
    fn this_machine_is_asked() {
        assert!(Surroundings::read(true).is_ok());
    }
}
