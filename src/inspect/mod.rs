//! From contacts to detections. A new detector is a file or folder here, and one line in the list below.

pub mod contact;
pub mod detection;
pub mod detector;
mod distinct;
mod host_sweep;
pub mod port_scan;

use crate::counters::{Counters as _, counters};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::time::timeline::Timeline;
use contact::{Contact, Owner};
use detector::{About, Detector, DetectorCounts, Found, Owned, detectors, shares};

detectors! {
    PortScan = "port_scan", port_scan: port_scan::PortScan, "One source tried many ports of one destination";
    HostSweep = "host_sweep", host_sweep: host_sweep::HostSweep, "One source tried one port of many hosts";
}
