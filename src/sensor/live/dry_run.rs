//! `--dry-run`: settings and memory of a run, and whether it would start.

use super::{opened, surroundings};
use crate::capture::socket;
use crate::check::{self, Facts, Level, Needs};
use crate::error::Failure;
use crate::host::nic;
use crate::log::sinks;
use crate::settings::RunConfig;
use crate::witness;
use crate::words::{many, printable};
use std::io::Write as _;

/// Prints settings and memory, then checks everything that can be checked without a change. The error has a
/// sentence for each thing that would keep the run from starting.
pub fn dry_run(config: &RunConfig, nics: &[nic::Interface]) -> Result<u8, Failure> {
    let mut text = settings(config) + &memory(config, nics.len().max(1));
    let mut wrong = unready(config, nics.is_empty());
    wrong.extend(refused(config, nics));
    if wrong.is_empty() {
        text += match nics.is_empty() {
            true => "nothing was changed; this would wait for its interfaces, then start\n",
            false => "nothing was changed; this would start\n",
        };
    } else {
        text += "nothing was changed; this would not start\n";
    }
    match std::io::stdout()
        .lock()
        .write_all(printable(&text).as_bytes())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            wrong.push(error.to_string())
        }
        _ => {}
    }
    if wrong.is_empty() {
        return Ok(0);
    }
    Err(Failure::Run(wrong.join("\nsynledger: ")))
}

fn settings(config: &RunConfig) -> String {
    let lines = config.given.lines().into_iter();
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    format!("settings that were given; all others have their defaults:\n{lines}")
}

/// Every reservation of the process, then of the kernel.
fn memory(config: &RunConfig, interfaces: usize) -> String {
    let line = |name: &str, bytes: u64| format!("{:>10.1} MiB  {name}\n", mib(bytes));
    let mut text = String::from("memory of the process:\n");
    for (name, bytes) in config.memory.lines() {
        text += &line(name, bytes);
    }
    text += &line("all of it", config.memory.bytes());
    text += "memory of the kernel, in no process and no cgroup:\n";
    for (name, bytes, block) in config.named_rings() {
        let blocks = bytes / u64::from(block);
        let name = format!("ring for {name}: {blocks} blocks of {} KiB", block / 1024);
        text += &line(&name, bytes);
    }
    if config.witness.is_some() {
        let name = "ring of the witness, one an interface";
        text += &line(name, witness::ring_bytes(config.witness));
    }
    let workers = many(config.common.workers, "worker");
    let name = format!("all of it: {workers} x {}", many(interfaces, "interface"));
    text + &line(&name, config.ring_memory_bytes(interfaces))
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Failures that `check` finds for this run; with `waits`, missing interfaces are none.
fn unready(config: &RunConfig, waits: bool) -> Vec<String> {
    let needs = Needs::of(config);
    let facts = Facts::gather(nic::resolve(&config.interfaces.join(",")), needs);
    let findings = check::findings(&facts).into_iter();
    // `refused` reports a missing capability in the kernel's own words.
    let ignored = |finding: &check::Finding| {
        finding.what.starts_with("CAP_NET_RAW") || waits && finding.what.starts_with("-i ")
    };
    findings
        .filter(|finding| finding.level == Level::Fail && !ignored(finding))
        .map(|finding| {
            format!(
                "{}: {} Change: {}",
                finding.what, finding.why, finding.change
            )
        })
        .collect()
}

/// Errors of opening sockets, outputs, responders and the metrics address.
pub(super) fn refused(config: &RunConfig, nics: &[nic::Interface]) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = nics
        .first()
        .map_or("any interface", |nic| nic.name.as_str());
    wrong.extend(socket::try_open(name).err().map(|error| error.to_string()));
    let outputs = config.common.outputs.iter();
    let outputs = outputs.filter_map(|output| sinks::would_open(output).err());
    wrong.extend(outputs.map(|error| error.to_string()));
    let responders = config.common.responders.iter();
    wrong.extend(responders.filter_map(|one| one.plan.would_open().err()));
    if let Err(error) = surroundings::read(&config.common) {
        wrong.push(error.to_string());
    }
    if let Some(address) = &config.metrics
        && let Err(error) = address.listen()
    {
        wrong.push(opened::metrics_refused(address, &error));
    }
    wrong
}
