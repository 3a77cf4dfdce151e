//! Expectations of a comparison. The median of the rounds decides each.

use crate::report::stats::spread;
use crate::say;

/// Values that are collected until all rounds are over.
#[derive(Debug, Default)]
pub struct Verdicts(Vec<Verdict>);

#[derive(Debug)]
struct Verdict {
    what: String,
    wanted: f64,
    values: Vec<f64>,
}

impl Verdicts {
    /// Adds the value of one round.
    pub fn add(&mut self, what: &str, wanted: f64, value: f64) {
        match self.0.iter_mut().find(|verdict| verdict.what == what) {
            Some(verdict) => verdict.values.push(value),
            None => self.0.push(Verdict {
                what: what.to_owned(),
                wanted,
                values: vec![value],
            }),
        }
    }

    /// Says each; gives whether all are kept.
    #[must_use]
    pub fn say(&self) -> bool {
        let mut all_kept = true;
        for Verdict {
            what,
            wanted,
            values,
        } in &self.0
        {
            let Some(spread) = spread(values) else {
                continue;
            };
            let kept = spread.median >= *wanted;
            all_kept &= kept;
            say!(
                "{what}: {:.2} ({:.2} to {:.2} in {} rounds), {wanted} wanted: {}",
                spread.median,
                spread.least,
                spread.most,
                spread.count,
                if kept { "kept" } else { "MISSED" }
            );
        }
        all_kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides_for_each_by_itself() {
        let mut verdicts = Verdicts::default();
        assert!(verdicts.say());
        for value in [0.5, 0.96, 0.97] {
            verdicts.add("bulk", 0.95, value);
        }
        assert!(verdicts.say());
        verdicts.add("syn", 0.9, 0.89);
        assert!(!verdicts.say());
    }
}
