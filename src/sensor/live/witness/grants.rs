//! What may excuse differences between ledger and witness: losses, links, gates and clock, each with its time.

use crate::books::shard::ShardCounts;
use crate::books::witness::Excuse;
use crate::capture::frame::Class;
use crate::counters::Counters as _;
use crate::sensor::group::Lost;
use crate::time::clock::{Clock, Reading};
use crate::time::durations::HORIZON_NS;
use crate::witness::comparison::EDGE_NS;
use crate::witness::excuses::Grant;
use crate::witness::thread::Known;

/// What is counted once a second may have happened this much before or after.
const COUNTED_NS: i64 = 1_000_000_000;
/// Links are heard of by netlink: this much later, and sockets follow as much later again.
const LINK_NS: i64 = 2_000_000_000;
/// Stamps of one moment differ by no more.
const STAMPS_NS: i64 = 100_000_000;

/// Grants since the last that were handed over.
pub(super) struct Grants {
    clock: Clock,
    grants: Vec<Grant>,
    /// When the last ones were complete, and what had been counted by then.
    known_ns: i64,
    shards: ShardCounts,
}

impl Grants {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            grants: Vec::new(),
            known_ns: i64::MIN,
            shards: ShardCounts::default(),
        }
    }

    pub(super) fn now_ns(&mut self) -> i64 {
        self.clock.read(Reading::take())
    }

    /// The witness sees nothing up to now.
    pub(super) fn gates_opened(&mut self) {
        let until_ns = self.now_ns() + STAMPS_NS;
        let all = (i64::MIN, until_ns);
        self.allow(Excuse::Unwatched, None, all, u64::MAX);
    }

    /// The witness sees nothing from now on.
    pub(super) fn gates_close(&mut self) {
        let from_ns = self.now_ns() - STAMPS_NS;
        let rest = (from_ns, i64::MAX);
        self.allow(Excuse::Unwatched, None, rest, u64::MAX);
    }

    pub(super) fn link_changed(&mut self, interface: u16) {
        let now_ns = self.now_ns();
        let around = (now_ns - LINK_NS, now_ns + LINK_NS);
        self.allow(Excuse::LinkChange, Some(interface), around, u64::MAX);
    }

    pub(super) fn clock_stepped(&mut self) {
        let now_ns = self.now_ns();
        let around = (now_ns - EDGE_NS, now_ns + HORIZON_NS + EDGE_NS);
        self.allow(Excuse::ClockStep, None, around, u64::MAX);
    }

    /// What an interface's rings lost since they were asked last.
    pub(super) fn lost(&mut self, interface: u16, lost: Lost, astray: bool) {
        let since = (self.counted_since_ns(), self.now_ns() + COUNTED_NS);
        let mut dropped = lost.frames[Class::Open as usize];
        if astray {
            dropped = lost.frames.iter().sum();
            let filtered = lost.filtered;
            self.allow(Excuse::Filtered, Some(interface), since, filtered);
        }
        self.allow(Excuse::RingDrops, Some(interface), since, dropped);
    }

    /// What the witness's socket lost up to `now_ns` since it was asked last.
    pub(super) fn witness_dropped(&mut self, interface: u16, dropped: u64, now_ns: i64) {
        let since = (self.counted_since_ns(), now_ns + COUNTED_NS);
        let excuse = Excuse::WitnessDropped;
        self.allow(excuse, Some(interface), since, dropped);
    }

    /// All grants, complete up to `now_ns`, when everything was about to be counted.
    pub(super) fn take(&mut self, shards: &ShardCounts, now_ns: i64) -> Known {
        let new = shards.since(&self.shards);
        let again = (
            self.counted_since_ns(),
            now_ns + COUNTED_NS + HORIZON_NS + EDGE_NS,
        );
        for (excuse, count) in [
            (Excuse::Evicted, new.flow.evicted_attempts),
            (Excuse::Misrouted, new.misrouted_frames),
        ] {
            self.allow(excuse, None, again, count);
        }
        self.shards = *shards;
        self.known_ns = now_ns;
        Known {
            until_ns: now_ns,
            grants: std::mem::take(&mut self.grants),
        }
    }

    /// What is counted now may have happened since then.
    fn counted_since_ns(&self) -> i64 {
        self.known_ns.saturating_sub(COUNTED_NS)
    }

    fn allow(
        &mut self,
        excuse: Excuse,
        interface: Option<u16>,
        (from_ns, until_ns): (i64, i64),
        left: u64,
    ) {
        self.grants.push(Grant {
            excuse,
            interface,
            from_ns,
            until_ns,
            left,
        });
    }
}
