//! Assembles a run: sockets, shards, threads, and their supervisor.

use super::clock_steps::ClockSteps;
use super::groups::Groups;
use super::identities::OpenIdentities;
use super::ledger::Ledger;
use super::link_lines::LinkLines;
use super::links::Links;
use super::losses::Losses;
use super::messenger::Messenger;
use super::opened::Opened;
use super::scan_scope::ScansOutOfScope;
use super::scrapes::Scrapes;
use super::shedding::ShedSteps;
use super::statistics::Statistics;
use super::workers::Workers;
use super::{Supervisor, witness};
use crate::capture::bpf::fanout;
use crate::capture::mode::FanoutMode;
use crate::error::Failure;
use crate::host::{cpus, nic, open_sockets};
use crate::sensor::signals::Signals;
use crate::sensor::threads::spawn;
use crate::sensor::{self, RunKeys, close, logging};
use crate::settings::RunConfig;
use crate::shard::Shard;
use crate::time::clock::{Reading, RunTime};
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

/// Opens everything and runs until it is told to stop. Returns the exit code.
pub(super) fn watch(
    config: &RunConfig,
    signals: &Signals,
    nics: &[nic::Interface],
    unproven: Option<String>,
) -> Result<u8, Failure> {
    let common = &config.common;
    let opened = Opened::new(config, nics)?;
    let keys = RunKeys::random().map_err(Failure::run)?;
    let policy = sensor::policy(common, opened.ours, config.all_scans, config.host_target);
    let (mut shards, consumers) = sensor::shards(common, keys, &policy, true);
    prefault(&mut shards, &common.cores);
    let run_time = RunTime::starting_at(Reading::take());
    let (clock, stop) = (Some(run_time.clone()), signals.stop_flag());
    let (mut logger, notices, control) =
        logging::logger(common, opened.outputs, consumers, clock, stop);
    let messenger = Messenger::new(notices.clone(), common.quiet);
    let (groups, rings) = Groups::open(config, keys.fanout, nics)?;
    let reporting = (opened.names.clone(), messenger.clone());
    let witness = witness::prepare(config, &run_time, nics, &mut shards, reporting)?;
    let (watching, mut witness) = witness.unzip();
    set_preexisting(&mut shards, keys, config.fanout);
    let (shed_steps, steps) = ShedSteps::new(messenger.clone());
    let workers = Workers::new(config, run_time.clone(), steps);
    let mut supervisor = Supervisor {
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
        ledger: Ledger::new(common, workers.board.clone(), notices, control),
        workers,
        witness: watching,
        clock_steps: ClockSteps::new(run_time, messenger.clone()),
        shed_steps,
        losses: Losses::new(messenger.clone()),
        identities: OpenIdentities::default(),
        statistics: Statistics::new(config.stats_interval_s),
        scrapes: Scrapes::serve(opened.listeners)?,
        scans_out_of_scope: (!config.all_scans).then(|| ScansOutOfScope::new(messenger.clone())),
        hints: None,
        messenger,
    };
    let drain = AtomicBool::new(false);
    let (started, lost_reader) = std::thread::scope(|scope| {
        let logger = &mut logger;
        spawn(scope, "logger".to_owned(), move || logger.run());
        for (shard, rings) in shards.into_iter().zip(rings) {
            supervisor.workers.spawn(scope, &drain, shard, rings);
        }
        if let Some(witness) = &mut witness {
            spawn(scope, "witness".to_owned(), || witness.run(&drain));
        }
        let started = supervisor.start(nics, unproven);
        if started.is_ok() {
            supervisor.supervise(signals);
        }
        let lost_reader = supervisor.end(&drain, signals.stopped());
        (started, lost_reader)
    });
    let books = supervisor.close(witness.as_mut(), logger);
    started?;
    let lost_reader = common.strict && lost_reader;
    Ok(close(common, &books).max(if lost_reader { 3 } else { 0 }))
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

/// Hands each shard the open connections that it will see; all of them where the kernel's own hash decides.
fn set_preexisting(shards: &mut [Shard], keys: RunKeys, fanout: FanoutMode) {
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
