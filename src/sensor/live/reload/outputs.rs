//! Outputs that a reload adds, removes, or has ask for other records.

use crate::log::formats::context::Context;
use crate::log::logger::Control;
use crate::log::outputs::changes::OutputChanges;
use crate::log::sinks::archive::Archive;
use crate::log::sinks::lines::Patience;
use crate::log::sinks::spec::{OutputSpec, Target, folder};
use crate::log::sinks::{self, Sink};
use crate::settings::Common;
use crate::words::shown;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Outputs that a run may open one after another: the books of removed ones stay.
const OPENED_MAX: usize = 64;
/// The logger takes changes between two batches of events.
const LOGGER_WAIT: Duration = Duration::from_secs(5);

/// Outputs in force.
pub(in crate::sensor::live) struct OutputsInForce {
    /// Those that are open, with their numbers at the logger.
    open: Vec<(usize, OutputSpec)>,
    /// Block lists, as they were given.
    lists: Vec<String>,
    /// So many were opened so far.
    opened: usize,
    context: Context,
    archive: Archive,
    control: Arc<Control>,
    /// Where files may be made and written; `None`: everywhere.
    allowed: Option<Vec<PathBuf>>,
}

/// What a file asks for, open and not yet in force.
pub(super) struct Planned {
    changes: OutputChanges,
    open: Vec<(usize, OutputSpec)>,
    opened: usize,
    /// What needs a restart.
    pub waiting: Vec<String>,
}

impl Planned {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl OutputsInForce {
    pub(in crate::sensor::live) fn new(
        common: &Common,
        (context, archive): (Context, Archive),
        control: &Arc<Control>,
        allowed: Option<Vec<PathBuf>>,
    ) -> Self {
        Self {
            open: common.outputs.iter().cloned().enumerate().collect(),
            lists: lists(common),
            opened: common.outputs.len(),
            context,
            archive,
            control: Arc::clone(control),
            allowed,
        }
    }

    /// Opens what is new in `common`.
    ///
    /// # Errors
    ///
    /// One that cannot be opened: nothing has changed then.
    pub(super) fn plan(&self, common: &Common) -> Result<Planned, String> {
        let mut left = self.open.clone();
        let (mut asked, mut open, mut new, mut waiting) = (vec![], vec![], vec![], vec![]);
        for spec in &common.outputs {
            let is_it = |(_, known): &(usize, OutputSpec)| known.name() == spec.name();
            let Some(at) = left.iter().position(is_it) else {
                new.push(spec);
                continue;
            };
            let (number, known) = left.remove(at);
            if known.events != spec.events {
                asked.push((number, spec.events));
            }
            let known = OutputSpec {
                events: spec.events,
                is_journal: spec.is_journal,
                ..known
            };
            if known != *spec {
                waiting.push(format!("output {} (all but events=)", spec.name()));
            }
            open.push((number, known));
        }
        if self.lists != lists(common) {
            waiting.push("output (block lists)".to_owned());
        }
        if self.opened + new.len() > OPENED_MAX {
            return Err(format!(
                "--output: {OPENED_MAX} outputs were opened since the start, which is the most: start synledger again"
            ));
        }
        for spec in &new {
            let same = |(_, known): &&(usize, OutputSpec)| known.target == spec.target;
            if let Some((_, known)) = left.iter().find(same) {
                let why = format!(
                    "{} writes there until it is removed: name another file, or remove it by a reload of its own before",
                    known.name()
                );
                return Err(refused(spec, &why));
            }
            self.would_open(spec)?;
        }
        let mut added: Vec<(OutputSpec, Box<dyn Sink>)> = Vec::new();
        for (number, spec) in (self.opened..).zip(new) {
            let sink = sinks::open(spec, &self.archive, number);
            let mut sink = sink.map_err(|error| {
                self.forget(self.opened..number);
                refused(spec, &error.to_string())
            })?;
            sink.set_patience(Patience::Live);
            added.push((spec.clone(), sink));
        }
        let opened = self.opened + added.len();
        let numbers = self.opened..opened;
        open.extend(numbers.zip(added.iter().map(|(spec, _)| spec.clone())));
        Ok(Planned {
            changes: OutputChanges {
                removed: left.into_iter().map(|(number, _)| number).collect(),
                asked,
                added,
                context: self.context.clone(),
            },
            open,
            opened,
            waiting,
        })
    }

    /// Forgets closed files of outputs that do not come in force.
    fn forget(&self, numbers: Range<usize>) {
        numbers.for_each(|number| self.archive.forget(number));
    }

    fn would_open(&self, spec: &OutputSpec) -> Result<(), String> {
        sinks::would_open(spec).map_err(|error| refused(spec, &error.to_string()))?;
        if let (Some(_), Target::Collector(_)) = (&self.allowed, &spec.target) {
            let why = "the sandbox opens no socket to a collector while it runs: start synledger again, or start it with \
                       --no-sandbox";
            return Err(refused(spec, why));
        }
        if let (Some(allowed), Target::Path(path)) = (&self.allowed, &spec.target) {
            let place = |path: &std::path::Path| path.canonicalize().ok();
            let is_inside = |place: &PathBuf| allowed.iter().any(|one| place.starts_with(one));
            let places = [place(path), place(folder(path))];
            if !places.iter().flatten().any(is_inside) {
                let folders: Vec<String> = allowed.iter().map(|one| shown(one)).collect();
                return Err(refused(
                    spec,
                    &format!(
                        "the sandbox writes only where outputs of the start are ({}): name a file there, start \
                         synledger again, or start it with --no-sandbox",
                        folders.join(", ")
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Hands the changes to the logger.
    ///
    /// # Errors
    ///
    /// It has not taken those of an earlier reload.
    pub(super) fn put_in_force(&mut self, planned: Planned) -> Result<(), String> {
        if planned.is_empty() {
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        let mut changes = self.changes();
        while changes.is_some() {
            drop(changes);
            if waited > LOGGER_WAIT {
                self.forget(self.opened..planned.opened);
                return Err("--output: the logger has not yet taken the last change".to_owned());
            }
            let pause = Duration::from_millis(5);
            std::thread::sleep(pause);
            waited += pause;
            changes = self.changes();
        }
        *changes = Some(planned.changes);
        drop(changes);
        (self.open, self.opened) = (planned.open, planned.opened);
        Ok(())
    }

    fn changes(&self) -> std::sync::MutexGuard<'_, Option<OutputChanges>> {
        let changes = self.control.changes.lock();
        changes.unwrap_or_else(PoisonError::into_inner)
    }
}

fn lists(common: &Common) -> Vec<String> {
    let lists = common.responders.iter();
    lists.map(|one| one.value.clone()).collect()
}

fn refused(spec: &OutputSpec, why: &str) -> String {
    format!("--output {}: {why}", spec.name())
}
