//! The process that hands over.

use super::exchange::{self, Door};
use super::state::{SensorState, Terms};
use super::store;
use super::{Lent, Named, group_name, sensor_name, worker_name};
use crate::log::logger::Order as LoggerOrder;
use crate::sensor::RunKeys;
use crate::sensor::live::Supervisor;
use crate::sensor::signals::Signals;
use crate::sensor::worker::Change;
use crate::sensor::worker::handover::{Answers, Order, Sink, Verdict};
use crate::snapshot::Snapshot as _;
use crate::sys::memfd::{self, SumWriter};
use crate::time::clock::monotonic_ns;
use crossbeam::channel::{Sender, bounded};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

/// The logger waits a second for a reader that is slow, each output by itself.
const LOGGER: Duration = Duration::from_secs(10);

/// What handing over takes.
pub(in crate::sensor::live) struct Handing {
    keys: RunKeys,
    /// What a process that takes over must agree on.
    pub terms: Terms,
    logger: Sender<LoggerOrder>,
    /// Of `--takeover`.
    door: Option<Door>,
    /// Another process goes on: this one ends without a word.
    pub is_done: bool,
}

impl Handing {
    pub(in crate::sensor::live) fn new(
        (keys, terms): (RunKeys, Terms),
        logger: Sender<LoggerOrder>,
        door: Option<Door>,
    ) -> Self {
        Self {
            keys,
            terms,
            logger,
            door,
            is_done: false,
        }
    }
}

/// Threads that wait for what follows.
struct Stopped {
    workers: Answers,
    /// `None`: the logger does not wait.
    logger: Option<Sender<bool>>,
}

impl Stopped {
    fn tell(&self, verdict: Verdict) {
        if let Some(logger) = &self.logger {
            let _ = logger.send(verdict == Verdict::Leave);
        }
        self.workers.tell(verdict);
    }
}

impl Supervisor<'_> {
    /// Why it could not hand over now.
    pub(in crate::sensor::live) fn cannot_hand_over(&self) -> Option<String> {
        if self.witness.is_some() {
            return Some("--witness is on".to_owned());
        }
        self.links.groups.cannot_hand_over()
    }

    /// Stops reading, writes all that lives on, and has `to` give it away. If that fails, the threads go on. `else_what`:
    /// what this process does then.
    ///
    /// # Errors
    ///
    /// One sentence.
    pub(in crate::sensor::live) fn hand_over(
        &mut self,
        (how, else_what): (&str, &str),
        to: impl FnOnce(Lent<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let done = match self.cannot_hand_over() {
            Some(why) => Err(why),
            None => self.try_to_hand_over(how, to),
        };
        if let Err(why) = &done {
            let text = format!("not handed over to another process: {why}; this one {else_what}");
            self.messenger.report("handover_failed", text);
        }
        done
    }

    fn try_to_hand_over(
        &mut self,
        how: &str,
        to: impl FnOnce(Lent<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let books = self.books();
        if let Some(record) = self.statistics.of_interval(&books) {
            self.messenger.send(record);
        }
        self.messenger.record(
            "handed_over",
            format!("handed over to another process {how}"),
        );
        let count = self.config.common.workers;
        let files: io::Result<Vec<File>> = (0..count).map(|_| memfd::create(c"worker")).collect();
        let files = files.map_err(|error| error.to_string())?;
        let stopped_ns = monotonic_ns();
        let (mut stopped, written) = self.stop_workers(&files);
        let handed = written
            .and_then(|()| self.write(&mut stopped, files, stopped_ns))
            .map_err(|error| error.to_string())
            .and_then(|own| to(self.lent(&own)));
        stopped.tell(match handed {
            Ok(()) => Verdict::Leave,
            Err(_) => Verdict::GoOn,
        });
        if handed.is_ok() {
            self.links.groups.leave();
        }
        handed
    }

    fn stop_workers(&self, files: &[File]) -> (Stopped, io::Result<()>) {
        let sinks: io::Result<Vec<Sink>> = files
            .iter()
            .map(|file| Ok(Box::new(SumWriter::new(file.try_clone()?)) as Sink))
            .collect();
        let (sinks, cloned) = match sinks {
            Ok(sinks) => (sinks, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        let (order, answers) = Order::new(sinks);
        let stopped = Stopped {
            workers: answers,
            logger: None,
        };
        if cloned.is_err() {
            return (stopped, cloned);
        }
        self.workers.send(&Change::HandOver(order));
        let written = stopped.workers.wait();
        (stopped, written)
    }

    /// Writes what the sensor knows; what it and the workers have written, with their names.
    fn write(
        &mut self,
        stopped: &mut Stopped,
        files: Vec<File>,
        stopped_ns: i64,
    ) -> io::Result<Named> {
        let (to_us, progress) = bounded(1);
        let (leaves, verdict) = bounded(1);
        let order = LoggerOrder {
            progress: to_us,
            leaves: verdict,
        };
        let gone = || io::Error::other("the logger does not answer");
        self.handing.logger.send(order).map_err(|_| gone())?;
        stopped.logger = Some(leaves);
        let log = progress.recv_timeout(LOGGER).map_err(|_| gone())?;
        let groups = &mut self.links.groups;
        groups.update();
        let state = SensorState {
            process: std::process::id(),
            stopped_ns,
            keys: self.handing.keys,
            run_time: self.workers.run_time().state(),
            groups: groups.state(),
            log,
            sent: self.ledger.sent(),
        };
        let own = memfd::create(c"sensor")?;
        let mut to = SumWriter::new(own.try_clone()?);
        self.handing.terms.save(&mut to)?;
        state.save(&mut to)?;
        to.flush()?;
        let mut all: Named = vec![(sensor_name(), sealed(own)?)];
        for (id, file) in files.into_iter().enumerate() {
            all.push((worker_name(id), sealed(file)?));
        }
        Ok(all)
    }

    /// What was written, and the sockets: all with their names.
    fn lent<'a>(&'a self, written: &'a Named) -> Lent<'a> {
        let written = written.iter();
        let mut all: Lent<'a> = written
            .map(|(name, fd)| (name.clone(), fd.as_fd()))
            .collect();
        for (interface, group) in self.links.groups.current().iter().enumerate() {
            let fds = group.fds().into_iter().enumerate();
            all.extend(fds.map(|(at, fd)| (group_name(interface, at), fd)));
        }
        all
    }

    /// Hands over to a process that asks for it. True: end, all else is said.
    pub(in crate::sensor::live) fn serve_successor(&mut self, signals: &Signals) -> bool {
        if signals.hand_over() {
            let manager = self.service.manager.clone();
            let done = self.hand_over(("by the service manager", "stops"), |named| {
                store::put(&manager, &named).inspect_err(|_| {
                    let names: Vec<String> = named.into_iter().map(|(name, _)| name).collect();
                    store::clear(&manager, &names);
                })
            });
            self.handing.is_done = done.is_ok();
            // The manager waits for its end, either way.
            return true;
        }
        let visitor = self
            .handing
            .door
            .as_ref()
            .filter(|_| !self.handing.is_done)
            .and_then(Door::visitor);
        let Some(visitor) = visitor else {
            return self.handing.is_done;
        };
        let theirs = exchange::asked(&visitor);
        let refusal = match &theirs {
            Ok(theirs) => theirs
                .refusal(&self.handing.terms)
                .or_else(|| self.cannot_hand_over()),
            // Nobody knows what it wants.
            Err(_) => return false,
        };
        if let Some(why) = refusal {
            exchange::refuse(&visitor, &why);
            let text =
                format!("another process starts anew, as nothing could be handed over: {why}");
            self.messenger.report("not_handed_over", text);
            // It waits until this end is closed.
            std::mem::forget(visitor);
            return true;
        }
        let done = self.hand_over(("at the path of --takeover", "goes on"), |named| {
            exchange::give(&visitor, &named)
        });
        if done.is_ok() {
            self.handing.is_done = true;
            if let Some(door) = &mut self.handing.door {
                door.leave();
            }
            // Closed with the process.
            std::mem::forget(visitor);
        }
        self.handing.is_done
    }
}

fn sealed(file: File) -> io::Result<OwnedFd> {
    memfd::seal(&file)?;
    Ok(file.into())
}
