//! Folds: all attempts of one second to one (destination, port) as one record, in fixed memory. The count is exact,
//! sources and prefixes are estimates.

pub mod logger;
pub(crate) mod sketch;
mod table;

pub use table::{FOLDS_MAX, FOLDS_MIN, Folds};

use crate::decode::Headers;
use crate::decode::key::Address;
use crate::flow::record::Attempt;
use sketch::{Ports, Prefix, Senders, Sources};
use std::net::IpAddr;

/// A fold spans one second of packet time.
pub(crate) const SECOND_NS: i64 = 1_000_000_000;

/// Destination of folded attempts. When the table of folds is full it is widened to all ports of an address, then to
/// every address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Target {
    /// The destination; `None`: any.
    pub dst: Option<IpAddr>,
    /// Its port; `None`: any.
    pub port: Option<u16>,
}

/// What folds read of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct Foldable {
    ts_ns: i64,
    src: Address,
    dst: Address,
    /// The destination's.
    port: u16,
}

impl From<Attempt> for Foldable {
    #[inline]
    fn from(attempt: Attempt) -> Self {
        Self {
            ts_ns: attempt.ts_ns,
            src: attempt.tuple.src.into(),
            dst: attempt.tuple.dst.into(),
            port: attempt.tuple.dst_port,
        }
    }
}

impl From<&Headers> for Foldable {
    #[inline]
    fn from(syn: &Headers) -> Self {
        Self {
            ts_ns: syn.ts_ns,
            src: syn.key.src(),
            dst: syn.key.dst(),
            port: syn.key.dst_port(),
        }
    }
}

/// Folded attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Fold {
    /// Their destination.
    pub target: Target,
    /// Their second; of a fold that found the log's queue full, the second of the next try.
    pub second: i64,
    /// Exact number of attempts.
    pub count: u64,
    /// Attempts below the rate, folded because the log could not keep up.
    pub pressure: u64,
    /// The earliest time stamp.
    pub first_ns: i64,
    /// The latest time stamp.
    pub last_ns: i64,
    /// Sketch of the sources.
    pub sources: Sources,
    /// Sketch of the ports, if the target has none.
    pub ports: Ports,
    /// Top source prefixes.
    pub senders: Senders,
}

/// The second of a time.
pub(crate) fn second_of(ts_ns: i64) -> i64 {
    ts_ns.div_euclid(SECOND_NS)
}

impl Fold {
    fn empty(target: Target, second: i64) -> Self {
        Self {
            target,
            second,
            count: 0,
            pressure: 0,
            first_ns: i64::MAX,
            last_ns: i64::MIN,
            sources: Sources::default(),
            ports: Ports::default(),
            senders: Senders::default(),
        }
    }

    #[inline]
    fn add(&mut self, attempt: &Foldable, pressure: bool) {
        self.count += 1;
        self.pressure += u64::from(pressure);
        self.first_ns = self.first_ns.min(attempt.ts_ns);
        self.last_ns = self.last_ns.max(attempt.ts_ns);
        self.sources.add(attempt.src);
        self.senders.add(Prefix::of(attempt.src));
        if self.target.port.is_none() {
            self.ports.add(attempt.port);
        }
    }

    /// Adds another fold, of the same target or of a part of it.
    pub fn merge(&mut self, other: &Self) {
        self.second = self.second.max(other.second);
        self.count += other.count;
        self.pressure += other.pressure;
        self.first_ns = self.first_ns.min(other.first_ns);
        self.last_ns = self.last_ns.max(other.last_ns);
        self.sources.merge(&other.sources);
        self.ports.merge(&other.ports);
        if self.target.port.is_none()
            && let Some(port) = other.target.port
        {
            self.ports.add(port);
        }
        self.senders.merge(&other.senders);
    }

    /// The end of its second.
    pub(crate) fn end_ns(&self) -> i64 {
        self.second.saturating_add(1).saturating_mul(SECOND_NS)
    }

    /// Sort key of folds.
    pub(crate) fn order(&self) -> (i64, Target) {
        (self.second, self.target)
    }

    /// `pressure` if any attempt was below the rate, else `rate`.
    pub(crate) fn reason(&self) -> &'static str {
        if self.pressure == 0 {
            "rate"
        } else {
            "pressure"
        }
    }
}
