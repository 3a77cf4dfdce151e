//! What follows from detections: one responder, one file.
//!
//! Responders listen at the log's tap: they are told of every detection in the log's order, of those too that no
//! output is told of. Whom they never act against is in [`guard`].

pub mod blocklist;
pub mod guard;
pub mod replaced;

use crate::books::responder::{Refusal, ResponderCounts};
use crate::inspect::detection::{Detection, Proof, Shown};
use crate::log::event::Body;
use crate::log::notice::Notice;
use crate::log::reached::LogTime;
use crate::log::tap::{Heard, Listener};
use guard::Guard;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// Every responder that `--output` knows, by its word.
pub static RESPONDERS: [&Registered; 1] = [&blocklist::BLOCKLIST];

/// A detection as responders are told of it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// What was detected; its times are in run time.
    pub detection: &'a Detection,
    /// When it was due.
    pub due: LogTime,
    /// What its own times are to be moved by for the wall clock of its moment; 0 in `read`.
    pub shift_ns: i64,
}

impl Told<'_> {
    /// Why nothing may follow from it, if so: every responder asks this first. A source is believed from
    /// `at_least` this proof on.
    pub fn refusal(&self, guard: &Guard, at_least: Proof) -> Option<Refusal> {
        let proven = || (self.detection.proof < at_least).then_some(Refusal::Unproven);
        match self.detection.shown {
            Shown::OutOfScope => Some(Refusal::OutOfScope),
            Shown::Allowed => Some(Refusal::Allowed),
            Shown::Yes => guard.refusal(self.detection.subject.src()).or_else(proven),
        }
    }
}

/// Does something about sources.
pub trait Responder: Send {
    /// Is told of a detection.
    fn on_detection(&mut self, told: &Told<'_>, guard: &Guard);
    /// The guard knows more, or other, addresses now.
    fn on_guard(&mut self, guard: &Guard);
    /// Live: the log has reached `at`, and it is `now_ns` by the wall clock. Called many times a second.
    fn tick(&mut self, at: LogTime, now_ns: i64);
    /// Nothing follows; the log ended at `at`.
    fn finish(&mut self, at: LogTime, now_ns: i64);
    /// What the log should say: a turn for the worse or the better.
    fn say(&mut self) -> Option<Notice>;
    /// Its books.
    fn counts(&self) -> ResponderCounts;
}

/// A responder of the command line, checked and not yet at work.
pub trait Plan: Debug + Send + Sync {
    /// The file that it writes.
    fn path(&self) -> &Path;
    /// The most memory that it takes.
    fn memory_bytes(&self) -> u64;
    /// Whether it could start; nothing is created or changed.
    ///
    /// # Errors
    ///
    /// One sentence for a person.
    fn would_open(&self) -> Result<(), String>;
    /// Starts it. `sensor` is `--sensor`; `live` is false in `read`.
    ///
    /// # Errors
    ///
    /// As [`Plan::would_open`].
    fn open(&self, sensor: &str, live: bool) -> Result<Box<dyn Responder>, String>;
}

/// A responder as the registry has it.
#[derive(Debug)]
pub struct Registered {
    /// Its word in `--output`.
    pub word: &'static str,
    /// What it is and its options, for the help of `--output`.
    pub about: &'static str,
    /// Reads what follows the word and its colon.
    pub plan: fn(&str) -> Result<Arc<dyn Plan>, Wrong>,
}

/// What is wrong with an `--output` for a responder, and what is allowed there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub wrong: String,
    /// What is allowed.
    pub allowed: &'static str,
}

/// One `--output` for a responder.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its name in the books: kind and target.
    pub name: String,
    /// What is asked for.
    pub plan: Arc<dyn Plan>,
}

/// Reads an `--output`; `None`: it is for no responder.
///
/// # Errors
///
/// Names the value, what is wrong with it and what is allowed.
pub fn asked(value: &str) -> Option<Result<Asked, String>> {
    let (kind, rest) = value.split_once(':')?;
    let registered = RESPONDERS.into_iter().find(|one| one.word == kind)?;
    let plan = (registered.plan)(rest).map_err(|Wrong { wrong, allowed }| {
        format!("--output {value}: {wrong}; allowed: {allowed}")
    });
    Some(plan.map(|plan| Asked {
        name: format!("{kind}:{}", plan.path().display()),
        plan,
    }))
}

/// The part of the long help of `--output` that tells of responders.
pub fn help() -> String {
    RESPONDERS
        .iter()
        .map(|one| format!("\n{}\n", one.about))
        .collect()
}

/// All responders of a run.
pub struct Responders {
    all: Vec<Box<dyn Responder>>,
    guard: Guard,
}

impl Responders {
    /// Starts them. `None`: there are none.
    ///
    /// # Errors
    ///
    /// The first that cannot be started.
    pub fn open(
        asked: &[Asked],
        sensor: &str,
        guard: Guard,
        live: bool,
    ) -> Result<Option<Self>, String> {
        if asked.is_empty() {
            return Ok(None);
        }
        let all = asked.iter().map(|one| one.plan.open(sensor, live));
        let all = all.collect::<Result<_, _>>()?;
        Ok(Some(Self { all, guard }))
    }

    fn renew_guard(&mut self) {
        if self.guard.renew() {
            for responder in &mut self.all {
                responder.on_guard(&self.guard);
            }
        }
    }
}

impl Listener for Responders {
    fn hear(&mut self, heard: Heard<'_>) {
        let Body::Alert(detection) = &heard.event.body else {
            return;
        };
        let told = Told {
            detection,
            due: heard.due,
            shift_ns: heard.shift_ns,
        };
        for responder in &mut self.all {
            responder.on_detection(&told, &self.guard);
        }
    }

    fn tick(&mut self, at: LogTime, now_ns: i64) {
        self.renew_guard();
        for responder in &mut self.all {
            responder.tick(at, now_ns);
        }
    }

    fn finish(&mut self, at: LogTime, now_ns: i64) {
        self.renew_guard();
        for responder in &mut self.all {
            responder.finish(at, now_ns);
        }
    }

    fn take_notice(&mut self) -> Option<Notice> {
        self.all.iter_mut().find_map(|responder| responder.say())
    }

    fn counts(&self) -> Vec<ResponderCounts> {
        self.all
            .iter()
            .map(|responder| responder.counts())
            .collect()
    }
}
