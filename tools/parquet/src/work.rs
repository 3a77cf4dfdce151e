//! The work: each closed segment becomes files, in order, until all is delivered or the program is to end.

use crate::credentials::Secret;
use crate::encode::Encoder;
use crate::report::Report;
use crate::schedule::Host;
use crate::segment::{End, Segment};
use crate::spool::Spool;
use crate::store::Store;
use crate::table::Table;
use bytes::Bytes;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// What ends the work.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// At once, after the file that is being put.
    pub stop: Arc<AtomicBool>,
    /// Once the spool is empty.
    pub when_empty: Arc<AtomicBool>,
}

impl Ends {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn is_last_round(&self) -> bool {
        self.when_empty.load(Ordering::Relaxed)
    }

    /// Waits this long, or until the program is to end.
    fn wait(&self, how_long: Duration, also_last_round: bool) {
        let until = Instant::now() + how_long;
        while !(self.is_stopped() || also_last_round && self.is_last_round()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// Settings of the work.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Whose moments and waits.
    pub host: Host,
    /// It uploads once in so long.
    pub period: Duration,
    /// Bytes a second at most.
    pub rate: Option<u64>,
}

/// The work on one spool.
#[derive(Debug)]
pub struct Work {
    /// Where segments come from.
    pub spool: Spool,
    /// Where files go.
    pub store: Store,
    /// What is not printed.
    pub secret: Secret,
    /// Settings.
    pub plan: Plan,
    /// What ends it.
    pub ends: Ends,
    /// What it says.
    pub report: Report,
    /// Encodes files.
    pub encoder: Encoder,
}

/// What is left to do with a segment whose rows are at their place.
enum Left {
    Remove,
    SetAside,
}

impl Work {
    /// Works until it is to end.
    pub fn run(&mut self) {
        loop {
            // Read before the spool is: what a sensor closed before its end is delivered.
            let last = self.ends.is_last_round();
            self.round();
            if last || self.ends.is_stopped() {
                let counts = self.report.counts;
                let rows = counts.rows;
                return self
                    .report
                    .say("ended", "", &format!("{rows} rows delivered"));
            }
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            // A moment that has just passed is not met twice.
            let pause = self.plan.host.until_moment(now + LOOK, self.plan.period) + LOOK;
            self.ends.wait(pause, true);
        }
    }

    /// Delivers each closed segment, the oldest first. A store that fails is tried again until the program is to stop.
    fn round(&mut self) {
        let mut failures = 0;
        while !self.ends.is_stopped() {
            let segments = match self.spool.closed() {
                Ok(segments) if segments.is_empty() => return,
                Ok(segments) => segments,
                Err(error) => {
                    failures += 1;
                    self.fail(failures, "spool", &error.to_string());
                    continue;
                }
            };
            for segment in segments {
                if self.ends.is_stopped() {
                    return;
                }
                match self.deliver(&segment) {
                    Ok(()) => failures = 0,
                    Err(error) => {
                        failures += 1;
                        self.fail(failures, &segment.display().to_string(), &error);
                        break;
                    }
                }
            }
        }
    }

    /// Reports a failure and waits.
    fn fail(&mut self, failures: u32, subject: &str, error: &str) {
        self.report.counts.failures += 1;
        let wait = self.plan.host.wait(failures);
        let again = format!("{error}; tried again in {:.1} s", wait.as_secs_f64());
        self.report.say("failed", subject, &again);
        self.ends.wait(wait, false);
    }

    /// Puts all files of a segment, then removes it.
    ///
    /// # Errors
    ///
    /// The store or the spool failed: the segment is there still.
    fn deliver(&mut self, path: &Path) -> Result<(), String> {
        let subject = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| error.to_string())?;
        let bytes_len = bytes.len() as u64;
        let (rows, left) = match Segment::read(Bytes::from(bytes)) {
            Ok(segment) => {
                let rows = segment.rows.len() as u64;
                let left = self.put(&segment)?;
                let Some(left) = left else { return Ok(()) };
                self.say_end(&subject, &segment);
                (rows, left)
            }
            Err(None) => (0, Left::Remove),
            Err(Some(wrong)) => {
                self.report.counts.lost_bytes += bytes_len;
                let message = format!("offset 0: {wrong}; set aside");
                self.report.say("damaged", &subject, &message);
                (0, Left::SetAside)
            }
        };
        let done = match left {
            Left::Remove => self.spool.remove(path),
            Left::SetAside => self.spool.set_aside(path),
        };
        done.map_err(|error| error.to_string())?;
        let counts = &mut self.report.counts;
        counts.rows += rows;
        match left {
            Left::Remove => counts.segments += 1,
            Left::SetAside => counts.set_aside += 1,
        }
        self.report
            .say("delivered", &subject, &format!("{rows} rows"));
        Ok(())
    }

    /// Puts all files of a segment; `None`: the program is to stop before the last.
    fn put(&mut self, segment: &Segment) -> Result<Option<Left>, String> {
        let table = Table::of(segment);
        for part in table.parts() {
            if self.ends.is_stopped() {
                return Ok(None);
            }
            let begun = Instant::now();
            let file = self.encoder.file(segment, &table, part);
            let file = file.map_err(|error| error.to_string())?;
            let bytes = file.len() as u64;
            self.store.put(&part.path(segment), file, &self.secret)?;
            let counts = &mut self.report.counts;
            counts.files += 1;
            counts.bytes += bytes;
            if let Some(rate) = self.plan.rate {
                let least = Duration::from_secs_f64(bytes as f64 / rate as f64);
                self.ends.wait(least.saturating_sub(begun.elapsed()), false);
            }
        }
        Ok(Some(match segment.end {
            End::Whole | End::Torn(_) => Left::Remove,
            End::Damaged(..) => Left::SetAside,
        }))
    }

    /// Reports an end that is not whole.
    fn say_end(&mut self, subject: &str, segment: &Segment) {
        let bytes = segment.lost_bytes();
        self.report.counts.lost_bytes += bytes as u64;
        match segment.end {
            End::Whole => {}
            End::Torn(at) => {
                let message = format!("offset {at}: ends within a row; {bytes} bytes are lost");
                self.report.say("torn", subject, &message);
            }
            End::Damaged(at, wrong) => {
                let message = format!("offset {at}: {wrong}; {bytes} bytes are set aside");
                self.report.say("damaged", subject, &message);
            }
        }
    }
}

/// What would be put where, a line for each file, and what cannot be read.
///
/// # Errors
///
/// The spool cannot be read.
pub fn describe(spool: &Spool) -> Result<Vec<String>, String> {
    let encoder = Encoder::new();
    let mut lines = Vec::new();
    for path in spool.closed().map_err(|error| error.to_string())? {
        let name = path.display();
        let bytes = fs::read(&path).map_err(|error| format!("{name}: {error}"))?;
        let segment = match Segment::read(Bytes::from(bytes)) {
            Ok(segment) => segment,
            Err(wrong) => {
                let wrong =
                    wrong.map_or("ends within its head".to_owned(), |wrong| wrong.to_string());
                lines.push(format!("{name}: offset 0: {wrong}"));
                continue;
            }
        };
        match segment.end {
            End::Whole => {}
            End::Torn(at) => lines.push(format!("{name}: offset {at}: ends within a row")),
            End::Damaged(at, wrong) => lines.push(format!("{name}: offset {at}: {wrong}")),
        }
        let table = Table::of(&segment);
        for part in table.parts() {
            let file = encoder.file(&segment, &table, part);
            let bytes = file.map_err(|error| error.to_string())?.len();
            let (rows, to) = (part.rows.len(), part.path(&segment));
            lines.push(format!("{name}: {rows} rows, {bytes} bytes to {to}"));
        }
    }
    Ok(lines)
}
