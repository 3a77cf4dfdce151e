//! The books of all rings, those of interfaces that were re-created included.

use super::Run;
use crate::books::RingCounts;
use crate::cli::CaptureDepth;
use crate::live::LiveGroup;

/// What groups that are closed have left.
#[derive(Debug, Default)]
pub(super) struct Past {
    rings: Vec<RingCounts>,
    filtered: Option<u64>,
}

impl Past {
    /// Nothing was closed so far.
    pub(super) fn new() -> Self {
        Self {
            rings: Vec::new(),
            filtered: Some(0),
        }
    }

    fn take(&mut self, group: &LiveGroup) {
        for mut counts in group.counts() {
            counts.capacity = 0;
            merge(&mut self.rings, counts);
        }
        self.filtered = self.filtered.zip(group.rejected()).map(|(a, b)| a + b);
    }
}

/// Adds `counts` to those of the ring of its name: an interface that came back goes on where it was.
fn merge(rings: &mut Vec<RingCounts>, counts: RingCounts) {
    match rings.iter_mut().find(|ring| ring.name == counts.name) {
        Some(ring) => ring.add(&counts),
        None => rings.push(counts),
    }
}

impl Run<'_> {
    /// Closes groups that are gone once every worker has let go of their rings: until then they may hold
    /// frames, and their memory is the kernel's.
    pub(super) fn close_gone(&mut self) {
        let (mut closed, still) = std::mem::take(&mut self.gone)
            .into_iter()
            .partition::<Vec<_>, _>(LiveGroup::is_let_go);
        self.gone = still;
        for group in &mut closed {
            group.update();
            self.past.take(group);
        }
    }

    pub(super) fn rings(&self) -> Vec<RingCounts> {
        let mut rings = Vec::new();
        let open = self.groups.iter().chain(&self.gone);
        for counts in open.flat_map(LiveGroup::counts) {
            merge(&mut rings, counts);
        }
        for counts in &self.past.rings {
            merge(&mut rings, counts.clone());
        }
        rings
    }

    /// Frames that `--capture control` rejected; `None` where they cannot be counted.
    pub(super) fn filtered(&self) -> Option<u64> {
        if self.config.capture != CaptureDepth::Control {
            return Some(0);
        }
        let open = self.groups.iter().chain(&self.gone);
        let open: Option<u64> = open.map(LiveGroup::rejected).sum();
        open.zip(self.past.filtered).map(|(open, past)| open + past)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_came_back_goes_on_where_it_was() {
        let ring = |name: &str, tp_packets| RingCounts {
            name: name.to_owned(),
            tp_packets,
            frames_read: tp_packets,
            capacity: 7,
            ..RingCounts::default()
        };
        let mut rings = Vec::new();
        for counts in [ring("a", 1), ring("b", 2), ring("a", 4)] {
            merge(&mut rings, counts);
        }
        let seen: Vec<_> = rings
            .iter()
            .map(|r| (r.name.as_str(), r.tp_packets))
            .collect();
        assert_eq!(seen, [("a", 5), ("b", 2)]);
        assert_eq!(rings[0].capacity, 14);
    }
}
