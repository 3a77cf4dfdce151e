//! The host's interfaces: which there are, which are meant, what changes, what they lost.
//!
//! In: rtnetlink and `/proc/net`. Out: [`Interface`], [`Selection`], [`LinkEvent`] and counters.
//! Nothing here touches a frame. Everything speaks of the calling thread's network namespace.

mod counters;
pub mod ethtool;
mod list;
mod routes;
mod select;
mod watch;

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::capture::frame::LinkType;

pub use counters::{Counters, Softnet, SoftnetCounters};
pub use list::{list, statistics};
pub use routes::default_route_devices;
pub use select::{SelectError, Selection, is_glob, resolve, select};
pub use watch::{LinkEvent, Watch};

/// The longest name an interface can have, in bytes (`IFNAMSIZ` − 1).
pub const NAME_BYTES_MAX: usize = 15;

/// Raw IP, as cellular modems have it (`linux/if_arp.h`); libc lacks the name.
const ARPHRD_RAWIP: u16 = 519;

/// One interface as the kernel described it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name now; it can change.
    pub name: String,
    /// Its number, unique until it is removed.
    pub ifindex: u32,
    /// Its hardware type (`ARPHRD_*`).
    pub arphrd: u16,
    /// What its frames start with; `None`: a type we cannot read.
    pub link: Option<LinkType>,
    /// Someone set it up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// It is a loopback device (`IFF_LOOPBACK`): each packet passes a tap on it twice.
    pub loopback: bool,
    /// Largest packet it sends, in bytes, without link header.
    pub mtu: u32,
    /// Receive queues the driver allocated (`IFLA_NUM_RX_QUEUES`); fewer may be in use.
    pub rx_queues: u32,
    /// Its own addresses, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// What it counted since it exists.
    pub counters: NicCounters,
}

/// What frames of a device of hardware type `arphrd` start with; `None` if we cannot read them.
///
/// PPP and GRE devices show a tap different headers in the two directions, hence `None`.
pub fn link_type(arphrd: u16) -> Option<LinkType> {
    match arphrd {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::Ethernet),
        libc::ARPHRD_NONE
        | ARPHRD_RAWIP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT => Some(LinkType::RawIp),
        _ => None,
    }
}

/// Every address of the host, once for each interface that has it, sorted.
///
/// Where changes are followed too, take [`Watch::addresses`], which misses none in between.
///
/// # Errors
///
/// What rtnetlink said.
pub fn own_addresses() -> io::Result<Vec<IpAddr>> {
    let mut all: Vec<IpAddr> = list()?
        .iter()
        .flat_map(|interface| interface.addresses.iter().map(IpNet::addr))
        .collect();
    all.sort_unstable();
    Ok(all)
}

/// Reads a file of `/proc/net` for the calling thread's namespace.
///
/// `/proc/net` itself follows the main thread, which is another one in tests.
pub(crate) fn read_proc_net(name: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/thread-self/net/{name}"))
        .or_else(|_| std::fs::read_to_string(format!("/proc/net/{name}")))
}

/// What an interface counted. Kernel words; which of them a driver fills differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicCounters {
    /// Packets received, before the kernel merges any (GRO).
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets no protocol wanted, or dropped before a tap. Not loss of ours by itself: without a
    /// tap, frames of an unknown type count here too.
    pub rx_dropped: u64,
    /// Packets the NIC had no room for.
    pub rx_missed_errors: u64,
    /// Packets lost in the NIC's own queue.
    pub rx_fifo_errors: u64,
    /// Packets lost because the receive ring was full.
    pub rx_over_errors: u64,
    /// Packets dropped on their way out, for example by a full veth peer.
    pub tx_dropped: u64,
}

impl From<SelectError> for crate::error::Failure {
    fn from(error: SelectError) -> Self {
        match error.is_usage_fault() {
            true => Self::Usage(error.to_string()),
            false => Self::run(error),
        }
    }
}
