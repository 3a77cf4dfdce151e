//! What the witness counts, and the identities of it.

use super::excuses::Excuse;
use super::reports::Fate;
use crate::books::Identity;

/// Plain counters. One writer each: the thread, and main for what sockets and queues say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WitnessCounts {
    /// `tp_packets` of the witness's rings, drops included.
    pub packets: u64,
    /// `tp_drops` of the witness's rings.
    pub dropped: u64,
    /// Frames that its rings can hold at most.
    pub capacity: u64,
    /// Frames read.
    pub frames: u64,
    /// Of these, frames that are no SYN of the sample to the other library.
    pub unread: u64,
    /// Of these, SYNs of an attempt that was known.
    pub retransmitted: u64,
    /// Attempts seen.
    pub seen: u64,
    /// Attempts that were seen and told, by what the ledger did with them.
    pub agreed: [u64; Fate::COUNT],
    /// Attempts that were seen and that the ledger does not have, without excuse.
    pub missing: u64,
    /// The same with an excuse.
    pub excused: [u64; Excuse::COUNT],
    /// Attempts seen that wait for the ledger.
    pub waiting: u64,
    /// Attempts of the sample that the shards told of.
    pub told: u64,
    /// Of these, attempts that were not seen, without excuse.
    pub extra: u64,
    /// The same with an excuse.
    pub extra_excused: [u64; Excuse::COUNT],
    /// Attempts told of that wait for the witness.
    pub told_waiting: u64,
    /// Attempts told of whose SYN the sample's filter does not reach.
    pub beyond: u64,
    /// Reports for which a shard's queue had no room.
    pub reports_dropped: u64,
}

impl WitnessCounts {
    /// Its part of the books. Until the run is over, what its rings hold is between them and the thread.
    pub fn identities(&self, at_exit: bool) -> [Identity; 4] {
        let agreed: u64 = self.agreed.iter().sum();
        let excused: u64 = self.excused.iter().sum();
        let extra_excused: u64 = self.extra_excused.iter().sum();
        let in_flight = if at_exit { 0 } else { self.capacity };
        [
            Identity::within(
                "witness rings: tp_packets = tp_drops + frames",
                self.packets,
                self.dropped + self.frames,
                in_flight,
            ),
            Identity::exact(
                "witness: frames = unread + retransmitted + seen",
                self.frames,
                self.unread + self.retransmitted + self.seen,
            ),
            Identity::exact(
                "witness: seen = agreed + missing + excused + waiting",
                self.seen,
                agreed + self.missing + excused + self.waiting,
            ),
            Identity::exact(
                "witness: told = agreed + extra + extra_excused + waiting",
                self.told,
                agreed + self.extra + extra_excused + self.told_waiting,
            ),
        ]
    }

    /// What was counted since `before`. What waits is no count: it stays as it is.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        let mut before = *before;
        let mut then = Vec::new();
        before.each(&mut |_, count| then.push(*count));
        let mut then = then.into_iter();
        self.each(&mut |_, now| {
            *now = now.saturating_sub(then.next().expect("as many in both"));
        });
        self
    }

    /// Lends every counter with its name, in the same order each time.
    pub fn each(&mut self, lend: &mut dyn FnMut(&'static str, &mut u64)) {
        let Self {
            packets,
            dropped,
            capacity: _,
            frames,
            unread,
            retransmitted,
            seen,
            agreed,
            missing,
            excused,
            waiting: _,
            told,
            extra,
            extra_excused,
            told_waiting: _,
            beyond,
            reports_dropped,
        } = self;
        lend("packets", packets);
        lend("dropped", dropped);
        lend("frames", frames);
        lend("unread", unread);
        lend("retransmitted", retransmitted);
        lend("seen", seen);
        agreed.iter_mut().for_each(|count| lend("agreed", count));
        lend("missing", missing);
        excused.iter_mut().for_each(|count| lend("excused", count));
        lend("told", told);
        lend("extra", extra);
        extra_excused
            .iter_mut()
            .for_each(|count| lend("extra_excused", count));
        lend("beyond", beyond);
        lend("reports_dropped", reports_dropped);
    }
}
