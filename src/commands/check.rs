//! `check`: whether this host is ready.

use crate::check::{self, Facts, Needs, render};
use crate::error::Failure;
use crate::host::{cpus, nic};
use crate::settings::flags::{CheckArgs, FlowKey};
use std::io::Write;

/// Prints the findings. The exit code is 1 if one of them prevents a start.
///
/// # Errors
///
/// `-i` names no interface, or standard output fails.
pub fn check(args: &CheckArgs) -> Result<u8, Failure> {
    let needs = Needs::new(&args.size, &args.rings, cpus::allowed().len())?;
    let resolved = match nic::resolve(&args.interfaces.interfaces.join(",")) {
        Err(error) if error.is_usage_fault() && !error.may_pass(false) => return Err(error.into()),
        // Other errors are findings, also those that a run would wait out.
        resolved => resolved,
    };
    let mut facts = Facts::gather(resolved, needs);
    facts.by_vlan = args.key.key == FlowKey::Vlan;
    facts.heard = check::listen(&facts, args.listen);
    let mut findings = Vec::from_iter(check::configuration(&args.file.given));
    findings.extend(check::findings(&facts));
    let mut out = std::io::stdout().lock();
    let printed = if args.json {
        writeln!(out, "{}", render::json_text(&findings))
    } else {
        render::write_text(&findings, &mut out)
    };
    match printed {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::run(error)),
        _ => Ok(check::exit_status(&findings)),
    }
}
