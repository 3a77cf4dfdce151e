//! Load shedding: from the backlog of a worker's rings to a level.
//!
//! A level begins when waiting frames are both many and late: many by their share of the ring's bytes, late by the
//! age of the oldest, or because frames behind it were dropped. Neither alone means that a worker falls behind: a
//! burst that is read in time is many, and a trickle in retired blocks is late.
//!
//! Up at once, one level at a time. Down one level when its trigger has stayed below half of its threshold, without
//! drops, for the level's hold time: a second, doubled each time the level returns within 30 s of its end, at most
//! 30 s. So a level is entered at most five times, and then twice in each 30 s, whatever the rings do.
//!
//! Data packets are kept at every level where they are few: shedding them would not help, and in a flood of SYNs
//! established connections keep their counts.

mod spans;

use crate::counters::counters;
use crate::snapshot::snapshot;
pub use spans::Spans;
use std::cmp::Ordering;

/// Levels that shed something: all but 0.
const LEVELS: usize = Level::COUNT - 1;
/// Range of hold times.
const HOLD_MIN_NS: i64 = 1_000_000_000;
const HOLD_MAX_NS: i64 = 30_000_000_000;
/// Share of late bytes in an open or control ring above which each level begins.
const THRESHOLDS: [f64; LEVELS] = [0.25, 0.5, 0.75];
/// The same for a data ring and level 1.
const DATA_THRESHOLD: f64 = 0.5;
/// Minimum share of data in a worker's frames: shedding fewer does not help.
const DATA_WORTH: f64 = 0.25;

words! {
    /// What is shed; each level includes those below it.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Level {
        /// Nothing.
        #[default]
        None = "0",
        /// Bulk data: the kernel filters them out before it copies them.
        Bulk = "1",
        /// All waiting data packets: their blocks are released unread.
        Data = "2",
        /// Lines of single attempts: they are folded into counts.
        Lines = "3",
    }
}

/// Backlog of the worst ring of a class.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Share of the ring's bytes, 0 to 1.
    pub share: f64,
    /// The oldest frame has waited longer than at a worker that keeps up, or frames were dropped behind it.
    pub late: bool,
}

impl Backlog {
    /// The worse of two rings: a late one before a fuller one.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let worse = (other.late, other.share) > (self.late, self.share);
        if worse { other } else { self }
    }

    fn exceeds(&self, threshold: f64) -> bool {
        self.late && self.share > threshold
    }
}

/// Load of a worker's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    pub open: Backlog,
    pub control: Backlog,
    pub data: Backlog,
    /// Frames were dropped since the last update.
    pub dropped: bool,
    /// Share of data in recent frames, dropped ones included.
    pub data_share: f64,
}

impl Load {
    /// The class of the ring whose backlog exceeds the threshold of `level`, times `factor`.
    fn trigger(&self, level: usize, factor: f64) -> Option<&'static str> {
        let threshold = THRESHOLDS[level - 1] * factor;
        if self.open.exceeds(threshold) {
            Some("open")
        } else if level < Level::Lines as usize && self.control.exceeds(threshold) {
            // Folding sheds lines of new attempts only.
            Some("control")
        } else if level == Level::Bulk as usize && self.data.exceeds(DATA_THRESHOLD * factor) {
            Some("data")
        } else {
            None
        }
    }

    /// Whether shedding data helps: their ring fills, or they are a large share of the frames.
    fn data_shedding_helps(&self) -> bool {
        self.data.exceeds(DATA_THRESHOLD)
            || self.data_share >= DATA_WORTH && self.trigger(1, 1.0).is_some()
    }
}

/// A step up or down, or at the same level from keeping data to shedding them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelStep {
    pub from: Level,
    /// One level above or below `from`, or the same.
    pub to: Level,
    /// Data are few and kept.
    pub keeps_data: bool,
    /// The class of the ring that triggered it. Down: `calm`.
    pub reason: &'static str,
    pub load: Load,
    /// Hold time of the upper level.
    pub hold_ns: i64,
}

impl LevelStep {
    /// `up`, `down` or `same`.
    pub fn direction(&self) -> &'static str {
        match self.to.cmp(&self.from) {
            Ordering::Greater => "up",
            Ordering::Equal => "same",
            Ordering::Less => "down",
        }
    }

    /// What is shed from now on.
    pub fn what(&self) -> &'static str {
        match self.to {
            Level::Bulk | Level::Data if self.keeps_data => "data are few and kept",
            Level::Lines if self.keeps_data => {
                "attempts are folded into counts, data are few and kept"
            }
            Level::None => "nothing is shed",
            Level::Bulk => "bulk data are refused in the kernel",
            Level::Data => "data packets go back unread",
            Level::Lines => "attempts are folded into counts",
        }
    }
}

counters! {
    /// Load shedding of a worker. For level 0 only the time is counted.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
    pub struct ShedCounts "shed_" {
        up (count by level Level): "Steps of load shedding up to a level",
        down (count by level Level): "Steps of load shedding down from a level",
        workers (gauge by level Level): "Workers that are at this level of load shedding or above it",
        spent_us (micros by level Level): "Time that workers spent at a level of load shedding",
    }
}

impl ShedCounts {
    /// Name and both sides of each identity. For level 0 both are 0.
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

/// Hold time of a level, and when it was last left.
#[derive(Clone, Copy, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
struct Hold {
    hold_ns: i64,
    left_ns: Option<i64>,
}

impl Hold {
    /// The level begins: its hold time doubles if it returned soon, and halves for each 30 s that it was away.
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

/// The state of one worker.
#[derive(Clone, Debug)]
pub struct Shedding {
    auto: bool,
    level: Level,
    keeps_data: bool,
    holds: [Hold; LEVELS],
    /// When the level began, or its trigger was last not calm.
    restless_ns: i64,
    updated_ns: Option<i64>,
    /// Time below a microsecond, not counted yet.
    rest_ns: i64,
    pub counts: ShedCounts,
}

snapshot! {
    [] Shedding;
    values: level, keeps_data, holds, restless_ns, updated_ns, rest_ns, counts;
    fixed: auto;
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
            updated_ns: None,
            rest_ns: 0,
            counts: ShedCounts::default(),
        }
    }

    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether bulk data are filtered out in the kernel.
    pub fn filters_bulk(&self) -> bool {
        self.level >= Level::Bulk && !self.keeps_data
    }

    /// Whether data rings are released unread.
    pub fn returns_data(&self) -> bool {
        self.level >= Level::Data && !self.keeps_data
    }

    /// Decides on the load at `now_ns`, which never decreases. At most one step a call: call it until `None`.
    pub fn update(&mut self, now_ns: i64, load: &Load) -> Option<LevelStep> {
        self.spend(now_ns);
        if !self.auto {
            return None;
        }
        let at = self.level.index();
        if at < LEVELS
            && let Some(reason) = load.trigger(at + 1, 1.0)
        {
            if at == 0 {
                self.keeps_data = !load.data_shedding_helps();
            }
            self.holds[at].begin(now_ns);
            self.counts.up[at + 1] += 1;
            self.counts.workers[at + 1] = 1;
            return Some(self.step(at + 1, at, reason, now_ns, load));
        }
        if at == 0 {
            return None;
        }
        if self.keeps_data && load.data_shedding_helps() {
            self.keeps_data = false;
            return Some(self.step(at, at - 1, "data", now_ns, load));
        }
        if load.dropped || load.trigger(at, 0.5).is_some() {
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

    /// Steps to a level; `upper` is the index of the upper one in `holds`.
    fn step(
        &mut self,
        to: usize,
        upper: usize,
        reason: &'static str,
        now_ns: i64,
        load: &Load,
    ) -> LevelStep {
        let from = self.level;
        self.level = Level::ALL[to];
        self.restless_ns = now_ns;
        LevelStep {
            from,
            to: self.level,
            keeps_data: self.keeps_data,
            reason,
            load: *load,
            hold_ns: self.holds[upper].hold_ns,
        }
    }

    fn spend(&mut self, now_ns: i64) {
        let since_ns = self.updated_ns.replace(now_ns).unwrap_or(now_ns);
        let passed_ns = now_ns.saturating_sub(since_ns).max(0);
        let spent_ns = passed_ns.saturating_add(self.rest_ns);
        self.rest_ns = spent_ns % 1000;
        self.counts.spent_us[self.level as usize] += (spent_ns / 1000).unsigned_abs();
    }
}

#[cfg(test)]
mod tests;
