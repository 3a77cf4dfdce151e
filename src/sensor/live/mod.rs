//! `run`: opens rings, starts threads in order, watches, and closes the books.

mod dry_run;
mod figures;
mod hints;
mod identities;
mod links;
mod losses;
mod opened;
mod pace;
mod rings;
mod scan_scope;
mod shedding;
mod startup;
mod waiting;
mod witness;

use super::group::LiveGroup;
use super::logging::{self, SharedLocalities};
use super::signals::Signals;
use super::worker::load::LoadControl;
use super::worker::ring::LiveRing;
use super::worker::rings::Rings;
use super::worker::{Stage, Worker};
use crate::books::Books;
use crate::capture::bpf::fanout;
use crate::capture::mode::FanoutMode;
use crate::check::Needs;
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::host::cpus::{self, Pins};
use crate::host::nic::{self, Counters, Watch};
use crate::host::open_sockets;
use crate::log::formats::interfaces::Interfaces;
use crate::log::logger::{Control, Logger};
use crate::log::notice::{Notice, Notices};
use crate::observe::metrics::Snapshot;
use crate::observe::report;
use crate::observe::terminal::tell;
use crate::sensor::threads::{pin, spawn};
use crate::sensor::{self, Board, RunKeys, close};
use crate::settings::flags::RunArgs;
use crate::settings::{RunConfig, descriptors};
use crate::shard::Shard;
use crate::shard::policy::Policy;
use crate::time::clock::{Clock, Reading, RunTime, wall_clock_ns};
use crate::witness::thread::Witness;
use crossbeam::channel::{Sender, unbounded};
use opened::Opened;
use rings::Past;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::Scope;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: u32 = 10;

/// Main's view of the run.
struct Run<'a> {
    config: &'a RunConfig,
    keys: RunKeys,
    groups: Vec<LiveGroup>,
    /// Of interfaces that were re-created; workers may still read from them.
    gone: Vec<LiveGroup>,
    past: Past,
    names: Interfaces,
    watch: Watch,
    nic_counters: Option<Counters>,
    localities: SharedLocalities,
    to_workers: Vec<(Sender<LiveRing>, Sender<Arc<Localities>>)>,
    notices: Notices,
    control: Arc<Control>,
    run_time: RunTime,
    /// Steps of the clock that a lifecycle record has told of.
    steps_said: usize,
    pins: Pins,
    board: Board,
    snapshot: Arc<Mutex<Snapshot>>,
    ledger: figures::Ledger,
    witness: Option<witness::Watching>,
    shed: shedding::Steps,
    /// `None`: nobody asked for hints, or there are none left to give.
    hints: Option<hints::Hints>,
    /// The reader of standard output has left, which ended the run.
    lost_reader: bool,
    scans_out_of_scope: scan_scope::ScansOutOfScope,
    link_paces: links::LinkPaces,
    /// Of interfaces that are back: how long they were gone.
    unwatched_us: u64,
}

/// Watches interfaces until SIGINT or SIGTERM.
///
/// # Errors
///
/// [`Failure`]: a flag that cannot be, or what the kernel refuses.
pub fn run(args: RunArgs) -> Result<u8, Failure> {
    let signals = Signals::take().map_err(Failure::run)?;
    let Some((config, selection)) = configure(args, &signals)? else {
        return Ok(0);
    };
    let unproven = startup::announce(&config, &selection)?;
    let nics = &selection.interfaces;
    if config.dry_run {
        return dry_run::dry_run(&config, nics);
    }
    watch(&config, &signals, nics, unproven)
}

fn watch(
    config: &RunConfig,
    signals: &Signals,
    nics: &[nic::Interface],
    unproven: Option<String>,
) -> Result<u8, Failure> {
    let common = &config.common;
    let opened = Opened::new(config, nics)?;
    let keys = RunKeys::random().map_err(Failure::run)?;
    let policy = policy(config, opened.ours);
    let (mut shards, consumers) = sensor::shards(common, keys, &policy, true);
    prefault(&mut shards, &common.cores);
    let run_time = RunTime::starting_at(Reading::take());
    let (clock, stop) = (Some(run_time.clone()), signals.stop_flag());
    let (mut logger, notices, control) =
        logging::logger(common, opened.outputs, consumers, clock, stop);
    let (groups, rings) = open_rings(config, keys, nics)?;
    let witness = witness::prepare(config, Clock::new(&run_time), nics, &mut shards)?;
    let (watching, mut witness) = witness.unzip();
    name_preexisting(&mut shards, keys, config.fanout);
    let snapshot = opened::serve_metrics(opened.listeners)?;
    let mut run = Run {
        config,
        keys,
        groups,
        gone: Vec::new(),
        past: Past::new(),
        names: opened.names,
        watch: opened.watch,
        nic_counters: Counters::start(&indices(nics)).ok(),
        localities: opened.localities,
        to_workers: Vec::new(),
        notices,
        control: Arc::clone(&control),
        run_time,
        steps_said: 0,
        pins: Pins::default(),
        board: Board::new(common.workers),
        snapshot,
        ledger: figures::Ledger::default(),
        witness: watching,
        shed: shedding::Steps::new(),
        hints: None,
        lost_reader: false,
        scans_out_of_scope: scan_scope::ScansOutOfScope::default(),
        link_paces: links::LinkPaces::new(),
        unwatched_us: 0,
    };
    let stage = Stage::default();
    let started = std::thread::scope(|scope| {
        let logger = &mut logger;
        spawn(scope, "logger".to_owned(), move || logger.run());
        for (shard, rings) in shards.into_iter().zip(rings) {
            run.spawn(scope, &stage, shard, rings);
        }
        if let Some(witness) = &mut witness {
            spawn(scope, "witness".to_owned(), || witness.run(&stage.drain));
        }
        let started = run.start(nics, unproven);
        if started.is_ok() {
            run.watch_over(signals);
        }
        run.end(&stage, signals.stopped());
        started
    });
    let books = run.close_all(witness.as_mut(), logger);
    started?;
    let lost_reader = common.strict && run.lost_reader;
    Ok(close(common, &books).max(if lost_reader { 3 } else { 0 }))
}

/// The checked flags, and the interfaces that they choose, among which the rings are shared; `None`: a signal came
/// while it waited for interfaces. Makes sure of enough descriptors.
fn configure(
    args: RunArgs,
    signals: &Signals,
) -> Result<Option<(RunConfig, nic::Selection)>, Failure> {
    let mut config = RunConfig::new(args)?;
    let Some(selection) = waiting::interfaces(&config, signals)? else {
        return Ok(None);
    };
    let interfaces = selection.interfaces.len();
    config.share_rings(interfaces)?;
    if !config.dry_run {
        let needed = Needs::of(&config).descriptors(interfaces);
        descriptors::provide(needed).map_err(Failure::Run)?;
    }
    Ok(Some((config, selection)))
}

fn indices(nics: &[nic::Interface]) -> Vec<u32> {
    nics.iter().map(|nic| nic.ifindex).collect()
}

/// Touches all memory, each shard's near the core of its worker.
fn prefault(shards: &mut [Shard], cores: &[usize]) {
    cpus::keeping_affinity(|| {
        for (id, shard) in shards.iter_mut().enumerate() {
            if let Some(&cpu) = cores.get(id) {
                // A worker that cannot be pinned says so itself.
                let _ = cpus::pin_current_thread(cpu);
            }
            shard.prefault();
        }
    });
}

/// Names the connections that are open already to the shard that will see them; to all, where the kernel's
/// own hash decides.
fn name_preexisting(shards: &mut [Shard], keys: RunKeys, fanout: FanoutMode) {
    let open = open_sockets::connections().unwrap_or_default();
    let workers = u32::try_from(shards.len()).expect("at most 64");
    let owner = |a: SocketAddr, b: SocketAddr| {
        let hash = fanout::flow_hash(&keys.fanout, a.ip(), b.ip(), a.port(), b.port());
        (hash % workers) as usize
    };
    for (id, shard) in shards.iter_mut().enumerate() {
        let own = open
            .iter()
            .filter(|(a, b)| fanout != FanoutMode::Class || owner(*a, *b) == id);
        shard.flows.preexisting(own.copied());
    }
}

/// The groups of all interfaces, gated, and the rings of each worker.
fn open_rings(
    config: &RunConfig,
    keys: RunKeys,
    nics: &[nic::Interface],
) -> Result<(Vec<LiveGroup>, Vec<Vec<LiveRing>>), Failure> {
    let mut rings: Vec<Vec<LiveRing>> = (0..config.common.workers).map(|_| Vec::new()).collect();
    let mut groups = Vec::new();
    for (interface, nic) in (0..u16::MAX).zip(nics) {
        let opened = LiveGroup::open(config, &keys.fanout, nic, interface);
        let (group, opened) = opened.map_err(Failure::run)?;
        groups.push(group);
        for (all, new) in rings.iter_mut().zip(opened) {
            all.extend(new);
        }
    }
    Ok((groups, rings))
}

impl Run<'_> {
    /// What there is to say when all threads are done; last of all the books.
    fn close_all(&mut self, witness: Option<&mut Witness>, logger: Logger) -> Books {
        self.close_witness(witness);
        self.close_books(logger)
    }

    /// Starts the next worker on its core.
    fn spawn<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        stage: &'scope Stage,
        shard: Shard,
        rings: Vec<LiveRing>,
    ) where
        Self: 'scope,
    {
        let id = self.to_workers.len();
        let (to_rings, new_rings) = unbounded();
        let (to_localities, localities) = unbounded();
        self.to_workers.push((to_rings, to_localities));
        let block_timeout = Duration::from_millis(u64::from(self.config.block_timeout_ms));
        let worker = Worker {
            shard,
            rings: Rings::new(rings, block_timeout),
            new_rings,
            localities,
            clock: Clock::new(&self.run_time),
            now_ns: i64::MIN,
            load: LoadControl::new(id, self.config.shed, self.shed.sender()),
        };
        let cpu = self.config.common.cores.get(id).copied();
        let thread = cpu.map(|cpu| self.pins.add(cpu));
        let board = self.board.clone();
        spawn(scope, format!("worker-{id}"), move || {
            pin(cpu, id);
            if let Some(thread) = thread {
                thread.store(cpus::thread_id(), Ordering::Release);
            }
            worker.run(stage, |shard| board.leave(id, &shard.counts));
        });
    }

    /// Lets frames in, and says so. `unproven` says why connections may be torn apart, if they may.
    fn start(&mut self, nics: &[nic::Interface], unproven: Option<String>) -> Result<(), Failure> {
        for group in &self.groups {
            group.open_gate().map_err(Failure::run)?;
        }
        if let Some(witness) = &mut self.witness {
            witness.open_gates()?;
        }
        let names: Vec<&str> = self
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        let names = names.join(", ");
        self.say("start", format!("watching {names}"));
        let pid = std::process::id();
        self.tell(&format!(
            "synledger: watching {names} (process {pid}); Ctrl-C ends it\n{}",
            startup::resources(self.config, nics.len())
        ));
        self.hints = hints::Hints::start(self.config, nics);
        if let Some(unproven) = unproven {
            self.say("fanout_unproven", unproven);
        }
        Ok(())
    }

    /// Tells the person at the terminal, unless asked to be quiet.
    fn tell(&self, text: &str) {
        if !self.config.common.quiet {
            tell(text);
        }
    }

    fn say(&self, word: &'static str, text: String) {
        self.say_with(word, text, Vec::new());
    }

    fn say_with(&self, word: &'static str, text: String, details: Vec<(String, Value)>) {
        let _ = self.notices.send(Notice::Lifecycle {
            ts_ns: wall_clock_ns(),
            word,
            text,
            details,
        });
    }

    /// Tells of the clock's steps; workers have noticed them already.
    fn say_steps(&mut self) {
        self.run_time.observe(Reading::take());
        let steps = self.run_time.steps_since(self.steps_said);
        self.steps_said += steps.len();
        if let Some(witness) = self.witness.as_mut().filter(|_| !steps.is_empty()) {
            witness.on_clock_step();
        }
        for step in steps {
            let by_s = step.by_ns as f64 / 1e9;
            let way = if by_s > 0.0 { "forward" } else { "back" };
            self.say_with(
                "clock_step",
                format!(
                    "the clock was set {way} by {:.3} s; expiry and scan windows go on evenly",
                    by_s.abs()
                ),
                vec![("step_s".to_owned(), Value::from(by_s))],
            );
        }
    }

    /// Moves workers away from CPUs that went offline, and back.
    fn keep_pinned(&mut self) {
        for moved in self.pins.plan(&cpus::online(), cpus::allowed()) {
            let cpus::Moved { thread, from, to } = moved;
            let text = match self.pins.carry_out(&moved) {
                Ok(()) => format!("worker {thread} moved from CPU {from} to CPU {to}"),
                Err(errno) => {
                    format!("worker {thread} cannot move from CPU {from} to CPU {to}: {errno}")
                }
            };
            self.say("worker_moved", text);
        }
    }

    fn watch_over(&mut self, signals: &Signals) {
        let mut ticks = 0_u32;
        while !signals.stopped() && !self.control.closed.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            ticks = ticks.wrapping_add(1);
            while let Ok(Some(event)) = self.watch.next_event() {
                self.on_link(event);
            }
            if signals.reload() {
                self.control.reopen.store(true, Ordering::Relaxed);
                self.say("reload", "log files opened anew".to_owned());
                self.tell("synledger: log files opened anew\n");
            }
            if signals.report() {
                self.update_rings();
                tell("synledger: the books so far:\n");
                tell(&report::ten_lines(&self.books()));
            }
            self.say_steps();
            self.say_shed();
            self.say_output_losses();
            if ticks.is_multiple_of(TICKS_PER_SECOND) {
                self.keep_pinned();
                self.rebuild_gone();
                self.tell_due_links();
                self.every_second(self.has_stats(ticks / TICKS_PER_SECOND));
            }
        }
    }

    /// Whether this second has a record of statistics.
    fn has_stats(&self, second: u32) -> bool {
        let interval_s = self.config.stats_interval_s;
        interval_s > 0 && second.is_multiple_of(interval_s)
    }

    /// KERNEL's order: refuse everything, wait two block timeouts, drain.
    fn end(&mut self, stage: &Stage, asked: bool) {
        if let Some(witness) = &mut self.witness {
            witness.close_gates();
        }
        for group in &mut self.groups {
            if let Err(error) = group.close_gate() {
                eprintln!("synledger: {error}");
            }
        }
        std::thread::sleep(Duration::from_millis(
            2 * u64::from(self.config.block_timeout_ms) + 60,
        ));
        self.tell_all_links();
        // Only where nobody asked: Ctrl-C ends the reader of a pipe, too.
        self.lost_reader = !asked && self.control.closed.load(Ordering::Relaxed);
        let why = match self.lost_reader {
            true => "standard output has lost its reader: that ends the run",
            false => "asked to stop",
        };
        let common = &self.config.common;
        if self.lost_reader && (common.strict || !common.quiet) {
            tell(&format!("synledger: {why}\n"));
        }
        self.say("stop", format!("{why}; reading what is left"));
        stage.drain.store(true, Ordering::Release);
    }
}

fn policy(config: &RunConfig, localities: Arc<Localities>) -> Policy {
    Policy {
        localities,
        directions: config.common.directions.clone().into(),
        all_scans: config.all_scans,
        host: config.host_target,
        allow: config.common.allow.clone().into(),
    }
}
