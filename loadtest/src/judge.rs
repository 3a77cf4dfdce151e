//! What a run found, by kind.
//!
//! A failure (a frame unaccounted for, books that do not close, a program that could not be measured) always decides the
//! exit code. A target is a figure that depends on the machine: it is shown as met or missed, and decides only with
//! `--require`.

use clap::Args;

use crate::say;

/// The flag of subcommands that have targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Require {
    /// Exit with 1 if a target is missed, too. Without it targets are only shown as met or missed.
    #[arg(long = "require")]
    targets: bool,
}

/// A figure beside its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The figure is as good as the target.
    Met(String),
    /// It is not.
    Missed(String),
}

/// Whether the run holds; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No failure, and no missed target that is required.
    Holds,
    /// At least one of them.
    Fails,
}

/// All failures and targets of a run.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Findings {
    failures: Vec<String>,
    targets: Vec<Target>,
}

impl Findings {
    /// Adds and prints a failure.
    pub fn fail(&mut self, what: impl Into<String>) {
        let what = what.into();
        say!("FAILED: {what}");
        self.failures.push(what);
    }

    /// Adds and prints a target.
    pub fn target(&mut self, target: Target) {
        match &target {
            Target::Met(what) => say!("target met: {what}"),
            Target::Missed(what) => say!("TARGET MISSED: {what}"),
        }
        self.targets.push(target);
    }

    /// Adds what another part of the run found and printed.
    pub fn join(&mut self, other: Self) {
        self.failures.extend(other.failures);
        self.targets.extend(other.targets);
    }

    /// All failures, in the order in which they were found.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// All targets, in the order in which they were judged.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Whether there is neither a failure nor a missed target.
    #[must_use]
    pub fn are_clean(&self) -> bool {
        self.failures.is_empty() && self.missed() == 0
    }

    /// Whether the run holds, with or without its targets.
    #[must_use]
    pub fn verdict(&self, require: Require) -> Verdict {
        let required = if require.targets { self.missed() } else { 0 };
        if self.failures.is_empty() && required == 0 {
            Verdict::Holds
        } else {
            Verdict::Fails
        }
    }

    /// One line on all targets; `None` if the run judged none.
    #[must_use]
    pub fn summary(&self, require: Require) -> Option<String> {
        let (all, missed) = (self.targets.len(), self.missed());
        if all == 0 {
            return None;
        }
        let hint = if missed > 0 && !require.targets {
            "; with --require a missed target is exit code 1"
        } else {
            ""
        };
        Some(format!(
            "targets: {} of {all} met, {missed} missed{hint}",
            all - missed
        ))
    }

    fn missed(&self) -> usize {
        let missed = |target: &&Target| matches!(target, Target::Missed(_));
        self.targets.iter().filter(missed).count()
    }
}

impl Target {
    /// The target of this figure, met or missed.
    #[must_use]
    pub fn of(what: String, is_met: bool) -> Self {
        if is_met {
            Self::Met(what)
        } else {
            Self::Missed(what)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Require = Require { targets: true };
    const NOT_ASKED: Require = Require { targets: false };

    #[test]
    fn a_missed_target_decides_only_if_targets_are_required() {
        let mut findings = Findings::default();
        assert_eq!(findings.summary(ASKED), None);
        findings.target(Target::of("fast".to_owned(), true));
        assert_eq!(findings.verdict(ASKED), Verdict::Holds);
        findings.target(Target::of("faster".to_owned(), false));
        assert_eq!(findings.verdict(NOT_ASKED), Verdict::Holds);
        assert_eq!(findings.verdict(ASKED), Verdict::Fails);
        let summary = findings.summary(NOT_ASKED).expect("targets");
        assert!(summary.starts_with("targets: 1 of 2 met, 1 missed; with --require"));
        let summary = findings.summary(ASKED).expect("targets");
        assert_eq!(summary, "targets: 1 of 2 met, 1 missed");
    }

    #[test]
    fn a_failure_decides_whether_targets_are_required_or_not() {
        let mut findings = Findings::default();
        assert!(findings.are_clean());
        findings.fail("open books");
        for require in [ASKED, NOT_ASKED] {
            assert_eq!(findings.verdict(require), Verdict::Fails);
        }
        let mut all = Findings::default();
        all.join(findings);
        assert_eq!(all.verdict(NOT_ASKED), Verdict::Fails);
        assert_eq!(all.failures(), ["open books"]);
        assert!(!all.are_clean());
    }
}
