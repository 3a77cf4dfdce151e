//! `icmp_flood`: ICMP and ICMPv6 messages at one destination, but neighbour and listener discovery.

use super::Kind;
use super::contact::{Contact, ContactKind, Kinds};
use super::detector::{About, Judge};
use super::flood::{Flood, FloodRule, rate};
use super::threshold::Within;

pub type IcmpFlood = Flood<Messages>;

/// ICMP messages at one destination.
pub enum Messages {}

#[derive(Clone, Debug, clap::Args)]
pub struct IcmpFloodFlags {
    /// Messages of an ICMP flood.
    ///
    /// off, or N from 10 to 100000000 at one destination within TIME, 1s to 10s: pings and all other messages of
    /// ICMP and ICMPv6, but neighbour and listener discovery. With --capture control only errors are seen.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "1000/1s",
        value_parser = rate,
        help_heading = "Detection"
    )]
    pub icmp_flood: Within,
}

impl FloodRule for Messages {
    const KIND: Kind = Kind::IcmpFlood;
    const ABOUT: About = About {
        title: "ICMP flood",
        signature: 109,
        judge: Judge::Nobody,
        proto: "ICMP",
        category: "Attempted Denial of Service",
        zeek_note: "Flood::ICMP_Flood",
    };
    const WEIGHT: u64 = 1;
    const PACKETS: Kinds = Kinds::of(&[ContactKind::Icmp]);
    const COMPLETED: Kinds = Kinds::of(&[]);
    type Flags = IcmpFloodFlags;

    fn threshold(flags: &IcmpFloodFlags) -> Within {
        flags.icmp_flood
    }

    #[inline]
    fn port(_: &Contact) -> Option<u16> {
        None
    }
}
