//! The books of all rings, those of interfaces that were re-created included.

use super::Run;
use crate::books::ring::{RingCounts, by_ring};
use crate::capture::mode::CaptureDepth;
use crate::sensor::group::LiveGroup;

/// What groups that are closed have left.
#[derive(Debug, Default)]
pub(super) struct Past {
    rings: Vec<RingCounts>,
    refused: Option<u64>,
}

impl Past {
    /// Nothing was closed so far.
    pub(super) fn new() -> Self {
        Self {
            rings: Vec::new(),
            refused: Some(0),
        }
    }

    fn take(&mut self, group: &LiveGroup) {
        let closed = group.counts().map(|counts| RingCounts {
            capacity: 0,
            ..counts
        });
        self.rings = by_ring(std::mem::take(&mut self.rings).into_iter().chain(closed));
        self.refused = self.refused.zip(group.refused()).map(|(a, b)| a + b);
    }
}

impl Run<'_> {
    /// Closes groups that are gone once every worker has let go of their rings: until then they may hold
    /// frames, and their memory is the kernel's.
    pub(super) fn close_gone(&mut self) {
        let (mut closed, still) = std::mem::take(&mut self.gone)
            .into_iter()
            .partition::<Vec<_>, _>(LiveGroup::is_released);
        self.gone = still;
        for group in &mut closed {
            group.update();
            self.past.take(group);
        }
    }

    /// One entry for each ring: that of an interface that came back goes on where it was.
    pub(super) fn rings(&self) -> Vec<RingCounts> {
        let open = self.groups.iter().chain(&self.gone);
        by_ring(
            open.flat_map(LiveGroup::counts)
                .chain(self.past.rings.iter().cloned()),
        )
    }

    /// Frames that `--capture control` rejected, and those that data rings refused under load; `None` where they
    /// cannot be counted.
    pub(super) fn refused(&self) -> (Option<u64>, Option<u64>) {
        let open = self.groups.iter().chain(&self.gone);
        let open: Option<u64> = open.map(LiveGroup::refused).sum();
        let counted = open.zip(self.past.refused).map(|(open, past)| open + past);
        match (self.config.capture, self.config.shed) {
            (CaptureDepth::Control, _) => (counted, Some(0)),
            (_, true) => (Some(0), counted),
            (_, false) => (Some(0), Some(0)),
        }
    }
}
