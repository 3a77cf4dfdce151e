//! The numbers of a rule: what it asks, the room it has.

use super::episode::Episode;
use super::firsts::Firsts;
use super::question::Question;
use super::subjects::Subjects;
use std::cmp::Reverse;

/// When an episode may end, its place, and its generation there.
pub(super) type Due = Reverse<(i64, u32, u32)>;

/// The rule and the room it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// N: so many distinct items are a detection; 0: the rule is off.
    pub at_least: usize,
    /// W in nanoseconds; a touch exactly this old is outside.
    pub window_ns: i64,
    /// Subjects with more than one item held.
    pub subjects: usize,
    /// Subjects with one item held.
    pub firsts: usize,
    /// Episodes held.
    pub episodes: usize,
    /// Episodes whose every item is kept.
    pub lists: usize,
}

impl Rule {
    /// Bytes that a detector with this rule takes.
    pub fn memory_bytes<Q: Question>(&self) -> u64 {
        let subjects = Subjects::<Q::Subject, Q::Item>::memory_bytes(self.subjects, self.at_least);
        let episodes = self.episodes * (size_of::<Option<Episode>>() + size_of::<Due>() + 4);
        let lists = self.lists * (Q::SEEN_WORDS * size_of::<u64>() + 4);
        subjects + Firsts::<Q::Item>::memory_bytes(self.firsts) + (episodes + lists) as u64
    }

    /// The rule with as much room as `bytes` give: a quarter for what episodes keep, the rest in equal parts for
    /// subjects with one item and for those with more.
    pub fn with_room<Q: Question>(bytes: u64, (at_least, window_ns): (usize, i64)) -> Self {
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let none = Self {
            at_least,
            window_ns,
            subjects: 0,
            firsts: 0,
            episodes: 0,
            lists: 0,
        };
        if at_least == 0 {
            return none;
        }
        let lists = count(bytes / 4) / (Q::SEEN_WORDS * size_of::<u64>());
        let episodes = lists.max(1) * 8;
        let none = Self {
            episodes,
            lists,
            ..none
        };
        let least = none.memory_bytes::<Q>();
        let each = |subjects: usize, firsts: usize| {
            let many = Self {
                subjects: subjects << 10,
                firsts: firsts << 10,
                ..none
            };
            (many.memory_bytes::<Q>() - least).div_ceil(1 << 10)
        };
        let half = bytes.saturating_sub(least) / 2;
        Self {
            subjects: (count(half / each(1, 0)) / 8 * 8).max(8),
            firsts: (count(half / each(0, 1)) / 8 * 8).max(8),
            ..none
        }
    }
}
