//! The counters of the witness.

use synledger::books::witness::WitnessCounts;

const WITNESSED: &str = "witness rings: tp_packets = tp_drops + frames";
const READ: &str = "witness: frames = unread + retransmitted + seen";
const SEEN: &str = "witness: seen = agreed + missing + excused + waiting";
const TOLD: &str = "witness: told = agreed + extra + extra_excused + waiting";

/// Every counter of the witness, with the identities that it is a part of.
pub const TABLE: &[(&str, &[&str])] = &[
    ("witness_packets", &[WITNESSED]),
    ("witness_dropped", &[WITNESSED]),
    ("witness_frames", &[WITNESSED, READ]),
    ("witness_unread", &[READ]),
    ("witness_retransmitted", &[READ]),
    ("witness_seen", &[READ, SEEN]),
    ("witness_agreed", &[SEEN, TOLD]),
    ("witness_missing", &[SEEN]),
    ("witness_excused", &[SEEN]),
    ("witness_told", &[TOLD]),
    ("witness_extra", &[TOLD]),
    ("witness_extra_excused", &[TOLD]),
    ("witness_beyond", &[]),
    ("witness_reports_dropped", &[]),
    ("witness_waiting", &[SEEN]),
    ("witness_told_waiting", &[TOLD]),
];

pub fn counts() -> WitnessCounts {
    let mut counts = WitnessCounts {
        packets: 130,
        dropped: 30,
        frames: 100,
        unread: 5,
        retransmitted: 15,
        seen: 80,
        missing: 2,
        waiting: 3,
        told: 75,
        extra: 1,
        told_waiting: 1,
        beyond: 9,
        reports_dropped: 4,
        ..WitnessCounts::default()
    };
    (counts.agreed[0], counts.agreed[2]) = (60, 9);
    (counts.excused[0], counts.extra_excused[3]) = (6, 4);
    counts
}
