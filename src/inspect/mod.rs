//! From contacts to detections. A new detector is a file or folder here, and one line in the list below.

mod combine;
pub mod contact;
pub mod detection;
pub mod detector;
mod distinct;
mod distributed_scan;
mod flood;
mod host_sweep;
mod icmp_flood;
#[cfg(test)]
mod lab;
mod network;
mod place;
pub mod port_scan;
mod rst_flood;
pub mod setting;
mod slow_scan;
mod sources;
mod stealth_scan;
mod syn_flood;
mod table;
mod threshold;
mod udp_flood;
mod udp_scan;
pub mod verdict;

use crate::counters::{Counters as _, counters};
use crate::flow::key::Hasher;
use combine::{detectors, shares};
use contact::{Contact, ContactKind, Owner};
use detector::{About, Detector, DetectorCounts, Found, LOSS_NS, Owned, SOURCES, Sighting};
use distinct::firsts::First;
pub use flood::Rule as FloodRule;
use network::Network;
pub use place::UNITED;
use place::{Element, Place};
use setting::Setting;
pub use sources::Room as SourceRoom;
use sources::{Admission, Room, SourceCounts, Sources, place_of};

detectors! {
    PortScan = "port_scan", port_scan: port_scan::PortScan, "One source tried many ports of one destination";
    HostSweep = "host_sweep", host_sweep: host_sweep::HostSweep, "One source tried one port of many hosts";
    StealthScan = "stealth_scan", stealth_scan: stealth_scan::StealthScan, "One source probed ports of one destination by segments that open nothing";
    UdpScan = "udp_scan", udp_scan: udp_scan::UdpScan, "One source tried many UDP ports of one destination";
    SlowScan = "slow_scan", slow_scan: slow_scan::SlowScan, "Nearly everything that one source tried for long failed";
    DistributedScan = "distributed_scan", distributed_scan: distributed_scan::DistributedScan, "Many sources tried closed ports of one destination";
    SynFlood = "syn_flood", syn_flood: syn_flood::SynFlood, "Many SYNs at one port that opened nothing";
    RstFlood = "rst_flood", rst_flood: rst_flood::RstFlood, "Many RSTs at one destination that belong to nothing";
    UdpFlood = "udp_flood", udp_flood: udp_flood::UdpFlood, "Many datagrams at one destination that nothing answered";
    IcmpFlood = "icmp_flood", icmp_flood: icmp_flood::IcmpFlood, "Many ICMP messages at one destination";
}
