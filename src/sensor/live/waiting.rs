//! Waits for interfaces: for globs always, for names and default routes with `--wait`.

use super::{dry_run, startup};
use crate::error::Failure;
use crate::host::nic::{self, SelectError, Selection};
use crate::host::service_manager::ServiceManager;
use crate::observe::terminal::print_to_stderr;
use crate::sensor::signals::Signals;
use crate::settings::RunConfig;
use std::time::Duration;

/// Between two lookups of the interfaces.
const POLL: Duration = Duration::from_millis(200);
/// Lookups after the first that finds everything: interfaces that appear together are watched together.
const SETTLE_LOOKUPS: u32 = 5;

/// The interfaces of `-i`, once each pattern matches one; `None`: a signal ended the wait. A dry run does not wait
/// and gets an empty selection. Before a wait, all that can be checked is checked.
pub(super) fn interfaces(
    config: &RunConfig,
    signals: &Signals,
    manager: &ServiceManager,
) -> Result<Option<Selection>, Failure> {
    let patterns = config.interfaces.join(",");
    let mut awaited = match nic::resolve(&patterns) {
        Ok(selection) => return Ok(Some(selection)),
        Err(error) if error.may_pass(config.wait) => sentence(&error),
        Err(error) => return Err(error.into()),
    };
    if config.dry_run {
        print(config, &format!("a run would wait for {awaited}"));
        return Ok(Some(Selection::default()));
    }
    startup::check_memory(config, 1)?;
    let wrong = dry_run::refused(config, &[]);
    if !wrong.is_empty() {
        return Err(Failure::Run(wrong.join("\nsynledger: ")));
    }
    print_wait(config, &awaited, manager);
    let mut lookups = 0;
    // There is nothing yet to hand over: a restart is a stop.
    while !signals.stopped() && !signals.hand_over() {
        std::thread::sleep(POLL);
        // Neither can be done yet; no answer would look like a hang.
        if signals.report() | signals.reload() {
            print_to_stderr(&format!(
                "synledger: nothing is watched yet: waiting for {awaited}\n"
            ));
        }
        match nic::resolve(&patterns) {
            Ok(selection) if lookups == SETTLE_LOOKUPS => return Ok(Some(selection)),
            Ok(_) => lookups += 1,
            Err(error) if error.may_pass(config.wait) => {
                lookups = 0;
                let now = sentence(&error);
                if now != awaited {
                    print_wait(config, &now, manager);
                    awaited = now;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    print(config, "asked to stop while waiting: nothing was watched");
    Ok(None)
}

fn print(config: &RunConfig, text: &str) {
    if !config.common.quiet {
        print_to_stderr(&format!("synledger: {text}\n"));
    }
}

fn print_wait(config: &RunConfig, awaited: &str, manager: &ServiceManager) {
    manager.notify(&[&format!("STATUS=waiting for {awaited}")]);
    print(config, &format!("waiting for {awaited}; Ctrl-C ends it"));
}

/// What a run waits for after this error.
fn sentence(error: &SelectError) -> String {
    match error {
        SelectError::NoMatch { pattern, .. } => {
            if nic::is_glob(pattern) {
                format!("an interface that {pattern} means")
            } else {
                format!("interface {pattern}")
            }
        }
        SelectError::NoDefaultRoute { .. } => "a default route (-i auto)".to_owned(),
        SelectError::NothingLeft { patterns, .. } => {
            format!("an interface that {patterns} means and that can be read")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_waits_for_is_named() {
        let no_match = |pattern: &str| SelectError::NoMatch {
            pattern: pattern.to_owned(),
            there_are: Vec::new(),
        };
        let left = SelectError::NothingLeft {
            patterns: "!lo".to_owned(),
            there_are: Vec::new(),
            unreadable: Vec::new(),
        };
        let route = SelectError::NoDefaultRoute {
            there_are: Vec::new(),
        };
        assert_eq!(sentence(&no_match("ens*")), "an interface that ens* means");
        assert_eq!(sentence(&no_match("eth7")), "interface eth7");
        assert_eq!(sentence(&route), "a default route (-i auto)");
        let text = "an interface that !lo means and that can be read";
        assert_eq!(sentence(&left), text);
    }
}
