//! `udp_flood`: datagrams at one destination that nothing answers.
//!
//! Those that open a flow, answers to questions that were not seen included (a reflection flood is made of these), and
//! further ones of flows that had no answer yet, in steps of 64.

use super::Kind;
use super::contact::{Contact, ContactKind, Kinds};
use super::detector::{About, Judge};
use super::flood::{Flood, FloodRule, rate};
use super::threshold::Within;

pub type UdpFlood = Flood<Unanswered>;

/// Datagrams at one destination that nothing answers.
pub enum Unanswered {}

#[derive(Clone, Debug, clap::Args)]
pub struct UdpFloodFlags {
    /// Datagrams of a UDP flood.
    ///
    /// off, or N from 10 to 100000000 at one destination within TIME, 1s to 10s. Of each flow the first datagram
    /// counts and, until something answers, further ones in steps of 64; answers to questions that were not seen
    /// count, too (reflected ones and, where one direction is captured, honest ones). Not seen with --capture
    /// control, and too few while data are shed.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "10000/1s",
        value_parser = rate,
        help_heading = "Detection"
    )]
    pub udp_flood: Within,
}

impl FloodRule for Unanswered {
    const KIND: Kind = Kind::UdpFlood;
    const ABOUT: About = About {
        title: "UDP flood",
        signature: 108,
        judge: Judge::Nobody,
        proto: "UDP",
        category: "Attempted Denial of Service",
        zeek_note: "Flood::UDP_Flood",
    };
    const WEIGHT: u64 = 1;
    const PACKETS: Kinds = Kinds::of(&[
        ContactKind::UdpTouch,
        ContactKind::StrayAnswer,
        ContactKind::Datagrams,
    ]);
    const COMPLETED: Kinds = Kinds::of(&[]);
    type Flags = UdpFloodFlags;

    fn threshold(flags: &UdpFloodFlags) -> Within {
        flags.udp_flood
    }

    #[inline]
    fn port(_: &Contact) -> Option<u16> {
        None
    }
}
