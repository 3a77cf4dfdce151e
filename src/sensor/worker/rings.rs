//! A worker's rings, merged by the stamps of their frames.

use super::STAMP_SLACK_NS;
use super::ring::LiveRing;
use crate::capture::frame::Class;
use crate::capture::ring::poll::Poller;
use crate::shedding::Spans;
use crate::time::clock::Clock;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The resolution of poll(2).
const MILLISECOND_NS: u64 = 1_000_000;

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

    /// Waits until a ring without a block has one, or until frames of a waiting block are due; at most one block
    /// timeout.
    pub fn wait(&mut self, clock: &Clock, clock_ns: i64) {
        let timeout_ns = self.block_timeout_ns;
        let spans = self.all.iter_mut().filter_map(|ring| {
            let last_ns = ring.stamps.passed_run_ns(ring.reader.open_last_ts_ns()?);
            Some((ring.head_ns(clock)?, last_ns))
        });
        let wait = wait_time(spans, clock_ns, timeout_ns);
        // poll(2) returns at once while the worker holds a block: the last block closed is not the kernel's.
        let sockets = self.all.iter().map(|ring| {
            let waits = ring.reader.frames_left() == 0;
            waits.then(|| &ring.group.sockets()[ring.member])
        });
        if self.poller.wait(sockets, wait).is_err() {
            std::thread::sleep(self.block_timeout);
        }
        for place in self.poller.failed() {
            // ENETDOWN: the kernel re-joins the socket by itself, and main reports the link.
            let ring = &self.all[place];
            let _ = ring.group.sockets()[ring.member].take_error();
        }
    }
}

/// How long to wait for frames of blocks that wait for other rings: the stamps of the first and the last frame of each.
///
/// A ring without a block is known to be complete up to a block timeout ago ([`LiveRing::known_ns`]). A block is read
/// in two parts at most: all of it at once would be late ([`Rings::late_ns`]), frame by frame would wake the worker
/// for each of them.
fn wait_time(
    spans: impl Iterator<Item = (i64, i64)>,
    clock_ns: i64,
    block_timeout_ns: i64,
) -> Duration {
    let until_ns = spans.map(|(head_ns, last_ns)| {
        let part_ns = head_ns.saturating_add(block_timeout_ns / 2);
        part_ns.min(last_ns.max(head_ns))
    });
    let known_ns = clock_ns
        .saturating_sub(block_timeout_ns)
        .saturating_sub(STAMP_SLACK_NS);
    let wait_ns = until_ns.min().map_or(block_timeout_ns, |until_ns| {
        until_ns.saturating_sub(known_ns).min(block_timeout_ns)
    });
    Duration::from_nanos(u64::try_from(wait_ns).unwrap_or(0).max(MILLISECOND_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn wait_ms(spans: &[(i64, i64)]) -> u128 {
        let spans = spans
            .iter()
            .map(|(head, last)| (head * MS, last.saturating_mul(MS)));
        wait_time(spans, 1_000 * MS, 20 * MS).as_millis()
    }

    #[test]
    fn the_worker_sleeps_until_half_a_block_or_all_of_it_is_due() {
        // Rings without a block are complete up to 975 ms.
        assert_eq!(wait_ms(&[]), 20);
        assert_eq!(wait_ms(&[(980, 983)]), 8, "the block's last frame");
        assert_eq!(
            wait_ms(&[(980, 999)]),
            15,
            "half a block timeout behind the head"
        );
        assert_eq!(wait_ms(&[(985, 999), (980, 982)]), 7, "what is due first");
        assert_eq!(wait_ms(&[(999, 999)]), 20, "a block timeout at most");
        assert_eq!(wait_ms(&[(970, 960)]), 1, "never at once");
        assert_eq!(
            wait_ms(&[(980, i64::MIN), (990, i64::MAX)]),
            5,
            "stamps of a clock that was set"
        );
    }

    #[test]
    fn a_frame_that_waits_is_never_late() {
        let (timeout_ns, clock_ns) = (20 * MS, 1_000 * MS);
        for head_ms in 975..=1_000 {
            let head_ns = head_ms * MS;
            let wait = wait_time([(head_ns, i64::MAX)].into_iter(), clock_ns, timeout_ns);
            let read_ns = clock_ns + i64::try_from(wait.as_nanos()).expect("short");
            assert!(
                read_ns - head_ns < 2 * timeout_ns + STAMP_SLACK_NS,
                "{head_ms}"
            );
        }
    }
}
