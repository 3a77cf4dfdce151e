//! `run`: opens rings, starts threads, supervises them, closes the books.

mod assembly;
mod clock_steps;
mod dry_run;
mod groups;
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
mod scan_scope;
mod scrapes;
mod services;
mod shedding;
mod startup;
mod statistics;
mod surroundings;
mod waiting;
mod witness;
mod workers;

use super::signals::Signals;
use crate::books::Books;
use crate::check::Needs;
use crate::error::Failure;
use crate::host::nic;
use crate::log::logger::Logger;
use crate::observe::metrics::{LogLag, Snapshot};
use crate::observe::report;
use crate::observe::terminal::print_to_stderr;
use crate::settings::flags::RunArgs;
use crate::settings::{RunConfig, descriptors};
use crate::time::clock::monotonic_ns;
use crate::witness::thread::Witness;
use clock_steps::ClockSteps;
use hints::Hints;
use identities::OpenIdentities;
use ledger::Ledger;
use links::Links;
use losses::Losses;
use messenger::Messenger;
use scan_scope::ScansOutOfScope;
use scrapes::Scrapes;
use shedding::ShedSteps;
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
    let Some((config, selection)) = configure(args, &signals)? else {
        return Ok(0);
    };
    let unproven = startup::report(&config, &selection)?;
    let nics = &selection.interfaces;
    if config.dry_run {
        return dry_run::dry_run(&config, nics);
    }
    assembly::watch(&config, &signals, nics, unproven)
}

/// The checked flags and their interfaces, which share the rings; `None`: a signal ended the wait for interfaces.
/// Raises the limit of descriptors.
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

/// The main thread during the run: ten ticks a second, the books once a second.
struct Supervisor<'a> {
    config: &'a RunConfig,
    messenger: Messenger,
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
    /// `None` with `--scan-scope all`.
    scans_out_of_scope: Option<ScansOutOfScope>,
    /// `None` with `--quiet`.
    hints: Option<Hints>,
}

impl Supervisor<'_> {
    /// Opens the gates and reports that. `unproven`: why the fanout may split connections, if it may.
    fn start(&mut self, nics: &[nic::Interface], unproven: Option<String>) -> Result<(), Failure> {
        self.links.groups.open_gates().map_err(Failure::run)?;
        if let Some(witness) = &mut self.witness {
            witness.open_gates()?;
        }
        let names = self.links.groups.names().join(", ");
        self.messenger.record("start", format!("watching {names}"));
        let pid = std::process::id();
        let resources = startup::resources(self.config, nics.len());
        self.messenger.line(&format!(
            "watching {names} (process {pid}); Ctrl-C ends it\n{}",
            resources.trim_end()
        ));
        self.hints = Hints::start(self.config, nics, self.messenger.clone());
        if let Some(unproven) = unproven {
            self.messenger.record("fanout_unproven", unproven);
        }
        Ok(())
    }

    /// Runs until SIGINT or SIGTERM, or until standard output has lost its reader.
    fn supervise(&mut self, signals: &Signals) {
        let mut ticks = 0_u32;
        while !signals.stopped() && !self.ledger.reader_left() {
            std::thread::sleep(TICK);
            ticks = ticks.wrapping_add(1);
            self.links
                .handle_events(&self.workers, self.witness.as_mut());
            if signals.reload() {
                self.ledger.control.reopen.store(true, Ordering::Relaxed);
                let text = "log files opened anew".to_owned();
                self.messenger.report("reload", text);
            }
            if signals.report() {
                print_to_stderr("synledger: the books so far:\n");
                print_to_stderr(&report::ten_lines(&self.books()));
            }
            self.clock_steps.report(self.witness.as_mut());
            self.shed_steps.report();
            self.losses.update_outputs(&self.ledger.outputs());
            if ticks.is_multiple_of(TICKS_PER_SECOND) {
                self.every_second(ticks / TICKS_PER_SECOND);
            }
        }
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
        if let Some(hints) = &mut self.hints {
            hints.update(now_ns, &books, groups);
        }
        if let Some(scans) = &mut self.scans_out_of_scope {
            scans.update(now_ns, &books.shards);
        }
        if let Some(record) = self.statistics.of_second(second, &books) {
            self.messenger.send(record);
        }
        let mut degraded = groups.unseen();
        degraded.extend(self.losses.active());
        let lag_us = published.lag_us.as_ref();
        self.scrapes.publish(Snapshot {
            tables: scrapes::tables(
                &self.config.common,
                &books.shards,
                witness.map(Watching::occupancy),
            ),
            ring_occupancy: groups.occupancy(),
            shed_levels: self.workers.board.shed_levels(),
            worker_behind: published.behind,
            log_lag: lag_us.map_or_else(LogLag::default, scrapes::lag),
            degraded,
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

    /// Closes the gates, waits two block timeouts, has the workers drain. `asked`: a signal ended the run. Returns
    /// whether the lost reader of standard output did.
    fn end(&mut self, drain: &AtomicBool, asked: bool) -> bool {
        if let Some(witness) = &mut self.witness {
            witness.close_gates();
        }
        self.links.groups.close_gates();
        std::thread::sleep(Duration::from_millis(
            2 * u64::from(self.config.block_timeout_ms) + 60,
        ));
        self.links.lines.flush(true);
        // Ctrl-C ends the reader of a pipe, too.
        let lost_reader = !asked && self.ledger.reader_left();
        let why = match lost_reader {
            true => "standard output has lost its reader: that ends the run",
            false => "asked to stop",
        };
        let common = &self.config.common;
        if lost_reader && (common.strict || !common.quiet) {
            print_to_stderr(&format!("synledger: {why}\n"));
        }
        let text = format!("{why}; reading what is left");
        self.messenger.record("stop", text);
        drain.store(true, Ordering::Release);
        lost_reader
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
        self.ledger.close(groups, witness, logger, |books| {
            statistics.record(books, true)
        })
    }
}
