//! `reconcile`: one flood against the sensor, and whether all books close.

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Args;

use super::common::{Common, LabArgs};
use crate::flags::{Rate, rate, seconds, whole};
use crate::lab::process::Usage;
use crate::lab::{Counters, Lab, Scratch};
use crate::receivers::sensor::{DEPTHS, Sensor};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::say::counted;
use crate::send::{Schedule, Sender, Sent, flood_in, settle};
use crate::traffic::{Load, Name};
use crate::truth::books::Books;
use crate::truth::ledger::{Entry, Ledger, Log, Truth};

/// Flags of `reconcile`.
#[derive(Clone, Debug, Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    common: Common,
    /// Which traffic.
    #[arg(long, value_enum, default_value = "mix")]
    load: Name,
    /// Capture depth of the sensor, one (books takes a list).
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
    /// Packets per second, 1 to 100000000, or max.
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Seconds of the flood, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// Floods, one after the other, each with a sensor of its own, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
    /// Print every line, not only the first that does not close.
    #[arg(long)]
    all: bool,
}

impl ReconcileArgs {
    /// Floods the sensor and says whether the outer books close.
    ///
    /// # Errors
    ///
    /// When sensor or sender fail.
    pub fn run(&self) -> Result<bool> {
        let (lab, sensor) = (self.lab.make()?, self.common.sensor(&self.depth)?);
        let mut record = self.common.record("reconcile")?;
        let flood = Flood {
            load: Load::new(self.load, self.common.seed),
            sender: self.common.sender,
            schedule: Schedule::for_seconds(self.rate.0, self.seconds),
        };
        let mut closed = true;
        for run in 1..=self.runs {
            let outcome = reconcile(&lab, &sensor, &flood)?;
            if self.all {
                for entry in &outcome.entries {
                    say!("{} {entry}", if entry.closes() { "  " } else { "✗ " });
                }
            }
            closed &= tell(&outcome);
            let point = Point {
                subject: "synledger".to_owned(),
                load: self.load.to_string(),
                depth: self.depth.clone(),
                rate_pps: self.rate.0,
                run,
            };
            outcome.record(&mut record, &point)?;
        }
        Ok(closed)
    }
}

/// Reports whether the books close, or which entry does not; gives whether they close.
pub fn tell(outcome: &Outcome) -> bool {
    let (sent, books) = (&outcome.sent, &outcome.books);
    let drops = books.all_rings(|ring| ring.tp_drops);
    let lost = outcome.lost_before;
    let verdict = match outcome.first_open() {
        None => format!("all {} lines close", outcome.entries.len()),
        Some(entry) => format!("DOES NOT CLOSE: {entry}"),
    };
    say!(
        "{} at {:.0} packets/s, {}; lost before the rings {lost}, in them {drops}: {verdict}",
        counted(sent.tally.frames, "frame"),
        sent.pps(),
        counted(sent.tally.attempts, "attempt")
    );
    outcome.first_open().is_none()
}

/// One flood.
#[derive(Clone, Debug)]
pub struct Flood {
    /// What.
    pub load: Load,
    /// By whom.
    pub sender: Sender,
    /// How fast, how long.
    pub schedule: Schedule,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What was sent.
    pub sent: Sent,
    /// What the kernel counted.
    pub kernel: Counters,
    /// The sensor's books.
    pub books: Books,
    /// Its log.
    pub log: Log,
    /// What it used.
    pub usage: Usage,
    /// Every line of the outer books.
    pub entries: Vec<Entry>,
    /// Frames that no line accounts for.
    pub unaccounted_frames: u64,
    /// Attempts that no line accounts for.
    pub unaccounted_attempts: u64,
    /// Frames lost before the rings.
    pub lost_before: u64,
    /// Attempts lost with frames, before the rings or in them.
    pub attempts_lost: u64,
}

impl Outcome {
    /// The first line that does not close.
    #[must_use]
    pub fn first_open(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| !entry.closes())
    }

    /// Records what tables show of it.
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
/// When sensor or sender fail. Books that do not close are no error here: see [`Outcome::first_open`].
pub fn reconcile(lab: &Lab, sensor: &Sensor, flood: &Flood) -> Result<Outcome> {
    reconcile_with(lab, sensor, flood, |_| Ok(()))
}

/// The same; `prepare` is given the sensor's process before the flood, and what it gives is kept until the end.
///
/// # Errors
///
/// As there, and what `prepare` says.
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
    let mut log = Log::read(&finished.log, &flood.load, &truth)?;
    let books = log.books.take();
    let books = books.with_context(|| format!("no books: {}", finished.says))?;
    let ledger = Ledger {
        load: &flood.load,
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
        kernel,
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
