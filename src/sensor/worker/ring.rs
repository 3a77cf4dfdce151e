//! One ring of a worker: its reader, its filters, its published state.

use super::STAMP_SLACK_NS;
use crate::capture::frame::Class;
use crate::capture::group::Group;
use crate::capture::ring::{Reader, Waiting};
use crate::capture::valve::Valve;
use crate::shedding::Spans;
use crate::time::clock::{Clock, Stamps};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// State of one ring shared between its worker and main.
#[derive(Debug, Default)]
pub struct RingView {
    /// Frames read.
    pub frames_read: AtomicU64,
    /// Frames given back unread.
    pub shed_data: AtomicU64,
    /// Bytes that wait to be read.
    pub waiting_bytes: AtomicU64,
    /// `tp_drops`, as main last read it.
    pub drops: AtomicU64,
    /// Its interface was removed: read the rest, then drop it.
    pub dead: AtomicBool,
}

/// A ring and the socket that fills it.
pub struct LiveRing {
    pub reader: Reader,
    /// Keeps the socket open while its ring is read.
    pub group: Arc<Group>,
    /// Index of the socket in the group.
    pub member: usize,
    /// `None` where rings are not by class.
    pub class: Option<Class>,
    pub valve: Arc<Valve>,
    pub stamps: Stamps,
    pub view: Arc<RingView>,
    /// [`crate::capture::ring::reader::ReaderCounts::blocks_losing`] at the last update.
    pub losing_seen: u64,
    /// Run time at which `dead` was first seen.
    pub dead_since_ns: Option<i64>,
}

impl LiveRing {
    /// Run time of the next frame, if a block waits.
    #[inline]
    pub fn head_ns(&mut self, clock: &Clock) -> Option<i64> {
        // A batch may end behind the last frame of a block; a ring is idle only without a block.
        self.reader.refill();
        let stamp_ns = self.reader.ts_ns()?;
        Some(self.stamps.run_ns(stamp_ns, clock))
    }

    /// Run time up to which a ring without a waiting block is complete: its last frame, or a block timeout ago.
    #[inline]
    pub fn known_ns(&self, clock_ns: i64, block_timeout_ns: i64) -> i64 {
        let by_clock = clock_ns
            .saturating_sub(block_timeout_ns)
            .saturating_sub(STAMP_SLACK_NS);
        let last = self.reader.last_ts_ns();
        last.map_or(by_clock, |last| {
            self.stamps.passed_run_ns(last).max(by_clock)
        })
    }

    /// Has the kernel filter bulk data, or admit them again.
    pub fn filter_bulk(&self, filter: bool) -> Result<(), String> {
        let socket = &self.group.sockets()[self.member];
        let result = self.valve.filter_bulk(socket, filter);
        result.map_err(|error| error.to_string())
    }

    /// Releases waiting blocks of a data ring unread, once around at most.
    pub fn shed_data(&mut self, clock: &Clock, shed: &mut Spans) {
        for _ in 0..self.reader.geometry().block_nr {
            let Some(ts_ns) = self.head_ns(clock) else {
                return;
            };
            shed.begin(ts_ns);
            self.reader.give_back();
        }
    }

    /// Publishes the state of the ring; returns what waits in it.
    pub fn publish(&mut self) -> Waiting {
        let (counts, waiting) = (self.reader.counts(), self.reader.waiting());
        let view = &self.view;
        view.frames_read
            .store(counts.frames_read, Ordering::Release);
        view.shed_data
            .store(counts.frames_unread, Ordering::Release);
        view.waiting_bytes.store(waiting.bytes, Ordering::Relaxed);
        waiting
    }
}
