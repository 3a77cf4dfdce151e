//! `distributed_scan`: many sources share a scan of one destination.
//!
//! Of the 32 ports of a destination that were touched most recently, at least N are closed (refused, or no answer
//! within 5 s, in whole seconds of packet time), within the window; at least three sources touched them, and at most half of them were touched by one
//! source alone. That is what remains of a scan with decoys, too: each probe comes from every decoy.

use super::Kind;
use super::contact::{Contact, Kinds, Owner};
use super::detection::{Crowd, Extent, Subject};
use super::detector::{About, Judge};
use super::distinct::Distinct;
use super::distinct::item::Item;
use super::distinct::question::{
    ExtentItems, Hears, Question, Threshold, has_failed, is_inside, nth_newest_ns,
};
use super::distinct::subjects::Touch;
use super::place::Place;
use super::port_scan::port_map::{PORT_MAP_WORDS, PortItem, PortMap, ranges_of};
use super::threshold::{Range, Within};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use std::net::IpAddr;

pub type DistributedScan = Distinct<ClosedPorts>;

/// Closed ports of one destination.
pub enum ClosedPorts {}

/// Most recently touched ports that decide.
const KEEP: usize = 32;
const SECOND_NS: i64 = 1_000_000_000;
const SOURCES_MIN: u32 = 3;

#[derive(Clone, Debug, clap::Args)]
pub struct DistributedScanFlags {
    /// Ports of a distributed scan.
    ///
    /// off, or N from 4 to 32 closed TCP ports of one destination within TIME, 1s to 1h, touched by SYNs of at
    /// least three sources, and at most half of them by one source alone. Closed: refused, or no answer within 5 s.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "20/60s",
        value_parser = range,
        help_heading = "Detection"
    )]
    pub distributed_scan: Within,
}

fn range(value: &str) -> Result<Within, String> {
    let (counts, windows) = (4..=32, ["1s", "1h"]);
    Range { counts, windows }.read(value)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Target {
    dst: IpAddr,
    tags: u32,
}

/// A port, and who touched it: a bit for each source, by linear counting. Ports are equal whoever touched them.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct TouchedPort {
    port: u16,
    sources: u32,
}

impl PartialEq for TouchedPort {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port
    }
}

impl Eq for TouchedPort {}

impl PartialOrd for TouchedPort {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TouchedPort {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.port.cmp(&other.port)
    }
}

impl Item for TouchedPort {
    const WORDS: usize = 1;
    const NONE: Self = Self {
        port: 0,
        sources: 0,
    };

    fn parts(self) -> (u16, u64) {
        (self.port, self.sources.into())
    }

    #[allow(clippy::cast_possible_truncation, reason = "32 bits were put in")]
    fn of(port: u16, word: u64) -> Self {
        let sources = word as u32;
        Self { port, sources }
    }

    fn renew(&mut self, newer: Self) {
        self.sources |= newer.sources;
    }

    fn covers(&self, newer: Self) -> bool {
        self.sources | newer.sources == self.sources
    }
}

impl PortItem for TouchedPort {
    fn port(self) -> u16 {
        self.port
    }
}

/// Whether touches of these sources are shared work.
fn is_shared(touched: impl Iterator<Item = u32> + Clone) -> bool {
    let all = touched.clone().fold(0, |all, sources| all | sources);
    let total = touched.clone().count();
    let most_alone = (0..u32::BITS)
        .filter(|bit| all >> bit & 1 != 0)
        .map(|bit| {
            touched
                .clone()
                .filter(|&sources| sources == 1 << bit)
                .count()
        })
        .max();
    all.count_ones() >= SOURCES_MIN && most_alone.unwrap_or(0) * 2 <= total
}

impl Question for ClosedPorts {
    const KIND: Kind = Kind::DistributedScan;
    const ABOUT: About = About {
        title: "Distributed scan",
        signature: 105,
        judge: Judge::Crowd,
        proto: "TCP",
        category: "Attempted Information Leak",
        zeek_note: "Scan::Distributed_Scan",
    };
    const WEIGHT: u64 = 3;
    const KEYED_BY: Owner = Owner::Target;
    const HEARS: Hears = Hears {
        proofs: Kinds::of(&[]),
        ..Hears::ATTEMPTS
    };
    const ITEM_SET_WORDS: usize = PORT_MAP_WORDS;
    type Flags = DistributedScanFlags;
    type Subject = Target;
    type Item = TouchedPort;
    type ItemSet<'a> = PortMap<'a, TouchedPort>;

    fn threshold(flags: &DistributedScanFlags) -> Threshold {
        flags.distributed_scan.into()
    }

    const REPEATS: bool = true;

    /// Whole seconds: in a flood at one port only the first SYNs of a second are work.
    fn touch_ns(ts_ns: i64) -> i64 {
        ts_ns.div_euclid(SECOND_NS) * SECOND_NS
    }

    fn is_same_time(touch_ns: i64, ts_ns: i64) -> bool {
        (0..SECOND_NS).contains(&ts_ns.wrapping_sub(touch_ns))
    }

    fn keep(_: &Threshold) -> usize {
        KEEP
    }

    fn holds(
        touches: &[Touch<TouchedPort>],
        newest_ns: i64,
        (at_least, window_ns): (usize, i64),
    ) -> Option<i64> {
        if touches.len() < at_least {
            return None;
        }
        let counts = |touch: &&Touch<TouchedPort>| {
            has_failed(touch, newest_ns) && is_inside(touch.ts_ns, newest_ns, window_ns)
        };
        let mut times = [i64::MIN; KEEP];
        let mut count = 0;
        for touch in touches.iter().filter(counts) {
            times[count] = touch.ts_ns;
            count += 1;
        }
        let nth_ns = nth_newest_ns(times[..count].iter().copied(), at_least)?;
        let closed = touches.iter().filter(counts);
        is_shared(closed.map(|touch| touch.item.sources)).then_some(nth_ns)
    }

    #[inline]
    fn subject(contact: &Contact, _: Address, tags: u32) -> Target {
        Target {
            dst: contact.dst().into(),
            tags,
        }
    }

    #[inline]
    fn hash(hasher: &Hasher, place: &Place) -> u64 {
        hasher.source_and(place.tags.into(), place.host.bits())
    }

    #[inline]
    fn item(place: &Place) -> TouchedPort {
        TouchedPort {
            port: place.port,
            sources: 1 << (place.who >> 59),
        }
    }

    fn named(of: &Target, _: IpAddr) -> Subject {
        Subject::Target { dst: of.dst }
    }

    fn item_set(words: &mut [u64]) -> PortMap<'_, TouchedPort> {
        PortMap::new(words)
    }

    fn extent(count: u32, which: ExtentItems<'_, Self>) -> Extent {
        let ranges = match which {
            ExtentItems::Deciding(ports) => ranges_of(ports.iter().map(|item| item.port)),
            ExtentItems::All(map) => map.ranges(),
            ExtentItems::Unknown => Vec::new(),
        };
        Extent::Ports { count, ranges }
    }

    fn crowd(touches: &[Touch<TouchedPort>]) -> Option<Crowd> {
        let all = touches
            .iter()
            .fold(0, |all, touch| all | touch.item.sources);
        Some(Crowd {
            sources: all.count_ones().into(),
            ..Crowd::default()
        })
    }
}

#[cfg(test)]
mod tests;
