//! `read`: captures in, the log of a live run out.

use super::logging;
use super::rare_links::Judgement;
use super::replay::{self, End, Fed, Replay, Room, Span, Taken};
use super::signals::Signals;
use super::stamps::StampCounts;
use crate::books::reading::ReadingCounts;
use crate::books::{Books, InFlight};
use crate::capture::pcap::STDIN_NAME;
use crate::capture::pcap::files::Files;
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::host::sandbox::Sandbox;
use crate::inspect::contact::CONTACTS_PER_FRAME;
use crate::log::formats::interfaces::Interfaces;
use crate::log::logger::{Control, Logger, Published};
use crate::log::notice::Stats;
use crate::log::sinks::archive::Stop;
use crate::observe::losses::{self, LossWatch};
use crate::observe::report;
use crate::observe::summary::{Facts, Reports};
use crate::observe::terminal::print_to_stderr;
use crate::respond::guard::Guard;
use crate::sensor::archiving::Archiving;
use crate::sensor::delivery::Deliveries;
use crate::sensor::threads::spawn;
use crate::sensor::{self, Board, RunKeys};
use crate::settings::flags::ReadArgs;
use crate::settings::memory::CHUNKS;
use crate::settings::{Common, ReadConfig};
use crate::shard::Shard;
use crate::time::clock::monotonic_ns;
use crate::words::shown;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::{Cell, RefCell};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

/// Reads all captures as one stream. A damaged one is read as far as it goes; the exit code is then 1, as after
/// SIGINT or SIGTERM.
pub fn read(args: ReadArgs) -> Result<u8, Failure> {
    let signals = Signals::register().map_err(Failure::run)?;
    let config = ReadConfig::new(args)?;
    let common = &config.common;
    let bytes = config.memory.bytes();
    crate::check::refuse_too_much_memory(bytes, || {
        let asked = config.memory.asked_mib;
        format!("--memory-mib {asked} takes {} MiB", bytes >> 20)
    })?;
    let keys = keys(&config).map_err(Failure::run)?;
    let ours = Arc::new(Localities::offline(&common.local));
    let policy = sensor::policy(common, ours, true, false);
    let interfaces = Interfaces::default();
    let localities = Arc::new(RwLock::new(Arc::clone(&policy.localities)));
    // They never change here: no lock for each record.
    let ours = Arc::clone(&policy.localities);
    let direction = Arc::new(move |src, dst| ours.direction(src, dst).word());
    let context = logging::context(common, &interfaces, direction, None, true);
    let (shards, consumers) = sensor::shards(common, keys, &policy, false);
    let stop = signals.stop_flag();
    // The capture may be of another host: this machine's gateways and resolvers say nothing about it.
    let guard = Guard::new(&localities, &Arc::default(), &logging::allowed(common));
    let mut log = logging::open(common, &context, guard)?;
    let deliveries = Deliveries::start(&common.outputs, None);
    let rotates = common.outputs.iter().any(|one| one.rotation.is_on());
    let mut archiving = match rotates {
        true => Archiving::start(log.0.archive(), &Sandbox::off()),
        false => Archiving::unneeded(log.0.archive()),
    };
    let reports = Reports::open(&config.reports, &mut log.1)?;
    let (mut logger, _notices, control) = logging::logger(common, log, consumers, None, stop);
    let board = Board::new(common.workers);
    let room = Room::new(common.room, config.reorder_ns);
    let mut replay = Replay::new(common.workers, room, keys.fanout, common.opening());
    logger.run_time = Some(replay.epochs().clone());
    let mut reading = Reading::new(&signals, &control, &config, &board, interfaces);
    let captures = Captures::open(&mut reading, &mut replay, &config);
    let logger = match config.one_thread {
        true => read_alone(captures, shards, logger, common, &board),
        false => read_in_threads(captures, shards, logger, common, &board),
    };
    let books = close_log(common, logger, &board, &replay);
    archiving.end(Stop::WhenDone);
    deliveries.finish(stop);
    conclude(reading, &books, replay.span(), &config, &reports)
}

/// Reads, decides and writes in this thread: frames and events are handed to no other.
fn read_alone(
    captures: Captures<'_, '_>,
    mut shards: Vec<Shard>,
    logger: Logger,
    common: &Common,
    board: &Board,
) -> Logger {
    let mut shard = shards.pop().expect("one worker");
    super::threads::pin(common.cores.first().copied(), 0);
    shard.outbox.log_directly(Box::new(logger));
    let publish = |shard: &Shard| board.publish(0, &shard.counts);
    *replay::work(shard, 0, captures, publish).expect("the shard had it")
}

/// Reads in this thread, decides in one for each worker, writes in another.
fn read_in_threads(
    captures: Captures<'_, '_>,
    shards: Vec<Shard>,
    mut logger: Logger,
    common: &Common,
    board: &Board,
) -> Logger {
    std::thread::scope(|scope| {
        let logger = &mut logger;
        spawn(scope, "logger".to_owned(), move || logger.run());
        let (feeds, fed) = replay::feeds(shards.len());
        for (id, (shard, fed)) in shards.into_iter().zip(fed).enumerate() {
            let cpu = common.cores.get(id).copied();
            spawn(scope, format!("worker-{id}"), move || {
                super::threads::pin(cpu, id);
                replay::work(shard, id, fed, |shard| board.publish(id, &shard.counts));
            });
        }
        for fed in captures {
            for feed in &feeds {
                // A worker ends early only by a panic, which ends the program.
                let _ = feed.send(fed.clone());
            }
        }
    });
    logger
}

/// Prints the books, writes the reports, and gives the exit code.
fn conclude(
    mut reading: Reading<'_>,
    books: &Books,
    span: Span,
    config: &ReadConfig,
    reports: &Reports,
) -> Result<u8, Failure> {
    let common = &config.common;
    if reading.control.closed.load(Ordering::Relaxed) {
        reports.write(&reading.facts(books, span, config))?;
        // `read | head`
        if !common.strict {
            return Ok(0);
        }
        print_to_stderr("synledger: standard output lost its reader: the log ends there\n");
        return Ok(3);
    }
    if books.frames_offered == Some(0)
        && let Some(failure) = reading.failure()
    {
        return Err(failure);
    }
    if let Some(place) = &reading.stopped_at {
        print_to_stderr(&format!(
            "synledger: stopped at {place}: the log ends there\n"
        ));
    }
    let is_whole = reading.failures.is_empty() && reading.stopped_at.is_none();
    let render = match is_whole {
        true => report::ten_lines,
        false => report::ten_lines_of_a_part,
    };
    let code = super::close(common, books, render);
    if let Err(error) = reports.write(&reading.facts(books, span, config)) {
        reading.failures.push(error.to_string());
    }
    match reading.failure() {
        Some(failure) => Err(failure),
        None => Ok(code.max(u8::from(reading.stopped_at.is_some()))),
    }
}

/// Keys of the hashes: random without `--seed`.
fn keys(config: &ReadConfig) -> std::io::Result<RunKeys> {
    match config.seed {
        Some(seed) => Ok(RunKeys::from_seed(seed)),
        None => RunKeys::random(),
    }
}

/// State while captures are read.
struct Reading<'a> {
    signals: &'a Signals,
    control: &'a Control,
    common: &'a Common,
    board: &'a Board,
    interfaces: Interfaces,
    failures: Vec<String>,
    /// Frames of a capture are of link types that are not read.
    left_out: Vec<String>,
    /// Where a signal stopped it.
    stopped_at: Option<String>,
    losses: RefCell<LossWatch>,
    /// CLOCK_MONOTONIC at the last look for losses.
    looked_ns: Cell<i64>,
}

impl<'a> Reading<'a> {
    fn new(
        signals: &'a Signals,
        control: &'a Control,
        config: &'a ReadConfig,
        board: &'a Board,
        interfaces: Interfaces,
    ) -> Self {
        Self {
            signals,
            control,
            common: &config.common,
            board,
            interfaces,
            failures: Vec::new(),
            left_out: Vec::new(),
            stopped_at: None,
            losses: RefCell::default(),
            looked_ns: Cell::new(0),
        }
    }

    /// Before frames are given out: the logger knows each interface before its first event. So many are known already.
    fn progress(
        &self,
        files: &mut Files,
        mut notices: Vec<String>,
        known: &mut usize,
        bar: &ProgressBar,
    ) {
        bar.set_position(files.bytes_read());
        for name in &files.interfaces()[*known..] {
            self.interfaces.push(name.clone());
        }
        *known = files.interfaces().len();
        notices.extend(files.take_notices());
        for notice in notices {
            self.print(bar, &notice);
        }
        self.report_losses(bar);
    }

    /// Keeps the errors of all files, among them link types that are not read.
    fn judge_links(&mut self, files: &mut Files, replay: &mut Replay) {
        let errors = files.take_errors().into_iter();
        let mut failures: Vec<(usize, String)> = errors
            .map(|(number, error)| (number, error.to_string()))
            .collect();
        let links = replay.take_rare_links();
        for file in files.read() {
            let Some(links) = links.get(&file.number) else {
                continue;
            };
            let name = file.name;
            match links.judge(file.frames) {
                Some(Judgement::Whole(text)) => {
                    failures.push((file.number, format!("{name}: {text}")));
                }
                Some(Judgement::Part(text)) => {
                    let text = format!("{name}: {text}");
                    if !self.common.quiet {
                        print_to_stderr(&format!("synledger: {text}\n"));
                    }
                    self.left_out.push(text);
                }
                None => {}
            }
        }
        failures.sort_by_key(|(number, _)| *number);
        self.failures = failures.into_iter().map(|(_, text)| text).collect();
    }

    /// Prints a line that `--quiet` silences.
    fn print(&self, bar: &ProgressBar, line: &str) {
        if !self.common.quiet {
            bar.suspend(|| print_to_stderr(&format!("synledger: {line}\n")));
        }
    }

    /// Handles signals. True: a signal, or a log without a reader, ends the reading.
    fn ends(&self, replay: &Replay, bar: &ProgressBar) -> bool {
        if self.signals.reload() {
            self.control.reopen.store(true, Ordering::Relaxed);
        }
        if self.signals.report() {
            let text = report::ten_lines(&self.books(replay.taken()));
            bar.suspend(|| print_to_stderr(&text));
        }
        self.signals.stopped() || self.control.closed.load(Ordering::Relaxed)
    }

    /// Reports losses on standard error only: the log must not depend on the time of day.
    fn report_losses(&self, bar: &ProgressBar) {
        const EVERY_NS: i64 = 500_000_000;
        let now_ns = monotonic_ns();
        if now_ns.saturating_sub(self.looked_ns.get()) < EVERY_NS {
            return;
        }
        self.looked_ns.set(now_ns);
        let books = self.books(Taken::default());
        let mut all = losses::before_outputs(&books);
        all.extend(losses::of_outputs(&books.outputs));
        for turn in self.losses.borrow_mut().look(now_ns, all) {
            if turn.is_error || !self.common.quiet {
                bar.suspend(|| print_to_stderr(&format!("synledger: {}\n", turn.text)));
            }
        }
    }

    /// The books after so much was read.
    fn books(&self, taken: Taken) -> Books {
        let published = self.control.published.lock();
        let published = published.unwrap_or_else(PoisonError::into_inner);
        let mut books = Books {
            shards: self.board.sum(),
            frames_offered: Some(taken.frames),
            reading: Some(counts(taken)),
            ..logging::books(self.common, &published)
        };
        // Room of all chunks, doubled because counters are sampled.
        let frames = 2 * (CHUNKS * self.common.room.chunk_frames()) as u64;
        books.in_flight = InFlight {
            frames,
            contacts: CONTACTS_PER_FRAME as u64 * frames,
            // All, at worst: the logger publishes twice a second, and may wait for a reader.
            records: books.raised_all(),
        };
        books
    }

    /// What reports say beside their counts.
    fn facts(&self, books: &Books, span: Span, config: &ReadConfig) -> Facts {
        let name = |path: &PathBuf| match path.as_os_str() == "-" {
            true => STDIN_NAME.to_owned(),
            false => shown(path),
        };
        let stopped_at = self.stopped_at.iter();
        let stopped = stopped_at.map(|place| format!("stopped at {place}: the report ends there"));
        let faults = self.failures.iter().chain(&self.left_out).cloned();
        let last_ns = span.last.wall_ns;
        let has_frames = books.frames_offered > Some(0);
        Facts {
            captures: config.files.iter().map(name).collect(),
            span_ns: has_frames.then(|| (last_ns.saturating_sub(span.run_ns), last_ns)),
            books: books.clone(),
            faults: faults.chain(stopped).collect(),
        }
    }

    /// Errors of the files.
    fn failure(&self) -> Option<Failure> {
        let all = self.failures.join("\nsynledger: ");
        (!all.is_empty()).then_some(Failure::Run(all))
    }
}

/// The captures as workers are fed with them, until a signal stops the reading. Their errors are kept then.
struct Captures<'r, 'a> {
    reading: &'r mut Reading<'a>,
    replay: &'r mut Replay,
    files: Files,
    /// Interfaces that the logger knows.
    known: usize,
    bar: ProgressBar,
}

impl<'r, 'a> Captures<'r, 'a> {
    fn open(reading: &'r mut Reading<'a>, replay: &'r mut Replay, config: &ReadConfig) -> Self {
        let files = Files::new(&config.files, config.reorder_ns);
        let bar = progress(&files, &config.files);
        Self {
            reading,
            replay,
            files,
            known: 0,
            bar,
        }
    }

    fn end(&mut self, end: End) {
        self.bar.finish_and_clear();
        self.reading.judge_links(&mut self.files, self.replay);
        if end == End::Stopped {
            let place = self.files.place();
            self.reading.stopped_at = Some(place.unwrap_or_else(|| "the end".to_owned()));
        }
    }
}

impl Iterator for Captures<'_, '_> {
    type Item = Fed;

    fn next(&mut self) -> Option<Fed> {
        let (reading, known, bar) = (&*self.reading, &mut self.known, &self.bar);
        let ends = |replay: &Replay| reading.ends(replay, bar);
        let mut progress =
            |files: &mut Files, notices| reading.progress(files, notices, known, bar);
        match self.replay.next(&mut self.files, &ends, &mut progress) {
            Ok(fed) => Some(fed),
            Err(end) => {
                self.end(end);
                None
            }
        }
    }
}

fn counts(taken: Taken) -> ReadingCounts {
    let StampCounts {
        order,
        outlying,
        restarts,
    } = taken.stamps;
    ReadingCounts {
        frames_reordered: order.reordered,
        reorder_window_full: order.window_full,
        stamps_outlying: outlying,
        clock_restarts: restarts,
    }
}

/// Closes the log with its one record of statistics, in packet time: the same bytes with any number of workers.
fn close_log(common: &Common, mut logger: Logger, board: &Board, replay: &Replay) -> Books {
    let at_exit = |published: &Published| Books {
        shards: board.sum(),
        frames_offered: Some(replay.taken().frames),
        reading: Some(counts(replay.taken())),
        at_exit: true,
        ..logging::books(common, published)
    };
    let Span { run_ns, last } = replay.span();
    let run_s = run_ns as f64 / 1e9;
    logger.tap.reach(last);
    let summary = logger.finish_with(|so_far| {
        let stats = Stats {
            now: at_exit(so_far),
            before: Books::default(),
            interval_s: run_s,
            run_s,
            last: true,
        };
        Some(stats.notice(last.wall_ns))
    });
    at_exit(&summary)
}

/// A progress bar, for a terminal and long files.
fn progress(files: &Files, paths: &[PathBuf]) -> ProgressBar {
    const LONG_BYTES: u64 = 64 << 20;
    let what = match paths {
        [one] => shown(one),
        all => format!("{} files", all.len()),
    };
    match files.total_bytes() {
        Some(total) if total >= LONG_BYTES && std::io::stderr().is_terminal() => {
            let style =
                ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
                    .expect("the template is constant");
            ProgressBar::new(total).with_style(style).with_message(what)
        }
        _ => ProgressBar::hidden(),
    }
}
