//! Packet time of `read`: from the time stamps of captures to times that never jump by mistake.
//!
//! An outlier gets the packet time reached so far. A clock that starts again begins an epoch: its frames get times behind
//! all that was open before, as live steps of the clock get run time; the log is written with their own stamps.

use crate::capture::pcap::chunk::Chunk;
use crate::capture::pcap::jumps::{self, Verdict, WITNESSES};
use crate::capture::pcap::order::{Order, OrderCounts};
use crate::time::clock::{Reading, RunTime};
use std::collections::VecDeque;

/// Packet time between two epochs: longer than any flow, window or attempt lasts.
const REST_NS: i64 = 86_400_000_000_000;
/// Most epochs of a run; frames of later ones are late.
const EPOCHS_MAX: u64 = 1000;

/// A frame whose stamp is not judged yet.
#[derive(Clone, Copy, Debug)]
struct Unjudged {
    /// Index in its chunk.
    index: usize,
    ts_ns: i64,
    depth: usize,
    /// Number among all frames that were read.
    number: u64,
}

/// What came of the stamps so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct StampCounts {
    /// What came of their order.
    pub order: OrderCounts,
    /// Frames that got another time.
    pub outlying: u64,
    /// Epochs that began after the first.
    pub restarts: u64,
}

/// Gives frames their times and their places in the order.
pub(super) struct Stamps {
    order: Order,
    /// At most one that is judged, and those that judge it.
    unjudged: VecDeque<Unjudged>,
    /// Packet time less the stamps of this epoch.
    shift_ns: i64,
    epochs: RunTime,
    outlying: u64,
    restarts: u64,
    notices: Vec<String>,
}

impl Stamps {
    pub(super) fn new(reorder_ns: i64) -> Self {
        let none = Reading {
            real_ns: 0,
            offset_ns: 0,
        };
        Self {
            order: Order::new(reorder_ns),
            unjudged: VecDeque::with_capacity(1 + WITNESSES),
            shift_ns: 0,
            epochs: RunTime::starting_at(none),
            outlying: 0,
            restarts: 0,
            notices: Vec::new(),
        }
    }

    /// The time of the next frame, which is its key, if it comes behind all others, as most do. Otherwise nothing is
    /// done: see [`Stamps::place`].
    #[inline(always)]
    pub(super) fn follow(&mut self, ts_ns: i64, depth: usize) -> Option<i64> {
        let ts_ns = ts_ns.checked_add(self.shift_ns)?;
        let follows = self.is_settled() && self.order.follow(ts_ns, depth, jumps::JUMP_NS);
        follows.then_some(ts_ns)
    }

    /// Time and key of the next frame, unless it has to be judged, see [`Stamps::hold`].
    pub(super) fn place(&mut self, ts_ns: i64, depth: usize) -> Option<(i64, i64)> {
        let ts_ns = ts_ns.saturating_add(self.shift_ns);
        if !self.is_settled() || self.is_jump(ts_ns) {
            return None;
        }
        Some((ts_ns, self.order.key(ts_ns, depth)))
    }

    fn is_jump(&self, ts_ns: i64) -> bool {
        let reached_ns = self.order.newest_ns();
        reached_ns.is_none_or(|reached_ns| jumps::is_jump(reached_ns, ts_ns))
    }

    /// Keeps frame `number`, which is at `index` in `chunk` without a place, until it can be judged.
    #[cold]
    pub(super) fn hold(
        &mut self,
        chunk: &mut Chunk,
        (index, depth): (usize, usize),
        ts_ns: i64,
        number: u64,
    ) {
        self.unjudged.push_back(Unjudged {
            index,
            ts_ns,
            depth,
            number,
        });
        self.judge(chunk, false);
    }

    /// Judges what can be judged; all, if no more frames come for a while.
    pub(super) fn judge(&mut self, chunk: &mut Chunk, is_end: bool) {
        while let Some(&first) = self.unjudged.front() {
            let reached_ns = self.order.newest_ns();
            let shift_ns = self.shift_ns;
            let ts_ns = first.ts_ns.saturating_add(shift_ns);
            let followers = self.unjudged.iter().skip(1).take(WITNESSES);
            let followers = followers.map(|one| one.ts_ns.saturating_add(shift_ns));
            let ts_ns = match jumps::judge(reached_ns, ts_ns, followers, is_end) {
                Verdict::Open => return,
                Verdict::Outlier(belongs_ns) => {
                    self.outlying += 1;
                    belongs_ns
                }
                Verdict::Restart if self.may_restart(first) => self.restart(first, ts_ns),
                Verdict::Sound | Verdict::Restart => ts_ns,
            };
            self.unjudged.pop_front();
            let key = self.order.key(ts_ns, first.depth);
            chunk.place(first.index, ts_ns, key);
        }
    }

    /// Whether there is an epoch left, and a time for all its stamps.
    fn may_restart(&self, frame: Unjudged) -> bool {
        let first_ns = self.order.newest_ns().unwrap_or(0).saturating_add(REST_NS);
        self.restarts < EPOCHS_MAX && first_ns.checked_sub(frame.ts_ns).is_some()
    }

    /// Begins an epoch with this frame, which would have the time `ts_ns` in the old one; returns its time.
    fn restart(&mut self, frame: Unjudged, ts_ns: i64) -> i64 {
        let reached_ns = self.order.newest_ns().unwrap_or(ts_ns);
        let first_ns = reached_ns.saturating_add(REST_NS);
        self.shift_ns = first_ns.saturating_sub(frame.ts_ns);
        self.epochs.observe(Reading {
            real_ns: frame.ts_ns,
            offset_ns: self.shift_ns.saturating_neg(),
        });
        self.restarts += 1;
        let back_s = reached_ns.saturating_sub(ts_ns) as f64 / 1e9;
        self.notices.push(format!(
            "the clock of the capture starts again at frame {}, {back_s:.3} s back: what was open ends there",
            frame.number
        ));
        first_ns
    }

    /// Whether every frame has its place.
    #[inline(always)]
    pub(super) fn is_settled(&self) -> bool {
        self.unjudged.is_empty()
    }

    /// No later frame is put before a frame with this key or a lower one.
    pub(super) fn settled_ns(&self) -> i64 {
        self.order.settled_ns()
    }

    /// What came of the stamps so far.
    pub(super) fn counts(&self) -> StampCounts {
        StampCounts {
            order: self.order.counts(),
            outlying: self.outlying,
            restarts: self.restarts,
        }
    }

    /// The stamps of each packet time.
    pub(super) fn epochs(&self) -> &RunTime {
        &self.epochs
    }

    /// Packet time that lies between epochs.
    pub(super) fn rest_ns(&self) -> i64 {
        let restarts = i64::try_from(self.restarts).expect("at most EPOCHS_MAX");
        restarts * REST_NS
    }

    /// Takes what a person should know.
    pub(super) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }
}
