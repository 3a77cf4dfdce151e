//! One ring that a worker reads: its reader, its filters, and what others see of it.

use super::STAMP_SLACK_NS;
use crate::capture::frame::Class;
use crate::capture::group::Group;
use crate::capture::ring::{Reader, Waiting};
use crate::capture::valve::Valve;
use crate::shedding::Spans;
use crate::time::clock::{Clock, Stamps};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a worker lets others see of one ring.
#[derive(Debug, Default)]
pub struct RingView {
    /// Frames read from its blocks.
    pub frames_read: AtomicU64,
    /// Frames given back unread.
    pub shed_data: AtomicU64,
    /// Bytes of the ring that wait to be read.
    pub waiting_bytes: AtomicU64,
    /// Frames for which there was no room, as of main's last look at the kernel's counters.
    pub drops: AtomicU64,
    /// Its group is gone: read what is left, then drop it.
    pub dead: AtomicBool,
}

/// A ring and the socket that fills it.
pub struct LiveRing {
    /// Reads its blocks.
    pub reader: Reader,
    /// The group it belongs to; kept open as long as anybody reads from it.
    pub group: Arc<Group>,
    /// Its number in the group.
    pub member: usize,
    /// Its class, where rings are by class.
    pub class: Option<Class>,
    /// Its filters.
    pub valve: Arc<Valve>,
    /// Its frames' stamps, in run time.
    pub stamps: Stamps,
    /// What others see of it.
    pub view: Arc<RingView>,
    /// [`crate::capture::ring::reader::ReaderCounts::blocks_losing`] at the last look.
    pub losing_seen: u64,
    /// Run time at which its group was found gone.
    pub dead_since_ns: Option<i64>,
}

impl LiveRing {
    /// Run time of the frame at the head, if a block waits.
    #[inline]
    pub fn head_ns(&mut self, clock: &Clock) -> Option<i64> {
        // A batch may end behind the last frame of a block: only a ring without a block is idle.
        self.reader.refill();
        let stamp_ns = self.reader.ts_ns()?;
        Some(self.stamps.run_ns(stamp_ns, clock))
    }

    /// How far a ring without a waiting block is complete: up to its last frame, and up to a block timeout
    /// ago.
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

    /// Has the kernel refuse bulk data, or take them again.
    ///
    /// # Errors
    ///
    /// What the kernel said.
    pub fn refuse_bulk(&self, refuse: bool) -> Result<(), String> {
        let socket = &self.group.sockets()[self.member];
        let turned = self.valve.refuse_bulk(socket, refuse);
        turned.map_err(|error| error.to_string())
    }

    /// Gives back unread what waits in a data ring, once around at most.
    pub fn shed_data(&mut self, clock: &Clock, shed: &mut Spans) {
        for _ in 0..self.reader.geometry().block_nr {
            let Some(ts_ns) = self.head_ns(clock) else {
                return;
            };
            shed.begin(ts_ns);
            self.reader.give_back();
        }
    }

    /// Publishes what others see of the ring; gives what waits in it.
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
