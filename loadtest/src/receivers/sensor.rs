//! synledger as a receiver, and its books.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::lab::process::{Running, Usage, quote};
use crate::lab::{End, Lab, RECEIVER_CPU};
use crate::receivers::{Receiver, Seen, Session};
use crate::truth::eve::{self, Line};

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
        command.args(["run", "-i", lab.device(End::Receiver)]);
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
        // 1: an output lost records. A flood is meant to go beyond what a log can take, and the books count them.
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

/// One ring of the books.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct Ring {
    /// Its interface.
    pub interface: String,
    /// `open`, `control`, `data`, or `all`.
    pub class: String,
    /// Frames offered, drops included.
    pub tp_packets: u64,
    /// Frames dropped.
    pub tp_drops: u64,
    /// Frames read.
    pub frames_read: u64,
    /// Frames given back unread.
    pub shed_data: u64,
}

/// The books of a whole run, from its last record of statistics. What a sensor does not have yet counts 0.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Its rings.
    pub rings: Vec<Ring>,
    /// Identities that do not hold.
    pub open_identities: Vec<String>,
    all: Value,
}

/// New connections as one output had them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// A line each.
    pub written: u64,
    /// Counted in a record of many.
    pub folded: u64,
    /// Not wanted.
    pub not_asked: u64,
    /// Lost, with a cause.
    pub dropped: u64,
}

impl Books {
    /// Finds them at the end of a log.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn read(log: &Path) -> Result<Self> {
        let mut found = None;
        eve::read(log, |line| {
            if let Line::Books(value) = line {
                found = Some(value);
            }
        })?;
        let value = found.with_context(|| format!("{}: no last record", log.display()))?;
        Self::of(&value)
    }

    /// Takes them from a record of statistics.
    ///
    /// # Errors
    ///
    /// When it has no rings.
    pub fn of(value: &Value) -> Result<Self> {
        let ours = &value["synledger"];
        let all = ours["totals"]["books"].clone();
        let rings = serde_json::from_value(all["rings"].clone()).context("rings of the books")?;
        let open = ours["open_identities"].as_array();
        let open_identities = open.into_iter().flatten().map(Value::to_string).collect();
        Ok(Self {
            rings,
            open_identities,
            all,
        })
    }

    /// A counter, or the sum of counters of one name.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        match &self.all[name] {
            Value::Object(labels) => labels.values().filter_map(Value::as_u64).sum(),
            value => value.as_u64().unwrap_or(0),
        }
    }

    /// Frames that filters kept from the rings, of `--capture control` and those that shed bulk data under load;
    /// `None` if they could not be counted.
    #[must_use]
    pub fn filtered(&self) -> Option<u64> {
        let counted = |at: &Value, there: bool| match at {
            Value::Null if there => None,
            value => Some(value.as_u64().unwrap_or(0)),
        };
        let all = &self.all;
        let chosen = counted(
            &all["filtered_frames"],
            all.get("filtered_frames").is_some(),
        )?;
        let levels = all["shed_spent_seconds"].as_object().into_iter().flatten();
        let was_shed = levels
            .filter(|(level, _)| level.as_str() != "0")
            .any(|(_, seconds)| seconds.as_f64() > Some(0.0));
        Some(chosen + counted(&all["shed_in_kernel"], was_shed)?)
    }

    /// Steps of load shedding, up to any level.
    #[must_use]
    pub fn shed_steps(&self) -> u64 {
        let levels = self.all["shed_up"].as_object().into_iter().flatten();
        levels.filter_map(|(_, steps)| steps.as_u64()).sum()
    }

    /// New connections in the first output.
    #[must_use]
    pub fn logged(&self) -> Logged {
        let output = &self.all["outputs"][0];
        let count = |name: &str| output[name]["connection"].as_u64().unwrap_or(0);
        let causes = output["dropped"].as_object().into_iter().flatten();
        let dropped = causes.filter_map(|(_, kinds)| kinds["connection"].as_u64());
        Logged {
            written: count("written"),
            folded: count("folded"),
            not_asked: count("not_asked"),
            dropped: dropped.sum(),
        }
    }

    /// A sum over the rings of one class.
    #[must_use]
    pub fn class(&self, class: &str, count: fn(&Ring) -> u64) -> u64 {
        let rings = self.rings.iter().filter(|ring| ring.class == class);
        rings.map(count).sum()
    }

    /// A sum over all rings.
    #[must_use]
    pub fn all_rings(&self, count: fn(&Ring) -> u64) -> u64 {
        self.rings.iter().map(count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_sensor_does_not_have_counts_nothing() {
        let value = json!({ "synledger": { "totals": { "books": {
            "new_connections": 7, "unread_frames": { "arp": 2, "llc": 3 },
            "rings": [{ "class": "open", "tp_packets": 9, "tp_drops": 2, "frames_read": 7, "more": 1 }],
            "outputs": [{ "written": { "connection": 5 },
                          "dropped": { "slow": { "connection": 2 }, "queue": { "flow": 1 } } }],
        } }, "open_identities": [] } });
        let books = Books::of(&value).expect("books");
        assert_eq!(
            (books.count("new_connections"), books.count("unread_frames")),
            (7, 5)
        );
        assert_eq!((books.count("witnessed"), books.filtered()), (0, Some(0)));
        let logged = books.logged();
        assert_eq!((logged.written, logged.folded, logged.dropped), (5, 0, 2));
        assert_eq!(books.class("open", |ring| ring.tp_packets), 9);
        assert_eq!(books.class("data", |ring| ring.tp_packets), 0);
        let control = json!({ "synledger": { "totals": { "books": { "rings": [], "filtered_frames": null } } } });
        assert_eq!(Books::of(&control).expect("books").filtered(), None);
    }
}
