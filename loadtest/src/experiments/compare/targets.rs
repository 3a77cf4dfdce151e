//! Targets of a comparison. The median of the rounds decides.

use crate::judge::{Findings, Target};
use crate::report::stats::spread;
use crate::say::counted;

/// The targets, with the values of all rounds.
#[derive(Debug, Default)]
pub struct Targets(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    what: String,
    wanted: f64,
    values: Vec<f64>,
}

impl Targets {
    /// Adds the value of one round.
    pub fn add(&mut self, what: &str, wanted: f64, value: f64) {
        match self.0.iter_mut().find(|figure| figure.what == what) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure {
                what: what.to_owned(),
                wanted,
                values: vec![value],
            }),
        }
    }

    /// Judges each.
    pub fn judge(&self) -> Findings {
        let mut findings = Findings::default();
        for Figure {
            what,
            wanted,
            values,
        } in &self.0
        {
            let Some(spread) = spread(values) else {
                continue;
            };
            let what = format!(
                "{what}: {:.2} ({:.2} to {:.2} in {}), at least {wanted} wanted",
                spread.median,
                spread.least,
                spread.most,
                counted(spread.count as u64, "round")
            );
            findings.target(Target::of(what, spread.median >= *wanted));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_decides() {
        let mut targets = Targets::default();
        assert!(targets.judge().are_clean());
        for value in [0.5, 0.96, 0.97] {
            targets.add("bulk", 0.95, value);
        }
        assert!(targets.judge().are_clean());
        targets.add("syn", 0.9, 0.89);
        let findings = targets.judge();
        assert!(findings.failures().is_empty());
        let [Target::Met(_), Target::Missed(missed)] = findings.targets() else {
            panic!("{findings:?}");
        };
        assert!(
            missed.starts_with("syn: 0.89 (0.89 to 0.89 in 1 round), "),
            "{missed}"
        );
    }
}
