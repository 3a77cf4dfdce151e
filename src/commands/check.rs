//! `check`: is this host ready.

use crate::check::{self, Facts, Needs, render};
use crate::error::Failure;
use crate::host::{cpus, nic};
use crate::settings::flags::CheckArgs;
use std::io::Write;

/// Prints the findings; exit code 1 when one of them keeps the sensor from starting.
///
/// # Errors
///
/// `-i` names what is not there, or standard output does not take the report.
pub fn check(args: &CheckArgs) -> Result<u8, Failure> {
    let needs = Needs::new(&args.size, &args.rings, cpus::allowed().len())?;
    let resolved = match nic::resolve(&args.interfaces.interfaces.join(",")) {
        Err(error) if error.is_usage_fault() && !error.may_pass(false) => return Err(error.into()),
        // What else keeps interfaces from being chosen is a finding among others: what a run would wait for, too.
        resolved => resolved,
    };
    let facts = Facts::gather(resolved, needs);
    let mut findings = Vec::from_iter(check::configuration(&args.file.given));
    findings.extend(check::findings(&facts));
    let mut out = std::io::stdout().lock();
    let printed = if args.json {
        writeln!(out, "{:#}", render::to_json(&findings))
    } else {
        render::write_text(&findings, &mut out)
    };
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::run(error)),
        _ => Ok(check::exit_status(&findings)),
    }
}
