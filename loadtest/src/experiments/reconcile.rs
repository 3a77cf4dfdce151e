//! One flood against the sensor, and whether all books close.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::lab::process::Usage;
use crate::lab::stop;
use crate::lab::{self, Counters, Lab};
use crate::receivers::sensor::{Books, Sensor};
use crate::report::record::{Point, Record};
use crate::send::{Schedule, Sender, Sent, flood_in};
use crate::traffic::Load;
use crate::truth::ledger::{Entry, Ledger, Log, Truth};

/// How long the kernel may take to pass on what it was given.
const SETTLE: Duration = Duration::from_secs(5);

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

/// A count as CSV has it.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "no count here reaches 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// A folder that goes with its maker, in memory where there is such a place: a disk must not decide.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// When there is no place for it.
    pub fn new() -> Result<Self> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = Self::base().join(format!("synload-{}-{number}", std::process::id()));
        let _leave = stop::leave();
        std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }

    fn base() -> PathBuf {
        let shared = Path::new("/dev/shm");
        if shared.is_dir() {
            shared.to_owned()
        } else {
            std::env::temp_dir()
        }
    }

    /// Removes those of makers that run no more; gives their names.
    #[must_use]
    pub fn clean() -> Vec<String> {
        Self::clean_if(lab::is_left_behind)
    }

    /// Removes those of this very process, which is about to end; gives their names.
    #[must_use]
    pub fn clean_own() -> Vec<String> {
        Self::clean_if(lab::is_own)
    }

    fn clean_if(wanted: fn(&str) -> bool) -> Vec<String> {
        let entries = std::fs::read_dir(Self::base()).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| wanted(name))
            // Whoever else is about to remove it is as welcome.
            .filter(|name| (0..5).any(|_| std::fs::remove_dir_all(Self::base().join(name)).is_ok()))
            .map(|name| format!("folder {name}"))
            .collect()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until the kernel has passed on all that was sent; gives what it counted since `before`.
///
/// # Errors
///
/// When the counters cannot be read.
pub fn settle(lab: &Lab, before: &Counters, sent: &Sent) -> Result<Counters> {
    let give_up = Instant::now() + SETTLE;
    loop {
        let passed = lab.counters()?.since(before);
        if passed.rx_packets + sent.lost_of(passed.tx_dropped) >= sent.tally.frames
            || Instant::now() > give_up
        {
            return Ok(passed);
        }
        thread::sleep(Duration::from_millis(10));
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
