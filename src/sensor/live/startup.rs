//! Checks memory and reports settings before `run` opens anything.

use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::check::{self, CONSEQUENCE, Doubt, refuse_too_much_memory};
use crate::error::{ConfigError, Failure};
use crate::host::nic::{self, Selection, ethtool};
use crate::log::sinks::spec::{JOURNAL_EVENTS, OutputSpec};
use crate::observe::terminal::print_to_stderr;
use crate::respond::block::plan::BlockMode;
use crate::settings::RunConfig;
use crate::words::shown;
use std::fmt::Write as _;

/// Checks memory and prints what will be watched. Returns why the fanout may split connections, if it may.
pub fn report(config: &RunConfig, selection: &Selection) -> Result<Option<String>, Failure> {
    let nics = &selection.interfaces;
    check_memory(config, nics.len())?;
    let unproven = fanout_unproven(config, nics);
    if !config.common.quiet {
        let mut text = overview(config, nics, &selection.unreadable);
        text.extend(without_block(config));
        if let Some(unproven) = &unproven {
            let _ = writeln!(text, "synledger: warning: {unproven}");
        }
        if config.dry_run {
            text += &resources(config, nics.len().max(1));
        }
        print_to_stderr(&text);
    }
    Ok(unproven)
}

/// Refuses rings and tables that do not fit into memory.
pub fn check_memory(config: &RunConfig, interfaces: usize) -> Result<(), ConfigError> {
    let (process, rings) = (config.memory.bytes(), config.ring_memory_bytes(interfaces));
    refuse_too_much_memory(process + rings, || {
        format!(
            "--memory-mib {} takes {} MiB for the process, --ring-mib {} takes {} MiB of rings",
            config.memory.asked_mib,
            process >> 20,
            config.ring_budget.ring_mib,
            rings >> 20,
        )
    })
}

/// Interfaces, depth, outputs, in a few lines. `left_out`: chosen by a pattern, but of a type that is not supported.
fn overview(config: &RunConfig, nics: &[nic::Interface], left_out: &[nic::Interface]) -> String {
    let mut text = String::new();
    let mut line = |what: &str, says: String| {
        let _ = writeln!(text, "synledger: {what}: {says}");
    };
    match nics.is_empty() {
        true => line("interfaces", "none yet".to_owned()),
        false => line("interfaces", list(nics, described)),
    }
    if !left_out.is_empty() {
        let kind = |nic: &nic::Interface| {
            let kind = nic::hardware_type(nic.arphrd);
            format!("{} (hardware type {kind} is not supported)", nic.name)
        };
        line("left out", list(left_out, kind));
    }
    line("capture", depth(config.capture).to_owned());
    let outputs = config.common.outputs.iter().map(OutputSpec::name);
    let lists = config.common.responders.iter().map(|one| one.name.clone());
    let outputs: Vec<String> = outputs.chain(lists).collect();
    line("outputs", outputs.join(", "));
    for output in config.common.outputs.iter().filter(|one| one.is_journal) {
        line(&output.name(), journal());
    }
    for target in &config.metrics {
        line("metrics", target.location());
    }
    if let Some(folder) = &config.state {
        line("state", shown(&folder.path).to_string());
    }
    if let Some(plan) = &config.status {
        line("status socket", shown(&plan.socket).to_string());
    }
    if let Some(plan) = &config.block {
        let says = match plan.mode {
            BlockMode::Nft => "by nftables, table inet synledger",
            BlockMode::Xdp => "by XDP at the interfaces that are watched",
            BlockMode::DryRun => "dry run (nobody is shut out)",
            BlockMode::Off => "off",
        };
        line("blocking", says.to_owned());
    }
    if let Some(one_in) = config.witness {
        let says = format!("one in {one_in} connections, by a socket and a library of its own");
        line("witness", says);
    }
    text
}

/// A warning about flags of `--block` that have no effect, as nothing said whether to block.
fn without_block(config: &RunConfig) -> Option<String> {
    let given = config.given.settings.iter();
    let keys = given.map(|setting| setting.key.as_str());
    let is_about =
        |key: &&str| key.starts_with("block-") || *key == "status-group" && config.status.is_none();
    let idle = keys.filter(is_about);
    let own = ["block-kib", "block-timeout-ms"];
    let idle: Vec<String> = idle
        .filter(|key| !own.contains(key))
        .map(|key| format!("--{key}"))
        .collect();
    let is_silent = config.block.is_some() || config.given.has("block") || idle.is_empty();
    (!is_silent).then(|| {
        let says = format!("without --block these change nothing: {}", idle.join(", "));
        format!("synledger: warning: {}\n", config.given.explain(&says))
    })
}

/// What of the log goes into the journal.
fn journal() -> String {
    let kinds: Vec<&str> = JOURNAL_EVENTS.iter().map(|kind| kind.word()).collect();
    let (kinds, joined) = (kinds.join(", "), kinds.join("+"));
    format!(
        "the journal: {kinds} alone, as journald drops bursts of lines; a file gets all (--output text:PATH), and \
         events={joined}+connection sends connections, too"
    )
}

fn described(nic: &nic::Interface) -> String {
    let link = match (nic.up, nic.running) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    };
    let kind = if nic.loopback { ", loopback" } else { "" };
    format!("{} ({link}{kind})", nic.name)
}

fn depth(capture: CaptureDepth) -> &'static str {
    match capture {
        CaptureDepth::Headers => "headers (every packet, cut to its headers)",
        CaptureDepth::Control => {
            "control (packets that open, answer or end a connection; no others)"
        }
        CaptureDepth::Full => "full (every packet with all its bytes)",
    }
}

/// CPUs and memory in one line; more with `--verbose`.
pub fn resources(config: &RunConfig, interfaces: usize) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    // More workers than CPUs share them.
    let mut cores = config.common.cores.clone();
    cores.sort_unstable();
    cores.dedup();
    let mut text = format!(
        "synledger: {} {}; {} MiB of memory; {} MiB of rings (the kernel's)\n",
        crate::words::many(config.common.workers, "worker"),
        match cores.as_slice() {
            [] => "on no CPU of their own".to_owned(),
            [core] => format!("on CPU {core}"),
            cores => format!("on CPUs {}", list(cores, usize::to_string)),
        },
        mib(config.memory.bytes()),
        mib(config.ring_memory_bytes(interfaces)),
    );
    if config.verbose {
        text += &details(config);
    }
    text
}

/// Settings, rings and memory, line by line.
fn details(config: &RunConfig) -> String {
    let mut text = String::new();
    let mut line = |says: String| {
        let _ = writeln!(text, "synledger: {says}");
    };
    for setting in config.given.lines() {
        line(format!("settings: {setting}"));
    }
    let fanout = config.fanout.word();
    let timeout_ms = config.block_timeout_ms;
    line(format!(
        "fanout {fanout}, blocks are handed over after {timeout_ms} ms"
    ));
    for (name, bytes, block) in config.named_rings() {
        let (kib, blocks) = (block / 1024, bytes / u64::from(block));
        line(format!(
            "a worker's ring for {name}: {blocks} blocks of {kib} KiB"
        ));
    }
    line(format!("a worker's rings absorb: {}", absorbed(config)));
    for (name, bytes) in config.memory.lines() {
        let mib = bytes as f64 / f64::from(1 << 20);
        line(format!("memory: {mib:.1} MiB for {name}"));
    }
    text
}

/// Time until each ring of a worker is full if the worker reads nothing.
fn absorbed(config: &RunConfig) -> String {
    let each = |&(name, bytes, block): &(&str, u64, u32)| {
        let blocks = bytes / u64::from(block);
        // At a low rate each block is handed over by its timeout.
        let sparse_s = (blocks * u64::from(config.block_timeout_ms)) as f64 / 1000.0;
        // 10 GbE with the smallest frames: 14.88 M/s, 144 bytes in a ring each.
        let line_ms = bytes as f64 / (14_880.0 * 144.0);
        format!("{name} {line_ms:.0} ms at 10 GbE line rate, or {sparse_s:.1} s of sparse traffic")
    };
    let rings: Vec<String> = config.named_rings().iter().rev().map(each).collect();
    rings.join("; ")
}

/// Why `--fanout cpu` or `qm` may split connections here, with the consequence. `None`: proven not to.
fn fanout_unproven(config: &RunConfig, nics: &[nic::Interface]) -> Option<String> {
    let workers = config.common.workers;
    let of_nic = |nic: &nic::Interface| {
        let answers = ethtool::ask(&nic.name).unwrap_or_default();
        check::doubts(config.fanout, workers, nic, &answers)
    };
    unproven(config.fanout, nics.iter().flat_map(of_nic))
}

fn unproven(mode: FanoutMode, doubts: impl Iterator<Item = Doubt>) -> Option<String> {
    let each = |Doubt { what, change }: Doubt| format!("{what} (change: {change})");
    let doubts: Vec<String> = doubts.map(each).collect();
    (!doubts.is_empty()).then(|| {
        let (word, doubts) = (mode.word(), doubts.join("; "));
        format!("--fanout {word} is not proven: {doubts}. {CONSEQUENCE}")
    })
}

fn list<T>(all: &[T], word: impl Fn(&T) -> String) -> String {
    all.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::nic::{Interface, NicCounters, link_type};
    use crate::settings::flags::{Cli, Command};
    use clap::Parser;

    fn config(args: &[&str]) -> RunConfig {
        let all = ["synledger", "run", "--workers", "2"].iter().chain(args);
        match Cli::try_parse_from(all).expect("flags parse").command {
            Command::Run(args) => RunConfig::new(args).expect("in range"),
            _ => unreachable!("run was asked for"),
        }
    }

    fn nic(name: &str, arphrd: u16) -> Interface {
        Interface {
            name: name.to_owned(),
            ifindex: 1,
            arphrd,
            link: link_type(arphrd),
            up: true,
            running: true,
            loopback: false,
            mtu: 1_500,
            rx_queues: 1,
            addresses: Vec::new(),
            counters: NicCounters::default(),
        }
    }

    #[test]
    fn the_overview_names_what_is_left_out() {
        let says = overview(&config(&[]), &[nic("eth0", 1)], &[nic("can0", 280)]);
        let expected = "left out: can0 (hardware type 280 (CAN) is not supported)\n";
        assert!(says.contains(expected), "{says}");
        let says = overview(&config(&[]), &[nic("eth0", 1)], &[]);
        assert!(!says.contains("left out"), "{says}");
    }

    #[test]
    fn what_is_not_proven_is_said_with_what_follows() {
        let doubt = |what: &str, change: &str| Doubt {
            what: what.to_owned(),
            change: change.to_owned(),
        };
        let doubts = [doubt("eth0: odd", "mend it"), doubt("eth1: odd", "so")];
        let says = unproven(FanoutMode::Qm, doubts.into_iter()).expect("two doubts");
        let expected =
            "--fanout qm is not proven: eth0: odd (change: mend it); eth1: odd (change: so). Both";
        assert!(says.starts_with(expected), "{says}");
        assert!(
            says.ends_with("Frame books and scan decisions are."),
            "{says}"
        );
        assert_eq!(unproven(FanoutMode::Qm, std::iter::empty()), None);
    }

    #[test]
    fn the_overview_says_what_is_watched_in_a_few_lines() {
        let mut lo = nic("lo", 772);
        lo.loopback = true;
        let mut down = nic("eth1", 1);
        down.up = false;
        let mut bare = nic("eth2", 1);
        bare.running = false;
        let nics = [nic("eth0", 1), lo, down, bare];
        let args = ["--metrics", "127.0.0.1:9477", "--output", "eve:/x/eve.json"];
        let says = overview(&config(&args), &nics, &[]);
        let expected = "\
synledger: interfaces: eth0 (up), lo (up, loopback), eth1 (down), eth2 (no carrier)
synledger: capture: headers (every packet, cut to its headers)
synledger: outputs: eve:/x/eve.json
synledger: metrics: http://127.0.0.1:9477/metrics
";
        assert_eq!(says, expected);
    }

    #[test]
    fn flags_about_blocks_without_block_are_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("x.toml");
        let says = |toml: &str| {
            std::fs::write(&path, toml).expect("a file");
            let words = ["synledger", "run", "--config"].map(std::ffi::OsString::from);
            let words: Vec<_> = words.into_iter().chain([path.clone().into()]).collect();
            without_block(&super::super::reload::read(&words, &path, true).expect("in range"))
        };
        let warning = says("block-max = 5\nstatus-group = \"root\"\nblock-kib = 64\n");
        let warning = warning.expect("two flags that do nothing");
        let expected = "synledger: warning: without --block these change nothing: --block-max, --status-group (";
        assert!(warning.starts_with(expected), "{warning}");
        assert!(warning.contains("x.toml line 1"), "{warning}");
        assert_eq!(says("block-max = 5\nblock = \"off\"\n"), None);
        assert_eq!(says("block-kib = 64\n"), None);
    }

    #[test]
    fn resources_are_one_line_and_more_only_with_verbose() {
        let says = resources(&config(&[]), 1);
        assert_eq!(says.lines().count(), 1, "{says}");
        assert!(says.starts_with("synledger: 2 workers on CPU"), "{says}");
        assert!(says.contains(" MiB of memory; 128 MiB of rings"), "{says}");
        let says = resources(&config(&["-v"]), 1);
        assert!(
            says.lines().all(|line| line.starts_with("synledger: ")),
            "{says}"
        );
        let rings = "a worker's rings absorb: open 8 ms at 10 GbE line rate, or 5.1 s of sparse traffic; control ";
        assert!(says.contains(rings), "{says}");
        assert!(says.contains("fanout class, "), "{says}");
        assert!(
            says.contains("a worker's ring for open: 256 blocks of 64 KiB\n"),
            "{says}"
        );
        assert!(
            says.contains("MiB for attempts, flows, fragments\n"),
            "{says}"
        );
        let says = resources(&config(&["-v", "--fanout", "qm"]), 1);
        let rings = "a worker's rings absorb: all packets 31 ms at 10 GbE line rate, or 5.1 s of sparse traffic\n";
        assert!(says.contains(rings), "{says}");
        assert!(says.contains("fanout qm, "), "{says}");
    }
}
