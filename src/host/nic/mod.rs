//! The interfaces of the calling thread's network namespace: list, selection by `-i`, changes, counters.
//!
//! In: rtnetlink and `/proc/net`. Out: [`Interface`], [`Selection`], [`LinkEvent`] and counters.

mod counters;
mod driver;
pub(crate) mod ethtool;
mod flowtables;
mod list;
mod relations;
mod routes;
mod select;
mod watch;
mod xdp;

use std::io;
use std::path::Path;

use ipnet::IpNet;

use crate::capture::frame::LinkType;
use crate::counters::counters;

pub use counters::{Counters, Softnet, SoftnetCounters};
pub(crate) use driver::{Driver, DriverLoss, driver};
pub(crate) use flowtables::{Flowtable, hardware_flowtables};
pub use list::list;
pub(crate) use list::{addresses, broadcasts};
pub(crate) use relations::{Relation, relations};
pub use routes::default_route_devices;
pub use select::{SelectError, Selection, is_glob, resolve};
pub use watch::{LinkEvent, Watch};
pub use xdp::Xdp;
pub(crate) use xdp::xdp;

/// The longest name an interface can have, in bytes (`IFNAMSIZ` − 1).
pub const NAME_BYTES_MAX: usize = 15;

/// Raw IP, as cellular modems have it (`linux/if_arp.h`); libc lacks the name.
const ARPHRD_RAWIP: u16 = 519;
// linux/if_arp.h; libc lacks these, too.
const ARPHRD_CAN: u16 = 280;
const ARPHRD_IP6GRE: u16 = 823;
const ARPHRD_NETLINK: u16 = 824;
const ARPHRD_6LOWPAN: u16 = 825;
const ARPHRD_VSOCKMON: u16 = 826;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// It can change.
    pub name: String,
    /// Unique until the interface is removed.
    pub ifindex: u32,
    /// Hardware type (`ARPHRD_*`).
    pub arphrd: u16,
    /// How its frames start; `None`: unsupported.
    pub link: Option<LinkType>,
    /// It is set up (`IFF_UP`).
    pub up: bool,
    /// It has a carrier (`IFF_RUNNING`).
    pub running: bool,
    /// Loopback device (`IFF_LOOPBACK`): each packet passes a tap twice.
    pub loopback: bool,
    /// In bytes, without link header.
    pub mtu: u32,
    /// Allocated receive queues (`IFLA_NUM_RX_QUEUES`); fewer may be in use.
    pub rx_queues: u32,
    /// Its own addresses, with their prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Since the interface exists.
    pub counters: NicCounters,
}

/// Link type of a hardware type; `None`: unsupported.
///
/// Devices of raw IP are captured without their link header ([`crate::capture::socket::RxSocket::open`]): that of PPP
/// and GRE differs between the directions.
pub fn link_type(arphrd: u16) -> Option<LinkType> {
    match arphrd {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => Some(LinkType::Ethernet),
        libc::ARPHRD_NONE
        | ARPHRD_RAWIP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_PPP
        | libc::ARPHRD_IPGRE
        | ARPHRD_IP6GRE => Some(LinkType::RawIp),
        _ => None,
    }
}

/// A hardware type by number and, where it is known, name.
pub fn hardware_type(arphrd: u16) -> String {
    let name = match arphrd {
        libc::ARPHRD_AX25 => "AX.25",
        libc::ARPHRD_IEEE1394 => "FireWire",
        libc::ARPHRD_INFINIBAND => "InfiniBand",
        libc::ARPHRD_SLIP | libc::ARPHRD_CSLIP => "SLIP",
        ARPHRD_CAN => "CAN",
        libc::ARPHRD_CISCO => "Cisco HDLC",
        libc::ARPHRD_RAWHDLC => "raw HDLC",
        libc::ARPHRD_FRAD => "frame relay",
        libc::ARPHRD_IEEE80211 => "802.11",
        libc::ARPHRD_IEEE80211_PRISM | libc::ARPHRD_IEEE80211_RADIOTAP => "802.11 in monitor mode",
        libc::ARPHRD_IEEE802154 => "802.15.4",
        ARPHRD_NETLINK => "netlink monitor",
        ARPHRD_6LOWPAN => "6LoWPAN",
        ARPHRD_VSOCKMON => "vsock monitor",
        _ => return arphrd.to_string(),
    };
    format!("{arphrd} ({name})")
}

/// Whether the calling thread's network namespace is not the host's: only that one has the sysctls of all CPUs' backlogs.
///
/// Source: `net_core_table` and `netns_core_table` (net/core/sysctl_net_core.c).
pub(crate) fn is_namespace_of_its_own() -> bool {
    let exists = |name: &str| Path::new("/proc/sys/net/core").join(name).exists();
    exists("somaxconn") && !exists("netdev_max_backlog")
}

/// Reads a file of `/proc/net` for the calling thread's namespace.
///
/// `/proc/net` itself is the main thread's, which in tests has another namespace.
pub(crate) fn read_proc_net(name: &str) -> io::Result<String> {
    std::fs::read_to_string(format!("/proc/thread-self/net/{name}"))
        .or_else(|_| std::fs::read_to_string(format!("/proc/net/{name}")))
}

counters! {
    /// Counters of an interface, by their kernel names. Drivers differ in which they fill.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct NicCounters "" {
        rx_packets: "Packets received, before the kernel merges any (GRO)",
        tx_packets: "Packets sent",
        rx_dropped: "Packets without a protocol that takes them, or dropped before a tap. Not a loss of ours by \
                     itself: without a tap, frames of an unknown type count here, too",
        rx_missed_errors: "Packets that the NIC had no room for",
        rx_fifo_errors: "Packets lost in the NIC's own queue",
        rx_over_errors: "Packets lost because the receive ring was full",
        tx_dropped: "Packets dropped on their way out, for example by a full veth peer",
    }
}

impl From<SelectError> for crate::error::Failure {
    fn from(error: SelectError) -> Self {
        match error.is_usage_fault() {
            true => Self::Usage(error.to_string()),
            false => Self::run(error),
        }
    }
}
