//! `--dry-run`: settings and memory of a run, and whether it would start.

use super::{blocking, confine, reload, state, surroundings};
use crate::capture::socket;
use crate::check::{self, Facts, Level, Needs};
use crate::error::Failure;
use crate::host::nic;
use crate::log::sinks;
use crate::settings::RunConfig;
use crate::witness;
use crate::words::{many, printable};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

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
        text += "nothing was changed; this would not start:\n";
        text.extend(wrong.iter().map(|why| format!("  {why}\n")));
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

/// Errors of opening sockets, outputs, responders and metrics.
pub(super) fn refused(config: &RunConfig, nics: &[nic::Interface]) -> Vec<String> {
    let name = nics
        .first()
        .map_or("any interface", |nic| nic.name.as_str());
    let socket = socket::try_open(name).err();
    let mut wrong: Vec<String> = socket.map(|error| error.to_string()).into_iter().collect();
    wrong.extend(refused_settings(config, false));
    wrong
}

/// Errors of opening outputs, responders and metrics, each with where the setting is from. `beside`: what a sensor that
/// runs with these settings holds is no error.
pub(super) fn refused_settings(config: &RunConfig, beside: bool) -> Vec<String> {
    let mut wrong: Vec<(&str, String)> = Vec::new();
    let outputs = config.common.outputs.iter();
    let outputs = outputs.filter_map(|output| sinks::would_open(output).err());
    wrong.extend(outputs.map(|error| ("output", error.to_string())));
    let responders = config.common.responders.iter();
    let responders = responders.filter_map(|one| one.plan.would_open().err());
    wrong.extend(responders.map(|why| ("output", why)));
    wrong.extend(state::would_refuse(config.state.as_ref()).map(|why| ("state", why)));
    // An output that nobody can open was named above.
    let identity = confine::identity(config, false).err();
    let is_new = |why: &String| !wrong.iter().any(|(_, known)| why.contains(known));
    let identity = identity.filter(is_new);
    wrong.extend(identity.map(|why| ("user", why)));
    let block = blocking::would_open(config, beside).err();
    wrong.extend(block.map(|why| ("block", why)));
    let around = surroundings::read(config).err();
    wrong.extend(around.map(|error| ("block", error.to_string())));
    let metrics = config.metrics.iter().filter_map(|target| match beside {
        true => target.would_open_after().err(),
        false => target.would_open().err(),
    });
    wrong.extend(metrics.map(|why| ("metrics", why)));
    let wrong = wrong.into_iter();
    let explained = wrong.map(|(key, why)| config.given.explain_about(key, &why));
    explained.collect()
}

/// What keeps a run with this configuration file and these flags from starting, but for what `check` finds by itself:
/// each with the file's line. A sensor that runs with them may run. `interfaces`: their number.
pub fn refused_file(path: &Path, flags: &[String], interfaces: usize) -> Vec<String> {
    let words = ["synledger", "run", "--config"].map(OsString::from);
    let words = words.into_iter().chain([path.into()]);
    let words: Vec<OsString> = words.chain(flags.iter().map(OsString::from)).collect();
    let mut config = match reload::read(&words, path, true) {
        Ok(config) => config,
        Err(why) => return vec![why],
    };
    let rings = config.share_rings(interfaces.max(1)).err();
    let rings = rings.map(|error| config.given.explain(&error.0));
    rings
        .into_iter()
        .chain(refused_settings(&config, true))
        .collect()
}
