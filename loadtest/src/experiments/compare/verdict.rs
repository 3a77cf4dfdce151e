//! Expectations of a comparison. The median of the rounds decides.

use crate::report::stats::spread;
use crate::say;

/// The expectations, with the values of all rounds.
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

    /// Prints each; gives whether all are met.
    #[must_use]
    pub fn report(&self) -> bool {
        let mut all_met = true;
        for Verdict {
            what,
            wanted,
            values,
        } in &self.0
        {
            let Some(spread) = spread(values) else {
                continue;
            };
            let met = spread.median >= *wanted;
            all_met &= met;
            say!(
                "{what}: {:.2} ({:.2} to {:.2} in {} rounds), at least {wanted} expected: {}",
                spread.median,
                spread.least,
                spread.most,
                spread.count,
                if met { "met" } else { "MISSED" }
            );
        }
        all_met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_each_expectation_decides() {
        let mut verdicts = Verdicts::default();
        assert!(verdicts.report());
        for value in [0.5, 0.96, 0.97] {
            verdicts.add("bulk", 0.95, value);
        }
        assert!(verdicts.report());
        verdicts.add("syn", 0.9, 0.89);
        assert!(!verdicts.report());
    }
}
