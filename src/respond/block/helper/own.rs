//! The addresses of this host and the broadcast addresses of its networks, as the helper itself reads them.

use crate::host::netlink::Netlink;
use crate::host::nic::{Watch, addresses, broadcasts};
use nix::sys::socket::SockProtocol;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Addresses of all interfaces, and the broadcast addresses of their networks.
#[derive(Debug)]
pub struct OwnAddresses {
    netlink: Netlink,
    /// Says when there may be others. An IPv6 address can be used before this says so.
    watch: Watch,
    /// Sorted.
    now: Vec<IpAddr>,
}

impl OwnAddresses {
    /// Lists them and subscribes to changes.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink.
    pub fn open() -> io::Result<Self> {
        let mut own = Self {
            netlink: Netlink::open(SockProtocol::NetlinkRoute, 0, false)?,
            watch: Watch::start()?,
            now: Vec::new(),
        };
        own.renew()?;
        Ok(own)
    }

    /// Lists them as they are now. Returns whether they have changed.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink.
    pub fn renew(&mut self) -> io::Result<bool> {
        let mut now = addresses(&mut self.netlink)?;
        now.extend(broadcasts(&mut self.netlink)?);
        now.sort_unstable();
        now.dedup();
        let changed = now != self.now;
        self.now = now;
        Ok(changed)
    }

    /// Whether there was a change of an interface or an address since the last call.
    ///
    /// # Errors
    ///
    /// Those of rtnetlink.
    pub fn heard_of_change(&mut self) -> io::Result<bool> {
        let mut heard = false;
        while self.watch.next_event()?.is_some() {
            heard = true;
        }
        Ok(heard)
    }

    /// As of the last renewal, sorted.
    pub fn all(&self) -> &[IpAddr] {
        &self.now
    }
}

impl AsFd for OwnAddresses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
