//! Flags that several subcommands share, and what the basic ones do.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};

use nix::net::if_::if_nametoindex;

use crate::experiments::reconcile::{Flood, Outcome, reconcile};
use crate::experiments::search::{Plan, highest_rate};
use crate::flags::{Rate, decimal, has_folder, rate, seconds, whole};
use crate::lab::{Lab, SetUp};
use crate::receivers::sensor::{DEPTHS, Sensor};
use crate::report::record::{Point, Record};
use crate::say;
use crate::say::{counted, print};
use crate::send::{self, Schedule, Sender, flood};
use crate::traffic::{Load, Name};

/// The lab.
#[derive(Clone, Debug, Args)]
pub struct LabArgs {
    /// Who pays for the receiving half of the kernel.
    #[arg(long, value_enum, default_value = "fair")]
    pub set_up: SetUp,
}

impl LabArgs {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// See [`Lab::new`].
    pub fn make(&self) -> Result<Lab> {
        Lab::new(self.set_up)
    }
}

/// Runs add their numbers to it.
const SEED_MAX: u64 = u32::MAX as u64;

/// The sender, the sensor and the record.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// How frames get into the kernel.
    #[arg(long, value_enum, default_value = "xdp")]
    pub sender: Sender,
    /// Seed of the traffic, 0 to 4294967295.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(0, SEED_MAX))]
    pub seed: u64,
    /// The sensor. Default: `synledger` beside this program.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// Append the figures to this table. Default: target/load/SUBCOMMAND.csv.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// A flag for the sensor; repeatable. Values with an equals sign: --sensor-flag=--memory-mib=64.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub sensor_flag: Vec<String>,
}

impl Common {
    /// The sensor at this depth.
    ///
    /// # Errors
    ///
    /// When this program's own place is not known.
    pub fn sensor(&self, depth: &str) -> Result<Sensor> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => std::env::current_exe()?.with_file_name("synledger"),
        };
        let mut sensor = Sensor::new(binary, depth);
        sensor.args.clone_from(&self.sensor_flag);
        Ok(sensor)
    }

    /// The table of this subcommand.
    ///
    /// # Errors
    ///
    /// When the folder of --csv is not there; see [`Record::open`].
    pub fn record(&self, experiment: &str) -> Result<Record> {
        let default = || Path::new("target/load").join(format!("{experiment}.csv"));
        if let Some(path) = &self.csv {
            has_folder("--csv", path)?;
        }
        let path = self.csv.clone().unwrap_or_else(default);
        Record::open(&path, experiment)
    }
}

/// `flood`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("to").required(true).args(["interface", "write"]))]
pub struct FloodArgs {
    /// Which traffic.
    #[arg(long, value_enum)]
    load: Name,
    /// Its seed, 0 to 4294967295: the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(0, SEED_MAX))]
    seed: u64,
    /// The interface to send from, in the namespace that this is started in.
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,
    /// How frames get into the kernel.
    #[arg(long, value_enum, default_value = "sendmmsg")]
    sender: Sender,
    /// Packets per second, 1 to 100000000, or max.
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// End after so long, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// End after so many frames, 1 to 10000000000. With --write that many are written; default there: 10000.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, 10_000_000_000))]
    frames: Option<u64>,
    /// Send from this CPU, 0 to 1023.
    #[arg(long, value_name = "CPU", value_parser = whole::<usize>(0, 1023))]
    cpu: Option<usize>,
    /// Write the frames to a capture (pcap) instead of sending them, at most 10,000,000.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write each connection that was sent, with its initial sequence number and packets, as CSV.
    #[arg(long, value_name = "FILE")]
    attempts: Option<PathBuf>,
}

impl FloodArgs {
    /// What can be known before the first frame; takes the CPU.
    fn check(&self) -> Result<()> {
        let files = [("--write", &self.write), ("--attempts", &self.attempts)];
        for (flag, file) in files {
            if let Some(file) = file {
                has_folder(flag, file)?;
            }
        }
        if let Some(name) = &self.interface
            && if_nametoindex(name.as_str()).is_err()
        {
            bail!("--interface {name}: there is no such interface here: ip link lists them");
        }
        if let Some(cpu) = self.cpu
            && send::pin(cpu).is_err()
        {
            let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
            let online = online.unwrap_or_default();
            bail!(
                "--cpu {cpu}: cannot be had; the CPUs of this machine are {}",
                online.trim()
            );
        }
        Ok(())
    }

    /// Sends, or writes, and reports as JSON.
    ///
    /// # Errors
    ///
    /// When it cannot send or write.
    pub fn run(&self) -> Result<bool> {
        self.check()?;
        let load = Load::new(self.load, self.seed);
        let schedule = Schedule {
            rate_pps: self.rate.0,
            frames_max: self.frames.unwrap_or(u64::MAX),
            seconds_max: self.seconds,
        };
        let sent = match (&self.write, &self.interface) {
            (Some(path), _) => {
                let frames = self.frames.unwrap_or(10_000);
                if frames > 10_000_000 {
                    bail!("--frames {frames}: a capture holds at most 10000000");
                }
                send::write_capture(path, &load, frames, 1_000_000).context("--write")?
            }
            (None, Some(device)) => flood(
                device,
                &load,
                self.sender,
                &schedule,
                &AtomicBool::new(false),
            )?,
            (None, None) => bail!("--interface or --write"),
        };
        if let Some(path) = &self.attempts {
            send::write_attempts(path, &load, sent.tally.frames).context("--attempts")?;
        }
        let report = sent.json(&load, self.sender, &schedule);
        print(format_args!("{report:#}")).context("standard output")?;
        Ok(true)
    }
}

/// `search`.
#[derive(Clone, Debug, Args)]
pub struct SearchArgs {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    plan: PlanArgs,
    /// Which traffic.
    #[arg(long, value_enum, default_value = "syn")]
    load: Name,
    /// Capture depth of the sensor, one (books takes a list).
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
    /// Searches, one after the other, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
}

/// How a search goes.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Seconds of each trial, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    pub trial_seconds: f64,
    /// Times that the rate found must be without loss, one after the other, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole::<u32>(1, 1000))]
    pub confirmations: u32,
    /// Where halving ends, in percent of the rate, 0.1 to 50.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = decimal(0.1, 50.0))]
    pub resolution: f64,
    /// Loss that counts as none, in percent, 0 to 100.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = decimal(0.0, 100.0))]
    pub loss: f64,
}

impl PlanArgs {
    /// As [`highest_rate`] takes it.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan {
            seconds: self.trial_seconds,
            confirmations: self.confirmations,
            resolution: self.resolution / 100.0,
            loss_max: self.loss / 100.0,
        }
    }
}

impl SearchArgs {
    /// Searches and records.
    ///
    /// # Errors
    ///
    /// When a search fails.
    pub fn run(&self) -> Result<bool> {
        let (lab, plan) = (self.lab.make()?, self.plan.plan());
        let sensor = self.common.sensor(&self.depth)?;
        let mut record = self.common.record("search")?;
        let load = Load::new(self.load, self.common.seed);
        for run in 1..=self.runs {
            let found = highest_rate(&lab, &sensor, &load, self.common.sender, &plan)?;
            say!(
                "{}: {:.0} packets/s without loss; the sender reaches {:.0}",
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
        Ok(true)
    }
}

/// `reconcile`.
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

/// Says whether books close, and which line does not; gives whether.
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
