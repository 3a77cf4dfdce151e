//! Addresses that no responder acts against: this host, its gateways and resolvers, and networks of `--allow`.

use crate::books::responder::Refusal;
use crate::host::addresses::Localities;
use crate::host::gateways::gateways;
use crate::host::resolvers::resolvers;
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError, RwLock};

/// A value that changes during a run: one writer, read a few times a second.
pub type Shared<T> = Arc<RwLock<Arc<T>>>;

/// Gateways and resolvers: blocking them would cut this host off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Sorted.
    hosts: Vec<IpAddr>,
}

impl Surroundings {
    /// Reads routes and resolv.conf of this machine.
    pub fn read() -> io::Result<Self> {
        let about = |what: &str, error: io::Error| {
            io::Error::new(error.kind(), format!("{what} cannot be read: {error}"))
        };
        let mut hosts = gateways().map_err(|error| about("routes", error))?;
        hosts.extend(resolvers().map_err(|error| about("name servers", error))?);
        Ok(Self::of(hosts))
    }

    pub fn of(hosts: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut hosts: Vec<_> = hosts.into_iter().map(|host| host.to_canonical()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        Self { hosts }
    }

    fn has(&self, address: IpAddr) -> bool {
        self.hosts.binary_search(&address).is_ok()
    }
}

/// The guard list.
#[derive(Clone, Debug)]
pub struct Guard {
    /// `--allow` without its ports: a blocked source is blocked for every port.
    allow: Vec<IpNet>,
    localities: Shared<Localities>,
    surroundings: Shared<Surroundings>,
    /// As of the last renewal.
    ours: Arc<Localities>,
    around: Arc<Surroundings>,
}

fn newest<T>(shared: &Shared<T>) -> Arc<T> {
    Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner))
}

impl Guard {
    /// `surroundings` are empty in `read`: the capture may be of another host.
    pub fn new(
        localities: &Shared<Localities>,
        surroundings: &Shared<Surroundings>,
        allow: impl IntoIterator<Item = IpNet>,
    ) -> Self {
        Self {
            allow: allow.into_iter().collect(),
            ours: newest(localities),
            around: newest(surroundings),
            localities: Arc::clone(localities),
            surroundings: Arc::clone(surroundings),
        }
    }

    /// Renews both lists; returns whether one has changed.
    pub fn renew(&mut self) -> bool {
        let (ours, around) = (newest(&self.localities), newest(&self.surroundings));
        if Arc::ptr_eq(&ours, &self.ours) && Arc::ptr_eq(&around, &self.around) {
            return false;
        }
        (self.ours, self.around) = (ours, around);
        true
    }

    /// Why a responder must spare this address, if so.
    pub fn refusal(&self, address: IpAddr) -> Option<Refusal> {
        let address = address.to_canonical();
        if self.allow.iter().any(|net| net.contains(&address)) {
            return Some(Refusal::Allowed);
        }
        let nobody = address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        let guarded = nobody || self.ours.is_ours(address) || self.around.has(address);
        guarded.then_some(Refusal::Guarded)
    }
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
        let around = shared(Surroundings::of(
            ["192.0.2.1", "::ffff:192.0.2.53", "fe80::1"].map(ip),
        ));
        let allow = ["198.51.100.0/24", "2001:db8:5::/48"];
        let guard = Guard::new(
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
        for other in ["192.0.2.8", "2001:db8::8", "11.0.0.0", "198.51.101.0"] {
            assert_eq!(why(other), None, "{other}");
        }
    }

    #[test]
    fn what_changes_is_taken_over_once() {
        let ours = shared(Localities::live([ip("192.0.2.7")], &[]));
        let around = shared(Surroundings::default());
        let mut guard = Guard::new(&ours, &around, []);
        assert!(!guard.renew());
        assert_eq!(guard.refusal(ip("192.0.2.8")), None);
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
        assert!(Surroundings::read().is_ok());
    }
}
