//! Services of this host: the name of the program that listens where a packet goes.
//!
//! A name is that of the systemd unit in whose cgroup the listening socket was made, else the command of a process
//! that holds the socket. Neither needs a privilege; a command needs one for processes of other users.

mod commands;
pub(crate) mod finder;
mod listeners;
mod reader;
pub(super) mod units;

use super::addresses::Localities;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use reader::Reader;

/// Maximum number of named listeners; those beyond it, in the kernel's order, TCP first, have no name.
pub(crate) const LISTENERS_MAX: usize = 1024;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Name of a service: `nginx.service`, or a command such as `nginx`.
pub(crate) type ServiceName = Arc<str>;

/// Destinations that a listening socket takes. The order is that of the kernel's choice: the more specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    /// This address only.
    Address(IpAddr),
    /// Every IPv4 address of this host.
    AnyV4,
    /// Every IPv6 address of this host.
    AnyV6,
    /// Every address of this host.
    Any,
}

impl Bound {
    fn takes(self, dst: IpAddr) -> bool {
        match self {
            Self::Address(address) => address == dst,
            Self::AnyV4 => dst.is_ipv4(),
            Self::AnyV6 => dst.is_ipv6(),
            Self::Any => true,
        }
    }
}

/// A listening socket with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Listener {
    proto: u8,
    port: u16,
    bound: Bound,
    name: ServiceName,
}

/// Named listeners: at most [`LISTENERS_MAX`], sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listeners(Vec<Listener>);

impl Listeners {
    fn new(all: impl IntoIterator<Item = Listener>) -> Self {
        let mut listeners = Vec::with_capacity(LISTENERS_MAX);
        listeners.extend(all.into_iter().take(LISTENERS_MAX));
        listeners.sort_unstable();
        // Sockets of one port (SO_REUSEPORT) are one service.
        listeners.dedup_by(|next, kept| {
            (next.proto, next.port, next.bound) == (kept.proto, kept.port, kept.bound)
        });
        Self(listeners)
    }

    /// Listeners of these ports, inclusive, in the order of ports.
    fn of_ports(&self, proto: u8, first: u16, last: u16) -> &[Listener] {
        let from = |limit| self.0.partition_point(|one| (one.proto, one.port) < limit);
        let start = from((proto, first));
        let behind = self.0[start..].iter();
        let taken = behind.take_while(|one| one.proto == proto && one.port <= last);
        &self.0[start..start + taken.count()]
    }

    /// TCP ports of services with such names.
    pub(crate) fn ports_of(&self, is_one: impl Fn(&str) -> bool) -> impl Iterator<Item = u16> {
        let all = self.0.iter().filter(|one| one.proto == TCP);
        all.filter(move |one| is_one(&one.name)).map(|one| one.port)
    }

    fn find(&self, proto: u8, dst: IpAddr, port: u16) -> Option<&Listener> {
        let all = self.of_ports(proto, port, port).iter();
        all.clone().find(|one| one.bound.takes(dst))
    }

    /// The first `max` services in these inclusive ranges of ports, which ascend.
    fn in_ranges(
        &self,
        proto: u8,
        dst: IpAddr,
        ranges: &[(u16, u16)],
        max: usize,
    ) -> Vec<(u16, ServiceName)> {
        let mut found: Vec<(u16, ServiceName)> = Vec::new();
        for &(first, last) in ranges {
            for one in self.of_ports(proto, first, last) {
                let is_known = found.last().is_some_and(|&(port, _)| port == one.port);
                if is_known || !one.bound.takes(dst) {
                    continue;
                }
                if found.len() == max {
                    return found;
                }
                found.push((one.port, Arc::clone(&one.name)));
            }
        }
        found
    }
}

/// The services of this host, as the log asks for them. Clones share one table.
#[derive(Clone, Debug)]
pub struct Services {
    /// This host's addresses.
    localities: Arc<RwLock<Arc<Localities>>>,
    listeners: Arc<RwLock<Arc<Listeners>>>,
}

impl Services {
    /// No service yet.
    pub(crate) fn new(localities: Arc<RwLock<Arc<Localities>>>) -> Self {
        Self {
            localities,
            listeners: Arc::default(),
        }
    }

    /// Puts a new table into the place of the old one.
    pub(crate) fn publish(&self, listeners: Listeners) {
        let mut shared = self
            .listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if **shared != listeners {
            *shared = Arc::new(listeners);
        }
    }

    /// The service at this port, if `dst` is an address of this host and something listens there.
    pub(crate) fn service(&self, proto: u8, dst: IpAddr, port: u16) -> Option<ServiceName> {
        let dst = dst.to_canonical();
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let name = &listeners.find(proto, dst, port)?.name;
        self.is_here(dst).then(|| Arc::clone(name))
    }

    /// The first `max` services in these inclusive ranges of ports, which ascend; none if `dst` is elsewhere.
    pub(crate) fn services(
        &self,
        proto: u8,
        dst: IpAddr,
        ranges: &[(u16, u16)],
        max: usize,
    ) -> Vec<(u16, ServiceName)> {
        let dst = dst.to_canonical();
        if !self.is_here(dst) {
            return Vec::new();
        }
        let listeners = self
            .listeners
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.in_ranges(proto, dst, ranges, max)
    }

    fn is_here(&self, address: IpAddr) -> bool {
        let localities = self
            .localities
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        localities.is_this_host(address)
    }
}

/// Services of these listeners, on a host with these addresses, for tests.
#[cfg(test)]
pub(crate) fn sample(own: &[&str], listeners: &[(u8, u16, Bound, &str)]) -> Services {
    let own = own.iter().map(|text| text.parse().expect("an address"));
    let localities = Localities::live(own, &[]);
    let services = Services::new(Arc::new(RwLock::new(Arc::new(localities))));
    let listener = |&(proto, port, bound, name): &(u8, u16, Bound, &str)| Listener {
        proto,
        port,
        bound,
        name: name.into(),
    };
    services.publish(Listeners::new(listeners.iter().map(listener)));
    services
}

#[cfg(test)]
mod tests;
