//! `reconcile`: floods the sensor and checks that the outer books close.

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Args;

use super::common::{Common, LabArgs};
use crate::flags::{Rate, rate, seconds, whole};
use crate::judge::Findings;
use crate::lab::process::Usage;
use crate::lab::{Lab, Scratch};
use crate::receivers::sensor::{DEPTHS, Sensor};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::say::counted;
use crate::send::{Schedule, Sender, Transmission, flood_in, settle};
use crate::traffic::{Load, Name};
use crate::truth::books::Books;
use crate::truth::ledger::{Entry, Ledger, LogSummary, Truth};

/// Flags of `reconcile`.
#[derive(Clone, Debug, Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    common: Common,
    /// The load.
    #[arg(long, value_enum, default_value = "mix")]
    load: Name,
    /// Capture depth of the sensor.
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
    /// Packets per second, 1 to 100000000, or max.
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Seconds of the flood, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// Floods, each with a new sensor, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
    /// Print every line, not only the first that does not close.
    #[arg(long)]
    all: bool,
}

impl ReconcileArgs {
    /// Floods the sensor; outer books that do not close are a failure.
    ///
    /// # Errors
    ///
    /// When the sensor or the sender fails.
    pub fn run(&self) -> Result<Findings> {
        let (lab, sensor) = (self.lab.make()?, self.common.sensor(&self.depth)?);
        let mut record = self.common.record("reconcile")?;
        let flood = Flood {
            load: Load::new(self.load, self.common.seed),
            sender: self.common.sender,
            schedule: Schedule::for_seconds(self.rate.0, self.seconds),
        };
        let mut findings = Findings::default();
        for run in 1..=self.runs {
            let outcome = reconcile(&lab, &sensor, &flood)?;
            if self.all {
                for entry in &outcome.entries {
                    say!("{} {entry}", if entry.closes() { "  " } else { "✗ " });
                }
            }
            findings.join(report(&outcome));
            let point = Point {
                subject: "synledger".to_owned(),
                load: self.load.to_string(),
                depth: self.depth.clone(),
                rate_pps: self.rate.0,
                run,
            };
            outcome.record(&mut record, &point)?;
        }
        Ok(findings)
    }
}

/// Prints whether the books close; the first entry that does not is a failure.
pub fn report(outcome: &Outcome) -> Findings {
    let (sent, books) = (&outcome.sent, &outcome.books);
    let drops = books.all_rings(|ring| ring.tp_drops);
    let lost = outcome.lost_before;
    let verdict = match outcome.first_open() {
        None => format!("all {} lines close", outcome.entries.len()),
        Some(_) => "its books are open".to_owned(),
    };
    say!(
        "{} at {:.0} packets/s, {}; lost before the rings {lost}, in them {drops}: {verdict}",
        counted(sent.tally.frames, "frame"),
        sent.pps(),
        counted(sent.tally.attempts, "attempt")
    );
    let mut findings = Findings::default();
    if let Some(entry) = outcome.first_open() {
        findings.fail(format!("DOES NOT CLOSE: {entry}"));
    }
    findings
}

/// One flood.
#[derive(Clone, Debug)]
pub struct Flood {
    /// The load.
    pub load: Load,
    /// How frames are sent.
    pub sender: Sender,
    /// Rate and end.
    pub schedule: Schedule,
}

/// The result of a flood.
#[derive(Debug)]
pub struct Outcome {
    /// What was sent.
    pub sent: Transmission,
    /// The sensor's books.
    pub books: Books,
    /// The sensor's log.
    pub log: LogSummary,
    /// Resources that the sensor used.
    pub usage: Usage,
    /// All lines of the outer books.
    pub entries: Vec<Entry>,
    /// Frames unaccounted for.
    pub unaccounted_frames: u64,
    /// Attempts unaccounted for.
    pub unaccounted_attempts: u64,
    /// Frames lost before the rings.
    pub lost_before: u64,
    /// Attempts whose frames were lost, before the rings or in them.
    pub attempts_lost: u64,
}

impl Outcome {
    /// The first line that does not close.
    #[must_use]
    pub fn first_open(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| !entry.closes())
    }

    /// Appends its numbers to `record`.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn record(&self, record: &mut Record, point: &Point) -> Result<()> {
        let ring = |count| self.books.all_rings(count);
        let logged = self.books.logged();
        let open = self.entries.iter().filter(|entry| !entry.closes()).count();
        for (metric, value, unit) in [
            ("sent", self.sent.tally.frames, "frames"),
            ("refused", self.sent.refused, "frames"),
            ("dropped_before", self.lost_before, "frames"),
            ("offered", ring(|ring| ring.tp_packets), "frames"),
            ("read", ring(|ring| ring.frames_read), "frames"),
            ("dropped", ring(|ring| ring.tp_drops), "frames"),
            ("shed", ring(|ring| ring.shed_data), "frames"),
            ("filtered", self.books.filtered().unwrap_or(0), "frames"),
            ("attempts_sent", self.sent.tally.attempts, "attempts"),
            ("attempts_written", logged.written, "attempts"),
            ("attempts_folded", logged.folded, "attempts"),
            ("attempts_dropped", logged.dropped, "attempts"),
            ("attempts_lost", self.attempts_lost, "attempts"),
            ("open_lines", open as u64, "lines"),
            ("unaccounted_frames", self.unaccounted_frames, "frames"),
            (
                "unaccounted_attempts",
                self.unaccounted_attempts,
                "attempts",
            ),
            ("memory_peak", self.usage.memory_peak_bytes, "bytes"),
        ] {
            record.add(point, metric, float(value), unit)?;
        }
        for (metric, value, unit) in [
            ("rate_sent", self.sent.pps(), "packets/s"),
            ("cpu", self.usage.user_s + self.usage.system_s, "s"),
            ("cpu_machine", self.usage.machine_s, "s"),
        ] {
            record.add(point, metric, value, unit)?;
        }
        Ok(())
    }
}

/// Floods the sensor and reconciles.
///
/// # Errors
///
/// When the sensor or the sender fails. Books that do not close are no error: see [`Outcome::first_open`].
pub fn reconcile(lab: &Lab, sensor: &Sensor, flood: &Flood) -> Result<Outcome> {
    reconcile_with(lab, sensor, flood, |_| Ok(()))
}

/// As [`reconcile`], but calls `prepare` with the sensor's process id before the flood, and drops its result after the
/// flood.
///
/// # Errors
///
/// See [`reconcile`]; also when `prepare` fails.
pub fn reconcile_with<T>(
    lab: &Lab,
    sensor: &Sensor,
    flood: &Flood,
    prepare: impl FnOnce(u32) -> Result<T>,
) -> Result<Outcome> {
    let scratch = Scratch::new()?;
    let before = lab.counters()?;
    let session = sensor.start_in(lab, scratch.path())?;
    let kept = prepare(session.running.pid())?;
    let stop = AtomicBool::new(false);
    let sent = flood_in(lab, &flood.load, flood.sender, &flood.schedule, &stop)?;
    let kernel = settle(lab, &before, &sent)?;
    drop(kept);
    let finished = session.finish()?;
    let truth = Truth::new(&flood.load, sent.tally.frames);
    let mut log = LogSummary::read(&finished.log, &flood.load, &truth)?;
    let books = log.books.take();
    let books = books.with_context(|| format!("no books: {}", finished.stderr))?;
    let ledger = Ledger {
        sent: &sent,
        kernel,
        books: &books,
        log: &log,
        truth: &truth,
    };
    let entries = ledger.entries();
    let (frames, attempts) = (ledger.unaccounted_frames(), ledger.unaccounted_attempts());
    let (lost_before, attempts_lost) = (ledger.lost_before(), ledger.attempts_lost());
    Ok(Outcome {
        sent,
        books,
        log,
        usage: finished.usage,
        entries,
        unaccounted_frames: frames,
        unaccounted_attempts: attempts,
        lost_before,
        attempts_lost,
    })
}
