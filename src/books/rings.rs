//! What each ring's socket and its reader count.

use std::fmt;

/// Which ring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingId {
    /// Its interface.
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

/// What one ring's socket and its reader say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingCounts {
    /// Which ring.
    pub id: RingId,
    /// `tp_packets`: frames that reached the ring, drops included.
    pub tp_packets: u64,
    /// `tp_drops`: frames for which the ring had no room.
    pub tp_drops: u64,
    /// `tp_freeze_q_cnt`: how often the ring was found full.
    pub tp_freezes: u64,
    /// Frames read from its blocks.
    pub frames_read: u64,
    /// Frames returned unread to make room for opening packets.
    pub shed_data: u64,
    /// Frames that its blocks can hold at most: smallest frames.
    pub capacity: u64,
}

impl RingCounts {
    fn zip(&mut self, other: &Self, apply: impl Fn(u64, u64) -> u64) {
        for (mine, other) in [
            (&mut self.tp_packets, other.tp_packets),
            (&mut self.tp_drops, other.tp_drops),
            (&mut self.tp_freezes, other.tp_freezes),
            (&mut self.frames_read, other.frames_read),
            (&mut self.shed_data, other.shed_data),
        ] {
            *mine = apply(*mine, other);
        }
    }

    /// What was counted since `before`.
    #[must_use]
    pub fn since(mut self, before: &Self) -> Self {
        self.zip(before, u64::saturating_sub);
        self
    }
}

/// One entry for each ring: those of an interface that went away and came back are added up.
pub fn by_ring(rings: impl Iterator<Item = RingCounts>) -> Vec<RingCounts> {
    let mut all: Vec<RingCounts> = Vec::new();
    for ring in rings {
        match all.iter_mut().find(|sum| sum.id == ring.id) {
            Some(sum) => {
                sum.zip(&ring, |a, b| a + b);
                sum.capacity += ring.capacity;
            }
            None => all.push(ring),
        }
    }
    all
}
