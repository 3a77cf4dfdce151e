//! A second opinion: one in N connections, seen on another way, compared with what the ledger says of them.
//!
//! ```text
//! nic ─ kernel ─┬─▶ rings ─▶ workers: decode ─▶ flow ─▶ outbox ─▶ log
//!               │                                        │ reports: attempts of the sample
//!               └─▶ a ring of its own ─▶ etherparse ─▶ comparison ─▶ books
//! ```
//!
//! The frames come by a socket of their own, whose filter keeps the sample ([`crate::capture::bpf::sample`]); they are
//! read by another library ([`decode`]) and deduplicated by a rule of its own. Nothing here is shared with
//! `decode` and `flow`, so what these two lose or misread is seen. Every attempt ends in exactly one counter
//! ([`crate::books::witness::WitnessCounts`]): agreed, missing in the ledger, only in the ledger, or excused by something that the books
//! tell of.
//!
//! Not compared: what the sample's filter does not reach, and what becomes of an attempt behind the outbox, which
//! the books of each output say.

pub mod comparison;
pub mod decode;
pub mod excuses;
pub mod reports;
mod table;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod watch;

use crate::capture::bpf::sample::Ends;
use crate::capture::mode::FanoutMode;
use crate::error::ConfigError;

/// What makes an attempt: addresses, ports and the initial sequence number of its SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Syn {
    /// Addresses and ports.
    pub ends: Ends,
    /// The client's initial sequence number.
    pub isn: u32,
}

/// `--witness`, checked. Outside `--fanout class` attempts are not promised: there is nothing to compare.
///
/// # Errors
///
/// Another fanout.
pub fn wanted(one_in: u32, fanout: FanoutMode) -> Result<Option<u32>, ConfigError> {
    if one_in > 0 && fanout != FanoutMode::Class {
        return Err(ConfigError(format!(
            "--witness {one_in}: needs --fanout class, for with --fanout {} a connection may count twice; use \
             --witness 0 or --fanout class",
            fanout.word()
        )));
    }
    Ok((one_in > 0).then_some(one_in))
}

/// Bytes of the process that a witness over `workers` shards takes.
pub fn memory_bytes(wanted: Option<u32>, workers: usize) -> u64 {
    let all = comparison::Comparison::memory_bytes() + workers as u64 * reports::memory_bytes();
    wanted.map_or(0, |_| all)
}

/// Bytes of its ring on one interface.
pub fn ring_bytes(wanted: Option<u32>) -> u64 {
    wanted.map_or(0, |_| watch::GEOMETRY.bytes() as u64)
}
