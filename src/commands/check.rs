//! `check`: whether this host is ready.

use crate::capture::tunnels::Tunnels;
use crate::check::{self, Facts, Needs, render};
use crate::error::Failure;
use crate::host::{cpus, nic};
use crate::sensor::live::refused_file;
use crate::settings::flags::{CheckArgs, FlowKey};
use crate::settings::given::{Given, Origin, Value};
use crate::settings::program::{flag, program, revoking};
use std::io::Write;

/// Prints the findings. The exit code is 1 if one of them prevents a start.
///
/// # Errors
///
/// `-i` names no interface, or standard output fails.
pub fn check(args: &CheckArgs) -> Result<u8, Failure> {
    let tunnels = Tunnels::new(&args.tunnels.decap)?;
    let needs = Needs::new(&args.size, &args.rings, cpus::allowed().len())?;
    let resolved = match nic::resolve(&args.interfaces.interfaces.join(",")) {
        Err(error) if error.is_usage_fault() && !error.may_pass(false) => return Err(error.into()),
        // Other errors are findings, also those that a run would wait out.
        resolved => resolved,
    };
    let interfaces = resolved.as_ref().map_or(1, |found| found.interfaces.len());
    let mut facts = Facts::gather(resolved, needs);
    facts.by_vlan = args.key.key == FlowKey::Vlan;
    facts.tunnels = tunnels;
    facts.heard = check::listen(&facts, args.listen);
    let host = check::findings(&facts);
    let given = &args.file.given;
    let mut refused = refused(given, interfaces);
    // With fewer words: the same rule about rings.
    refused.retain(|why| !host.iter().any(|finding| why.starts_with(&finding.what)));
    let mut findings = check::configuration(given, &refused);
    findings.extend(host);
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

/// What of the configuration file a run refuses, with the flags of the command line that `run` has, too.
fn refused(given: &Given, interfaces: usize) -> Vec<String> {
    let Some(path) = &given.file else {
        return Vec::new();
    };
    let program = program();
    let run = program.find_subcommand("run").expect("a subcommand");
    let mut flags = Vec::new();
    for setting in &given.settings {
        if setting.origin == Origin::CommandLine && flag(run, &setting.key).is_some() {
            flags.extend(setting.arguments());
            if setting.value == Value::Off {
                flags.push(format!("--{}", revoking(&setting.key)));
            }
        }
    }
    refused_file(path, &flags, interfaces)
}
