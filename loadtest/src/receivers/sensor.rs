//! synledger as a receiver: how it is started and stopped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use super::{Receiver, ReceiverCounts, Session};
use crate::lab::process::{Running, Usage, quote};
use crate::lab::{End, Lab, RECEIVER_CPU};
use crate::truth::books::Books;

const PATIENCE: Duration = Duration::from_secs(60);
const LOG: &str = "synledger.json";

/// Values of `--capture`.
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
    /// More flags.
    pub args: Vec<String>,
    /// Event kinds of its log.
    pub events: String,
    /// `--block`, and how many addresses it blocks from the start.
    pub blocks: Option<(&'static str, u32)>,
}

/// A running synledger.
#[derive(Debug)]
pub struct SensorSession {
    /// Its process.
    pub running: Running,
    /// Its EVE log.
    pub log: PathBuf,
}

/// The end of a run of synledger.
#[derive(Debug)]
pub struct SensorExit {
    /// Exit code: 3 if the books did not close, 1 if an output lost records.
    pub code: Option<i32>,
    /// Resources used.
    pub usage: Usage,
    /// Its EVE log.
    pub log: PathBuf,
    /// Its standard error.
    pub stderr: String,
}

impl Sensor {
    /// The program with default flags and one worker on the receiver's CPU.
    #[must_use]
    pub fn new(binary: PathBuf, depth: &str) -> Self {
        Self {
            binary,
            depth: depth.to_owned(),
            workers: 1,
            args: Vec::new(),
            events: "connection+alert+flow+stats+lifecycle".to_owned(),
            blocks: None,
        }
    }

    /// Blocks `count` addresses, at most 65,536, that send nothing, with `--block mode`.
    #[must_use]
    pub fn blocking(mut self, mode: &'static str, count: u32) -> Self {
        self.blocks = Some((mode, count));
        self
    }

    /// Adds flags.
    #[must_use]
    pub fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Starts it in `lab` with its log in `folder`; returns when it captures.
    ///
    /// # Errors
    ///
    /// When it does not start; the error has its standard error.
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
        // It may use the receiver's CPU only, so its workers are pinned there.
        command.args(["--workers", &workers, "--sensor", "load"]);
        command.args(["--capture", &self.depth, "--output", &output]);
        command.args(&self.args);
        let socket = folder.join("sock");
        if let Some((mode, count)) = self.blocks {
            command.args(["--block", mode, "--block-max", &count.to_string()]);
            command.arg("--status-socket").arg(&socket);
        }
        let mut running = Running::start(command, "synledger", folder)?;
        running.wait_until("it watches", PATIENCE, |_| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            text.contains("\"event\":\"start\"")
        })?;
        if let Some((_, count)) = self.blocks {
            block(&self.binary, &socket, count)?;
        }
        Ok(SensorSession { running, log })
    }
}

/// Has the running sensor block so many addresses of a network for benchmarks (RFC 2544), and waits until the kernel has
/// them.
fn block(binary: &Path, socket: &Path, count: u32) -> Result<()> {
    let addresses = (0..count).map(|n| format!("198.18.{}.{}\n", n >> 8, n & 255));
    let list = socket.with_file_name("blocks.txt");
    std::fs::write(&list, addresses.collect::<String>())?;
    let mut import = Command::new(binary);
    import.args(["block", "import", "--name", "load", "--for", "1d"]);
    let output = import.arg("--socket").arg(socket).arg(&list).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("synledger block import: {}", quote(&said));
    }
    Ok(())
}

impl SensorSession {
    /// Stops it; its last record has the books.
    ///
    /// # Errors
    ///
    /// When it does not end, or fails.
    pub fn finish(self) -> Result<SensorExit> {
        let stderr_path = self.running.stderr_path();
        let (ended, usage) = self.running.stop(Signal::SIGINT, PATIENCE)?;
        let stderr = std::fs::read_to_string(stderr_path).unwrap_or_default();
        // Exit code 1: an output lost records. A flood may be faster than the log; the books count those records.
        let lost_records = ended.code == Some(1) && stderr.contains("that log is not whole");
        if !matches!(ended.code, Some(0 | 3)) && !lost_records {
            bail!("synledger {ended}. {}", quote(&stderr));
        }
        Ok(SensorExit {
            code: ended.code,
            usage,
            log: self.log,
            stderr,
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

    fn stop(self: Box<Self>) -> Result<ReceiverCounts> {
        let finished = self.finish()?;
        let books = Books::read(&finished.log)?;
        Ok(ReceiverCounts {
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
