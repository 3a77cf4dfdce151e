//! Assembles a run: sockets, shards, threads, and their supervisor.

use super::clock_steps::ClockSteps;
use super::confine;
use super::groups::{Groups, RingsByWorker};
use super::handover::give::Handing;
use super::handover::state::Terms;
use super::handover::take::Inherited;
use super::identities::OpenIdentities;
use super::ledger::Ledger;
use super::link_lines::LinkLines;
use super::links::Links;
use super::losses::Losses;
use super::messenger::Messenger;
use super::opened::Opened;
use super::progress::ThreadProgress;
use super::reload::{OutputsInForce, Reload};
use super::scan_scope::ScansOutOfScope;
use super::scrapes::Scrapes;
use super::service::Service;
use super::shedding::ShedSteps;
use super::silence::Silence;
use super::statistics::Statistics;
use super::workers::Workers;
use super::{Doubts, Supervisor, witness};
use crate::capture::bpf::fanout;
use crate::capture::mode::FanoutMode;
use crate::error::Failure;
use crate::host::sandbox::{Refusals, Sandbox, Thread};
use crate::host::{cpus, nic, open_sockets};
use crate::log::logger::{Logger, Order};
use crate::log::merge::Consumer;
use crate::log::notice::Notices;
use crate::observe::report::ten_lines;
use crate::observe::terminal::print_to_stderr;
use crate::sensor::archiving::Archiving;
use crate::sensor::delivery::Deliveries;
use crate::sensor::signals::Signals;
use crate::sensor::threads::spawn;
use crate::sensor::worker::ring::LiveRing;
use crate::sensor::{self, RunKeys, close, logging};
use crate::settings::{Common, RunConfig};
use crate::shard::Shard;
use crate::shard::policy::Policy;
use crate::time::clock::{Reading, RunTime};
use crate::witness::thread::Witness;
use crossbeam::channel::{Sender, bounded};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::thread::Scope;

/// Opens everything and runs until it is told to stop. Returns the exit code.
pub(super) fn watch(
    config: &RunConfig,
    (signals, service): (&Signals, Service),
    nics: &[nic::Interface],
    (doubts, terms): (Doubts, Terms),
    inherited: Option<Box<Inherited>>,
) -> Result<u8, Failure> {
    let common = &config.common;
    let opened = Opened::new(config, nics)?;
    let policy = sensor::policy(common, opened.ours, config.all_scans, config.host_target);
    let (keys, (mut shards, consumers), mut inherited) = make_shards(common, &policy, inherited)?;
    let run_time = run_time(inherited.as_deref());
    let (clock, stop) = (Some(run_time.clone()), signals.stop_flag());
    let logging = logging::logger(common, opened.outputs, consumers, clock, stop);
    let (logger, notices, control) = logging;
    let messenger = Messenger::new(notices.clone(), common.quiet).with(common.anonymizer.clone());
    let (logger, logger_orders) = go_on(logger, &notices, inherited.as_deref())?;
    let (groups, rings) =
        Groups::open_or_adopt(config, keys.fanout, nics, inherited.as_deref_mut())?;
    let reporting = (opened.names.clone(), messenger.clone());
    let witness = witness::prepare(config, &run_time, nics, &mut shards, reporting)?;
    let (watching, witness) = witness.unzip();
    set_preexisting(&mut shards, keys, config.fanout, inherited.as_deref());
    let (shed_steps, steps) = ShedSteps::new(messenger.clone());
    let _deliveries = Deliveries::start(&common.outputs, opened.identity.as_ref());
    let writable = confine::writable(config, opened.identity.as_ref());
    let sandbox = confine::close(config, opened.identity, &groups)?;
    let outputs = OutputsInForce::new(
        common,
        (opened.context, logger.outputs.archive().clone()),
        &control,
        writable.filter(|_| sandbox.restricts_files()),
    );
    let workers = Workers::new(config, run_time.clone(), steps, sandbox.clone());
    let supervisor = Supervisor {
        config,
        links: Links {
            config,
            watch: opened.watch,
            groups,
            names: opened.names,
            localities: opened.localities,
            lines: LinkLines::new(messenger.clone()),
            surroundings: opened.surroundings,
        },
        ledger: Ledger::new(config, workers.board.clone(), notices, control),
        workers,
        witness: watching,
        clock_steps: ClockSteps::new(run_time, messenger.clone()),
        shed_steps,
        losses: Losses::new(messenger.clone()),
        identities: OpenIdentities::default(),
        statistics: Statistics::new(config.stats_interval_s),
        scrapes: Scrapes::serve(opened.exits, opened.status, &sandbox, &messenger)?,
        scans_out_of_scope: ScansOutOfScope::new(messenger.clone()),
        silence: Silence::new(&config.interfaces, messenger.clone()),
        reload: Reload::new(config, opened.shared, outputs, messenger.clone()),
        hints: None,
        refusals: Refusals::default(),
        handing: Handing::new((keys, terms), logger_orders, opened.door),
        kept: opened.kept,
        archiving: Archiving::start(logger.outputs.archive(), &sandbox),
        messenger,
        service,
        progress: ThreadProgress::default(),
    };
    let (parts, others) = ((shards, rings, inherited), (logger, witness));
    let start = (nics, doubts);
    run(supervisor, parts, others, (signals, &sandbox), start)
}

/// Runs all threads until their end. Returns the exit code.
fn run(
    mut supervisor: Supervisor<'_>,
    (shards, rings, inherited): (Vec<Shard>, RingsByWorker, Option<Box<Inherited>>),
    (mut logger, mut witness): (Logger, Option<Witness>),
    (signals, sandbox): (&Signals, &Sandbox),
    (nics, doubts): (&[nic::Interface], Doubts),
) -> Result<u8, Failure> {
    let common = &supervisor.config.common;
    let drain = AtomicBool::new(false);
    let (started, ending) = std::thread::scope(|scope| {
        let before = inherited.as_deref();
        let parts = (shards.into_iter().zip(rings), before);
        let others = (&mut logger, witness.as_mut());
        let shared = (sandbox, &drain);
        spawn_all(scope, shared, others, &mut supervisor.workers, parts);
        sandbox.enter_last();
        let started = supervisor.start(nics, doubts, sandbox, before);
        supervisor.supervise_and_end(started, signals, &drain)
    });
    if supervisor.handing.is_done {
        return Ok(0);
    }
    let books = supervisor.close(witness.as_mut(), logger);
    started?;
    Ok(close(common, &books, ten_lines).max(ending.exit_code(common.strict)))
}

/// Run time from now on, or that of the process before.
fn run_time(inherited: Option<&Inherited>) -> RunTime {
    match inherited {
        Some(inherited) => RunTime::resume(inherited.state.run_time.clone()),
        None => RunTime::starting_at(Reading::take()),
    }
}

/// The logger, where another process's was if there is one, and who asks it where it is.
fn go_on(
    mut logger: Logger,
    notices: &Notices,
    inherited: Option<&Inherited>,
) -> Result<(Logger, Sender<Order>), Failure> {
    let (sender, orders) = bounded(1);
    logger.orders = orders;
    if let Some(Inherited { state, .. }) = inherited {
        notices.go_on(state.sent);
        logger.go_on(&state.log).map_err(Failure::run)?;
    }
    Ok((logger, sender))
}

type Made = (RunKeys, (Vec<Shard>, Vec<Consumer>), Option<Box<Inherited>>);

/// Shards that go on where another process's were, or fresh ones.
fn make_shards(
    common: &Common,
    policy: &Policy,
    inherited: Option<Box<Inherited>>,
) -> Result<Made, Failure> {
    let make = |keys| {
        let (mut shards, consumers) = sensor::shards(common, keys, policy, true);
        prefault(&mut shards, &common.cores);
        (shards, consumers)
    };
    if let Some(mut inherited) = inherited {
        let keys = inherited.state.keys;
        let mut made = make(keys);
        match inherited.restore(&mut made.0) {
            Ok(()) => return Ok((keys, made, Some(inherited))),
            Err(error) => print_to_stderr(&format!(
                "synledger: the state of the process before does not fit: {error}; starting anew\n"
            )),
        }
    }
    let keys = RunKeys::random().map_err(Failure::run)?;
    Ok((keys, make(keys), None))
}

/// Starts all threads but that of metrics, which is there already.
fn spawn_all<'scope>(
    scope: &'scope Scope<'scope, '_>,
    (sandbox, drain): (&Sandbox, &'scope AtomicBool),
    (logger, witness): (&'scope mut Logger, Option<&'scope mut Witness>),
    workers: &mut Workers<'_>,
    (parts, before): (
        impl Iterator<Item = (Shard, Vec<LiveRing>)>,
        Option<&Inherited>,
    ),
) {
    let pass = sandbox.pass(Thread::Logger);
    spawn(scope, "logger".to_owned(), move || {
        pass.enter();
        logger.run();
    });
    for (id, (shard, rings)) in parts.enumerate() {
        let before = before.and_then(|before| before.workers.get(id));
        workers.spawn(scope, drain, shard, rings, before);
    }
    if let Some(witness) = witness {
        let pass = sandbox.pass(Thread::Witness);
        spawn(scope, "witness".to_owned(), move || {
            pass.enter();
            witness.run(drain);
        });
    }
}

/// Touches all memory of each shard on the core of its worker, for memory of that NUMA node.
fn prefault(shards: &mut [Shard], cores: &[usize]) {
    cpus::keeping_affinity(|| {
        for (id, shard) in shards.iter_mut().enumerate() {
            if let Some(&cpu) = cores.get(id) {
                // A worker that cannot be pinned reports that itself.
                let _ = cpus::pin_current_thread(cpu);
            }
            shard.prefault();
        }
    });
}

/// Hands each shard the open connections that it will see; all of them where the kernel's own hash decides. Shards of a
/// process before know theirs.
fn set_preexisting(
    shards: &mut [Shard],
    keys: RunKeys,
    fanout: FanoutMode,
    inherited: Option<&Inherited>,
) {
    if inherited.is_some() {
        return;
    }
    let open = open_sockets::connections().unwrap_or_default();
    let workers = u32::try_from(shards.len()).expect("at most 64");
    let owner = |a: SocketAddr, b: SocketAddr| {
        let hash = fanout::flow_hash(&keys.fanout, a.ip(), b.ip(), a.port(), b.port());
        fanout::worker(hash, workers) as usize
    };
    for (id, shard) in shards.iter_mut().enumerate() {
        let own = open
            .iter()
            .filter(|(a, b)| fanout != FanoutMode::Class || owner(*a, *b) == id);
        shard.flows.preexisting(own.copied());
    }
}
