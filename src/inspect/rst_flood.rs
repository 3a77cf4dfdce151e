//! `rst_flood`: RSTs at one destination that belong to no connection.
//!
//! They may be an attack on connections, or answers to a flood that was sent in this address's name. Nobody is accused.

use super::Kind;
use super::contact::{Contact, ContactKind, Kinds};
use super::detector::{About, Judge};
use super::flood::{Flood, FloodRule, rate};
use super::threshold::Within;

pub type RstFlood = Flood<StrayResets>;

/// RSTs at one destination that belong to nothing.
pub enum StrayResets {}

#[derive(Clone, Debug, clap::Args)]
pub struct RstFloodFlags {
    /// RSTs of a RST flood.
    ///
    /// off, or N from 10 to 100000000 RSTs that belong to no connection, at one destination within TIME, 1s to 10s.
    /// They may be answers to a flood in this destination's name.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "5000/1s",
        value_parser = rate,
        help_heading = "Detection"
    )]
    pub rst_flood: Within,
}

impl FloodRule for StrayResets {
    const KIND: Kind = Kind::RstFlood;
    const ABOUT: About = About {
        title: "RST flood",
        signature: 107,
        judge: Judge::Nobody,
        proto: "TCP",
        category: "Attempted Denial of Service",
        zeek_note: "Flood::RST_Flood",
    };
    const WEIGHT: u64 = 1;
    const PACKETS: Kinds = Kinds::of(&[ContactKind::StrayReset]);
    const COMPLETED: Kinds = Kinds::of(&[]);
    type Flags = RstFloodFlags;

    fn threshold(flags: &RstFloodFlags) -> Within {
        flags.rst_flood
    }

    #[inline]
    fn port(_: &Contact) -> Option<u16> {
        None
    }
}
