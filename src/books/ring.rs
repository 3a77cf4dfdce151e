//! Counters of rings.

use crate::counters::{Counters as _, State, counters};
use std::fmt;

/// Identifies a ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingId {
    /// Name of its interface.
    pub interface: String,
    /// `open`, `control` or `data`; `all` where rings are not by class.
    pub class: &'static str,
    /// Number of the worker that reads it.
    pub worker: usize,
}

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.interface, self.class, self.worker)
    }
}

impl State for RingId {
    fn join(&mut self, _: &Self) {}
}

counters! {
    /// Counters of one ring: its socket's and its reader's.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RingCounts "ring_" {
        id (state RingId): "Which ring",
        tp_packets: "Frames that reached a ring, drops included",
        tp_drops (loss): "Frames for which a ring had no room",
        tp_freezes: "How often a ring was found full (tp_freeze_q_cnt)",
        frames_read: "Frames read from a ring",
        shed_data (loss): "Data frames returned unread to make room for opening packets",
        capacity (state u64): "Frames that its blocks can hold at most: smallest frames",
    }
}

/// One entry for each ring: the rings of an interface that came back are added to its old ones.
pub fn by_ring(rings: impl Iterator<Item = RingCounts>) -> Vec<RingCounts> {
    let mut all: Vec<RingCounts> = Vec::new();
    for ring in rings {
        match all.iter_mut().find(|sum| sum.id == ring.id) {
            Some(sum) => sum.add(&ring),
            None => all.push(ring),
        }
    }
    all
}
