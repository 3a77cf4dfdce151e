//! Limits the alerts per second of packet time; the others are folded into one counted record.
//!
//! A token bucket of one second's alerts. It runs by the time of events, so a replay folds the same alerts at any
//! speed.

use super::notice::Notice;
use crate::inspect::Kind;
use crate::inspect::detection::{Detection, Phase};
use serde_json::Value;
use std::collections::BTreeMap;

const NS_PER_S: i64 = 1_000_000_000;

/// The budget for alerts.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Alerts a second; `None`: no limit.
    rate_per_s: Option<u32>,
    /// Billionths of an alert: tokens times `NS_PER_S`.
    level: i64,
    /// Latest event time; before it nothing is refilled.
    now_ns: Option<i64>,
    folded: Folded,
}

/// Alerts folded since the last record of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// Time of the event that refilled the budget, or of the last event.
    ts_ns: i64,
    since_ns: i64,
    count: u64,
    kinds: BTreeMap<(&'static str, &'static str), u64>,
}

impl Folded {
    /// Their record. `wall_ns` maps an event's time to the wall clock.
    pub fn notice(self, wall_ns: impl Fn(i64) -> i64) -> Notice {
        let mut text = format!("{} alerts folded:", self.count);
        let mut kinds = serde_json::Map::new();
        for (i, ((kind, phase), count)) in self.kinds.into_iter().enumerate() {
            text += &format!("{} {kind} {phase} {count}", if i > 0 { "," } else { "" });
            kinds.insert(format!("{kind}_{phase}"), Value::from(count));
        }
        Notice::Lifecycle {
            ts_ns: wall_ns(self.ts_ns),
            word: "alerts_folded",
            text,
            details: vec![
                ("folded".into(), Value::from(self.count)),
                ("kinds".into(), Value::Object(kinds)),
                ("since_ns".into(), Value::from(wall_ns(self.since_ns))),
            ],
        }
    }
}

/// A budget, for the next process.
#[derive(Clone, Debug)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct BudgetProgress {
    level: i64,
    now_ns: Option<i64>,
    ts_ns: i64,
    since_ns: i64,
    kinds: Vec<(Kind, Phase, u64)>,
}

impl Budget {
    /// Where it is.
    pub fn progress(&self) -> BudgetProgress {
        let folded = &self.folded;
        let all = Kind::ALL
            .into_iter()
            .flat_map(|kind| Phase::ALL.map(|phase| (kind, phase)));
        let counts = all.filter_map(|(kind, phase)| {
            let count = folded.kinds.get(&(kind.word(), phase.word()))?;
            Some((kind, phase, *count))
        });
        BudgetProgress {
            level: self.level,
            now_ns: self.now_ns,
            ts_ns: folded.ts_ns,
            since_ns: folded.since_ns,
            kinds: counts.collect(),
        }
    }

    /// Goes on where another process's budget was; of another rate only what was folded counts.
    pub fn go_on(&mut self, progress: &BudgetProgress) {
        let full = i64::from(self.rate_per_s.unwrap_or(0)) * NS_PER_S;
        self.level = progress.level.clamp(0, full);
        self.now_ns = progress.now_ns;
        let kinds = progress.kinds.iter();
        self.folded = Folded {
            ts_ns: progress.ts_ns,
            since_ns: progress.since_ns,
            count: kinds.clone().map(|(.., count)| count).sum(),
            kinds: kinds
                .map(|(kind, phase, count)| ((kind.word(), phase.word()), *count))
                .collect(),
        };
    }

    /// A full bucket of `rate_per_s` alerts.
    pub fn new(rate_per_s: Option<u32>) -> Self {
        Self {
            rate_per_s,
            level: i64::from(rate_per_s.unwrap_or(0)) * NS_PER_S,
            now_ns: None,
            folded: Folded::default(),
        }
    }

    /// Advances packet time, which refills the bucket.
    pub fn advance(&mut self, ts_ns: i64) {
        let Some(rate) = self.rate_per_s.map(i64::from) else {
            return;
        };
        let passed = ts_ns.saturating_sub(self.now_ns.unwrap_or(ts_ns)).max(0);
        let refill = rate.saturating_mul(passed);
        self.level = self.level.saturating_add(refill).min(rate * NS_PER_S);
        self.now_ns = Some(self.now_ns.map_or(ts_ns, |now| now.max(ts_ns)));
    }

    /// Whether this alert is written; if not, it is folded.
    pub fn admit(&mut self, detection: &Detection) -> bool {
        self.advance(detection.ts_ns);
        if self.rate_per_s.is_none() {
            return true;
        }
        if self.level >= NS_PER_S {
            self.level -= NS_PER_S;
            return true;
        }
        if self.folded.count == 0 {
            self.folded.since_ns = detection.ts_ns;
        }
        self.folded.count += 1;
        let key = (detection.kind.word(), detection.phase.word());
        *self.folded.kinds.entry(key).or_default() += 1;
        false
    }

    /// The folded alerts, once the bucket has a token and a second has passed.
    pub fn freed(&mut self) -> Option<Folded> {
        // Fast path of events that are no alerts.
        if self.folded.count == 0 || self.level < NS_PER_S {
            return None;
        }
        let now_ns = self.now_ns?;
        (now_ns.saturating_sub(self.folded.since_ns) >= NS_PER_S).then(|| self.take(now_ns))
    }

    /// The folded alerts, at the end of the run or when the log is silent.
    pub fn take_folded(&mut self) -> Option<Folded> {
        let now_ns = self.now_ns?;
        (self.folded.count > 0).then(|| self.take(now_ns))
    }

    fn take(&mut self, ts_ns: i64) -> Folded {
        let folded = std::mem::take(&mut self.folded);
        Folded { ts_ns, ..folded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::detection::Phase;
    use crate::log::formats::samples;

    #[test]
    fn what_is_over_the_rate_is_folded_and_said_once_free() {
        let mut budget = Budget::new(Some(2));
        let mut scan = samples::scan(Phase::Started, vec![(1, 4)], 4);
        let admitted = (0..5).filter(|_| budget.admit(&scan)).count();
        assert_eq!(admitted, 2);
        budget.advance(scan.ts_ns + 600_000_000);
        assert_eq!(budget.freed(), None, "free, but less than a second");
        scan.ts_ns += NS_PER_S;
        budget.advance(scan.ts_ns);
        let folded = budget.freed().expect("it is free");
        let Notice::Lifecycle {
            text, word, ts_ns, ..
        } = folded.notice(|ns| ns + 1)
        else {
            panic!("no line");
        };
        assert_eq!(ts_ns, scan.ts_ns + 1);
        assert_eq!(
            (word, &text[..]),
            ("alerts_folded", "3 alerts folded: port_scan started 3")
        );
        assert!(budget.freed().is_none() && budget.take_folded().is_none());
        assert!(budget.admit(&scan));
    }

    #[test]
    fn without_a_rate_nothing_is_folded_and_rate_0_folds_all() {
        let scan = samples::scan(Phase::Ended, vec![(1, 4)], 4);
        let mut off = Budget::new(None);
        assert!((0..1000).all(|_| off.admit(&scan)));
        let mut none = Budget::new(Some(0));
        assert!(!none.admit(&scan));
        assert!(none.freed().is_none() && none.take_folded().is_some());
    }

    #[test]
    fn times_far_apart_and_backwards_do_not_overflow() {
        let mut budget = Budget::new(Some(u32::MAX));
        for ts_ns in [i64::MIN, i64::MAX, 0, i64::MIN] {
            budget.advance(ts_ns);
        }
        assert_eq!(budget.level, i64::from(u32::MAX) * NS_PER_S);
    }
}
