//! `host_sweep`: at least N hosts touched on one port by one source within a window.

use super::Kind;
use super::contact::{Contact, Owner};
use super::detection::{Extent, Subject};
use super::detector::{About, Judge};
use super::distinct::Distinct;
use super::distinct::item_set::HashSet;
use super::distinct::question::{ExtentItems, Hears, Question, Threshold};
use super::place::{Host, Place};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::time::durations::{Window, window};
use std::net::IpAddr;

pub type HostSweep = Distinct<Hosts>;

/// Hosts that one source touches on one port.
pub enum Hosts {}

#[derive(Clone, Debug, clap::Args)]
pub struct HostSweepFlags {
    /// Hosts that make a host sweep.
    ///
    /// 2 to 64: distinct hosts with SYNs of one source to the same TCP port within --sweep-window; 0 turns the rule off.
    /// Only hosts whose packets reach the sensor count.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 25,
        value_parser = hosts,
        help_heading = "Detection"
    )]
    pub sweep_hosts: u8,
    /// Window of the host sweep rule.
    ///
    /// 1s to 1h; takes ms, s, m, h. A SYN that is just as old does not count.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        value_parser = window,
        help_heading = "Detection"
    )]
    pub sweep_window: Window,
}

fn hosts(value: &str) -> Result<u8, String> {
    match value.parse() {
        Ok(hosts @ (0 | 2..=64)) => Ok(hosts),
        _ => Err("must be a whole number from 2 to 64, or 0 for off".to_owned()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct SourcePort {
    src: IpAddr,
    port: u16,
    tags: u32,
}

/// Places of a set of hosts. It cannot hold all hosts of sweeps over more than about 3,000: the detection is then not
/// `complete`, and the count is a lower bound.
const SET_WORDS: usize = 4096;

impl Question for Hosts {
    const KIND: Kind = Kind::HostSweep;
    const ABOUT: About = About {
        title: "Host sweep",
        signature: 101,
        judge: Judge::Outcomes,
        proto: "TCP",
        category: "Attempted Information Leak",
        zeek_note: "Scan::Address_Scan",
    };
    const WEIGHT: u64 = 4;
    const KEYED_BY: Owner = Owner::Source;
    const HEARS: Hears = Hears::ATTEMPTS;
    const ITEM_SET_WORDS: usize = SET_WORDS;
    type Flags = HostSweepFlags;
    type Subject = SourcePort;
    type Item = Host;
    type ItemSet<'a> = HashSet<'a, Host>;

    fn threshold(flags: &HostSweepFlags) -> Threshold {
        Threshold {
            at_least: usize::from(flags.sweep_hosts),
            at_least_local: 0,
            window_ns: flags.sweep_window.0,
        }
    }

    #[inline]
    fn subject(contact: &Contact, _: Address, tags: u32) -> SourcePort {
        SourcePort {
            src: contact.src().into(),
            port: contact.port,
            tags,
        }
    }

    #[inline]
    fn hash(hasher: &Hasher, place: &Place) -> u64 {
        hasher.source_and(place.source, u64::from(place.port))
    }

    #[inline]
    fn item(place: &Place) -> Host {
        place.host
    }

    fn named(of: &SourcePort, dst: IpAddr) -> Subject {
        let SourcePort { src, port, .. } = *of;
        Subject::SourcePort { src, port, dst }
    }

    fn item_set(words: &mut [u64]) -> HashSet<'_, Host> {
        HashSet::new(words)
    }

    fn extent(count: u32, _: ExtentItems<'_, Self>) -> Extent {
        Extent::Hosts { count }
    }
}

#[cfg(test)]
mod tests;
