//! The witness: checks the ledger on one in N connections, by a path of its own.
//!
//! ```text
//! nic ─ kernel ─┬─▶ rings ─▶ workers: decode ─▶ flow ─▶ outbox ─▶ log
//!               │                                        │ reports: attempts of the sample
//!               └─▶ a ring of its own ─▶ etherparse ─▶ comparison ─▶ books
//! ```
//!
//! Its frames come by a socket of its own, whose filter keeps the sample ([`crate::capture::bpf::sample`]); another
//! library reads them ([`decode`]), and a rule of its own deduplicates them. It shares no code with the sensor's
//! `decode` and `flow`, so it finds what these two lose or misread. Every attempt ends in exactly one counter
//! ([`crate::books::witness::WitnessCounts`]): agreed, missing in the ledger, only in the ledger, or excused by a
//! loss in the books.
//!
//! Not compared: frames that the sample's filter cannot parse, and losses behind the outbox, which the books of each
//! output have.

pub(crate) mod comparison;
pub mod decode;
pub(crate) mod excuses;
pub(crate) mod reports;
mod table;
#[cfg(test)]
mod tests;
pub(crate) mod thread;
pub(crate) mod watch;

use crate::capture::bpf::sample::Ends;
use crate::capture::mode::FanoutMode;
use crate::error::ConfigError;

/// Identifies an attempt: addresses, ports and the initial sequence number of its SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Syn {
    /// Addresses and ports.
    pub ends: Ends,
    /// The originator's initial sequence number.
    pub isn: u32,
}

/// `--witness`, checked. Without `--fanout class` attempts may count twice: no comparison is possible.
pub(crate) fn wanted(
    one_in: u32,
    fanout: FanoutMode,
    by_vlan: bool,
) -> Result<Option<u32>, ConfigError> {
    if one_in > 0 && by_vlan {
        return Err(ConfigError(format!(
            "--witness {one_in}: tells attempts apart by addresses, ports and number, not by VLAN tags; use --witness 0 \
             or --key addresses"
        )));
    }
    if one_in > 0 && fanout != FanoutMode::Class {
        return Err(ConfigError(format!(
            "--witness {one_in}: needs --fanout class, for with --fanout {} a connection may count twice; use \
             --witness 0 or --fanout class",
            fanout.word()
        )));
    }
    Ok((one_in > 0).then_some(one_in))
}

/// Memory of the process for a witness of `workers` shards.
pub(crate) fn memory_bytes(wanted: Option<u32>, workers: usize) -> u64 {
    let all = comparison::Comparison::memory_bytes() + workers as u64 * reports::memory_bytes();
    wanted.map_or(0, |_| all)
}

/// Bytes of its ring on one interface.
pub(crate) fn ring_bytes(wanted: Option<u32>) -> u64 {
    wanted.map_or(0, |_| watch::GEOMETRY.bytes() as u64)
}
