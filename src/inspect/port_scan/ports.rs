//! Rules about ports of one destination that one source touches.

use super::port_map::{PORT_MAP_WORDS, PortMap, ranges_of};
use crate::decode::key::Address;
use crate::flow::key::Hasher;
use crate::inspect::Kind;
use crate::inspect::contact::{Contact, Owner};
use crate::inspect::detection::{Extent, Subject};
use crate::inspect::detector::About;
use crate::inspect::distinct::item::Item;
use crate::inspect::distinct::question::{ExtentItems, Hears, Question, Threshold};
use crate::inspect::place::Place;
use clap::Args;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What differs between such rules.
pub trait PortRule {
    // See `Question`.
    const KIND: Kind;
    const ABOUT: About;
    const WEIGHT: u64;
    const HEARS: Hears;
    type Flags: Args + Clone + Debug;

    fn threshold(flags: &Self::Flags) -> Threshold;
    /// Ports whose failures say nothing against the source.
    const SPARED: &'static [RangeInclusive<u16>] = &[];
}

/// Ports of one destination that one source touches.
pub struct Ports<R>(PhantomData<R>);

/// A source and what it touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Pair {
    src: IpAddr,
    target: IpAddr,
    tags: u32,
}

impl Item for u16 {
    const WORDS: usize = 0;
    const NONE: Self = 0;

    fn parts(self) -> (u16, u64) {
        (self, 0)
    }

    fn of(short: u16, _: u64) -> Self {
        short
    }
}

impl<R: PortRule> Question for Ports<R> {
    const KIND: Kind = R::KIND;
    const ABOUT: About = R::ABOUT;
    const WEIGHT: u64 = R::WEIGHT;
    const KEYED_BY: Owner = Owner::Source;
    const HEARS: Hears = R::HEARS;
    const ITEM_SET_WORDS: usize = PORT_MAP_WORDS;
    type Flags = R::Flags;
    type Subject = Pair;
    type Item = u16;
    type ItemSet<'a> = PortMap<'a, u16>;

    fn threshold(flags: &R::Flags) -> Threshold {
        R::threshold(flags)
    }

    fn spared() -> impl Iterator<Item = u16> {
        R::SPARED.iter().cloned().flatten()
    }

    #[inline]
    fn subject(contact: &Contact, target: Address, tags: u32) -> Pair {
        Pair {
            src: contact.src().into(),
            target: target.into(),
            tags,
        }
    }

    #[inline]
    fn hash(hasher: &Hasher, place: &Place) -> u64 {
        hasher.source_and(place.source, place.target().bits())
    }

    #[inline]
    fn item(place: &Place) -> u16 {
        place.port
    }

    fn named(pair: &Pair, dst: IpAddr) -> Subject {
        let src = pair.src;
        Subject::Pair { src, dst }
    }

    fn item_set(words: &mut [u64]) -> PortMap<'_, u16> {
        PortMap::new(words)
    }

    fn extent(count: u32, which: ExtentItems<'_, Self>) -> Extent {
        let ranges = match which {
            ExtentItems::Deciding(ports) => ranges_of(ports.iter().copied()),
            ExtentItems::All(map) => map.ranges(),
            ExtentItems::Unknown => Vec::new(),
        };
        Extent::Ports { count, ranges }
    }
}
