//! `rings`: floods at half the rate without loss. No frame may be dropped or shed, with any size of rings and
//! blocks, any depth and any number of workers.

use std::collections::HashMap;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::common::Common;
use super::reconcile::{Flood, reconcile};
use super::search::SearchFlags;
use crate::flags::{seconds, whole};
use crate::judge::{Findings, Require, Target};
use crate::lab::{End, Lab, RECEIVER_CPU};
use crate::receivers::sensor::{DEPTHS, Sensor};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::send::Schedule;
use crate::traffic::{Load, Name};

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct RingsArgs {
    #[command(flatten)]
    pub(crate) require: Require,
    #[command(flatten)]
    search: SearchFlags,
    /// The load.
    #[arg(long, value_enum, default_value = "mix")]
    load: Name,
    /// Capture depths of the sensor, one or a list with commas.
    #[arg(long, value_delimiter = ',', default_value = "headers,control,full", value_parser = DEPTHS)]
    depth: Vec<String>,
    /// The sensor's --ring-mib, 4 to 4096, one or a list with commas.
    #[arg(long, value_name = "MIB", value_delimiter = ',', default_value = "4,16,64,256", value_parser = whole::<u32>(4, 4096))]
    ring_mib: Vec<u32>,
    /// The sensor's --block-kib, 64 to 4096, one or a list with commas; 0: its default. Sizes that the sensor refuses,
    /// because a ring would hold too few blocks, are skipped and named.
    #[arg(long, value_name = "KIB", value_delimiter = ',', default_value = "0,64,1024", value_parser = whole::<u32>(0, 4096))]
    block_kib: Vec<u32>,
    /// The sensor's --workers, 1 to 64, one or a list with commas; they share a CPU.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,2", value_parser = whole::<u32>(1, 64))]
    workers: Vec<u32>,
    /// Seconds of each flood, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "1", value_parser = seconds)]
    seconds: f64,
    /// Floods of each combination, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
}

/// A combination of flags.
#[derive(Clone, Debug)]
struct Cell {
    depth: String,
    ring_mib: u32,
    block_kib: u32,
    workers: u32,
}

impl Cell {
    fn name(&self) -> String {
        let block = match self.block_kib {
            0 => String::new(),
            kib => format!(" --block-kib {kib}"),
        };
        format!(
            "--ring-mib {}{block} --workers {}",
            self.ring_mib, self.workers
        )
    }

    fn sensor(&self, common: &Common, depth: &str) -> Result<Sensor> {
        let mut sensor = common.sensor(depth)?;
        sensor.workers = self.workers;
        let ring_mib = self.ring_mib.to_string();
        let mut sensor = sensor.with(&["--ring-mib", &ring_mib]);
        if self.block_kib > 0 {
            let block_kib = self.block_kib.to_string();
            sensor = sensor.with(&["--block-kib", &block_kib]);
        }
        Ok(sensor)
    }
}

impl RingsArgs {
    /// Floods each combination at half its rate without loss; that no frame is dropped or shed is a target.
    ///
    /// # Errors
    ///
    /// When the sensor or the sender fails.
    pub fn run(&self) -> Result<Findings> {
        let (lab, mut record) = (self.search.lab.make()?, self.search.common.record("rings")?);
        let (mut tried, mut held, mut refused) = (0, 0, 0);
        let mut findings = Findings::default();
        for &workers in &self.workers {
            for (&ring_mib, &block_kib) in self
                .ring_mib
                .iter()
                .flat_map(|ring| self.block_kib.iter().map(move |block| (ring, block)))
            {
                let mut rates = HashMap::new();
                for depth in &self.depth {
                    let cell = Cell {
                        depth: depth.clone(),
                        ring_mib,
                        block_kib,
                        workers,
                    };
                    match self.cell(&lab, &cell, &mut rates, &mut record)? {
                        Some(found) => {
                            tried += 1;
                            held += u32::from(found.are_clean());
                            findings.join(found);
                        }
                        None => refused += 1,
                    }
                }
            }
        }
        say!(
            "{held} of {tried} combinations dropped and shed nothing; the sensor refused {refused}"
        );
        if tried == 0 {
            findings.fail("the sensor refused every combination: nothing was measured");
        }
        Ok(findings)
    }

    /// Floods one combination; `None` if the sensor refuses it.
    fn cell(
        &self,
        lab: &Lab,
        cell: &Cell,
        rates: &mut HashMap<String, f64>,
        record: &mut Record,
    ) -> Result<Option<Findings>> {
        let (name, depth) = (cell.name(), &cell.depth);
        if let Some(why) = refusal(lab, &cell.sensor(&self.search.common, depth)?)? {
            say!("{depth} {name}: refused: {why}");
            return Ok(None);
        }
        let full = self.rate_without_loss(lab, cell, rates)?;
        let point = |run| Point {
            subject: format!("synledger {name}"),
            load: self.load.to_string(),
            depth: depth.clone(),
            rate_pps: Some(full / 2.0),
            run,
        };
        record.add(&point(1), "rate_without_loss", full, "packets/s")?;
        let mut findings = Findings::default();
        for run in 1..=self.runs {
            let flood = Flood {
                load: Load::new(self.load, self.search.common.seed + u64::from(run)),
                sender: self.search.common.sender,
                schedule: Schedule::for_seconds(Some(full / 2.0), self.seconds),
            };
            let outcome = reconcile(lab, &cell.sensor(&self.search.common, depth)?, &flood)?;
            let books = &outcome.books;
            let mut lost = Vec::new();
            for (what, count) in [
                ("dropped", books.all_rings(|ring| ring.tp_drops)),
                (
                    "shed",
                    books.all_rings(|ring| ring.shed_data) + books.count("shed_in_kernel"),
                ),
                ("shed_steps", books.shed_steps()),
            ] {
                record.add(&point(run), what, float(count), "frames")?;
                lost.push((what, count));
            }
            let sent = outcome.sent.tally.frames;
            findings.target(losses(&format!("{depth} {name}"), &lost, sent));
            if let Some(entry) = outcome.first_open() {
                findings.fail(format!("{depth} {name}: does not close: {entry}"));
            }
        }
        say!("{depth} {name}: {full:.0} packets/s without loss, flooded at half of that");
        Ok(Some(findings))
    }

    /// The rate without loss of these rings. Depth `control` takes that of `headers`: frames that its filter rejects
    /// would count as lost.
    fn rate_without_loss(
        &self,
        lab: &Lab,
        cell: &Cell,
        rates: &mut HashMap<String, f64>,
    ) -> Result<f64> {
        let depth = match cell.depth.as_str() {
            "control" => "headers",
            depth => depth,
        };
        if let Some(&rate) = rates.get(depth) {
            return Ok(rate);
        }
        let sensor = cell.sensor(&self.search.common, depth)?;
        let load = Load::new(self.load, self.search.common.seed);
        let found = self.search.highest_rate(lab, &sensor, &load)?;
        rates.insert(depth.to_owned(), found.rate_pps);
        Ok(found.rate_pps)
    }
}

/// Frames lost beside their target: none.
fn losses(name: &str, lost: &[(&str, u64)], sent: u64) -> Target {
    let counts: Vec<String> = lost
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    Target::of(
        format!("{name}: {} of {sent} frames, 0 allowed", counts.join(", ")),
        lost.iter().all(|(_, count)| *count == 0),
    )
}

/// The sensor's error for this combination of flags; `None` if it accepts them.
fn refusal(lab: &Lab, sensor: &Sensor) -> Result<Option<String>> {
    let binary = sensor.binary.to_str().context("a path in UTF-8")?;
    let mut command = lab.command(End::Receiver, Some(RECEIVER_CPU), binary);
    command.args(["run", "--no-config", "--dry-run"]);
    command.args(["-i", lab.device(End::Receiver)]);
    command.args([
        "--capture",
        &sensor.depth,
        "--workers",
        &sensor.workers.to_string(),
    ]);
    let output = command
        .args(&sensor.args)
        .stdin(Stdio::null())
        .output()
        .context(binary.to_owned())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(None),
        Some(2) => Ok(Some(stderr.lines().last().unwrap_or_default().to_owned())),
        _ => bail!("{binary} --dry-run: {stderr}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_lost_in_any_way_misses_the_target() {
        let of = |dropped, shed| losses("full", &[("dropped", dropped), ("shed", shed)], 9);
        assert!(matches!(of(0, 0), Target::Met(_)));
        assert!(matches!(of(1, 0), Target::Missed(_)));
        let missed = "full: dropped 0, shed 2 of 9 frames, 0 allowed";
        assert_eq!(of(0, 2), Target::Missed(missed.to_owned()));
    }

    #[test]
    fn a_combination_is_named_by_the_sensors_flags() {
        let mut cell = Cell {
            depth: "full".to_owned(),
            ring_mib: 16,
            block_kib: 0,
            workers: 2,
        };
        assert_eq!(cell.name(), "--ring-mib 16 --workers 2");
        cell.block_kib = 64;
        assert_eq!(cell.name(), "--ring-mib 16 --block-kib 64 --workers 2");
    }
}
