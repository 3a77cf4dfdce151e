//! Changes of interfaces and addresses, from rtnetlink.

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
/// Receive buffer for notifications between two looks, in bytes.
const RECEIVE_BYTES: usize = 1 << 20;
/// Upper bound of remembered names of removed interfaces: hosts with containers make ever new names.
const GONE_MAX: usize = 256;
/// Upper bound of datagrams discarded after an overrun; the socket holds far fewer.
const DRAIN_MAX: u32 = 100_000;

/// A change of an interface or of an address of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are of the interface, named as there")]
pub enum LinkEvent {
    /// The interface is set up and has a carrier now.
    Up { ifindex: u32, name: String },
    /// It was set down or lost its carrier. Packet sockets recover by themselves.
    Down { ifindex: u32, name: String },
    /// Its name changed.
    Renamed {
        ifindex: u32,
        from: String,
        to: String,
    },
    /// It is gone, or in another namespace. Packet sockets on it never recover.
    Removed { ifindex: u32, name: String },
    /// It is new.
    Created {
        ifindex: u32,
        name: String,
        /// Ifindex of a removed interface of the same name: this one was re-created.
        replaces: Option<u32>,
    },
    /// An address was added to the interface.
    AddressAdded { ifindex: u32, address: IpAddr },
    /// An address was removed from it; another interface may still have it.
    AddressRemoved { ifindex: u32, address: IpAddr },
}

/// A subscription to the changes of the calling thread's namespace.
#[derive(Debug)]
pub struct Watch {
    netlink: Netlink,
    state: State,
    waiting: VecDeque<LinkEvent>,
}

impl Watch {
    /// Subscribes, then lists: the first event is the first change after that.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink.
    pub fn start() -> io::Result<Self> {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute, GROUPS, true)?;
        // The kernel grants as much as net.core.rmem_max allows. An overrun is survived.
        let _ = setsockopt(&netlink, sockopt::RcvBuf, &RECEIVE_BYTES);
        let mut state = State::default();
        state.reconcile(&list()?, &mut VecDeque::new());
        Ok(Self {
            netlink,
            state,
            waiting: VecDeque::new(),
        })
    }

    /// The next change; `None` if there is none now. Never waits.
    ///
    /// After an overrun the changes are the differences to a new list.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink.
    pub fn next_event(&mut self) -> io::Result<Option<LinkEvent>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let bytes = match self.netlink.receive() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_overrun(&error) => {
                    self.drain()?;
                    self.state.reconcile(&list()?, &mut self.waiting);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for message in messages(bytes) {
                let waiting = &mut self.waiting;
                match message.kind {
                    libc::RTM_NEWLINK => {
                        if let Some(now) = list::link(message) {
                            self.state.on_link(&now, waiting);
                        }
                    }
                    libc::RTM_DELLINK => {
                        if let Some(gone) = list::link(message) {
                            self.state.on_removed(gone.ifindex, waiting);
                        }
                    }
                    libc::RTM_NEWADDR => {
                        if let Some((ifindex, net)) = list::address(message) {
                            self.state.on_address(ifindex, net, waiting);
                        }
                    }
                    libc::RTM_DELADDR => {
                        if let Some((ifindex, net)) = list::address(message) {
                            self.state.on_address_removed(ifindex, net, waiting);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Known addresses, once for each interface that has them. May be ahead of events that were not taken yet.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.state.addresses.iter().map(|(_, net)| net.addr())
    }

    /// Discards queued messages: they are older than the list that follows, and the kernel may have dropped
    /// messages that undo them.
    fn drain(&mut self) -> io::Result<()> {
        // Bounded, for a host that sends messages faster than we read them.
        for _ in 0..DRAIN_MAX {
            match self.netlink.receive() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_overrun(&error) => {}
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

/// Whether messages were lost.
fn is_overrun(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EMSGSIZE))
}

/// Known state. A message becomes an event only if it changes the state: not if it comes twice, or after a list
/// that has it already.
#[derive(Debug, Default)]
struct State {
    links: BTreeMap<u32, Link>,
    addresses: BTreeSet<(u32, IpNet)>,
    /// Names of removed interfaces with their ifindexes, newest last.
    gone: VecDeque<(String, u32)>,
}

#[derive(Debug)]
struct Link {
    name: String,
    usable: bool,
}

impl State {
    fn on_link(&mut self, now: &Interface, events: &mut VecDeque<LinkEvent>) {
        let (ifindex, usable) = (now.ifindex, now.up && now.running);
        let name = now.name.clone();
        let Some(link) = self.links.get_mut(&ifindex) else {
            let again = self.gone.iter().position(|(gone, _)| *gone == name);
            let replaces = again.and_then(|at| self.gone.remove(at));
            events.push_back(LinkEvent::Created {
                ifindex,
                name: name.clone(),
                replaces: replaces.map(|(_, old)| old),
            });
            let link = Link {
                name: name.clone(),
                usable,
            };
            self.links.insert(ifindex, link);
            if usable {
                events.push_back(LinkEvent::Up { ifindex, name });
            }
            return;
        };
        if link.name != name {
            let from = std::mem::replace(&mut link.name, name.clone());
            let to = name.clone();
            events.push_back(LinkEvent::Renamed { ifindex, from, to });
        }
        if link.usable != usable {
            link.usable = usable;
            events.push_back(match usable {
                true => LinkEvent::Up { ifindex, name },
                false => LinkEvent::Down { ifindex, name },
            });
        }
    }

    fn on_removed(&mut self, ifindex: u32, events: &mut VecDeque<LinkEvent>) {
        let Some(Link { name, .. }) = self.links.remove(&ifindex) else {
            return;
        };
        // The kernel removes each address first; a list after an overrun does not show that.
        for (_, net) in self.addresses.extract_if(.., |each| each.0 == ifindex) {
            let address = net.addr();
            events.push_back(LinkEvent::AddressRemoved { ifindex, address });
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

    /// Changes the state to `now`, with an event for each difference.
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
            link.addresses
                .iter()
                .map(|net| (link.ifindex, *net))
                .collect()
        };
        let addresses: BTreeSet<_> = now.iter().flat_map::<Vec<_>, _>(of).collect();
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
        let mut state = State::default();
        let mut events = VecDeque::new();
        let before = [
            link(1, "a", true, &["10.0.0.1/8"]),
            link(2, "b", true, &["10.0.0.2/8"]),
        ];
        state.reconcile(&before, &mut events);
        events.clear();
        state.reconcile(&before, &mut events);
        assert_eq!(events, [], "nothing changed");
        let after = [
            link(1, "a", false, &["10.0.0.3/8"]),
            link(7, "b", false, &[]),
        ];
        state.reconcile(&after, &mut events);
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
        let mut state = State::default();
        let mut events = VecDeque::new();
        for ifindex in 0..2_000 {
            state.on_link(
                &link(ifindex, &format!("veth{ifindex}"), true, &[]),
                &mut events,
            );
            state.on_removed(ifindex, &mut events);
        }
        assert_eq!(state.gone.len(), GONE_MAX);
    }

    #[test]
    fn a_quiet_watch_does_not_wait() {
        let mut watch = Watch::start().expect("rtnetlink is open to anyone");
        while watch.next_event().expect("no error").is_some() {}
    }
}
