//! Excuses for differences between ledger and witness: losses, links, gates and clock, each with its time.

use crate::books::shard::ShardCounts;
use crate::books::witness::Excuse;
use crate::capture::frame::Class;
use crate::counters::Counters as _;
use crate::sensor::group::Lost;
use crate::time::clock::{Clock, Reading};
use crate::time::durations::HORIZON_NS;
use crate::witness::comparison::EDGE_NS;
use crate::witness::excuses::Grant;
use crate::witness::thread::Excuses;

/// Sampling uncertainty of counters read once a second.
const COUNTED_NS: i64 = 1_000_000_000;
/// Delay of a netlink event, and again of the sockets that follow it.
const LINK_NS: i64 = 2_000_000_000;
/// Maximum difference between stamps of one moment.
const STAMPS_NS: i64 = 100_000_000;

/// Collects grants until they are taken.
pub(in crate::sensor::live) struct Grants {
    clock: Clock,
    grants: Vec<Grant>,
    /// Run time and counters at the last call of [`Grants::take`].
    taken_ns: i64,
    shards: ShardCounts,
}

impl Grants {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            grants: Vec::new(),
            taken_ns: i64::MIN,
            shards: ShardCounts::default(),
        }
    }

    pub(super) fn now_ns(&mut self) -> i64 {
        self.clock.read(Reading::take())
    }

    /// The witness saw nothing before now.
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

    pub(in crate::sensor::live) fn link_changed(&mut self, interface: u16) {
        let now_ns = self.now_ns();
        let around = (now_ns - LINK_NS, now_ns + LINK_NS);
        self.allow(Excuse::LinkChange, Some(interface), around, u64::MAX);
    }

    pub(in crate::sensor::live) fn clock_stepped(&mut self) {
        let now_ns = self.now_ns();
        let around = (now_ns - EDGE_NS, now_ns + HORIZON_NS + EDGE_NS);
        self.allow(Excuse::ClockStep, None, around, u64::MAX);
    }

    /// Losses of an interface's rings since the last call.
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

    /// Drops of the witness's socket since the last call, up to `now_ns`.
    pub(super) fn witness_dropped(&mut self, interface: u16, dropped: u64, now_ns: i64) {
        let since = (self.counted_since_ns(), now_ns + COUNTED_NS);
        let excuse = Excuse::WitnessDropped;
        self.allow(excuse, Some(interface), since, dropped);
    }

    /// Takes all grants, complete up to `now_ns`, which was read before the counters.
    pub(super) fn take(&mut self, shards: &ShardCounts, now_ns: i64) -> Excuses {
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
        self.taken_ns = now_ns;
        Excuses {
            until_ns: now_ns,
            grants: std::mem::take(&mut self.grants),
        }
    }

    /// Earliest time of what was counted since the last call.
    fn counted_since_ns(&self) -> i64 {
        self.taken_ns.saturating_sub(COUNTED_NS)
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
