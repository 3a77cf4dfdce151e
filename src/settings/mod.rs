//! Checked settings. `ReadConfig::new` and `RunConfig::new` are the only constructors.

use crate::books::record_kind::EventKind;
use crate::capture::mode::{CaptureDepth, FanoutMode};
use crate::capture::pcap::files::OPEN_MAX;
use crate::capture::tunnels::Tunnels;
use crate::error::ConfigError;
use crate::flow::Limits;
use crate::host::addresses::Direction;
use crate::host::{cpus, journal};
use crate::inspect::Rules;
use crate::log::anonymize::Anonymizer;
use crate::log::formats::FORMATS;
use crate::log::formats::text::TextFormat;
use crate::log::sinks::spec::{self, OutputSpec, Target};
use crate::observe::status::{self, StatusPlan};
use crate::observe::summary::{self, ReportSpec};
use crate::observe::target::MetricsTarget;
use crate::respond::block::blocker::Blocker;
use crate::respond::block::plan::BlockPlan;
use crate::respond::{self, RESPONDERS, ResponderSpec};
use crate::settings::blocking::Blocking;
use crate::settings::flags::{
    ChecksumMode, CommonArgs, FlowKey, ReadArgs, RunArgs, ScanScope, ScanTarget, ShedMode,
};
use crate::settings::given::Given;
use crate::settings::memory::{Capacities, Memory, Users};
use crate::settings::rings::{RingBudget, RingSizes};
use crate::settings::state::StateFolder;
use crate::settings::targets::{files_of, files_of_metrics, files_of_reports, once_each};
use crate::shard::opening::Opening;
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
    /// `--decap`.
    pub tunnels: Tunnels,
    /// `--checksums verify`.
    pub verify: bool,
    pub local: Vec<IpNet>,
    pub directions: Vec<Direction>,
    pub allow: Vec<Allowed>,
    pub dark: Vec<IpNet>,
    pub alert: AlertLevel,
    pub outputs: Vec<OutputSpec>,
    /// `--log-budget`, in bytes.
    pub log_budget: Option<u64>,
    /// The values of `--output` that are responders.
    pub responders: Vec<ResponderSpec>,
    /// Somebody wants records of flows that ended.
    pub flow_records: bool,
    /// `--active-timeout`, or that of the outputs; `None`: off.
    pub active_ns: Option<i64>,
    /// `--alert-rate`; `None`: no limit.
    pub alert_rate: Option<u32>,
    /// Attempts a second to one (destination, port) that are not folded; `None`: all.
    pub fold: Option<u32>,
    pub sensor: String,
    /// `--anonymize`.
    pub anonymizer: Option<Anonymizer>,
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
    /// `--report`.
    pub reports: Vec<ReportSpec>,
    /// `--reorder`.
    pub reorder_ns: i64,
    /// One thread reads, decides and writes: with `--workers 1`, and where there is but one CPU.
    pub one_thread: bool,
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
    /// Each once.
    pub metrics: Vec<MetricsTarget>,
    /// 0: only the last record.
    pub stats_interval_s: u32,
    pub dry_run: bool,
    pub wait: bool,
    pub verbose: bool,
    pub all_scans: bool,
    pub host_target: bool,
    /// One in so many connections; `None`: no witness.
    pub witness: Option<u32>,
    /// `--block`; `None`: off.
    pub block: Option<BlockPlan>,
    /// The status socket; `None`: there is none.
    pub status: Option<StatusPlan>,
    /// `--user`.
    pub user: Option<String>,
    /// Not `--no-sandbox`.
    pub sandbox: bool,
    /// `--state`; `None`: nothing is remembered.
    pub state: Option<StateFolder>,
    /// `--takeover`.
    pub takeover: Option<PathBuf>,
    /// The flags given, and their origin.
    pub given: Given,
}

impl ReadConfig {
    /// Checks the flags of `read`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the flag, its value and its range.
    pub fn new(mut args: ReadArgs) -> Result<Self, ConfigError> {
        let fold = args.fold.filter(|&rate| rate > 0);
        if !args.report.is_empty() && !args.common.file.given.has("output") {
            // The report is asked for instead of the log.
            args.common.output.clear();
        }
        let own = Own {
            alert_rate: args.alert_rate,
            fold,
            witness: None,
            block_bytes: 0,
            status_bytes: 0,
            reads: true,
            merged: args.files.len().min(OPEN_MAX).saturating_sub(1),
            report_bytes: match args.report.is_empty() {
                true => 0,
                false => summary::memory_bytes(),
            },
        };
        let prefers_one = args.common.size.workers == Some(1) || cpus::allowed().len() == 1;
        let (common, memory) = Common::new(args.common, own)?;
        let one_thread = prefers_one && common.workers == 1;
        let mut files = files_of(&common.outputs, &common.responders);
        files.extend(files_of_reports(&args.report, &common.outputs)?);
        spec::apart(&files).map_err(ConfigError)?;
        spec::apart_from_captures(&files, &args.files).map_err(ConfigError)?;
        Ok(Self {
            common,
            memory,
            files: args.files,
            reports: args.report,
            reorder_ns: args.reorder.0,
            one_thread,
            seed: args.seed,
        })
    }
}

impl RunConfig {
    /// Whether data rings have a filter that counts what it rejects, where the kernel allows that.
    pub fn filters_data(&self) -> bool {
        is_by_class(self.fanout) && (self.shed || self.capture == CaptureDepth::Control)
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
        let Blocking { block, status } = Blocking::new(args.blocking)?;
        if given.has("shed") && args.shed == ShedMode::Auto && !is_by_class(args.rings.fanout) {
            let word = args.rings.fanout.word();
            return Err(ConfigError(format!(
                "--shed auto: needs --fanout class, for with --fanout {word} all packets are in one ring; use --shed off or \
                 --fanout class"
            )));
        }
        let own = Own {
            alert_rate: args.alert_rate,
            fold: (args.fold > 0).then_some(args.fold),
            witness,
            block_bytes: block.as_ref().map_or(0, Blocker::memory_bytes),
            status_bytes: status.as_ref().map_or(0, |_| {
                status::memory_bytes(block.as_ref().map_or(0, |plan| plan.max))
            }),
            reads: false,
            merged: 0,
            report_bytes: 0,
        };
        let (common, memory) = Common::new(args.common, own)?;
        let mut files = files_of(&common.outputs, &common.responders);
        files.extend(files_of_metrics(&args.metrics));
        spec::apart(&files).map_err(ConfigError)?;
        once_each(&args.metrics)?;
        fitting::tunnels_need_class(&common.tunnels, args.rings.fanout)?;
        if common.verify && witness.is_some() {
            return Err(ConfigError(
                "--checksums verify: the witness takes SYNs with bad checksums for attempts that the log lacks; use \
                 --witness 0 or --checksums ignore"
                    .to_owned(),
            ));
        }
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
            shed: args.shed == ShedMode::Auto && is_by_class(args.rings.fanout),
            metrics: args.metrics,
            stats_interval_s: args.stats_interval,
            dry_run: args.dry_run,
            wait: args.wait,
            verbose: args.verbose,
            all_scans: args.scan_scope == ScanScope::All,
            host_target: args.scan_target == ScanTarget::Host,
            witness,
            block,
            status,
            user: args.user,
            sandbox: !args.no_sandbox,
            state: state::folder(args.state, &given),
            takeover: args.takeover,
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

    /// The targets of all outputs and responders, and files of metrics.
    pub fn files(&self) -> Vec<Target> {
        let mut files = files_of(&self.common.outputs, &self.common.responders);
        files.extend(files_of_metrics(&self.metrics));
        files
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

/// Whether a worker has rings by class.
fn is_by_class(fanout: FanoutMode) -> bool {
    fanout == FanoutMode::Class
}

/// Settings of memory and alerts that `run` and `read` have by different flags.
struct Own {
    alert_rate: u32,
    fold: Option<u32>,
    witness: Option<u32>,
    block_bytes: u64,
    /// Of the clients of the status socket, and of what it shows.
    status_bytes: u64,
    reads: bool,
    merged: usize,
    report_bytes: u64,
}

impl Common {
    /// What happens to frames before they are decoded.
    pub fn opening(&self) -> Opening {
        Opening {
            tunnels: self.tunnels,
            verify: self.verify,
        }
    }

    fn new(args: CommonArgs, own: Own) -> Result<(Self, Memory), ConfigError> {
        let Own { fold, reads, .. } = own;
        let allowed = cpus::allowed();
        let workers = args.size.workers(allowed.len());
        let pin_to = if reads { Vec::new() } else { allowed.to_vec() };
        let cores = cores::of(args.cores.as_deref(), workers, &cpus::selectable(), pin_to)?;
        let (mut outputs, responders) = outputs(&args.output, args.text_format, reads)?;
        if let Some(budget) = args.log_budget {
            spec::share_budget(&mut outputs, budget).map_err(ConfigError)?;
        }
        let sensor = match args.sensor {
            Some(name) => name,
            None => nix::unistd::gethostname().map_or_else(
                |_| "localhost".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
        };
        let active_ns = fitting::active_timeout(args.flows.active_timeout, &mut outputs);
        let spools = outputs.iter_mut().filter_map(|one| one.spool.as_mut());
        spools.for_each(|spool| spool.set_default_sensor(&sensor));
        let acts = own.block_bytes > 0 || !responders.is_empty();
        let anonymizer = fitting::anonymizer(args.anonymize.as_deref(), acts)?;
        let fold_tables = if reads { 1 } else { workers };
        let users = Users {
            workers,
            outputs: outputs.len(),
            buffers: outputs.iter().map(|output| output.format.buffers()).sum(),
            responder_bytes: responders.iter().map(|one| one.plan.memory_bytes()).sum(),
            block_bytes: own.block_bytes + own.status_bytes,
            fold_tables: fold.map_or(0, |_| fold_tables),
            witness: own.witness,
            reads,
            merged: own.merged,
            report_bytes: own.report_bytes,
            parts: active_ns.is_some(),
        };
        let memory = Memory::divide(args.size.memory_mib, users, &args.detectors)?;
        let in_log = outputs.iter().any(|it| it.events.has(EventKind::Flow));
        let common = Self {
            workers,
            cores,
            flows: memory.flows,
            rules: memory.rules,
            room: memory.room,
            by_vlan: args.key.key == FlowKey::Vlan,
            tunnels: Tunnels::new(&args.tunnels.decap)?,
            verify: args.checksums.checksums == ChecksumMode::Verify,
            local: args.local,
            directions: args.direction,
            allow: args.allow,
            dark: args.dark,
            alert: args.alert,
            outputs,
            log_budget: args.log_budget,
            responders,
            flow_records: in_log || own.report_bytes > 0,
            active_ns,
            alert_rate: (own.alert_rate > 0).then_some(own.alert_rate),
            fold,
            sensor,
            anonymizer,
            strict: args.strict,
            quiet: args.quiet,
        };
        Ok((common, memory))
    }
}

/// Parses every `--output`: formats, and responders. `reads`: of `read`, which waits for its readers.
fn outputs(
    values: &[String],
    text_format: Option<TextFormat>,
    reads: bool,
) -> Result<(Vec<OutputSpec>, Vec<ResponderSpec>), ConfigError> {
    let (mut outputs, mut responders) = (Vec::new(), Vec::new());
    let words = FORMATS.iter().map(|format| format.word);
    let words: Vec<_> = words.chain(RESPONDERS.iter().map(|one| one.word)).collect();
    for value in values {
        if let Some(spec) = respond::parse_output(value) {
            responders.push(spec.map_err(ConfigError)?);
            continue;
        }
        let Some((kind, _)) = value.split_once(':') else {
            let forms = FORMATS.iter().map(|format| format.forms());
            let lists = RESPONDERS.iter().map(|one| format!("{}:PATH", one.word));
            let all: Vec<_> = forms.chain(lists).collect();
            return Err(ConfigError(format!(
                "--output {value}: KIND:TARGET has no colon; allowed: {}",
                all.join(" ")
            )));
        };
        if !words.contains(&kind) {
            return Err(ConfigError(format!(
                "--output {value}: unknown kind \"{kind}\"; allowed: {}",
                words.join(", ")
            )));
        }
        let spec = OutputSpec {
            text_format,
            ..value.parse()?
        };
        outputs.push(match reads {
            true => spec,
            false => spec.without_bursts(value, journal::is_at),
        });
    }
    spec::apart(&files_of(&outputs, &responders)).map_err(ConfigError)?;
    Ok((outputs, responders))
}

pub mod arguments;
pub(crate) mod blocking;
mod cores;
pub mod descriptors;
pub mod file;
mod fitting;
pub mod flags;
pub mod given;
mod keys;
pub mod memory;
pub(crate) mod presets;
pub mod program;
pub(crate) mod rings;
pub(crate) mod state;
mod targets;
#[cfg(test)]
mod tests;
mod values;
