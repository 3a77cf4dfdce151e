//! Waiting for interfaces: those that globs ask for and, with `--wait`, names and default routes.

use super::{dry_run, startup};
use crate::error::Failure;
use crate::host::nic::{self, SelectError, Selection};
use crate::observe::terminal::tell;
use crate::sensor::signals::Signals;
use crate::settings::RunConfig;
use std::time::Duration;

/// Between two looks at the interfaces.
const POLL: Duration = Duration::from_millis(200);
/// Looks after the first that finds everything: interfaces that appear together are watched together.
const SETTLE_LOOKS: u32 = 5;

/// The interfaces that `-i` asks for, once each part of it matches one; `None` when a signal ended the wait.
/// A dry run does not wait: it gives an empty selection.
///
/// # Errors
///
/// What waiting does not mend; and, before a wait, an output or an address that cannot be opened.
pub(super) fn interfaces(
    config: &RunConfig,
    signals: &Signals,
) -> Result<Option<Selection>, Failure> {
    let patterns = config.interfaces.join(",");
    let mut awaited = match nic::resolve(&patterns) {
        Ok(selection) => return Ok(Some(selection)),
        Err(error) if error.may_pass(config.wait) => sentence(&error),
        Err(error) => return Err(error.into()),
    };
    if config.dry_run {
        say(config, &format!("a run would wait for {awaited}"));
        return Ok(Some(Selection::default()));
    }
    startup::check_memory(config, 1)?;
    let wrong = dry_run::refused(config, &[]);
    if !wrong.is_empty() {
        return Err(Failure::Run(wrong.join("\nsynledger: ")));
    }
    say_wait(config, &awaited);
    let mut looks = 0;
    while !signals.stopped() {
        std::thread::sleep(POLL);
        // Not one of the two can be done yet, and silence would look like a hang.
        if signals.report() | signals.reload() {
            let text = format!("synledger: nothing is watched yet: waiting for {awaited}\n");
            tell(&text);
        }
        match nic::resolve(&patterns) {
            Ok(selection) if looks == SETTLE_LOOKS => return Ok(Some(selection)),
            Ok(_) => looks += 1,
            Err(error) if error.may_pass(config.wait) => {
                looks = 0;
                let now = sentence(&error);
                if now != awaited {
                    say_wait(config, &now);
                    awaited = now;
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    say(config, "asked to stop while waiting: nothing was watched");
    Ok(None)
}

fn say(config: &RunConfig, text: &str) {
    if !config.common.quiet {
        tell(&format!("synledger: {text}\n"));
    }
}

fn say_wait(config: &RunConfig, awaited: &str) {
    say(config, &format!("waiting for {awaited}; Ctrl-C ends it"));
}

/// What an error that may pass waits for.
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
