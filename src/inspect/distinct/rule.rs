//! Thresholds and capacities of a rule.

use super::episode::Episode;
use super::firsts::Firsts;
use super::question::{Question, Threshold};
use super::subjects::Subjects;
use std::cmp::Reverse;

/// Earliest end of an episode, its index and its generation.
pub(super) type Due = Reverse<(i64, u32, u32)>;

/// A rule and its capacities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// N: distinct items that make a detection; 0: the rule is off.
    pub at_least: usize,
    /// N for our own addresses as sources.
    pub at_least_local: usize,
    /// W in nanoseconds; a touch exactly this old is outside.
    pub window_ns: i64,
    /// Subjects with more than one item.
    pub subjects: usize,
    /// Subjects with one item.
    pub firsts: usize,
    /// Open episodes.
    pub episodes: usize,
    /// Episodes with a list of their items.
    pub lists: usize,
}

impl Rule {
    pub(super) const OFF: Self = Self {
        at_least: 0,
        at_least_local: 0,
        window_ns: 0,
        subjects: 0,
        firsts: 0,
        episodes: 0,
        lists: 0,
    };

    pub(super) fn threshold(&self) -> Threshold {
        Threshold {
            at_least: self.at_least,
            at_least_local: self.at_least_local,
            window_ns: self.window_ns,
        }
    }

    /// Memory of a detector with this rule.
    pub(crate) fn memory_bytes<Q: Question>(&self) -> u64 {
        let keep = Q::keep(&self.threshold());
        let subjects = Subjects::<Q::Subject, Q::Item>::memory_bytes(self.subjects, keep);
        let episodes = self.episodes * (size_of::<Option<Episode>>() + size_of::<Due>() + 4);
        let lists = self.lists * (Q::ITEM_SET_WORDS * size_of::<u64>() + 4);
        subjects + Firsts::<Q::Item>::memory_bytes(self.firsts) + (episodes + lists) as u64
    }

    /// The rule with capacities for `bytes`: a quarter for lists of items, the rest in equal parts for subjects with
    /// one item and for those with more.
    pub(crate) fn with_room<Q: Question>(bytes: u64, threshold: Threshold) -> Self {
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let Threshold {
            at_least,
            at_least_local,
            window_ns,
        } = threshold;
        let mut rule = Self {
            at_least,
            at_least_local,
            window_ns,
            ..Self::OFF
        };
        if at_least == 0 {
            return rule;
        }
        rule.lists = count(bytes / 4) / (Q::ITEM_SET_WORDS * size_of::<u64>());
        rule.episodes = rule.lists.max(1) * 8;
        let least = rule.memory_bytes::<Q>();
        let half = bytes.saturating_sub(least) / 2;
        // `of_1024`: the rule with 1024 subjects of one kind.
        let fitting = |of_1024: Self| {
            let each = (of_1024.memory_bytes::<Q>() - least).div_ceil(1 << 10);
            (count(half / each) / 8 * 8).max(8)
        };
        let subjects = fitting(Self {
            subjects: 1 << 10,
            ..rule
        });
        let firsts = fitting(Self {
            firsts: 1 << 10,
            ..rule
        });
        Self {
            subjects,
            firsts,
            ..rule
        }
    }
}
