//! Counters and identities of the witness.

use crate::counters::{Identity, counters};

words! {
    /// Why an attempt on one side only is no error.
    pub enum Excuse {
        /// The sensor's rings had no room.
        RingDrops = "ring_drops",
        /// Data rings filtered frames out, among them those that a changing fanout had put there.
        Filtered = "filtered",
        /// The witness's ring had no room.
        WitnessDropped = "witness_dropped",
        /// The witness's library could not read a frame of the sample.
        Unread = "unread",
        /// A shard's queue to the witness was full.
        QueueFull = "queue_full",
        /// Attempts were evicted from a full table: a retransmission counts again.
        Evicted = "evicted",
        /// Frames came to another worker than the one that knew their attempt.
        Misrouted = "misrouted",
        /// The ledger has the attempt from a frame that the sample's filter cannot parse. A SYN that comes in two
        /// forms may meet two workers and count twice.
        OutOfReach = "out_of_reach",
        /// One side started or stopped before the other.
        Unwatched = "unwatched",
        /// An interface went down, up, away or came back: sockets follow one by one.
        LinkChange = "link_change",
        /// The clock was set.
        ClockStep = "clock_step",
        /// About 130 s after the first SYN another one may be a retransmission or a new attempt.
        Horizon = "horizon",
        /// The ledger reported the attempt after it was decided.
        Late = "late",
        /// The witness's table was full.
        NoRoom = "no_room",
    }
}

words! {
    /// What the ledger did with an attempt, up to the outbox. Losses behind it are in the books of the outputs.
    pub enum Fate {
        /// On its way to the log as a line.
        Line = "line",
        /// Folded into a flood record.
        Folded = "folded",
        /// In a direction outside `--direction`.
        NotAsked = "not_asked",
    }
}

counters! {
    /// Counters of the witness. Each has one writer: its thread, or main for sockets and queues.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct WitnessCounts "witness_" {
        packets: "Frames that reached the witness's rings, drops included",
        dropped: "Frames for which the witness's ring had no room",
        capacity (state u64): "Frames that its rings can hold at most",
        frames: "Frames of the sample",
        unread: "Frames of the sample that the witness's library cannot read as a SYN",
        retransmitted: "SYNs of the sample that repeat a known attempt",
        seen: "Attempts that the witness saw",
        agreed (count by fate Fate): "Attempts that both have",
        missing (loss): "Attempts that the witness saw and the ledger lacks",
        excused (count by cause Excuse): "Attempts that the ledger lacks, excused by the books",
        waiting (gauge): "Attempts that the witness saw and that wait for the ledger",
        told: "Attempts of the sample that the ledger has",
        extra (loss): "Attempts of the sample that the ledger has and the witness did not see",
        extra_excused (count by cause Excuse): "Attempts that the witness lacks, excused by the books",
        told_waiting (gauge): "Attempts that the ledger has and that wait for the witness",
        beyond: "Attempts of the sample whose SYN its filter cannot parse",
        reports_dropped: "Attempts of the sample for which a shard's queue to the witness was full",
    }
}

impl WitnessCounts {
    /// Its identities. Until the run is over, its rings hold frames that its thread has not read.
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
}
