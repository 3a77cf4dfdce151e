//! The CSV of measurements. A row is one number with machine, kernel, commit and command.
//!
//! Tables and plots are generated from these files only.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::unistd::{AccessFlags, access};
use serde::{Deserialize, Serialize};

use crate::lab::machine::Machine;

/// One measured number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The subcommand: `search`, `reconcile`, `compare`, …
    pub experiment: String,
    /// The program measured: `synledger`, `bare`, `tcpdump`, `suricata`, …
    pub subject: String,
    /// The load, as `loadtest flood --load` names it.
    pub load: String,
    /// Capture depth (`control`, `headers`, `full`), or another setting of the subject; may be empty.
    pub depth: String,
    /// Rate asked for, in packets per second; empty: the highest, or none.
    pub rate_pps: Option<f64>,
    /// The metric: `sent`, `read`, `lost`, `cpu`, `latency_p99`, …
    pub metric: String,
    /// The number.
    pub value: f64,
    /// Its unit: `frames`, `attempts`, `packets/s`, `s`, `ns`, `bytes`, `ratio`, …
    pub unit: String,
    /// Number of the repetition, from 1.
    pub run: u32,
    /// CPU model, cores, governor, steal time during the run.
    pub machine: String,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the source tree; `+` behind it if the tree has changes.
    pub commit: String,
    /// The command that measures it again.
    pub command: String,
    /// Time of the measurement, RFC 3339 in UTC.
    pub at: String,
}

/// A count as a value of the CSV.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "no count here reaches 2^53")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// The columns that all numbers of one run share.
#[derive(Clone, Debug, Default)]
pub struct Point {
    /// See [`Row::subject`].
    pub subject: String,
    /// See [`Row::load`].
    pub load: String,
    /// See [`Row::depth`].
    pub depth: String,
    /// See [`Row::rate_pps`].
    pub rate_pps: Option<f64>,
    /// See [`Row::run`].
    pub run: u32,
}

/// A CSV file that rows are appended to.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    /// `None` before the first row: a run without rows makes no file.
    writer: Option<csv::Writer<File>>,
    experiment: String,
    machine: Machine,
    command: String,
}

impl Record {
    /// Prepares to append to `path`. Makes its folder if it is missing; the first row makes the file.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or has other columns.
    pub fn open(path: &Path, experiment: &str) -> Result<Self> {
        let context = || format!("{}: cannot be written", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(context)?;
        }
        let mut written = path;
        if path.exists() {
            read(path)?;
        } else if let Some(folder) = path.parent() {
            let here = folder == Path::new("");
            written = if here { Path::new(".") } else { folder };
        }
        // Fails now, not after the first measurement.
        access(written, AccessFlags::W_OK).with_context(context)?;
        Ok(Self {
            path: path.to_owned(),
            writer: None,
            experiment: experiment.to_owned(),
            machine: Machine::here(),
            command: command_line(),
        })
    }

    /// Appends one number and flushes it: the rows of a run that is stopped are kept.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn add(&mut self, point: &Point, metric: &str, value: f64, unit: &str) -> Result<()> {
        let row = Row {
            experiment: self.experiment.clone(),
            subject: point.subject.clone(),
            load: point.load.clone(),
            depth: point.depth.clone(),
            rate_pps: point.rate_pps,
            metric: metric.to_owned(),
            value,
            unit: unit.to_owned(),
            run: point.run,
            machine: self.machine.describe(),
            kernel: self.machine.kernel.clone(),
            commit: self.machine.commit.clone(),
            command: self.command.clone(),
            at: jiff::Timestamp::now().to_string(),
        };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(append(&self.path)?),
        };
        writer.serialize(row).context("a row of CSV")?;
        writer.flush().context("a row of CSV")
    }
}

fn append(path: &Path) -> Result<csv::Writer<File>> {
    let context = || format!("{}: cannot be written", path.display());
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .append(true)
        .open(path)
        .with_context(context)?;
    // Two runs may start the same file at once; only one may write the header.
    file.lock().with_context(context)?;
    if file.metadata().with_context(context)?.len() == 0 {
        writeln!(file, "{}", COLUMNS.join(",")).with_context(context)?;
    }
    file.unlock().with_context(context)?;
    let mut builder = csv::WriterBuilder::new();
    Ok(builder.has_headers(false).from_writer(file))
}

/// The command line, with `loadtest` for the program's path.
fn command_line() -> String {
    let words = std::env::args().skip(1);
    std::iter::once("loadtest".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads all rows of a file; an empty file has none.
///
/// # Errors
///
/// When it cannot be read, or has other columns, or a value that is no number.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let context = || format!("{}: not a table of measurements", path.display());
    if fs::metadata(path).with_context(context)?.len() == 0 {
        return Ok(Vec::new());
    }
    let mut reader = csv::Reader::from_path(path).with_context(context)?;
    let expected: Vec<&str> = COLUMNS.to_vec();
    let found: Vec<String> = reader
        .headers()
        .with_context(context)?
        .iter()
        .map(str::to_owned)
        .collect();
    if found != expected {
        bail!(
            "{}: columns {found:?}, not {expected:?}: move the file away or name another",
            path.display()
        );
    }
    let rows: Vec<Row> = reader
        .deserialize()
        .collect::<Result<_, _>>()
        .with_context(context)?;
    for (row, line) in rows.iter().zip(2..) {
        let rate = row.rate_pps.unwrap_or_default();
        if !row.value.is_finite() || !rate.is_finite() || rate < 0.0 {
            bail!(
                "{}: row {line}: {} {}, rate {rate}: no measurement",
                path.display(),
                row.metric,
                row.value
            );
        }
    }
    Ok(rows)
}

/// The columns, in order.
pub const COLUMNS: [&str; 14] = [
    "experiment",
    "subject",
    "load",
    "depth",
    "rate_pps",
    "metric",
    "value",
    "unit",
    "run",
    "machine",
    "kernel",
    "commit",
    "command",
    "at",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_that_start_a_file_together_write_one_header() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        let open = || Record::open(&path, "search").expect("a record");
        let (mut first, mut second) = (open(), open());
        for _ in 0..2 {
            for record in [&mut first, &mut second] {
                let added = record.add(&Point::default(), "rate", 1.0, "packets/s");
                added.expect("a row");
            }
        }
        assert_eq!(read(&path).expect("rows").len(), 4);
    }

    #[test]
    fn a_row_without_a_finite_number_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        let mut record = Record::open(&path, "search").expect("a record");
        let point = Point::default();
        record
            .add(&point, "rate", f64::NAN, "packets/s")
            .expect("a row");
        let error = read(&path).expect_err("no number");
        assert!(error.to_string().contains("row 2: rate NaN"), "{error:#}");
    }

    #[test]
    fn rows_of_two_runs_are_read_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep").join("a.csv");
        let point = Point {
            subject: "synledger, with \"quotes\"".to_owned(),
            load: "syn".to_owned(),
            rate_pps: Some(1e6),
            run: 3,
            ..Point::default()
        };
        for value in [1.5, 2.0] {
            let mut record = Record::open(&path, "search").expect("a record");
            record
                .add(&point, "rate", value, "packets/s")
                .expect("a row");
        }
        let rows = read(&path).expect("rows");
        let values: Vec<f64> = rows.iter().map(|row| row.value).collect();
        assert_eq!(values, [1.5, 2.0]);
        assert_eq!(rows[1].subject, point.subject);
        assert_eq!((rows[0].rate_pps, rows[0].run), (Some(1e6), 3));
    }

    #[test]
    fn the_first_row_makes_the_file_and_an_empty_file_has_no_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        let mut record = Record::open(&path, "search").expect("a record");
        assert!(!path.exists());
        fs::write(&path, "").expect("written");
        assert_eq!(read(&path).expect("read"), []);
        record
            .add(&Point::default(), "rate", 1.0, "packets/s")
            .expect("a row");
        assert_eq!(read(&path).expect("read").len(), 1);
    }

    #[test]
    fn a_file_with_other_columns_is_an_error_and_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        fs::write(&path, "a,b\n1,2\n").expect("written");
        let error = Record::open(&path, "search").expect_err("other columns");
        assert!(error.to_string().contains("a.csv"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("read"), "a,b\n1,2\n");
    }
}
