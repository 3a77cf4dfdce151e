//! Checked settings. `ReadConfig::new` and `RunConfig::new` are the only constructors.

use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::capture::pcap::files::OPEN_MAX;
use crate::error::ConfigError;
use crate::flow::Limits;
use crate::host::addresses::Direction;
use crate::host::cpus;
use crate::inspect::Rules;
use crate::log::formats::FORMATS;
use crate::log::formats::text::TextFormat;
use crate::log::sinks::spec::{self, OutputSpec, Target};
use crate::observe::address::MetricsAddress;
use crate::respond::{self, RESPONDERS, ResponderSpec};
use crate::settings::flags::{
    CommonArgs, FlowKey, ReadArgs, RunArgs, ScanScope, ScanTarget, ShedMode, SizeArgs,
};
use crate::settings::given::Given;
use crate::settings::memory::{Capacities, Memory, Users};
use crate::settings::rings::{RingBudget, RingSizes};
use crate::shard::policy::{AlertLevel, Allowed};
use crate::witness;
use ipnet::IpNet;
use std::path::PathBuf;

/// Settings that `run` and `read` share.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named after their flags")]
pub struct Common {
    /// Worker threads.
    pub workers: usize,
    /// The CPU of each worker; empty: not pinned.
    pub cores: Vec<usize>,
    /// Room for flows in one shard.
    pub flows: Limits,
    /// The rules of the detectors and their room in one shard.
    pub rules: Rules,
    /// Room of queues.
    pub room: Capacities,
    /// `--key vlan`.
    pub by_vlan: bool,
    pub local: Vec<IpNet>,
    pub directions: Vec<Direction>,
    pub allow: Vec<Allowed>,
    pub dark: Vec<IpNet>,
    pub alert: AlertLevel,
    pub outputs: Vec<OutputSpec>,
    /// The values of `--output` that are responders.
    pub responders: Vec<ResponderSpec>,
    /// `--alert-rate`; `None`: no limit.
    pub alert_rate: Option<u32>,
    /// Attempts a second to one (destination, port) that are not folded; `None`: all.
    pub fold: Option<u32>,
    pub sensor: String,
    pub strict: bool,
    pub quiet: bool,
}

/// Checked flags of `read`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named after their flags")]
pub struct ReadConfig {
    pub common: Common,
    /// `--memory-mib`, divided.
    pub memory: Memory,
    pub files: Vec<PathBuf>,
    /// `--reorder`.
    pub reorder_ns: i64,
    /// Seed of the keyed hashes.
    pub seed: Option<u64>,
}

/// Checked flags of `run`.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named after their flags")]
pub struct RunConfig {
    pub common: Common,
    /// `--memory-mib`, divided.
    pub memory: Memory,
    pub interfaces: Vec<String>,
    pub fanout: FanoutMode,
    pub capture: CaptureDepth,
    /// `--ring-mib` and the flags that divide it.
    pub ring_budget: RingBudget,
    /// Rings of one worker on one interface. Before [`RunConfig::share_rings`]: of a single interface.
    pub rings: RingSizes,
    pub block_timeout_ms: u32,
    pub promiscuous: bool,
    /// `--shed auto`, where rings are by class.
    pub shed: bool,
    pub metrics: Option<MetricsAddress>,
    /// 0: only the last record.
    pub stats_interval_s: u32,
    pub dry_run: bool,
    pub wait: bool,
    pub verbose: bool,
    pub all_scans: bool,
    pub host_target: bool,
    /// One in so many connections; `None`: no witness.
    pub witness: Option<u32>,
    /// The flags given, and their origin.
    pub given: Given,
}

impl ReadConfig {
    /// Checks the flags of `read`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the flag, its value and its range.
    pub fn new(args: ReadArgs) -> Result<Self, ConfigError> {
        let fold = args.fold.filter(|&rate| rate > 0);
        let own = Own {
            alert_rate: args.alert_rate,
            fold,
            witness: None,
            reads: true,
            merged: args.files.len().min(OPEN_MAX).saturating_sub(1),
        };
        let (common, memory) = Common::new(args.common, own)?;
        let files = files_of(&common.outputs, &common.responders);
        spec::apart_from_captures(&files, &args.files).map_err(ConfigError)?;
        Ok(Self {
            common,
            memory,
            files: args.files,
            reorder_ns: args.reorder.0,
            seed: args.seed,
        })
    }
}

impl RunConfig {
    /// Whether data rings have a filter that counts what it rejects, where the kernel allows that.
    pub fn filters_data(&self) -> bool {
        let by_class = self.fanout == FanoutMode::Class;
        by_class && (self.shed || self.capture == CaptureDepth::Control)
    }

    /// Checks the flags of `run`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the flag, its value and its range.
    pub fn new(args: RunArgs) -> Result<Self, ConfigError> {
        let ring_budget = RingBudget::new(&args.rings, args.capture, args.block_kib);
        let rings = ring_budget.share(1)?;
        let given = args.common.file.given.clone();
        let witness = witness::wanted(
            args.witness,
            args.rings.fanout,
            args.common.key.key == FlowKey::Vlan,
        )?;
        let own = Own {
            alert_rate: args.alert_rate,
            fold: (args.fold > 0).then_some(args.fold),
            witness,
            reads: false,
            merged: 0,
        };
        let (common, memory) = Common::new(args.common, own)?;
        Ok(Self {
            common,
            memory,
            interfaces: args.interfaces.interfaces,
            fanout: args.rings.fanout,
            capture: args.capture,
            ring_budget,
            rings,
            block_timeout_ms: args.block_timeout_ms,
            promiscuous: args.promiscuous,
            shed: args.shed == ShedMode::Auto && args.rings.fanout == FanoutMode::Class,
            metrics: args.metrics,
            stats_interval_s: args.stats_interval,
            dry_run: args.dry_run,
            wait: args.wait,
            verbose: args.verbose,
            all_scans: args.scan_scope == ScanScope::All,
            host_target: args.scan_target == ScanTarget::Host,
            witness,
            given,
        })
    }

    /// Shares `--ring-mib` among `interfaces` interfaces. A re-created interface keeps its share.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]: the share is too small, or its blocks are too large.
    pub fn share_rings(&mut self, interfaces: usize) -> Result<(), ConfigError> {
        self.rings = self.ring_budget.share(interfaces)?;
        Ok(())
    }

    /// The rings of one worker on one interface: name, bytes, bytes of a block.
    pub fn named_rings(&self) -> Vec<(&'static str, u64, u32)> {
        self.ring_budget.named(&self.rings)
    }

    /// Bytes of all rings on `interfaces` interfaces: kernel memory, outside any cgroup.
    pub fn ring_memory_bytes(&self, interfaces: usize) -> u64 {
        let workers = self.rings.sum() * self.common.workers as u64;
        (workers + witness::ring_bytes(self.witness)) * interfaces as u64
    }
}

/// Settings of memory and alerts that `run` and `read` have by different flags.
struct Own {
    alert_rate: u32,
    fold: Option<u32>,
    witness: Option<u32>,
    reads: bool,
    merged: usize,
}

impl Common {
    fn new(args: CommonArgs, own: Own) -> Result<(Self, Memory), ConfigError> {
        let Own { fold, reads, .. } = own;
        let allowed = cpus::allowed();
        let workers = args.size.workers(allowed.len());
        let pin_to = if reads { Vec::new() } else { allowed.to_vec() };
        let cores = cores(args.cores.as_deref(), workers, &cpus::selectable(), pin_to)?;
        let (outputs, responders) = outputs(&args.output, args.text_format)?;
        let sensor = match args.sensor {
            Some(name) => name,
            None => nix::unistd::gethostname().map_or_else(
                |_| "localhost".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
        };
        let fold_tables = if reads { 1 } else { workers };
        let users = Users {
            workers,
            outputs: outputs.len(),
            buffers: outputs.iter().map(|output| output.format.buffers()).sum(),
            responder_bytes: responders.iter().map(|one| one.plan.memory_bytes()).sum(),
            fold_tables: fold.map_or(0, |_| fold_tables),
            witness: own.witness,
            reads,
            merged: own.merged,
        };
        let memory = Memory::divide(args.size.memory_mib, users, &args.detectors)?;
        let common = Self {
            workers,
            cores,
            flows: memory.flows,
            rules: memory.rules,
            room: memory.room,
            by_vlan: args.key.key == FlowKey::Vlan,
            local: args.local,
            directions: args.direction,
            allow: args.allow,
            dark: args.dark,
            alert: args.alert,
            outputs,
            responders,
            alert_rate: (own.alert_rate > 0).then_some(own.alert_rate),
            fold,
            sensor,
            strict: args.strict,
            quiet: args.quiet,
        };
        Ok((common, memory))
    }
}

/// Parses every `--output`: formats, and responders.
fn outputs(
    values: &[String],
    text_format: Option<TextFormat>,
) -> Result<(Vec<OutputSpec>, Vec<ResponderSpec>), ConfigError> {
    let (mut outputs, mut responders) = (Vec::new(), Vec::new());
    let words = FORMATS.iter().map(|format| format.word);
    let words: Vec<_> = words.chain(RESPONDERS.iter().map(|one| one.word)).collect();
    for value in values {
        if let Some(spec) = respond::parse_output(value) {
            responders.push(spec.map_err(ConfigError)?);
            continue;
        }
        if let Some((kind, _)) = value.split_once(':')
            && !words.contains(&kind)
        {
            return Err(ConfigError(format!(
                "--output {value}: unknown kind \"{kind}\"; allowed: {}",
                words.join(", ")
            )));
        }
        outputs.push(OutputSpec {
            text_format,
            ..value.parse()?
        });
    }
    spec::apart(&files_of(&outputs, &responders)).map_err(ConfigError)?;
    Ok((outputs, responders))
}

/// The targets of all outputs and responders.
fn files_of(outputs: &[OutputSpec], responders: &[ResponderSpec]) -> Vec<Target> {
    let lists = responders
        .iter()
        .map(|one| Target::Path(one.plan.path().to_owned()));
    let outputs = outputs.iter().map(|output| output.target.clone());
    outputs.chain(lists).collect()
}

impl SizeArgs {
    /// `--workers`, or a quarter of the allowed CPUs, 1 to 4.
    pub fn workers(&self, allowed: usize) -> usize {
        let default = (allowed / 4).clamp(1, 4);
        self.workers.map_or(default, usize::from)
    }
}

fn cores(
    asked: Option<&str>,
    workers: usize,
    selectable: &[usize],
    pin_to: Vec<usize>,
) -> Result<Vec<usize>, ConfigError> {
    let Some(asked) = asked else {
        // The last CPUs: the first ones usually serve interrupts.
        return Ok(pin_to.into_iter().rev().cycle().take(workers).collect());
    };
    let cores = cpus::parse_cores(asked, selectable).map_err(ConfigError)?;
    if cores.len() < workers {
        return Err(ConfigError(format!(
            "--cores {asked}: {} CPUs for {workers} workers; name one a worker or lower --workers",
            cores.len()
        )));
    }
    Ok(cores.into_iter().take(workers).collect())
}

pub mod arguments;
pub mod descriptors;
pub mod file;
pub mod flags;
pub mod given;
mod keys;
pub mod memory;
pub(crate) mod presets;
pub mod program;
pub(crate) mod rings;
#[cfg(test)]
mod tests;
