//! How many entries the tables hold, and the bytes they take.

use super::attempt::Attempts;
use super::conn::Conns;
use super::early::Early;
use super::fragments::Fragments;
use super::table::bucket::WAYS;
use crate::decode::key::Key;

/// Most connections listed as open at the start.
pub(super) const PREEXISTING_MAX: usize = 16_384;
const FRAGMENTS: usize = 1024;
const ENTRIES_MIN: usize = 64;

/// Capacities, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attempts, kept for the dedup horizon.
    pub attempts: usize,
    /// Proven TCP connections.
    pub established: usize,
    /// Midstream TCP, UDP, ICMP and the rest.
    pub others: usize,
    /// Halves of headers that wait to be joined.
    pub fragments: usize,
    /// Flows may have parts (`--active-timeout`).
    pub parts: bool,
}

impl Limits {
    /// Splits a budget of bytes: half to the attempts, a quarter each to established and other flows.
    ///
    /// At least 64 entries each, however small the budget is.
    pub fn from_bytes(bytes: u64, parts: bool) -> Self {
        let fixed = Self {
            attempts: 0,
            established: 0,
            others: 0,
            fragments: FRAGMENTS,
            parts,
        };
        let conns = |capacity| Conns::memory_bytes(capacity, parts);
        let left = bytes.saturating_sub(fixed.memory_bytes());
        let fit = |share: u64, cost: &dyn Fn(usize) -> u64| {
            let each = (cost(1 << 20) - cost(1 << 19)).div_ceil(1 << 19);
            let whole = usize::try_from(share / each).unwrap_or(usize::MAX);
            (whole.min((1 << 31) - 2 * WAYS) / WAYS * WAYS).max(ENTRIES_MIN)
        };
        Self {
            attempts: fit(left / 2, &Attempts::memory_bytes),
            established: fit(left / 4, &conns),
            others: fit(left / 4, &conns),
            fragments: FRAGMENTS,
            parts,
        }
    }

    /// Bytes that [`super::Flows::new`] reserves.
    pub fn memory_bytes(&self) -> u64 {
        Attempts::memory_bytes(self.attempts)
            + Conns::memory_bytes(self.established, self.parts)
            + Conns::memory_bytes(self.others, self.parts)
            + Fragments::memory_bytes(self.fragments)
            + Early::memory_bytes()
            + (PREEXISTING_MAX * size_of::<Key>()) as u64
    }
}
