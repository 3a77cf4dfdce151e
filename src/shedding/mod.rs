//! Load shedding: what waits in a worker's rings goes in, a level comes out.
//!
//! A level begins when frames are both many and late: many by the bytes that they take of their ring, late by the
//! age of the oldest, or because frames behind it were dropped. Neither alone says that a worker falls behind: a
//! burst that is read in time is many, and a trickle in blocks whose time was up is old.
//!
//! Up at once, a level at a time. Down a level when its trigger has stayed below half of its threshold, and
//! nothing was dropped, for as long as the level is held: a second, twice as long each time the level comes
//! back within half a minute of its end, at most half a minute. So a level is entered at most five times and
//! twice in each half minute, whatever the rings do.
//!
//! Data are kept, at every level, where they are few: shedding them would help nothing, and in a flood of
//! SYNs established connections keep their counts.

mod spans;

use crate::counters::counters;
pub use spans::Spans;
use std::cmp::Ordering;

/// Levels above 0, where nothing is let go of.
pub const LEVELS: usize = Level::COUNT - 1;
/// A level is held at least so long, and at most.
const HOLD_MIN_NS: i64 = 1_000_000_000;
const HOLD_MAX_NS: i64 = 30_000_000_000;
/// Share of a ring of opening or control packets, in bytes, that waits too long: above it each level begins.
const THRESHOLDS: [f64; LEVELS] = [0.25, 0.5, 0.75];
/// The same of a data ring, for the first level.
const DATA_THRESHOLD: f64 = 0.5;
/// Share of a worker's frames that are data, from which on it pays to let go of them.
const DATA_WORTH: f64 = 0.25;

words! {
    /// What is let go of; each level keeps to those below it.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Level {
        /// Nothing.
        #[default]
        None = "0",
        /// Bulk data: the kernel refuses them before it copies them.
        Bulk = "1",
        /// All that waits in data rings: it goes back unread.
        Data = "2",
        /// Lines of single attempts: they are folded into counts.
        Lines = "3",
    }
}

impl Level {
    fn what(self) -> &'static str {
        match self {
            Self::None => "nothing is shed",
            Self::Bulk => "bulk data are refused in the kernel",
            Self::Data => "data packets go back unread",
            Self::Lines => "attempts are folded into counts",
        }
    }
}

/// What waits in the fullest ring of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Share of the ring's bytes, 0 to 1.
    pub share: f64,
    /// The oldest frame has waited for longer than a healthy worker lets it, or frames were dropped behind it.
    pub late: bool,
}

impl Backlog {
    /// The worse of two rings: a late one before a fuller one, for what is read in time does not matter.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let worse = (other.late, other.share) > (self.late, self.share);
        if worse { other } else { self }
    }

    /// Frames are both many and late.
    fn exceeds(&self, threshold: f64) -> bool {
        self.late && self.share > threshold
    }
}

/// How a worker's rings stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Opening packets.
    pub open: Backlog,
    /// Packets that answer, refuse or end.
    pub control: Backlog,
    /// Everything else.
    pub data: Backlog,
    /// Frames were dropped since the last look.
    pub dropped: bool,
    /// Share of data in recent frames, dropped ones included.
    pub data_share: f64,
}

impl Load {
    /// Why `level` is needed: the ring that asks for it.
    fn asks(&self, level: usize, factor: f64) -> Option<&'static str> {
        let threshold = THRESHOLDS[level - 1] * factor;
        if self.open.exceeds(threshold) {
            Some("open")
        } else if level < Level::Lines as usize && self.control.exceeds(threshold) {
            // Folding helps against new attempts only.
            Some("control")
        } else if level == Level::Bulk as usize && self.data.exceeds(DATA_THRESHOLD * factor) {
            Some("data")
        } else {
            None
        }
    }

    /// Whether shedding data helps: their ring fills, or they are a good part of what comes.
    fn wants_no_data(&self) -> bool {
        self.data.exceeds(DATA_THRESHOLD)
            || self.data_share >= DATA_WORTH && self.asks(1, 1.0).is_some()
    }
}

/// A step up or down, or the same level, where data are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// From which level.
    pub from: Level,
    /// To which: one above or below, or the same.
    pub to: Level,
    /// Data are kept all the same: they are few.
    pub keeps_data: bool,
    /// The class of the ring that asked for it. Down: `calm`.
    pub reason: &'static str,
    /// How the rings stood.
    pub load: Load,
    /// So long the upper of the two is held, once it is calm.
    pub hold_ns: i64,
}

impl Step {
    /// `up`, `down` or `same`.
    pub fn direction(&self) -> &'static str {
        match self.to.cmp(&self.from) {
            Ordering::Greater => "up",
            Ordering::Equal => "same",
            Ordering::Less => "down",
        }
    }

    /// What is let go of from here on.
    pub fn what(&self) -> &'static str {
        match self.to {
            Level::Bulk | Level::Data if self.keeps_data => "data are few and kept",
            Level::Lines if self.keeps_data => {
                "attempts are folded into counts, data are few and kept"
            }
            level => level.what(),
        }
    }
}

counters! {
    /// Load shedding of a worker. Of level 0 only the time is counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ShedCounts "shed_" {
        up (count by level Level): "Steps of load shedding up to a level",
        down (count by level Level): "Steps of load shedding down from a level",
        workers (gauge by level Level): "Workers that are at this level of load shedding or above it",
        spent_us (micros by level Level): "Time that workers spent at a level of load shedding",
    }
}

impl ShedCounts {
    /// Name and both sides of each identity. Nobody steps to level 0, or down from it.
    pub fn identities(&self) -> [(&'static str, u64, u64); Level::COUNT] {
        const NAMES: [&str; Level::COUNT] = [
            "shed steps up to 0 = down from 0 + workers there",
            "shed steps up to 1 = down from 1 + workers there",
            "shed steps up to 2 = down from 2 + workers there",
            "shed steps up to 3 = down from 3 + workers there",
        ];
        std::array::from_fn(|at| (NAMES[at], self.up[at], self.down[at] + self.workers[at]))
    }
}

/// How long a level is held, and when it was left last.
#[derive(Clone, Copy, Debug)]
struct Hold {
    hold_ns: i64,
    left_ns: Option<i64>,
}

impl Hold {
    /// The level begins again: sooner than it should, and it is held for longer.
    fn begin(&mut self, now_ns: i64) {
        let Some(left_ns) = self.left_ns else { return };
        let away_ns = now_ns.saturating_sub(left_ns);
        self.hold_ns = if away_ns < HOLD_MAX_NS {
            self.hold_ns.saturating_mul(2).min(HOLD_MAX_NS)
        } else {
            let halvings = u32::try_from(away_ns / HOLD_MAX_NS).unwrap_or(u32::MAX);
            self.hold_ns
                .checked_shr(halvings)
                .unwrap_or(0)
                .max(HOLD_MIN_NS)
        };
    }
}

/// The decision of one worker.
#[derive(Clone, Debug)]
pub struct Shedding {
    auto: bool,
    level: Level,
    keeps_data: bool,
    holds: [Hold; LEVELS],
    /// When the level's trigger was last not calm, or the level began.
    restless_ns: i64,
    looked_ns: Option<i64>,
    /// Microseconds that are not counted yet, as nanoseconds.
    rest_ns: i64,
    /// What it came to.
    pub counts: ShedCounts,
}

impl Shedding {
    /// At level 0; without `auto` it stays there.
    pub fn new(auto: bool) -> Self {
        let hold = Hold {
            hold_ns: HOLD_MIN_NS,
            left_ns: None,
        };
        Self {
            auto,
            level: Level::None,
            keeps_data: false,
            holds: [hold; LEVELS],
            restless_ns: i64::MIN,
            looked_ns: None,
            rest_ns: 0,
            counts: ShedCounts::default(),
        }
    }

    /// The level now.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bulk data are refused in the kernel.
    pub fn refuses_bulk(&self) -> bool {
        self.level >= Level::Bulk && !self.keeps_data
    }

    /// What waits in data rings goes back unread.
    pub fn returns_data(&self) -> bool {
        self.level >= Level::Data && !self.keeps_data
    }

    /// Looks at the rings at `now_ns`, which never goes back. At most one step at a time.
    pub fn look(&mut self, now_ns: i64, load: &Load) -> Option<Step> {
        self.spend(now_ns);
        if !self.auto {
            return None;
        }
        let at = self.level as usize;
        if at < LEVELS
            && let Some(reason) = load.asks(at + 1, 1.0)
        {
            if at == 0 {
                self.keeps_data = !load.wants_no_data();
            }
            self.holds[at].begin(now_ns);
            self.counts.up[at + 1] += 1;
            self.counts.workers[at + 1] = 1;
            return Some(self.step(at + 1, at, reason, now_ns, load));
        }
        if at == 0 {
            return None;
        }
        if self.keeps_data && load.wants_no_data() {
            self.keeps_data = false;
            return Some(self.step(at, at - 1, "data", now_ns, load));
        }
        if load.dropped || load.asks(at, 0.5).is_some() {
            self.restless_ns = now_ns;
        }
        let hold = &mut self.holds[at - 1];
        if now_ns.saturating_sub(self.restless_ns) < hold.hold_ns {
            return None;
        }
        hold.left_ns = Some(now_ns);
        self.counts.down[at] += 1;
        self.counts.workers[at] = 0;
        Some(self.step(at - 1, at - 1, "calm", now_ns, load))
    }

    /// Steps to a level; `upper` is the place of the upper one among the holds.
    fn step(
        &mut self,
        to: usize,
        upper: usize,
        reason: &'static str,
        now_ns: i64,
        load: &Load,
    ) -> Step {
        let from = self.level;
        self.level = Level::ALL[to];
        self.restless_ns = now_ns;
        Step {
            from,
            to: self.level,
            keeps_data: self.keeps_data,
            reason,
            load: *load,
            hold_ns: self.holds[upper].hold_ns,
        }
    }

    fn spend(&mut self, now_ns: i64) {
        let since_ns = self.looked_ns.replace(now_ns).unwrap_or(now_ns);
        let passed_ns = now_ns.saturating_sub(since_ns).max(0);
        let spent_ns = passed_ns.saturating_add(self.rest_ns);
        self.rest_ns = spent_ns % 1000;
        self.counts.spent_us[self.level as usize] += (spent_ns / 1000).unsigned_abs();
    }
}

#[cfg(test)]
mod tests;
