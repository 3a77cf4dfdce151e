//! `udp_scan`: at least N UDP ports of one destination touched by one source within a window.
//!
//! A touch is a datagram that opens a flow. ICMP port unreachable is the evidence that a port is closed; a target may
//! send few of them (Linux: six at once, then one a second), or none. Ports of traceroute count for the rule, but their
//! failures say nothing: they are what it asks for.
//!
//! An answer whose question was not seen (payload, from a service's port to a client's) is no touch, even if it is
//! refused: a host also refuses what reflectors send it because somebody asked them in its name, and what a resolver
//! answers when nobody waits any more. Who sends these has probed nothing.

use super::Kind;
use super::contact::{ContactKind, Kinds};
use super::detector::{About, Judge};
use super::distinct::Distinct;
use super::distinct::question::{Hears, Threshold};
use super::place::TRACEROUTE;
use super::port_scan::ports::{PortRule, Ports};
use super::threshold::{Range, Within};
use std::ops::RangeInclusive;

pub type UdpScan = Distinct<Ports<Datagrams>>;

/// UDP ports of one destination that one source touches.
pub enum Datagrams {}

#[derive(Clone, Debug, clap::Args)]
pub struct UdpScanFlags {
    /// UDP ports of a UDP scan.
    ///
    /// off, or N from 2 to 16 ports of one destination within TIME, 1s to 1h, each touched by a datagram that opens
    /// a flow; not to multicast or broadcast. A datagram with payload from a port below 1024 to one from 1024 on is
    /// taken for an answer whose question was not seen, even if it is refused. Calls between two voice gateways and
    /// traceroute fulfil the rule, too: their verdict is unproven. Not seen with --capture control, nor while data are
    /// shed.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "10/60s",
        value_parser = range,
        help_heading = "Detection"
    )]
    pub udp_scan: Within,
}

fn range(value: &str) -> Result<Within, String> {
    let (counts, windows) = (2..=16, ["1s", "1h"]);
    Range { counts, windows }.read(value)
}

impl PortRule for Datagrams {
    const KIND: Kind = Kind::UdpScan;
    const ABOUT: About = About {
        title: "UDP scan",
        signature: 103,
        judge: Judge::Outcomes,
        proto: "UDP",
        category: "Attempted Information Leak",
        zeek_note: "Scan::UDP_Scan",
    };
    const WEIGHT: u64 = 3;
    const HEARS: Hears = Hears {
        touches: Kinds::of(&[ContactKind::UdpTouch]),
        answers: Kinds::of(&[ContactKind::UdpAnswered]),
        refusals: Kinds::of(&[ContactKind::UdpRefused]),
        proofs: Kinds::of(&[]),
    };
    type Flags = UdpScanFlags;

    fn threshold(flags: &UdpScanFlags) -> Threshold {
        flags.udp_scan.into()
    }

    const SPARED: &'static [RangeInclusive<u16>] = &TRACEROUTE;
}

#[cfg(test)]
mod tests;
