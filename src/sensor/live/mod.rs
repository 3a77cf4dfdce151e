//! `run`: opens rings, starts threads, supervises them, closes the books.

mod assembly;
mod blocking;
mod clock_steps;
mod confine;
mod dry_run;
mod ending;
mod groups;
mod handover;
mod hints;
mod identities;
mod in_flight;
mod ledger;
mod link_lines;
mod links;
mod losses;
mod messenger;
mod opened;
mod pace;
mod progress;
mod reload;
mod scan_scope;
mod scrapes;
mod service;
mod services;
mod shedding;
mod silence;
mod startup;
mod state;
mod statistics;
mod surroundings;
mod waiting;
mod witness;
mod workers;

use super::signals::Signals;
use crate::books::Books;
use crate::check::{self, Finding, Needs};
use crate::error::Failure;
use crate::host::nic;
use crate::host::sandbox::{Refusals, Sandbox};
use crate::host::service_manager::ServiceManager;
use crate::log::logger::Logger;
use crate::log::sinks::archive::Stop;
use crate::observe::report;
use crate::observe::snapshot::{LogLag, Snapshot};
use crate::observe::terminal::print_to_stderr;
use crate::sensor::archiving::Archiving;
use crate::sensor::logging;
use crate::settings::flags::RunArgs;
use crate::settings::{RunConfig, descriptors};
use crate::sys::adjtimex::is_clock_synchronized;
use crate::time::clock::{monotonic_ns, wall_clock_ns};
use crate::witness::thread::Witness;
use clock_steps::ClockSteps;
pub use dry_run::refused_file;
use ending::Ending;
use handover::give::Handing;
use handover::state::Terms;
use handover::take::Inherited;
use hints::Hints;
use identities::OpenIdentities;
use ledger::Ledger;
use links::Links;
use losses::Losses;
use messenger::Messenger;
use progress::ThreadProgress;
use reload::Reload;
use scan_scope::ScansOutOfScope;
use scrapes::Scrapes;
use service::{Beat, Service};
use shedding::ShedSteps;
use silence::Silence;
use state::Kept;
use statistics::Statistics;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use witness::Watching;
use workers::Workers;

const TICK: Duration = Duration::from_millis(100);
const TICKS_PER_SECOND: u32 = 10;

/// Watches interfaces until SIGINT or SIGTERM. Returns the exit code.
pub fn run(args: RunArgs) -> Result<u8, Failure> {
    let signals = Signals::register().map_err(Failure::run)?;
    let manager = service_manager()?;
    let Some((config, selection)) = configure(args, &signals, &manager)? else {
        return Ok(0);
    };
    let unproven = startup::report(&config, &selection)?;
    let nics = &selection.interfaces;
    if config.dry_run {
        return dry_run::dry_run(&config, nics);
    }
    // Before our own XDP program is there.
    let all: Vec<&nic::Interface> = nics.iter().collect();
    let blind = check::spots(&all, &check::Paths::of(&all), &config.common.tunnels);
    let doubts = Doubts { unproven, blind };
    let terms = Terms::new(&config, nics);
    let inherited = handover::inherit(&config, &manager, &terms)?;
    let service = Service::new(manager);
    assembly::watch(
        &config,
        (&signals, service),
        nics,
        (doubts, terms),
        inherited,
    )
}

fn service_manager() -> Result<ServiceManager, Failure> {
    let manager = ServiceManager::from_environment();
    manager.map_err(|error| {
        Failure::Run(format!(
            "NOTIFY_SOCKET: the service manager cannot be reached: {error}; remove it from the environment"
        ))
    })
}

/// The checked flags and their interfaces, which share the rings; `None`: a signal ended the wait for interfaces.
/// Raises the limit of descriptors.
fn configure(
    args: RunArgs,
    signals: &Signals,
    manager: &ServiceManager,
) -> Result<Option<(RunConfig, nic::Selection)>, Failure> {
    let mut config = RunConfig::new(args)?;
    let Some(selection) = waiting::interfaces(&config, signals, manager)? else {
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

/// Of workers and logger.
fn beats(workers: &Workers<'_>, ledger: &Ledger<'_>) -> Vec<Beat> {
    let workers = workers.board.rounds().enumerate();
    let workers = workers.map(|(id, rounds)| (format!("worker-{id}"), rounds));
    let logger = ("logger".to_owned(), ledger.logger_rounds());
    let all = workers.chain([logger]);
    all.map(|(name, rounds)| Beat { name, rounds }).collect()
}

/// What the run may not see, or see wrongly.
struct Doubts {
    /// Why the fanout may split connections, if it may.
    unproven: Option<String>,
    blind: Vec<Finding>,
}

/// The main thread during the run: ten ticks a second, the books once a second.
struct Supervisor<'a> {
    config: &'a RunConfig,
    messenger: Messenger,
    service: Service,
    progress: ThreadProgress,
    workers: Workers<'a>,
    links: Links<'a>,
    ledger: Ledger<'a>,
    witness: Option<Watching>,
    clock_steps: ClockSteps,
    shed_steps: ShedSteps,
    losses: Losses,
    identities: OpenIdentities,
    statistics: Statistics,
    scrapes: Scrapes,
    kept: Kept,
    archiving: Archiving,
    scans_out_of_scope: ScansOutOfScope,
    silence: Silence,
    reload: Reload<'a>,
    /// `None`: there is none to come.
    hints: Option<Hints>,
    refusals: Refusals,
    handing: Handing,
}

impl Supervisor<'_> {
    /// Opens the gates and reports that.
    fn start(
        &mut self,
        nics: &[nic::Interface],
        doubts: Doubts,
        sandbox: &Sandbox,
        inherited: Option<&Inherited>,
    ) -> Result<(), Failure> {
        if let Some(inherited) = inherited {
            self.go_on(inherited, nics.len(), sandbox);
            return Ok(());
        }
        self.links.groups.open_gates().map_err(Failure::run)?;
        if let Some(witness) = &mut self.witness {
            witness.open_gates()?;
        }
        let names = self.links.groups.names().join(", ");
        self.messenger.record("start", format!("watching {names}"));
        self.kept.start(&self.messenger);
        let pid = std::process::id();
        let resources = startup::resources(self.config, nics.len());
        let kept = self
            .archiving
            .archive()
            .describe(wall_clock_ns())
            .into_iter();
        let kept: String = kept.map(|line| format!("\nsynledger: {line}")).collect();
        self.messenger.line(&format!(
            "watching {names} (process {pid}); Ctrl-C ends it\n{}{kept}\nsynledger: {}",
            resources.trim_end(),
            sandbox.describe()
        ));
        self.hints = Hints::start(self.config, nics, self.messenger.clone());
        if let Some(unproven) = doubts.unproven {
            self.messenger.record("fanout_unproven", unproven);
        }
        for Finding { what, why, .. } in doubts.blind {
            self.messenger
                .report("blind_spot", format!("blind spot: {what}. {why}"));
        }
        let status = format!("STATUS=watching {names}");
        self.service.manager.notify(&["READY=1", &status]);
        Ok(())
    }

    /// Supervises the run if it has started, and ends it.
    fn supervise_and_end(
        &mut self,
        started: Result<(), Failure>,
        signals: &Signals,
        drain: &AtomicBool,
    ) -> (Result<(), Failure>, Ending) {
        if started.is_ok() {
            self.supervise(signals);
        }
        // Ctrl-C ends the reader of a pipe, too.
        let ending = match signals.stopped() {
            false if self.ledger.reader_left() => Ending::ReaderLeft,
            false if self.blocking_is_over() => Ending::BlockingOver,
            _ => Ending::Asked,
        };
        if !self.handing.is_done {
            self.end(drain, ending);
        }
        (started, ending)
    }

    /// Runs until an [`Ending`].
    fn supervise(&mut self, signals: &Signals) {
        let mut ticks = 0_u32;
        while !signals.stopped() && !self.ledger.reader_left() && !self.blocking_is_over() {
            std::thread::sleep(TICK);
            ticks = ticks.wrapping_add(1);
            self.links
                .handle_events(&self.workers, self.witness.as_mut());
            if self.serve_successor(signals) {
                return;
            }
            if signals.reload() {
                self.on_reload();
            }
            if signals.report() {
                print_to_stderr("synledger: the books so far:\n");
                print_to_stderr(&report::ten_lines(&self.books()));
            }
            self.clock_steps.report(self.witness.as_mut());
            self.kept.update(self.ledger.written_ns(), &self.messenger);
            self.shed_steps.report();
            // Printed where they happened.
            for refusal in self.refusals.take() {
                self.messenger.record("sandbox_refused", refusal);
            }
            self.losses.update_outputs(&self.ledger.outputs());
            self.sign_of_life();
            if ticks.is_multiple_of(TICKS_PER_SECOND) {
                self.every_second(ticks / TICKS_PER_SECOND);
            }
        }
    }

    /// Nobody can be blocked any more, and a service manager is there to start a sensor that can.
    fn blocking_is_over(&self) -> bool {
        self.losses.helper_is_gone && self.service.may_be_restarted(monotonic_ns())
    }

    fn on_reload(&mut self) {
        let since = format!("MONOTONIC_USEC={}", monotonic_ns() / 1_000);
        self.service.manager.notify(&["RELOADING=1", &since]);
        self.ledger.control.reopen.store(true, Ordering::Relaxed);
        self.reload.reload(&self.workers);
        self.handing.terms.set_rules(&self.reload.rules);
        self.service.manager.notify(&["READY=1"]);
    }

    fn sign_of_life(&mut self) {
        let beats = || beats(&self.workers, &self.ledger);
        let now_ns = monotonic_ns();
        self.service.sign_of_life(now_ns, beats, &self.messenger);
    }

    fn every_second(&mut self, second: u32) {
        self.workers.keep_pinned(&self.messenger);
        self.links.reopen_gone(&self.workers, self.witness.as_mut());
        self.links.report_newcomers();
        self.links.lines.flush(false);
        self.links.surroundings.renew(&self.messenger);
        self.update_rings();
        let (groups, witness) = (&self.links.groups, self.witness.as_ref());
        let (books, published) = self.ledger.of_second(groups, witness);
        self.identities.update(&books, &self.messenger);
        self.losses.update(&books);
        let now_ns = monotonic_ns();
        if let Some(hints) = &mut self.hints
            && !hints.update(now_ns, &books, &groups.names())
        {
            self.hints = None;
        }
        self.silence.update(groups);
        self.progress
            .update(now_ns, beats(&self.workers, &self.ledger));
        let all_scans = self.reload.all_scans;
        (self.scans_out_of_scope).update(now_ns, all_scans, &books.shards);
        if let Some(record) = self.statistics.of_second(second, &books) {
            self.messenger.send(record);
        }
        let mut degraded = groups.unseen();
        degraded.extend(self.losses.active());
        let lag_us = published.lag_us.as_ref();
        self.scrapes.report_unanswered(now_ns, &self.messenger);
        self.scrapes.publish(Snapshot {
            tables: scrapes::tables(
                &self.config.common,
                &books.shards,
                witness.map(Watching::occupancy),
            ),
            ring_occupancy: groups.occupancy(),
            worker_behind: published.behind,
            log_lag: lag_us.map_or_else(LogLag::default, scrapes::lag),
            degraded,
            gap_s: self.kept.gap_s,
            retention_s: logging::retention(&books.outputs, self.archiving.archive()),
            since_frame_s: self.silence.seconds(groups),
            since_progress_s: self.progress.seconds(now_ns),
            blind: self.silence.blind(),
            clock_synchronized: is_clock_synchronized(),
            config_sha256: self.reload.config_sha256(),
            books,
        });
    }

    /// Reads the rings' counters, then passes them to the witness.
    fn update_rings(&mut self) {
        self.links.groups.update();
        if let Some(witness) = &mut self.witness {
            let board = &self.workers.board;
            witness.update(self.links.groups.open_mut(), || board.sum());
        }
    }

    /// The books as of now.
    fn books(&mut self) -> Books {
        self.links.groups.update();
        let groups = &self.links.groups;
        self.ledger.books(groups, self.witness.as_ref())
    }

    /// Closes the gates, waits two block timeouts, has the workers drain.
    fn end(&mut self, drain: &AtomicBool, ending: Ending) {
        self.service.manager.notify(&["STOPPING=1"]);
        if let Some(witness) = &mut self.witness {
            witness.close_gates();
        }
        self.links.groups.close_gates();
        self.kept.until_ns = wall_clock_ns();
        std::thread::sleep(Duration::from_millis(
            2 * u64::from(self.config.block_timeout_ms) + 60,
        ));
        self.links.lines.flush(true);
        let (why, common) = (ending.text(), &self.config.common);
        let is_error = common.strict || ending == Ending::BlockingOver;
        if ending != Ending::Asked && (is_error || !common.quiet) {
            print_to_stderr(&format!("synledger: {why}\n"));
        }
        let text = format!("{why}; reading what is left");
        self.messenger.record("stop", text);
        drain.store(true, Ordering::Release);
    }

    /// After all threads: finishes the witness, then closes the log with the last record of statistics.
    fn close(&mut self, witness: Option<&mut Witness>, logger: Logger) -> Books {
        if let Some(witness) = witness {
            self.update_rings();
            witness.finish();
            self.update_rings();
        }
        self.shed_steps.report();
        self.links.groups.update();
        let (groups, witness) = (&self.links.groups, self.witness.as_ref());
        let statistics = &mut self.statistics;
        let books = self.ledger.close(groups, witness, logger, |books| {
            statistics.record(books, true)
        });
        self.archiving.end(Stop::Now);
        self.kept.finish(self.kept.until_ns);
        books
    }
}
