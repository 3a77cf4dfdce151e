//! Attempts of one second to one (destination, port), folded into one record: an exact count, and in fixed
//! memory about how many sources, which prefixes, when first and last. Nothing is lost, only folded.

pub mod logger;
pub mod sketch;
mod table;

pub use table::{FOLDS_MAX, FOLDS_MIN, Folds};

use crate::flow::record::Attempt;
use sketch::{Ports, Prefix, Senders, Sources};
use std::net::IpAddr;

/// A fold is of one second of packet time.
pub const SECOND_NS: i64 = 1_000_000_000;

/// Where the attempts of a fold went. Where the table of folds is full it is all ports of an address, then
/// everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The destination; `None`: any.
    pub dst: Option<IpAddr>,
    /// Its port; `None`: any.
    pub port: Option<u16>,
}

/// Folded attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Where they went.
    pub target: Target,
    /// The second they came in; where the log had no room for the fold, the one in which it was offered again.
    pub second: i64,
    /// How many, exactly.
    pub count: u64,
    /// Of these, those folded below the rate because the log could not keep up.
    pub pressure: u64,
    /// The earliest time stamp.
    pub first_ns: i64,
    /// The latest time stamp.
    pub last_ns: i64,
    /// About how many sources.
    pub sources: Sources,
    /// About how many ports, where the target names none.
    pub ports: Ports,
    /// Who sent most.
    pub senders: Senders,
}

/// The second that a time lies in.
pub fn second_of(ts_ns: i64) -> i64 {
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
    fn add(&mut self, attempt: &Attempt, pressure: bool) {
        self.count += 1;
        self.pressure += u64::from(pressure);
        self.first_ns = self.first_ns.min(attempt.ts_ns);
        self.last_ns = self.last_ns.max(attempt.ts_ns);
        self.sources.add(attempt.tuple.src);
        self.senders.add(Prefix::of(attempt.tuple.src));
        if self.target.port.is_none() {
            self.ports.add(attempt.tuple.dst_port);
        }
    }

    /// Takes over what another fold holds, of the same target or of a part of it.
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

    /// When its second is over.
    pub fn end_ns(&self) -> i64 {
        self.second.saturating_add(1).saturating_mul(SECOND_NS)
    }

    /// What orders folds of one moment.
    pub fn order(&self) -> (i64, Target) {
        (self.second, self.target)
    }

    /// `rate`, or `pressure` where any of them was below the rate.
    pub fn reason(&self) -> &'static str {
        if self.pressure == 0 {
            "rate"
        } else {
            "pressure"
        }
    }
}
