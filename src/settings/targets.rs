//! Files that a run writes, from its settings.

use crate::error::ConfigError;
use crate::log::formats::text::TEXT;
use crate::log::sinks::spec::{OutputSpec, Target};
use crate::observe::summary::ReportSpec;
use crate::observe::target::MetricsTarget;
use crate::respond::ResponderSpec;

/// The targets of all outputs and responders.
pub(super) fn files_of(outputs: &[OutputSpec], responders: &[ResponderSpec]) -> Vec<Target> {
    let lists = responders
        .iter()
        .map(|one| Target::Path(one.plan.path().to_owned()));
    let outputs = outputs.iter().map(|output| output.target.clone());
    outputs.chain(lists).collect()
}

/// The files of metrics.
pub(super) fn files_of_metrics(targets: &[MetricsTarget]) -> impl Iterator<Item = Target> {
    targets
        .iter()
        .filter_map(MetricsTarget::file)
        .map(Target::Path)
}

/// Each place of metrics is given once.
///
/// # Errors
///
/// [`ConfigError`] names the one that is given twice.
pub(super) fn once_each(targets: &[MetricsTarget]) -> Result<(), ConfigError> {
    for (at, target) in targets.iter().enumerate() {
        if targets[..at].contains(target) {
            return Err(ConfigError(format!("--metrics {target}: given twice")));
        }
    }
    Ok(())
}

/// The files of `--report`. Text follows the lines of `text:-`, which are for people, too.
///
/// # Errors
///
/// [`ConfigError`]: standard output is a program's.
pub(super) fn files_of_reports(
    reports: &[ReportSpec],
    outputs: &[OutputSpec],
) -> Result<Vec<Target>, ConfigError> {
    let mut files = Vec::new();
    for report in reports {
        let target = report.target();
        let log = outputs.iter().find(|output| output.target == target);
        match log.filter(|_| *report == ReportSpec::Text) {
            Some(log) if log.format.word != TEXT.word => {
                let word = log.format.word;
                return Err(ConfigError(format!(
                    "--report: standard output has the log of --output {word}:-, for a program: name a file for one of \
                     them (--report html:FILE, --output {word}:FILE)"
                )));
            }
            Some(_) => {}
            None => files.push(target),
        }
    }
    Ok(files)
}
