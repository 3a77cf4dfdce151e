//! `books`: floods with every load at every depth and rate, many times. Every frame must be accounted for.

use std::collections::HashMap;

use anyhow::Result;
use clap::Args;

use super::reconcile::{Flood, reconcile};
use super::search::SearchFlags;
use crate::flags::{packets_per_second, seconds, whole};
use crate::judge::Findings;
use crate::lab::Lab;
use crate::receivers::sensor::DEPTHS;
use crate::report::record::{Point, Record};
use crate::say;
use crate::send::Schedule;
use crate::traffic::{Load, Name};

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct BooksArgs {
    #[command(flatten)]
    search: SearchFlags,
    /// Loads, one or a list with commas. Default: all but busy and storm.
    #[arg(long, value_enum, value_delimiter = ',')]
    load: Vec<Name>,
    /// Capture depths of the sensor, one or a list with commas.
    #[arg(long, value_delimiter = ',', default_value = "headers,control,full", value_parser = DEPTHS)]
    depth: Vec<String>,
    /// The rate without loss, in packets per second, 1 to 100000000. Default: search for it.
    #[arg(long, value_name = "PPS", value_parser = packets_per_second)]
    rate: Option<f64>,
    /// Seconds of each flood, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "0.3", value_parser = seconds)]
    seconds: f64,
    /// Floods of each load at each rate and depth, 1 to 1000.
    #[arg(long, default_value_t = 20, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
}

/// Multiples of the rate without loss; `None` is the sender's highest rate.
const FACTORS: [Option<f64>; 4] = [Some(0.5), Some(1.0), Some(2.0), None];

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    runs: u32,
    closed: u32,
    frames: u64,
    attempts: u64,
    unaccounted_frames: u64,
    unaccounted_attempts: u64,
}

impl Sum {
    fn add(&mut self, cell: &Self) {
        self.runs += cell.runs;
        self.closed += cell.closed;
        self.frames += cell.frames;
        self.attempts += cell.attempts;
        self.unaccounted_frames += cell.unaccounted_frames;
        self.unaccounted_attempts += cell.unaccounted_attempts;
    }
}

impl BooksArgs {
    /// Runs and records all floods; every line that does not close is a failure.
    ///
    /// # Errors
    ///
    /// When the sensor or the sender fails.
    pub fn run(&self) -> Result<Findings> {
        let (lab, mut record) = (self.search.lab.make()?, self.search.common.record("books")?);
        let loads = if self.load.is_empty() {
            &Name::GENERAL[..]
        } else {
            &self.load
        };
        let (mut sum, mut findings) = (Sum::default(), Findings::default());
        for &name in loads {
            let load = Load::new(name, self.search.common.seed);
            let mut known = HashMap::new();
            for depth in &self.depth {
                let rate = self.without_loss(&lab, &load, depth, &mut record, &mut known)?;
                for factor in FACTORS {
                    let rate_pps = factor.map(|factor| rate * factor);
                    let cell =
                        self.cell(&lab, &load, depth, rate_pps, &mut record, &mut findings)?;
                    sum.add(&cell);
                }
            }
        }
        say!(
            "{} of {} runs closed; {} frames, {} attempts; unaccounted: {} frames, {} attempts",
            sum.closed,
            sum.runs,
            sum.frames,
            sum.attempts,
            sum.unaccounted_frames,
            sum.unaccounted_attempts
        );
        Ok(findings)
    }

    /// The rate without loss at this depth. Depth `control` takes that of `headers`: frames that its filter rejects
    /// would count as lost.
    fn without_loss(
        &self,
        lab: &Lab,
        load: &Load,
        depth: &str,
        record: &mut Record,
        known: &mut HashMap<String, f64>,
    ) -> Result<f64> {
        if let Some(rate) = self.rate {
            return Ok(rate);
        }
        let depth = if depth == "control" { "headers" } else { depth };
        if let Some(rate) = known.get(depth) {
            return Ok(*rate);
        }
        let sensor = self.search.common.sensor(depth)?;
        let found = self.search.highest_rate(lab, &sensor, load)?;
        let point = Point {
            subject: "synledger".to_owned(),
            load: load.name.to_string(),
            depth: depth.to_owned(),
            rate_pps: None,
            run: 1,
        };
        found.record(record, &point)?;
        known.insert(depth.to_owned(), found.rate_pps);
        Ok(found.rate_pps)
    }

    fn cell(
        &self,
        lab: &Lab,
        load: &Load,
        depth: &str,
        rate_pps: Option<f64>,
        record: &mut Record,
        findings: &mut Findings,
    ) -> Result<Sum> {
        let sensor = self.search.common.sensor(depth)?;
        let mut cell = Sum::default();
        for run in 1..=self.runs {
            let flood = Flood {
                // A seed for each run, the same when the command is repeated.
                load: Load::new(load.name, load.seed + u64::from(run)),
                sender: self.search.common.sender,
                schedule: Schedule::for_seconds(rate_pps, self.seconds),
            };
            let outcome = reconcile(lab, &sensor, &flood)?;
            let point = Point {
                subject: "synledger".to_owned(),
                load: load.name.to_string(),
                depth: depth.to_owned(),
                rate_pps,
                run,
            };
            outcome.record(record, &point)?;
            cell.runs += 1;
            cell.frames += outcome.sent.tally.frames;
            cell.attempts += outcome.sent.tally.attempts;
            cell.unaccounted_frames += outcome.unaccounted_frames;
            cell.unaccounted_attempts += outcome.unaccounted_attempts;
            match outcome.first_open() {
                None => cell.closed += 1,
                Some(entry) => findings.fail(format!("run {run} DOES NOT CLOSE: {entry}")),
            }
            let (frames, attempts) = (outcome.unaccounted_frames, outcome.unaccounted_attempts);
            if frames + attempts > 0 {
                findings.fail(format!(
                    "run {run}: unaccounted: {frames} frames, {attempts} attempts"
                ));
            }
        }
        let rate = rate_pps.map_or("max".to_owned(), |rate| format!("{rate:.0}/s"));
        say!(
            "{}, {depth}, {rate}: {} of {} closed, {} frames, {} attempts",
            load.name,
            cell.closed,
            cell.runs,
            cell.frames,
            cell.attempts
        );
        Ok(cell)
    }
}
