//! The numbers of the port scan rule: what it asks, the room it has, what it counted.

use super::episode::{Episode, PORT_MAP_BYTES};
use super::firsts::Firsts;
use super::pairs::Pairs;
use std::cmp::Reverse;

/// When an episode may end, its place, and its generation there.
pub(super) type Due = Reverse<(i64, u32, u32)>;

/// The rule and the room it has.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// N: so many distinct ports are a scan. 2 to [`super::pairs::TOUCHES_MAX`].
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

/// Plain counters, one writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortScanCounts {
    /// Touches seen.
    pub touches: u64,
    /// Answers and refusals seen.
    pub outcomes: u64,
    /// Rising edges.
    pub started: u64,
    /// Doublings.
    pub continued: u64,
    /// Summaries.
    pub ended: u64,
    /// Pairs pushed out while a touch of theirs was younger than W.
    pub pair_evicted: u64,
    /// Episodes pushed out before their end.
    pub episode_evicted: u64,
    /// Episodes for which no port map was free.
    pub without_map: u64,
}

impl PortScanCounts {
    /// Lends every counter with its name, in the same order each time.
    pub fn each(&mut self, lend: &mut dyn FnMut(&'static str, &mut u64)) {
        let Self {
            touches,
            outcomes,
            started,
            continued,
            ended,
            pair_evicted,
            episode_evicted,
            without_map,
        } = self;
        lend("touches", touches);
        lend("outcomes", outcomes);
        lend("started", started);
        lend("continued", continued);
        lend("ended", ended);
        lend("pair_evicted", pair_evicted);
        lend("episode_evicted", episode_evicted);
        lend("without_map", without_map);
    }
}
