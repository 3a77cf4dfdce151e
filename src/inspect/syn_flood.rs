//! `syn_flood`: SYNs at one port of a destination that open nothing.
//!
//! A slot of W with at least N SYNs is a flood if fewer than a tenth of them became connections, and if what is half
//! open has added up to more than 20 times what a usual slot completes (CUSUM, at least 20 connections): a busy
//! server's own clients, and a download that opens many connections, complete theirs. Source: Wang, Zhang, Shin,
//! "Detecting SYN Flooding Attacks", INFOCOM 2002, which the non-parametric CUSUM is from.

use super::Kind;
use super::contact::{Contact, ContactKind, Kinds};
use super::detector::{About, Judge};
use super::flood::{Flood, FloodRule, Slot, rate};
use super::threshold::Within;

pub type SynFlood = Flood<HalfOpen>;

/// Excess that makes a flood, in 256ths of the connections that a usual slot completes (DETECTION's h).
const EXCESS: u64 = 20 * 256;

/// SYNs at one port of a destination that open nothing.
pub enum HalfOpen {}

#[derive(Clone, Debug, clap::Args)]
pub struct SynFloodFlags {
    /// SYNs of a SYN flood.
    ///
    /// off, or N from 10 to 100000000 at one port of one destination within TIME, 1s to 10s, of which fewer than a
    /// tenth complete a handshake. The unfinished ones, added up from one TIME to the next, must be more than 20 times the
    /// handshakes that the port usually finishes in TIME (taken as 1 if it is less). Judged at the end of each TIME: with
    /// 5s at :00, :05, :10. With --capture
    /// control, or while data are shed, a handshake counts when the client ends the connection.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "1000/1s",
        value_parser = rate,
        help_heading = "Detection"
    )]
    pub syn_flood: Within,
}

impl FloodRule for HalfOpen {
    const KIND: Kind = Kind::SynFlood;
    const ABOUT: About = About {
        title: "SYN flood",
        signature: 106,
        judge: Judge::Nobody,
        proto: "TCP",
        category: "Attempted Denial of Service",
        zeek_note: "Flood::SYN_Flood",
    };
    const WEIGHT: u64 = 2;
    const PACKETS: Kinds = ContactKind::SYNS;
    const COMPLETED: Kinds = Kinds::of(&[ContactKind::Established]);
    type Flags = SynFloodFlags;

    fn threshold(flags: &SynFloodFlags) -> Within {
        flags.syn_flood
    }

    #[inline]
    fn port(contact: &Contact) -> Option<u16> {
        Some(contact.port)
    }

    fn is_flood(slot: &Slot) -> bool {
        slot.completed < slot.packets / 10 && slot.excess > EXCESS
    }
}
