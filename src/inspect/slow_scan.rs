//! `slow_scan`: nearly everything that a source touched of late has failed, and that took longer than a minute.
//!
//! Of the 12 (destination, port) that a source touched most recently at least N failed (refused, or no answer within
//! 5 s), within the window; the first of them was touched at least a minute before the newest touch: faster scans are
//! for the other rules. Ten failures of twelve are a likelihood ratio of 4^8 in the sequential test of
//! [`verdict`](super::verdict).

use super::Kind;
use super::contact::{Contact, Owner};
use super::detection::{Extent, Subject};
use super::detector::{About, Judge};
use super::distinct::Distinct;
use super::distinct::item::{Item, Numbered};
use super::distinct::item_set::HashSet;
use super::distinct::question::{
    ExtentItems, Hears, Question, Threshold, has_failed, is_inside, nth_newest_ns,
};
use super::distinct::subjects::Touch;
use super::place::Place;
use super::threshold::{Range, Within};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::splitmix::mix64;
use std::net::IpAddr;

pub type SlowScan = Distinct<Places>;

/// Ports of any hosts that one source touches.
pub enum Places {}

/// Most recently touched places that decide.
const KEEP: usize = 12;
/// The shortest time of a slow scan.
const SLOW_NS: i64 = 60_000_000_000;

#[derive(Clone, Debug, clap::Args)]
pub struct SlowScanFlags {
    /// Failures of a slow scan.
    ///
    /// off, or N, 4 to 12, and TIME, 2m to 24h. The sensor remembers the last 12 TCP ports, of any hosts, that a source
    /// tried. If N of them failed within TIME, the first of these at least a minute before the newest try, it is a slow
    /// scan. Failed: refused, or no answer within 5 s. With a time above 1h, sources that full tables forget are counted,
    /// but are no loss.
    #[arg(
        long,
        value_name = "N/TIME",
        default_value = "10/8h",
        value_parser = range,
        help_heading = "Detection"
    )]
    pub slow_scan: Within,
}

fn range(value: &str) -> Result<Within, String> {
    let (counts, windows) = (4..=12, ["2m", "24h"]);
    Range { counts, windows }.read(value)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Source {
    src: IpAddr,
    tags: u32,
}

/// A port of a host: an unkeyed hash of 62 bits, so that every run finds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct PortOf(u64);

impl Item for PortOf {
    const WORDS: usize = 1;
    const NONE: Self = Self(0);

    fn parts(self) -> (u16, u64) {
        (0, self.0)
    }

    fn of(_: u16, word: u64) -> Self {
        Self(word)
    }
}

impl Numbered for PortOf {
    fn number(self) -> u64 {
        self.0
    }
}

impl Question for Places {
    const KIND: Kind = Kind::SlowScan;
    const ABOUT: About = About {
        title: "Slow scan",
        signature: 104,
        judge: Judge::Outcomes,
        proto: "TCP",
        category: "Attempted Information Leak",
        zeek_note: "Scan::Slow_Scan",
    };
    const WEIGHT: u64 = 8;
    const KEYED_BY: Owner = Owner::Source;
    const HEARS: Hears = Hears::ATTEMPTS;
    const ITEM_SET_WORDS: usize = 1024;
    type Flags = SlowScanFlags;
    type Subject = Source;
    type Item = PortOf;
    type ItemSet<'a> = HashSet<'a, PortOf>;

    fn threshold(flags: &SlowScanFlags) -> Threshold {
        flags.slow_scan.into()
    }

    fn keep(_: &Threshold) -> usize {
        KEEP
    }

    fn holds(
        touches: &[Touch<PortOf>],
        newest_ns: i64,
        (at_least, window_ns): (usize, i64),
    ) -> Option<i64> {
        // Nearly all subjects are decided here: one that fails has many places that failed long ago.
        if touches.len() < at_least {
            return None;
        }
        let mut failed = [i64::MIN; KEEP];
        let mut count = 0;
        for touch in touches {
            if has_failed(touch, newest_ns) && is_inside(touch.ts_ns, newest_ns, window_ns) {
                failed[count] = touch.ts_ns;
                count += 1;
            }
        }
        let failed = failed[..count].iter().copied();
        let oldest_ns = failed.clone().min()?;
        let nth_ns = nth_newest_ns(failed, at_least)?;
        (!is_inside(oldest_ns, newest_ns, SLOW_NS)).then_some(nth_ns)
    }

    #[inline]
    fn subject(contact: &Contact, _: Address, tags: u32) -> Source {
        Source {
            src: contact.src().into(),
            tags,
        }
    }

    #[inline]
    fn hash(_: &Hasher, place: &Place) -> u64 {
        place.source
    }

    #[inline]
    fn item(place: &Place) -> PortOf {
        let port = u64::from(place.port);
        PortOf(mix64(mix64(place.host.bits()) ^ port) >> 2)
    }

    fn named(of: &Source, dst: IpAddr) -> Subject {
        let src = of.src;
        Subject::Source { src, dst }
    }

    fn item_set(words: &mut [u64]) -> HashSet<'_, PortOf> {
        HashSet::new(words)
    }

    fn extent(count: u32, _: ExtentItems<'_, Self>) -> Extent {
        Extent::Places { count }
    }
}

#[cfg(test)]
mod tests;
