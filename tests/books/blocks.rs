//! The counters of `--block`.

use synledger::books::blocks::{BlockBooks, BlockCounts};

const HEARD: &str = "block: detections raised and not lost = detections of the responder";
const TAKEN: &str = "block_detections = block_unwished + block_wanted by detections";
const WANTED: &str = "block_wanted = block_in_kernel";
const COMPARED: &str = "block_compared_ours = block_compared_kernel";

/// Every counter of blocks, with the identities that it is a part of.
pub const TABLE: &[(&str, &[&str])] = &[
    ("block_detections", &[HEARD, TAKEN]),
    ("block_unwished", &[TAKEN]),
    ("block_wanted detection", &[TAKEN, WANTED]),
    ("block_wanted hand", &[WANTED]),
    ("block_wanted import", &[WANTED]),
    ("block_wanted adopted", &[WANTED]),
    ("block_in_kernel", &[WANTED]),
    ("block_in_flight", &[WANTED]),
    ("block_refused", &[WANTED]),
    ("block_expired", &[WANTED]),
    ("block_removed", &[WANTED]),
    ("block_renewed", &[]),
    ("block_restored", &[]),
    ("block_remove_failures", &[]),
    ("block_helper_gone", &[]),
    ("block_compared_ours", &[COMPARED]),
    ("block_compared_kernel", &[COMPARED]),
    ("block_dropped_packets", &[]),
    ("block_dropped_bytes", &[]),
    ("block_records_unsaid", &[]),
];

pub fn books() -> BlockBooks {
    BlockBooks {
        name: "dry-run".into(),
        counts: BlockCounts {
            detections: 6,
            unwished: [1, 2, 0],
            wanted: [3, 4, 2, 1],
            in_kernel: 2,
            in_flight: 1,
            refused: std::array::from_fn(|at| u64::from(at < 3)),
            expired: 2,
            removed: [1, 0, 0, 1],
            compared_ours: 2,
            compared_kernel: 2,
            dropped_packets: 9,
            ..BlockCounts::default()
        },
    }
}
