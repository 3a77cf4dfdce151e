//! The numbers of the port scan rule: what it asks, the room it has, what it counted.

use super::episode::Episode;
use super::firsts::Firsts;
use super::pairs::Pairs;
use super::port_map::PORT_MAP_BYTES;
use crate::counters::counters;
use std::cmp::Reverse;

/// When an episode may end, its place, and its generation there.
pub(super) type Due = Reverse<(i64, u32, u32)>;

/// The rule and the room it has.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// N: so many distinct ports are a scan. 2 to 16.
    pub ports: usize,
    /// W in nanoseconds; a touch exactly this old is outside.
    pub window_ns: i64,
    /// Pairs with more than one port held.
    pub pairs: usize,
    /// Pairs with one port held.
    pub firsts: usize,
    /// Episodes held.
    pub episodes: usize,
    /// Episodes whose every port is kept.
    pub port_maps: usize,
}

impl Rule {
    /// Bytes that a detector with this rule takes.
    pub fn memory_bytes(&self) -> u64 {
        let pairs = Pairs::memory_bytes(self.pairs, self.ports) + Firsts::memory_bytes(self.firsts);
        let episodes = self.episodes * (size_of::<Option<Episode>>() + size_of::<Due>() + 4);
        pairs + (episodes + self.port_maps * (PORT_MAP_BYTES + 4)) as u64
    }
}

counters! {
    /// The detector of port scans.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PortScanCounts "port_scan_" {
        touches: "Touches of a port that the detector saw",
        outcomes: "Answers and refusals that the detector saw",
        started: "Port scans found",
        continued: "Doublings of their ports",
        ended: "Port scans with their summary",
        pairs_evicted (loss): "Pairs pushed out of a full table while a touch of theirs was younger than the window",
        episodes_evicted (loss): "Port scans pushed out of a full table before their end",
        without_map: "Port scans for which there was no room to keep every port",
    }
}
