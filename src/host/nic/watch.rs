//! What changes at the host's interfaces, as rtnetlink tells it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::IpNet;
use nix::sys::socket::{SockProtocol, setsockopt, sockopt};

use super::{Interface, list};
use crate::host::netlink::{Netlink, messages};

/// `RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;
/// Room for what the kernel says between two looks, in bytes.
const RECEIVE_BYTES: usize = 1 << 20;
/// How many removed names are remembered, to know them again. Hosts with containers make
/// endless new names.
const GONE_MAX: usize = 256;
/// How many datagrams are thrown away at most after an overrun; the socket holds far fewer.
const DRAIN_MAX: u32 = 100_000;

/// Something happened to an interface or an address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is set up and has a carrier now.
    Up {
        /// Its number.
        ifindex: u32,
        /// Its name.
        name: String,
    },
    /// It was set down or lost its carrier. Packet sockets come back by themselves.
    Down {
        /// Its number.
        ifindex: u32,
        /// Its name.
        name: String,
    },
    /// It has another name.
    Renamed {
        /// Its number.
        ifindex: u32,
        /// The name it had.
        from: String,
        /// The name it has.
        to: String,
    },
    /// It is gone, or in another namespace. Packet sockets on it never recover.
    Removed {
        /// The number it had.
        ifindex: u32,
        /// The name it had.
        name: String,
    },
    /// It is new.
    Created {
        /// Its number.
        ifindex: u32,
        /// Its name.
        name: String,
        /// The number that a removed interface of this name had: it was re-created.
        replaces: Option<u32>,
    },
    /// An address of the host is new.
    AddressAdded {
        /// The interface it was added to.
        ifindex: u32,
        /// The address.
        address: IpAddr,
    },
    /// An address is gone from an interface; another interface may still have it.
    AddressRemoved {
        /// The interface it was removed from.
        ifindex: u32,
        /// The address.
        address: IpAddr,
    },
}

/// A subscription to the changes of the calling thread's namespace.
#[derive(Debug)]
pub struct Watch {
    netlink: Netlink,
    known: Known,
    waiting: VecDeque<LinkEvent>,
}

impl Watch {
    /// Subscribes, then takes the state of now as known: the first event is the first change.
    ///
    /// # Errors
    ///
    /// What rtnetlink said.
    pub fn start() -> io::Result<Self> {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute, GROUPS, true)?;
        // A wish: the kernel grants what net.core.rmem_max allows, and an overrun is survived.
        let _ = setsockopt(&netlink, sockopt::RcvBuf, &RECEIVE_BYTES);
        let mut known = Known::default();
        known.reconcile(&list()?, &mut VecDeque::new());
        Ok(Self {
            netlink,
            known,
            waiting: VecDeque::new(),
        })
    }

    /// The next change, or `None` if there is none for now. Never waits.
    ///
    /// When the kernel had to throw messages away, the difference to what is there now is told.
    ///
    /// # Errors
    ///
    /// What rtnetlink said.
    pub fn next_event(&mut self) -> io::Result<Option<LinkEvent>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let bytes = match self.netlink.receive() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if lost(&error) => {
                    self.drain()?;
                    self.known.reconcile(&list()?, &mut self.waiting);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in messages(bytes) {
                let waiting = &mut self.waiting;
                match message.kind {
                    libc::RTM_NEWLINK => {
                        if let Some(now) = list::link(message) {
                            self.known.on_link(&now, waiting);
                        }
                    }
                    libc::RTM_DELLINK => {
                        if let Some(gone) = list::link(message) {
                            self.known.on_removed(gone.ifindex, waiting);
                        }
                    }
                    libc::RTM_NEWADDR => {
                        if let Some((ifindex, net)) = list::address(message) {
                            self.known.on_address(ifindex, net, waiting);
                        }
                    }
                    libc::RTM_DELADDR => {
                        if let Some((ifindex, net)) = list::address(message) {
                            self.known.on_address_removed(ifindex, net, waiting);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// The addresses that are known, once for each interface that has them.
    ///
    /// Right after [`Self::start`]: those of now. Read later, it may be ahead of the events that
    /// still wait to be taken.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.known.addresses.iter().map(|(_, net)| net.addr())
    }

    /// Throws away what is queued. It is older than the list that follows, and what would have
    /// taken it back may be among what the kernel dropped.
    fn drain(&mut self) -> io::Result<()> {
        // A limit, for a host that makes messages faster than we read them.
        for _ in 0..DRAIN_MAX {
            match self.netlink.receive() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if lost(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

/// Messages were lost on the way to us.
fn lost(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EMSGSIZE))
}

/// What we believe is there. Messages become events only where they change it, so that a message
/// told twice, or already seen in the list, says nothing.
#[derive(Debug, Default)]
struct Known {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<(u32, IpNet)>,
    /// Names of removed interfaces with the numbers they had, newest last.
    gone: VecDeque<(String, u32)>,
}

#[derive(Debug)]
struct Link {
    name: String,
    usable: bool,
}

impl Known {
    fn on_link(&mut self, now: &Interface, events: &mut VecDeque<LinkEvent>) {
        let (ifindex, usable) = (now.ifindex, now.up && now.running);
        let name = || now.name.clone();
        let Some(link) = self.links.get_mut(&ifindex) else {
            let again = self.gone.iter().position(|(gone, _)| *gone == now.name);
            let replaces = again
                .and_then(|at| self.gone.remove(at))
                .map(|(_, old)| old);
            events.push_back(LinkEvent::Created {
                ifindex,
                name: name(),
                replaces,
            });
            if usable {
                events.push_back(LinkEvent::Up {
                    ifindex,
                    name: name(),
                });
            }
            self.links.insert(
                ifindex,
                Link {
                    name: name(),
                    usable,
                },
            );
            return;
        };
        if link.name != now.name {
            let from = std::mem::replace(&mut link.name, name());
            events.push_back(LinkEvent::Renamed {
                ifindex,
                from,
                to: name(),
            });
        }
        if link.usable != usable {
            link.usable = usable;
            events.push_back(match usable {
                true => LinkEvent::Up {
                    ifindex,
                    name: name(),
                },
                false => LinkEvent::Down {
                    ifindex,
                    name: name(),
                },
            });
        }
    }

    fn on_removed(&mut self, ifindex: u32, events: &mut VecDeque<LinkEvent>) {
        let Some(Link { name, .. }) = self.links.remove(&ifindex) else {
            return;
        };
        // The kernel tells each address first; a list taken after an overrun does not.
        let of_it: Vec<_> = self
            .addresses
            .iter()
            .filter(|each| each.0 == ifindex)
            .copied()
            .collect();
        for (_, net) in of_it {
            self.on_address_removed(ifindex, net, events);
        }
        self.gone.retain(|(gone, _)| *gone != name);
        self.gone.push_back((name.clone(), ifindex));
        if self.gone.len() > GONE_MAX {
            self.gone.pop_front();
        }
        events.push_back(LinkEvent::Removed { ifindex, name });
    }

    fn on_address(&mut self, ifindex: u32, net: IpNet, events: &mut VecDeque<LinkEvent>) {
        if self.addresses.insert((ifindex, net)) {
            let address = net.addr();
            events.push_back(LinkEvent::AddressAdded { ifindex, address });
        }
    }

    fn on_address_removed(&mut self, ifindex: u32, net: IpNet, events: &mut VecDeque<LinkEvent>) {
        if self.addresses.remove(&(ifindex, net)) {
            let address = net.addr();
            events.push_back(LinkEvent::AddressRemoved { ifindex, address });
        }
    }

    /// Becomes what `now` says, and tells the difference.
    fn reconcile(&mut self, now: &[Interface], events: &mut VecDeque<LinkEvent>) {
        let there: BTreeSet<u32> = now.iter().map(|link| link.ifindex).collect();
        let removed: Vec<u32> = self
            .links
            .keys()
            .copied()
            .filter(|old| !there.contains(old))
            .collect();
        for ifindex in removed {
            self.on_removed(ifindex, events);
        }
        let of = |link: &Interface| {
            let ifindex = link.ifindex;
            link.addresses
                .clone()
                .into_iter()
                .map(move |net| (ifindex, net))
        };
        let addresses: BTreeSet<(u32, IpNet)> = now.iter().flat_map(of).collect();
        let removed: Vec<_> = self.addresses.difference(&addresses).copied().collect();
        for (ifindex, net) in removed {
            self.on_address_removed(ifindex, net, events);
        }
        for link in now {
            self.on_link(link, events);
        }
        for (ifindex, net) in addresses {
            self.on_address(ifindex, net, events);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::nic::NicCounters;

    fn link(ifindex: u32, name: &str, running: bool, addresses: &[&str]) -> Interface {
        Interface {
            name: name.to_owned(),
            ifindex,
            arphrd: 1,
            link: None,
            up: true,
            running,
            loopback: false,
            mtu: 1_500,
            rx_queues: 1,
            addresses: addresses
                .iter()
                .map(|net| net.parse().expect("a network"))
                .collect(),
            counters: NicCounters::default(),
        }
    }

    #[test]
    fn after_an_overrun_the_difference_is_told() {
        let mut known = Known::default();
        let mut events = VecDeque::new();
        let before = [
            link(1, "a", true, &["10.0.0.1/8"]),
            link(2, "b", true, &["10.0.0.2/8"]),
        ];
        known.reconcile(&before, &mut events);
        events.clear();
        known.reconcile(&before, &mut events);
        assert_eq!(events, [], "nothing changed");
        let after = [
            link(1, "a", false, &["10.0.0.3/8"]),
            link(7, "b", false, &[]),
        ];
        known.reconcile(&after, &mut events);
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let expected = [
            LinkEvent::AddressRemoved {
                ifindex: 2,
                address: ip("10.0.0.2"),
            },
            LinkEvent::Removed {
                ifindex: 2,
                name: "b".into(),
            },
            LinkEvent::AddressRemoved {
                ifindex: 1,
                address: ip("10.0.0.1"),
            },
            LinkEvent::Down {
                ifindex: 1,
                name: "a".into(),
            },
            LinkEvent::Created {
                ifindex: 7,
                name: "b".into(),
                replaces: Some(2),
            },
            LinkEvent::AddressAdded {
                ifindex: 1,
                address: ip("10.0.0.3"),
            },
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn removed_names_are_forgotten_in_the_end() {
        let mut known = Known::default();
        let mut events = VecDeque::new();
        for ifindex in 0..2_000 {
            known.on_link(
                &link(ifindex, &format!("veth{ifindex}"), true, &[]),
                &mut events,
            );
            known.on_removed(ifindex, &mut events);
        }
        assert_eq!(known.gone.len(), GONE_MAX);
    }

    #[test]
    fn a_quiet_watch_does_not_wait() {
        let mut watch = Watch::start().expect("rtnetlink is open to anyone");
        while watch.next_event().expect("no error").is_some() {}
    }
}
