//! `search`: finds the highest rate without loss (RFC 2544) by bisection, and confirms it.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use super::common::{Common, LabArgs};
use crate::flags::{decimal, seconds, whole};
use crate::judge::Findings;
use crate::lab::{Lab, Scratch};
use crate::receivers::sensor::DEPTHS;
use crate::receivers::{Receiver, ReceiverCounts};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::send::{Schedule, Sender, Transmission, flood_in, settle};
use crate::traffic::{Load, Name};

/// Parameters of a search.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Seconds of each trial.
    pub seconds: f64,
    /// Trials without loss in a row that confirm a rate.
    pub confirmations: u32,
    /// Width of the interval at which bisection ends, as a share of the rate.
    pub resolution: f64,
    /// Loss that counts as none, as a share of the frames: above 0 only on a shared machine.
    pub loss_max: f64,
}

/// Flags of every experiment that searches for the rate without loss.
#[derive(Clone, Debug, Args)]
pub struct SearchFlags {
    /// Flags of the lab.
    #[command(flatten)]
    pub lab: LabArgs,
    /// Flags of the sender, the sensor and the record.
    #[command(flatten)]
    pub common: Common,
    /// Seconds of each trial, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    trial_seconds: f64,
    /// Trials without loss in a row that confirm the rate, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<u32>(1, 1000))]
    confirmations: u32,
    /// Width of the interval at which bisection ends, in percent of the rate, 0.1 to 50.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = decimal(0.1, 50.0))]
    resolution: f64,
    /// Loss that counts as none, in percent, 0 to 100.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = decimal(0.0, 100.0))]
    loss: f64,
}

impl SearchFlags {
    /// [`highest_rate`] with the sender and the plan of these flags.
    ///
    /// # Errors
    ///
    /// See [`highest_rate`].
    pub fn highest_rate(
        &self,
        lab: &Lab,
        receiver: &dyn Receiver,
        load: &Load,
    ) -> Result<SearchResult> {
        let plan = Plan {
            seconds: self.trial_seconds,
            confirmations: self.confirmations,
            resolution: self.resolution / 100.0,
            loss_max: self.loss / 100.0,
        };
        highest_rate(lab, receiver, load, self.common.sender, &plan)
    }
}

/// Flags of `search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    search: SearchFlags,
    /// The load.
    #[arg(long, value_enum, default_value = "syn")]
    load: Name,
    /// Capture depth of the sensor.
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
    /// Searches, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
}

impl SearchArgs {
    /// Searches and records.
    ///
    /// # Errors
    ///
    /// When a search fails.
    pub fn run(&self) -> Result<Findings> {
        let lab = self.search.lab.make()?;
        let sensor = self.search.common.sensor(&self.depth)?;
        let mut record = self.search.common.record("search")?;
        let load = Load::new(self.load, self.search.common.seed);
        for run in 1..=self.runs {
            let found = self.search.highest_rate(&lab, &sensor, &load)?;
            say!(
                "{}: {:.0} packets/s without loss; the sender's highest rate is {:.0}",
                load.name,
                found.rate_pps,
                found.sender_pps
            );
            let point = Point {
                subject: "synledger".to_owned(),
                load: load.name.to_string(),
                depth: self.depth.clone(),
                rate_pps: None,
                run,
            };
            found.record(&mut record, &point)?;
        }
        Ok(Findings::default())
    }
}

/// One trial.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// What was sent.
    pub sent: Transmission,
    /// What the receiver counted.
    pub received: ReceiverCounts,
}

impl Trial {
    /// Frames sent that the receiver did not read.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.sent.tally.frames.saturating_sub(self.received.frames)
    }

    /// Frames lost, as a share of those sent.
    #[must_use]
    pub fn loss(&self) -> f64 {
        float(self.lost()) / float(self.sent.tally.frames.max(1))
    }
}

/// The result of a search.
#[derive(Clone, Copy, Debug)]
pub struct SearchResult {
    /// The highest rate without loss that was confirmed, in packets per second.
    pub rate_pps: f64,
    /// The sender's highest rate, in packets per second.
    pub sender_pps: f64,
    /// The receiver lost no frame at the sender's highest rate.
    pub sender_limits: bool,
    /// Number of trials.
    pub trials: u32,
}

/// Floods `receiver` once.
///
/// # Errors
///
/// When the receiver or the sender fails.
pub fn trial(
    lab: &Lab,
    receiver: &dyn Receiver,
    load: &Load,
    sender: Sender,
    schedule: &Schedule,
) -> Result<Trial> {
    let scratch = Scratch::new()?;
    let before = lab.counters()?;
    let session = receiver.start(lab, scratch.path())?;
    let sent = flood_in(lab, load, sender, schedule, &AtomicBool::new(false))?;
    settle(lab, &before, &sent)?;
    // The kernel hands over the last block by a timer.
    thread::sleep(Duration::from_millis(100));
    Ok(Trial {
        sent,
        received: session.stop()?,
    })
}

/// Searches for the highest rate without loss.
///
/// # Errors
///
/// When the receiver or the sender fails, or the receiver loses frames at a hundredth of the sender's highest rate.
pub fn highest_rate(
    lab: &Lab,
    receiver: &dyn Receiver,
    load: &Load,
    sender: Sender,
    plan: &Plan,
) -> Result<SearchResult> {
    let mut trials = 0;
    let mut passes = |rate_pps: Option<f64>| -> Result<Option<f64>> {
        trials += 1;
        let schedule = Schedule::for_seconds(rate_pps, plan.seconds);
        let trial = trial(lab, receiver, load, sender, &schedule)?;
        let word = if trial.loss() <= plan.loss_max {
            "no loss"
        } else {
            "loss"
        };
        say!(
            "{}, {}: {:.0} packets/s: {word} ({} of {})",
            receiver.name(),
            load.name,
            trial.sent.pps(),
            trial.lost(),
            trial.sent.tally.frames
        );
        Ok((trial.loss() <= plan.loss_max).then_some(trial.sent.pps()))
    };
    // The first trial measures the sender's highest rate, whether or not the receiver keeps up.
    let schedule = Schedule::for_seconds(None, plan.seconds);
    let first = self::trial(lab, receiver, load, sender, &schedule)?;
    let sender_pps = first.sent.pps();
    if first.loss() <= plan.loss_max && confirmed(&mut passes, None, plan)? {
        return Ok(SearchResult {
            rate_pps: sender_pps,
            sender_pps,
            sender_limits: true,
            trials: trials + 1,
        });
    }
    let (mut low, mut high) = (0.0, sender_pps);
    while high - low > high * plan.resolution {
        let middle = f64::midpoint(low, high);
        match passes(Some(middle))? {
            Some(_) => low = middle,
            None => high = middle,
        }
        if high < sender_pps / 100.0 {
            break;
        }
    }
    while low > sender_pps / 100.0 {
        if confirmed(&mut passes, Some(low), plan)? {
            return Ok(SearchResult {
                rate_pps: low,
                sender_pps,
                sender_limits: false,
                trials: trials + 1,
            });
        }
        low = below(low, plan.resolution);
    }
    bail!(
        "{}, {}: loses frames even at a hundredth of the sender's {sender_pps:.0} packets/s",
        receiver.name(),
        load.name
    )
}

/// The next rate after one that was not confirmed: lower by twice the resolution, by half at most.
fn below(rate_pps: f64, resolution: f64) -> f64 {
    rate_pps * (1.0 - resolution * 2.0).max(0.5)
}

fn confirmed(
    passes: &mut impl FnMut(Option<f64>) -> Result<Option<f64>>,
    rate_pps: Option<f64>,
    plan: &Plan,
) -> Result<bool> {
    for _ in 0..plan.confirmations {
        if passes(rate_pps)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl SearchResult {
    /// Records it.
    ///
    /// # Errors
    ///
    /// When the record cannot be written.
    pub fn record(&self, record: &mut Record, point: &Point) -> Result<()> {
        record.add(point, "rate_without_loss", self.rate_pps, "packets/s")?;
        record.add(point, "rate_of_sender", self.sender_pps, "packets/s")?;
        let limits = if self.sender_limits { 1.0 } else { 0.0 };
        record.add(point, "sender_limits", limits, "yes")?;
        record.add(point, "trials", self.trials.into(), "trials")
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn the_next_rate_is_lower_by_half_at_most() {
        assert!((below(1000.0, 0.02) - 960.0).abs() < 1e-9);
        assert!((below(1000.0, 0.5) - 500.0).abs() < 1e-9);
    }
}
