//! `port_scan`: at least N ports of one destination touched by one source within a window.

pub(super) mod port_map;
pub(super) mod ports;

use super::Kind;
use super::detector::{About, Judge};
use super::distinct::Distinct;
use super::distinct::question::{Hears, KEEP_MAX, Threshold};
use crate::time::durations::{Window, window};
use crate::words::whole;
use ports::{PortRule, Ports};

pub use super::distinct::Rule;

/// The detector of port scans.
pub type PortScan = Distinct<Ports<Scan>>;

/// TCP ports of one destination that one source tries to open.
pub enum Scan {}

/// Its flags.
#[derive(Clone, Debug, clap::Args)]
pub struct PortScanFlags {
    /// Ports that make a port scan.
    ///
    /// 2 to 16: distinct TCP ports of one destination with SYNs of one source within --scan-window, whatever they meet.
    /// A client that opens as many services of one host fulfils the rule, too: its verdict is unproven (--alert).
    #[arg(
        long,
        value_name = "N",
        default_value_t = 4,
        value_parser = whole::<u8>(2..=16),
        help_heading = "Detection"
    )]
    pub scan_ports: u8,
    /// Ports of a scan by our addresses.
    ///
    /// 2 to 64, or 0 for the same as --scan-ports. Ours are those of --local and, in `run`, this host's. Monitors and
    /// proxies open many ports of one host. `run` reports scans by them with --scan-scope all only.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = local_ports,
        help_heading = "Detection"
    )]
    pub scan_ports_local: u8,
    /// Window of the port scan rule.
    ///
    /// 1s to 1h; takes ms, s, m, h. A SYN that is just as old does not count.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = window,
        help_heading = "Detection"
    )]
    pub scan_window: Window,
}

fn local_ports(value: &str) -> Result<u8, String> {
    match value.parse() {
        Ok(ports) if ports == 0 || (2..=KEEP_MAX).contains(&usize::from(ports)) => Ok(ports),
        _ => {
            Err("must be a whole number from 2 to 64, or 0 for the same as --scan-ports".to_owned())
        }
    }
}

impl PortRule for Scan {
    const KIND: Kind = Kind::PortScan;
    const ABOUT: About = About {
        title: "Port scan",
        signature: 100,
        judge: Judge::Outcomes,
        proto: "TCP",
        category: "Attempted Information Leak",
        zeek_note: "Scan::Port_Scan",
    };
    const WEIGHT: u64 = 12;
    const HEARS: Hears = Hears::ATTEMPTS;
    type Flags = PortScanFlags;

    fn threshold(flags: &PortScanFlags) -> Threshold {
        Threshold {
            at_least: usize::from(flags.scan_ports),
            at_least_local: usize::from(flags.scan_ports_local),
            window_ns: flags.scan_window.0,
        }
    }
}

#[cfg(test)]
mod tests;
