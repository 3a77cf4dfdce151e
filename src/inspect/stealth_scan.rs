//! `stealth_scan`: ports of one destination probed by segments that open nothing and belong to nothing.
//!
//! NULL, FIN, XMAS and other segments without SYN, ACK and RST, and SYNs with FIN or RST: no stack sends them. ACK and
//! FIN+ACK outside a connection count where the port answered with RST: without that, the connection may only have
//! been missed, as after the start of the sensor. Source: nmap's manual, "Port Scanning Techniques".

use super::Kind;
use super::contact::{ContactKind, Kinds};
use super::detector::{About, Judge};
use super::distinct::Distinct;
use super::distinct::question::{Hears, Threshold};
use super::port_scan::ports::{PortRule, Ports};
use super::threshold::{Range, Within};

pub type StealthScan = Distinct<Ports<Stealth>>;

/// TCP ports of one destination that one source probes.
pub enum Stealth {}

#[derive(Clone, Debug, clap::Args)]
pub struct StealthScanFlags {
    /// Ports of a stealth scan.
    ///
    /// off, or N from 2 to 16 ports of one destination, probed within TIME, 1s to 1h. Probes: segments without SYN,
    /// ACK and RST (NULL, FIN, XMAS, other flags); SYN with FIN or RST; ACK and FIN+ACK without data where the port
    /// answers with RST. Those by ACK are not seen with --capture control, nor while data are shed.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "3/60s",
        value_parser = range,
        help_heading = "Detection"
    )]
    pub stealth_scan: Within,
}

fn range(value: &str) -> Result<Within, String> {
    let (counts, windows) = (2..=16, ["1s", "1h"]);
    Range { counts, windows }.read(value)
}

impl PortRule for Stealth {
    const KIND: Kind = Kind::StealthScan;
    const ABOUT: About = About {
        title: "Stealth scan",
        signature: 102,
        judge: Judge::Techniques,
        proto: "TCP",
        category: "Attempted Information Leak",
        zeek_note: "Scan::Stealth_Scan",
    };
    const WEIGHT: u64 = 2;
    const HEARS: Hears = Hears {
        touches: ContactKind::PROBES.with(Kinds::of(&[ContactKind::OddTouch])),
        answers: Kinds::of(&[ContactKind::Answered]),
        refusals: Kinds::of(&[ContactKind::Refused]),
        // A handshake proves nothing about who sent a segment outside it.
        proofs: Kinds::of(&[]),
    };
    type Flags = StealthScanFlags;

    fn threshold(flags: &StealthScanFlags) -> Threshold {
        flags.stealth_scan.into()
    }
}

#[cfg(test)]
mod tests;
