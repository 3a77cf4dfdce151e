//! synledger as a receiver: how it is started and stopped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{Receiver, Seen, Session};
use crate::lab::process::{Running, Usage, quote};
use crate::lab::{End, Lab, RECEIVER_CPU};
use crate::truth::books::Books;

const PATIENCE: Duration = Duration::from_secs(60);
const LOG: &str = "synledger.json";

/// What `--capture` may be.
pub const DEPTHS: [&str; 3] = ["control", "headers", "full"];

/// How synledger is started.
#[derive(Clone, Debug)]
pub struct Sensor {
    /// The program.
    pub binary: PathBuf,
    /// `--capture`.
    pub depth: String,
    /// `--workers`; all on the receiver's CPU.
    pub workers: u32,
    /// Further flags.
    pub args: Vec<String>,
    /// What its log is asked to hold.
    pub events: String,
}

/// A running synledger.
#[derive(Debug)]
pub struct SensorSession {
    /// Its process.
    pub running: Running,
    /// Its EVE log.
    pub log: PathBuf,
}

/// How a run of synledger ended.
#[derive(Debug)]
pub struct Finished {
    /// Exit code: 3 if the books did not close, 1 if an output lost records.
    pub code: Option<i32>,
    /// What it used.
    pub usage: Usage,
    /// Its EVE log.
    pub log: PathBuf,
    /// What it said on standard error.
    pub says: String,
}

impl Sensor {
    /// The program with its defaults, one worker on the receiver's CPU.
    #[must_use]
    pub fn new(binary: PathBuf, depth: &str) -> Self {
        Self {
            binary,
            depth: depth.to_owned(),
            workers: 1,
            args: Vec::new(),
            events: "connection+alert+flow+stats+lifecycle".to_owned(),
        }
    }

    /// The same with further flags.
    #[must_use]
    pub fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Starts it in `lab` with its log in `folder`, and returns when it watches.
    ///
    /// # Errors
    ///
    /// When it does not start: with what it said.
    pub fn start_in(&self, lab: &Lab, folder: &Path) -> Result<SensorSession> {
        let log = folder.join(LOG);
        let output = format!("eve:{},events={}", log.display(), self.events);
        let workers = self.workers.to_string();
        let binary = self.binary.to_str().context("a path in UTF-8")?;
        if !self.binary.is_file() {
            bail!("{binary}: no such program: build it (make build) or name it with --binary");
        }
        let mut command = lab.command(End::Receiver, Some(RECEIVER_CPU), binary);
        command.args(["run", "--no-config", "-i", lab.device(End::Receiver)]);
        // The only CPU that it is allowed: workers are pinned there.
        command.args(["--workers", &workers, "--sensor", "load"]);
        command.args(["--capture", &self.depth, "--output", &output]);
        command.args(&self.args);
        let mut running = Running::start(command, "synledger", folder)?;
        running.wait_until("it watches", PATIENCE, |_| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains("\"event\":\"start\"")
        })?;
        Ok(SensorSession { running, log })
    }
}

impl SensorSession {
    /// Ends it with its books.
    ///
    /// # Errors
    ///
    /// When it does not end, or by another way than its own.
    pub fn finish(self) -> Result<Finished> {
        let says = self.running.says_path();
        let (ended, usage) = self.running.stop(Signal::SIGINT, PATIENCE)?;
        let says = std::fs::read_to_string(says).unwrap_or_default();
        // 1: an output lost records. A flood may exceed what a log can take, and the books count those records.
        let lost_records = ended.code == Some(1) && says.contains("that log is not whole");
        if !matches!(ended.code, Some(0 | 3)) && !lost_records {
            bail!("synledger {ended}. {}", quote(&says));
        }
        Ok(Finished {
            code: ended.code,
            usage,
            log: self.log,
            says,
        })
    }
}

impl Receiver for Sensor {
    fn name(&self) -> &'static str {
        "synledger"
    }

    fn start(&self, lab: &Lab, folder: &Path) -> Result<Box<dyn Session>> {
        Ok(Box::new(self.start_in(lab, folder)?))
    }
}

impl Session for SensorSession {
    fn pid(&self) -> u32 {
        self.running.pid()
    }

    fn stop(self: Box<Self>) -> Result<Seen> {
        let finished = self.finish()?;
        let books = Books::read(&finished.log)?;
        Ok(Seen {
            frames: books.rings.iter().map(|ring| ring.frames_read).sum(),
            dropped: books
                .rings
                .iter()
                .map(|ring| ring.tp_drops + ring.shed_data)
                .sum(),
            connections: Some(books.count("new_connections")),
            usage: finished.usage,
        })
    }
}
