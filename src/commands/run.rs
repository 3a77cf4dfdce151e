//! `run`: opens rings, starts threads in order, watches, and closes the books.

use super::logging::{self, SharedLocalities};
use super::startup::{announce, check_memory};
use super::{Failure, close, pin, signals};
use crate::books::Books;
use crate::capture::nic::{self, Counters, LinkEvent, Selection, Watch};
use crate::capture::preexisting;
use crate::cli::{CaptureDepth, RunArgs};
use crate::config::RunConfig;
use crate::live::LiveGroup;
use crate::locality::Localities;
use crate::log::eve::Interfaces;
use crate::log::logger::Control;
use crate::log::notice::Notice;
use crate::observe::metrics::{self, Snapshot};
use crate::policy::Policy;
use crate::report;
use crate::sensor::{self, Board, RunKeys};
use crate::shard::Shard;
use crate::worker::{LiveRing, Stage, Worker, wall_clock_ns};
use crossbeam::channel::{Sender, unbounded};
use signal_hook::consts::{SIGHUP, SIGUSR1};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: u32 = 10;
/// EVE `stats` records, every so many seconds, as Suricata does by default.
const STATS_SECONDS: u32 = 8;

/// Main's view of the run.
struct Run<'a> {
    config: &'a RunConfig,
    keys: RunKeys,
    groups: Vec<LiveGroup>,
    gone: Vec<LiveGroup>,
    watch: Watch,
    nic_counters: Option<Counters>,
    localities: SharedLocalities,
    to_workers: Vec<(Sender<LiveRing>, Sender<Arc<Localities>>)>,
    notices: Sender<Notice>,
    control: Arc<Control>,
    board: &'a Board,
    snapshot: Arc<Mutex<Snapshot>>,
}

/// Watches interfaces until SIGINT or SIGTERM.
///
/// # Errors
///
/// [`Failure`]: a flag that cannot be, or what the kernel refuses.
pub fn run(args: RunArgs) -> Result<u8, Failure> {
    let config = RunConfig::new(args)?;
    let Selection {
        interfaces: nics, ..
    } = nic::resolve(&config.interfaces.join(",")).map_err(Failure::run)?;
    check_memory(&config, nics.len())?;
    if !config.common.quiet {
        eprint!("{}", announce(&config, &nics));
    }
    if config.dry_run {
        return Ok(0);
    }
    let keys = RunKeys::random().map_err(Failure::run)?;
    let stop = signals::stop_flag().map_err(Failure::run)?;
    let watch = Watch::start().map_err(Failure::run)?;
    let ours = Arc::new(Localities::live(watch.addresses(), &config.common.local));
    let localities: SharedLocalities = Arc::new(RwLock::new(Arc::clone(&ours)));
    let names = Interfaces::new(nics.iter().map(|nic| nic.name.clone()).collect());
    let context = logging::context(&config.common, &names, &localities, false);
    let policy = policy(&config, ours);
    let (mut shards, consumers) = sensor::shards(&config.common, keys, &policy, true);
    prepare(&mut shards);
    let (mut logger, notices, control) = logging::open(&config.common, &context, consumers, true)?;
    let board = Board::new(config.common.workers);
    let (groups, rings) = open_rings(&config, keys, &nics)?;
    let snapshot = serve_metrics(&config)?;
    let mut run = Run {
        config: &config,
        keys,
        groups,
        gone: Vec::new(),
        watch,
        nic_counters: Counters::start(&indices(&nics)).ok(),
        localities,
        to_workers: Vec::new(),
        notices,
        control: Arc::clone(&control),
        board: &board,
        snapshot,
    };
    let stage = Stage::default();
    let started = std::thread::scope(|scope| {
        let logger = &mut logger;
        scope.spawn(move || logger.run());
        for (id, (shard, rings)) in shards.into_iter().zip(rings).enumerate() {
            let worker = run.worker(id, shard, rings);
            let (stage, board, cpu) = (&stage, &board, config.common.cores.get(id).copied());
            scope.spawn(move || {
                pin(cpu, id);
                worker.run(stage, |shard| board.leave(id, &shard.counts));
            });
        }
        let started = run.start();
        if started.is_ok() {
            run.watch_over(&stop);
        }
        run.end(&stage);
        started
    });
    let outputs = logger.finish().outputs;
    started?;
    run.update_rings();
    let outputs = logging::books(&config.common.outputs, &outputs);
    let books = Books {
        outputs,
        at_exit: true,
        ..run.books()
    };
    Ok(close(&config.common, &books))
}

fn indices(nics: &[nic::Interface]) -> Vec<u32> {
    nics.iter().map(|nic| nic.ifindex).collect()
}

/// Touches all memory, and names the connections that are open already.
fn prepare(shards: &mut [Shard]) {
    let open = preexisting::connections().unwrap_or_default();
    for shard in shards {
        shard.prefault();
        for &(a, b) in &open {
            shard.flows.preexisting(a, b);
        }
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
    fn worker(&mut self, id: usize, shard: Shard, rings: Vec<LiveRing>) -> Worker {
        let (to_rings, new_rings) = unbounded();
        let (to_localities, localities) = unbounded();
        self.to_workers.push((to_rings, to_localities));
        let block_timeout = Duration::from_millis(u64::from(self.config.block_timeout_ms));
        Worker {
            id,
            shard,
            rings,
            new_rings,
            localities,
            block_timeout,
            now_ns: i64::MIN,
        }
    }

    fn start(&mut self) -> Result<(), Failure> {
        for group in &mut self.groups {
            group.open_gate(self.config).map_err(Failure::run)?;
        }
        let names: Vec<&str> = self
            .groups
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        self.say("start", format!("watching {}", names.join(", ")));
        Ok(())
    }

    fn say(&self, word: &'static str, text: String) {
        let _ = self.notices.try_send(Notice::Lifecycle {
            ts_ns: wall_clock_ns(),
            word,
            text,
            details: Vec::new(),
        });
    }

    fn watch_over(&mut self, stop: &AtomicBool) {
        let reload = signals::flag(SIGHUP).ok();
        let report = signals::flag(SIGUSR1).ok();
        let mut ticks = 0_u32;
        while !stop.load(Ordering::Relaxed) && !self.control.closed.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            ticks = ticks.wrapping_add(1);
            while let Ok(Some(event)) = self.watch.next_event() {
                self.on_link(event);
            }
            if reload
                .as_ref()
                .is_some_and(|flag| flag.swap(false, Ordering::Relaxed))
            {
                self.control.reopen.store(true, Ordering::Relaxed);
                self.say("reload", "log files opened anew".to_owned());
            }
            if report
                .as_ref()
                .is_some_and(|flag| flag.swap(false, Ordering::Relaxed))
            {
                self.update_rings();
                eprint!("{}", report::ten_lines(&self.books()));
            }
            if ticks.is_multiple_of(TICKS_PER_SECOND) {
                self.every_second(ticks.is_multiple_of(TICKS_PER_SECOND * STATS_SECONDS));
            }
        }
    }

    fn every_second(&mut self, stats: bool) {
        self.update_rings();
        let books = self.books();
        if stats {
            let text = format!(
                "{} frames, {} new connections",
                books.shards.frames, books.shards.flow.attempts
            );
            let value = report::to_json(&books);
            let _ = self.notices.try_send(Notice::Stats {
                ts_ns: wall_clock_ns(),
                value,
                text,
            });
        }
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.ring_occupancy = self.groups.iter().flat_map(LiveGroup::occupancy).collect();
        snapshot.tables = self.tables(&books);
        snapshot.log_lag = self.log_lag();
        snapshot.books = books;
    }

    /// Name, entries held and room of each table, over all shards.
    fn tables(&self, books: &Books) -> Vec<(&'static str, u64, u64)> {
        let common = &self.config.common;
        let rooms = [
            common.flows.attempts,
            common.flows.established,
            common.flows.others,
            common.rule.pairs,
        ];
        let names = ["attempts", "established", "other_flows", "pairs"];
        let all = names.into_iter().zip(books.shards.held).zip(rooms);
        all.map(|((name, held), room)| (name, held, (room * common.workers) as u64))
            .collect()
    }

    /// Seconds from time stamp to line: upper bounds with the counts below them, and the sum.
    fn log_lag(&self) -> (Vec<(f64, u64)>, f64) {
        const BOUNDS_US: [u64; 9] = [
            1_000,
            5_000,
            10_000,
            25_000,
            50_000,
            100_000,
            500_000,
            1_000_000,
            u64::MAX,
        ];
        let published = self
            .control
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(lag_us) = &published.lag_us else {
            return (Vec::new(), 0.0);
        };
        let seconds = |us: u64| {
            if us == u64::MAX {
                f64::MAX
            } else {
                us as f64 / 1e6
            }
        };
        let below = BOUNDS_US.map(|us| (seconds(us), lag_us.count_between(0, us)));
        (below.to_vec(), lag_us.mean() / 1e6 * lag_us.len() as f64)
    }

    fn update_rings(&mut self) {
        for group in self.groups.iter_mut().chain(&mut self.gone) {
            group.update();
        }
        if let Some(counters) = &mut self.nic_counters {
            let _ = counters.update();
        }
    }

    fn books(&self) -> Books {
        let published = self
            .control
            .published
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let outputs = logging::books(&self.config.common.outputs, &published.outputs);
        let nic = |group: &LiveGroup| {
            let counters = self
                .nic_counters
                .as_ref()
                .and_then(|counters| counters.nic(group.ifindex));
            counters.map_or(0, |counters| counters.nic_drops())
        };
        Books {
            shards: self.board.sum(),
            rings: self
                .groups
                .iter()
                .chain(&self.gone)
                .flat_map(LiveGroup::counts)
                .collect(),
            outputs,
            nic_drops: self.groups.iter().map(nic).sum(),
            softnet_drops: self
                .nic_counters
                .as_ref()
                .map_or(0, |counters| counters.softnet().total().dropped),
            filtered: self.filtered(),
            ..Books::default()
        }
    }

    fn filtered(&self) -> Option<u64> {
        if self.config.capture != CaptureDepth::Control {
            return Some(0);
        }
        self.groups
            .iter()
            .chain(&self.gone)
            .map(LiveGroup::rejected)
            .sum()
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::AddressAdded { address, .. } => {
                self.renew(|localities| localities.add(address))
            }
            LinkEvent::AddressRemoved { address, .. } => {
                self.renew(|localities| localities.remove(address))
            }
            LinkEvent::Up { ifindex, name } if self.has(ifindex) => {
                self.say("link_up", format!("{name} is up"))
            }
            LinkEvent::Down { ifindex, name } if self.has(ifindex) => {
                self.say(
                    "link_down",
                    format!("{name} is down: nothing is seen there until it is up"),
                );
            }
            LinkEvent::Renamed { ifindex, from, to } if self.has(ifindex) => {
                self.say(
                    "link_renamed",
                    format!("{from} is now {to}; it is watched on"),
                );
            }
            LinkEvent::Removed { ifindex, name } if self.has(ifindex) => {
                self.say(
                    "link_removed",
                    format!("{name} is gone; watched again when it comes back"),
                );
            }
            LinkEvent::Created { name, .. } => self.rebuild(&name),
            _ => {}
        }
    }

    fn has(&self, ifindex: u32) -> bool {
        self.groups.iter().any(|group| group.ifindex == ifindex)
    }

    fn renew(&self, change: impl FnOnce(&mut Localities)) {
        let mut ours = self
            .localities
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut ours));
        for (_, localities) in &self.to_workers {
            let _ = localities.send(Arc::clone(&ours));
        }
    }

    /// The interface is back with another index: its sockets never recover, so the whole group is new.
    fn rebuild(&mut self, name: &str) {
        let Some(at) = self.groups.iter().position(|group| group.name == name) else {
            return;
        };
        let Ok(Selection { interfaces, .. }) = nic::resolve(name) else {
            return;
        };
        let Some(nic) = interfaces
            .into_iter()
            .find(|nic| nic.ifindex != self.groups[at].ifindex)
        else {
            return;
        };
        let interface = self.groups[at].interface;
        match LiveGroup::open(self.config, &self.keys.fanout, &nic, interface) {
            Ok((mut group, rings)) => {
                if let Some(counters) = &mut self.nic_counters {
                    counters.replace(self.groups[at].ifindex, nic.ifindex);
                }
                for ((to_rings, _), rings) in self.to_workers.iter().zip(rings) {
                    for ring in rings {
                        let _ = to_rings.send(ring);
                    }
                }
                if let Err(error) = group.open_gate(self.config) {
                    self.say(
                        "link_failed",
                        format!("{name} is back but cannot be watched: {error}"),
                    );
                }
                let old = std::mem::replace(&mut self.groups[at], group);
                old.abandon();
                self.gone.push(old);
                self.say("link_back", format!("{name} is back and watched again"));
            }
            Err(error) => self.say(
                "link_failed",
                format!("{name} is back but cannot be watched: {error}"),
            ),
        }
    }

    /// KERNEL's order: refuse everything, wait two block timeouts, drain.
    fn end(&mut self, stage: &Stage) {
        for group in &mut self.groups {
            if let Err(error) = group.close_gate() {
                eprintln!("synledger: {error}");
            }
        }
        std::thread::sleep(Duration::from_millis(
            2 * u64::from(self.config.block_timeout_ms) + 60,
        ));
        self.say("stop", "asked to stop; reading what is left".to_owned());
        stage.drain.store(true, Ordering::Release);
    }
}

fn policy(config: &RunConfig, localities: Arc<Localities>) -> Policy {
    let any = (
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    );
    Policy {
        localities,
        directions: config.common.directions.clone().into(),
        all_scans: config.all_scans,
        host: config.host_target.then_some(any),
        allow: config.common.allow.clone().into(),
    }
}

/// What scrapes are to see, served where that was asked for.
fn serve_metrics(config: &RunConfig) -> Result<Arc<Mutex<Snapshot>>, Failure> {
    let snapshot = Arc::new(Mutex::new(Snapshot::default()));
    let Some(address) = config.metrics else {
        return Ok(snapshot);
    };
    let shown = Arc::clone(&snapshot);
    let newest = move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match metrics::serve(address, Arc::new(newest)) {
        Ok(_) => Ok(snapshot),
        Err(error) => Err(Failure::Run(format!(
            "--metrics {address}: {error}; choose another address or port"
        ))),
    }
}
