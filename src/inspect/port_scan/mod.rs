//! `port_scan`: at least N ports of one destination touched by one source within a window.

mod port_map;

use super::contact::{Contact, Owner};
use super::detection::{Extent, Subject};
use super::detector::About;
use super::distinct::Distinct;
use super::distinct::question::{ExtentItems, Item, Question};
use super::{Kind, distinct};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::time::durations::{Window, window};
use crate::words::whole;
use port_map::{PORT_MAP_WORDS, PortMap, ranges_of};
use std::net::IpAddr;

/// The detector of port scans.
pub type PortScan = Distinct<Ports>;
pub use distinct::Rule;

/// Ports of one destination that one source touches.
pub enum Ports {}

/// Its flags.
#[derive(Clone, Debug, clap::Args)]
pub struct PortScanFlags {
    /// Ports that make a port scan.
    ///
    /// 2 to 16: distinct TCP ports of one destination with SYNs of one source within --scan-window. Not detected: slower
    /// scans, UDP, probes without SYN or with ACK (FIN, NULL, XMAS), scans by many sources, scans inside tunnels.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = whole::<u8>(2..=16),
        help_heading = "Detection"
    )]
    pub scan_ports: u8,
    /// Time window of the port scan rule.
    ///
    /// 1s to 1h; takes ms, s, m, h. A SYN exactly this old is outside.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = window,
        help_heading = "Detection"
    )]
    pub scan_window: Window,
}

/// A source and what it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    src: IpAddr,
    target: IpAddr,
    tags: u32,
}

impl Item for u16 {
    const WORDS: usize = 0;
    const NONE: Self = 0;

    fn parts(self) -> (u16, u64) {
        (self, 0)
    }

    fn of(short: u16, _: u64) -> Self {
        short
    }
}

impl Question for Ports {
    const KIND: Kind = Kind::PortScan;
    const ABOUT: About = About {
        title: "Port scan",
        signature: 100,
        category: "Attempted Information Leak",
        zeek_note: "Scan::Port_Scan",
    };
    const WEIGHT: u64 = 3;
    const KEYED_BY: Owner = Owner::Pair;
    const ITEM_SET_WORDS: usize = PORT_MAP_WORDS;
    type Flags = PortScanFlags;
    type Subject = Pair;
    type Item = u16;
    type ItemSet<'a> = PortMap<'a>;

    fn numbers(flags: &PortScanFlags) -> (usize, i64) {
        (usize::from(flags.scan_ports), flags.scan_window.0)
    }

    #[inline]
    fn subject(contact: &Contact, target: Address) -> Pair {
        Pair {
            src: contact.src().into(),
            target: target.into(),
            tags: contact.tags(),
        }
    }

    #[inline]
    fn hash(_: &Hasher, contact: &Contact) -> u64 {
        contact.pair
    }

    #[inline]
    fn item(contact: &Contact) -> u16 {
        contact.port
    }

    fn named(pair: &Pair, dst: IpAddr) -> Subject {
        let src = pair.src;
        Subject::Pair { src, dst }
    }

    fn item_set(words: &mut [u64]) -> PortMap<'_> {
        PortMap(words)
    }

    fn extent(count: u32, which: ExtentItems<'_, Self>) -> Extent {
        let ranges = match which {
            ExtentItems::Deciding(ports) => ranges_of(ports.iter().copied()),
            ExtentItems::All(map) => map.ranges(),
            ExtentItems::Unknown => Vec::new(),
        };
        Extent::Ports { count, ranges }
    }
}

#[cfg(test)]
mod tests;
