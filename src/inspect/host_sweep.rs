//! `host_sweep`: at least N hosts touched on one port by one source within a window.

use super::Kind;
use super::contact::{Contact, Owner};
use super::detection::{Extent, Subject};
use super::detector::About;
use super::distinct::Distinct;
use super::distinct::question::{ExtentItems, Item, ItemSet, Question, Raised};
use super::distinct::state::TouchState;
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::splitmix::mix64;
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
    /// Time window of the host sweep rule.
    ///
    /// 1s to 1h; takes ms, s, m, h. A SYN exactly this old is outside.
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
pub struct SourcePort {
    src: IpAddr,
    port: u16,
    tags: u32,
}

/// A host in 62 bits: an IPv4 address itself, or an unkeyed hash of an IPv6 address, so that every run prints the
/// same. Two IPv6 addresses collide once in 2^61 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(u64);

const V6: u64 = 1 << 61;

impl Host {
    #[allow(clippy::cast_possible_truncation, reason = "both halves are mixed")]
    fn new(Address { v6, bits }: Address) -> Self {
        if !v6 {
            return Self(bits as u64);
        }
        let mixed = mix64(mix64(bits as u64) ^ (bits >> 64) as u64);
        Self(mixed & (V6 - 1) | V6)
    }
}

impl Item for Host {
    const WORDS: usize = 1;
    const NONE: Self = Self(0);

    fn parts(self) -> (u16, u64) {
        (0, self.0)
    }

    fn of(_: u16, word: u64) -> Self {
        Self(word)
    }
}

/// Hosts of one episode: a hash table with open addressing, each host with two bits of state.
pub struct HostSet<'a>(&'a mut [u64]);

/// Places of a set. It cannot hold all hosts of sweeps over more than about 3,000: the detection is then not
/// `complete`, and the count is a lower bound.
const SET_WORDS: usize = 4096;
/// Maximum probes for a host. Limits the cost of addresses chosen to collide.
const PROBES: usize = 64;

impl HostSet<'_> {
    /// Index and true if the host is there, else a free index and false; `None`: no room.
    fn place(&self, host: Host) -> Option<(usize, bool)> {
        let home = usize::try_from(mix64(host.0) % SET_WORDS as u64).expect("below 4096");
        (0..PROBES)
            .map(|step| (home + step) % SET_WORDS)
            .find(|&at| self.0[at] == 0 || self.0[at] >> 2 == host.0)
            .map(|at| (at, self.0[at] != 0))
    }

    fn state(&self, at: usize) -> TouchState {
        TouchState::from_bits((self.0[at] & 3) as u8)
    }
}

impl ItemSet for HostSet<'_> {
    type Item = Host;

    fn get(&self, host: Host) -> TouchState {
        match self.place(host) {
            Some((at, true)) => self.state(at),
            _ => TouchState::Untouched,
        }
    }

    fn raise(&mut self, host: Host, state: TouchState) -> Raised {
        let Some((at, known)) = self.place(host) else {
            return Raised::NoRoom;
        };
        let state = state.max(self.state(at));
        self.0[at] = host.0 << 2 | state as u64;
        if known { Raised::Known } else { Raised::New }
    }

    fn states(&self) -> [u32; 4] {
        let mut states = [0; 4];
        for at in 0..self.0.len() {
            states[self.state(at) as usize] += 1;
        }
        states
    }
}

impl Question for Hosts {
    const KIND: Kind = Kind::HostSweep;
    const ABOUT: About = About {
        title: "Host sweep",
        signature: 101,
        category: "Attempted Information Leak",
        zeek_note: "Scan::Address_Scan",
    };
    const WEIGHT: u64 = 1;
    const KEYED_BY: Owner = Owner::Source;
    const ITEM_SET_WORDS: usize = SET_WORDS;
    type Flags = HostSweepFlags;
    type Subject = SourcePort;
    type Item = Host;
    type ItemSet<'a> = HostSet<'a>;

    fn numbers(flags: &HostSweepFlags) -> (usize, i64) {
        (usize::from(flags.sweep_hosts), flags.sweep_window.0)
    }

    #[inline]
    fn subject(contact: &Contact, _: Address) -> SourcePort {
        SourcePort {
            src: contact.src().into(),
            port: contact.port,
            tags: contact.tags(),
        }
    }

    #[inline]
    fn hash(hasher: &Hasher, contact: &Contact) -> u64 {
        hasher.source_port(contact.source(hasher), contact.port)
    }

    #[inline]
    fn item(contact: &Contact) -> Host {
        Host::new(contact.dst())
    }

    fn named(of: &SourcePort, dst: IpAddr) -> Subject {
        let SourcePort { src, port, .. } = *of;
        Subject::SourcePort { src, port, dst }
    }

    fn item_set(words: &mut [u64]) -> HostSet<'_> {
        HostSet(words)
    }

    fn extent(count: u32, _: ExtentItems<'_, Self>) -> Extent {
        Extent::Hosts { count }
    }
}

#[cfg(test)]
mod tests;
