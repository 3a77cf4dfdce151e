//! A worker's rings, merged by the stamps of their frames.

use super::STAMP_SLACK_NS;
use super::ring::LiveRing;
use crate::capture::frame::Class;
use crate::capture::ring::poll::Poller;
use crate::shedding::Spans;
use crate::time::clock::Clock;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// All rings of one worker.
pub struct Rings {
    /// Of frames with equal stamps the first ring's are read first.
    pub all: Vec<LiveRing>,
    /// `tp_retire_blk_tov`.
    block_timeout: Duration,
    block_timeout_ns: i64,
    poller: Poller,
}

impl Rings {
    pub fn new(all: Vec<LiveRing>, block_timeout: Duration) -> Self {
        Self {
            poller: Poller::with_capacity(all.len()),
            all,
            block_timeout,
            block_timeout_ns: i64::try_from(block_timeout.as_nanos()).unwrap_or(i64::MAX),
        }
    }

    /// The ring of the oldest frame, and the stamp up to which its frames come before all others. With `shed`, data
    /// rings are released unread and the time is noted there.
    #[inline]
    pub fn next_run(
        &mut self,
        clock: &Clock,
        clock_ns: i64,
        drain: bool,
        mut shed: Option<&mut Spans>,
    ) -> Option<(usize, i64)> {
        let (mut head, mut until_ns): (Option<(i64, usize)>, i64) = (None, i64::MAX);
        for (index, ring) in self.all.iter_mut().enumerate() {
            if let Some(shed) = shed.as_deref_mut()
                && ring.class == Some(Class::Data)
            {
                ring.shed_data(clock, shed);
            }
            let Some(ts_ns) = ring.head_ns(clock) else {
                if !drain {
                    until_ns = until_ns.min(ring.known_ns(clock_ns, self.block_timeout_ns));
                }
                continue;
            };
            match head {
                Some((first_ns, _)) if ts_ns >= first_ns => until_ns = until_ns.min(ts_ns),
                _ => {
                    until_ns = until_ns.min(head.map_or(i64::MAX, |(first_ns, _)| first_ns - 1));
                    head = Some((ts_ns, index));
                }
            }
        }
        let (ts_ns, index) = head?;
        (ts_ns <= until_ns).then_some((index, until_ns))
    }

    /// No ring will deliver a frame older than this.
    pub fn watermark(&mut self, clock: &Clock, clock_ns: i64) -> i64 {
        let timeout_ns = self.block_timeout_ns;
        let known = |ring: &mut LiveRing| {
            let head_ns = ring.head_ns(clock);
            head_ns.unwrap_or_else(|| ring.known_ns(clock_ns, timeout_ns))
        };
        let oldest = self.all.iter_mut().map(known).min();
        oldest.unwrap_or(clock_ns - STAMP_SLACK_NS)
    }

    /// A frame older than this has waited longer than it would at a worker that keeps up.
    pub fn late_ns(&self, clock_ns: i64) -> i64 {
        clock_ns
            .saturating_sub(self.block_timeout_ns.saturating_mul(2))
            .saturating_sub(STAMP_SLACK_NS)
    }

    /// Drops rings of removed interfaces, once they are empty and the kernel has handed over the open block.
    pub fn drop_gone(&mut self, clock_ns: i64) {
        let grace_ns = self.block_timeout_ns.saturating_mul(2) + STAMP_SLACK_NS;
        self.all.retain_mut(|ring| {
            if !ring.view.dead.load(Ordering::Acquire) {
                return true;
            }
            let since_ns = *ring.dead_since_ns.get_or_insert(clock_ns);
            let keep = ring.reader.refill() || clock_ns.saturating_sub(since_ns) < grace_ns;
            if !keep {
                ring.publish();
            }
            keep
        });
    }

    /// Waits for a block, at most one block timeout.
    pub fn wait(&mut self) {
        // poll(2) returns at once while the worker holds a block: the last block closed is not the kernel's.
        if self.all.iter().any(|ring| ring.reader.frames_left() > 0) || self.all.is_empty() {
            std::thread::sleep(self.block_timeout / 4);
            return;
        }
        let sockets = self
            .all
            .iter()
            .map(|ring| &ring.group.sockets()[ring.member]);
        if self.poller.wait(sockets, self.block_timeout).is_err() {
            std::thread::sleep(self.block_timeout);
        }
        for place in self.poller.failed() {
            // ENETDOWN: the kernel re-joins the socket by itself, and main reports the link.
            let ring = &self.all[place];
            let _ = ring.group.sockets()[ring.member].take_error();
        }
    }
}
