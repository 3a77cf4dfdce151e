//! Responders act on detections: one file each.
//!
//! They listen at the log's tap, where every detection passes in the log's order, also those that are no alert.
//! Addresses that they never act against are in [`guard`]. [`block`] listens at the tap by itself: it has books of its own.

pub mod block;
mod blocklist;
pub mod guard;
pub(crate) mod replaced;

use crate::books::responder::{Refusal, ResponderCounts};
use crate::inspect::detection::{AlertStatus, Detection, Proof, Verdict};
use crate::log::event::Body;
use crate::log::notice::Notice;
use crate::log::reached::LogTime;
use crate::log::tap::{Listener, TapEvent};
use crate::words::shown;
use guard::Guard;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

/// Every responder of `--output`.
pub static RESPONDERS: [&Registered; 1] = [&blocklist::BLOCKLIST];

/// A detection for responders.
#[derive(Clone, Copy, Debug)]
pub struct TimedDetection<'a> {
    /// Its times are in run time.
    pub detection: &'a Detection,
    /// When it was due in the log.
    pub due: LogTime,
    /// Wall clock minus run time; 0 in `read`.
    pub shift_ns: i64,
}

impl TimedDetection<'_> {
    /// Why responders must ignore it, if so; `at_least`: the required proof and verdict. Every responder checks this
    /// first.
    pub fn refusal(&self, guard: &Guard, at_least: (Proof, Verdict)) -> Option<Refusal> {
        let (proof, verdict) = at_least;
        let unproven = || (self.detection.proof < proof).then_some(Refusal::Unproven);
        let unsure = || (self.detection.verdict < Some(verdict)).then_some(Refusal::BelowVerdict);
        match self.detection.status {
            AlertStatus::OutOfScope => Some(Refusal::OutOfScope),
            AlertStatus::Allowed => Some(Refusal::Allowed),
            AlertStatus::BelowVerdict => Some(Refusal::BelowVerdict),
            AlertStatus::Alert => match self.detection.subject.src() {
                Some(src) if self.detection.src_prefix.is_none() => {
                    guard.refusal(src).or_else(unproven).or_else(unsure)
                }
                _ => Some(Refusal::NoSource),
            },
        }
    }
}

/// Acts against sources.
pub trait Responder: Send {
    fn on_detection(&mut self, detection: &TimedDetection<'_>, guard: &Guard);
    /// The guarded addresses have changed.
    fn on_guard(&mut self, guard: &Guard);
    /// Live: the log has reached `at`, and it is `now_ns` by the wall clock. Called many times a second.
    fn tick(&mut self, at: LogTime, now_ns: i64);
    /// The log ended at `at`.
    fn finish(&mut self, at: LogTime, now_ns: i64);
    /// A record for the log: it fails, or works again.
    fn take_notice(&mut self) -> Option<Notice>;
    fn counts(&self) -> ResponderCounts;
}

/// The checked options of a responder, not started yet.
pub trait Plan: Debug + Send + Sync {
    /// The file that it writes.
    fn path(&self) -> &Path;
    /// Its maximum memory.
    fn memory_bytes(&self) -> u64;
    /// Whether it could start; changes nothing. The error is one sentence.
    fn would_open(&self) -> Result<(), String>;
    /// Starts it. `sensor` is `--sensor`.
    fn open(&self, sensor: &str) -> Result<Box<dyn Responder>, String>;
}

/// A responder in the registry.
#[derive(Debug)]
pub struct Registered {
    /// Its word in `--output`.
    pub word: &'static str,
    /// Help text with its options.
    pub about: &'static str,
    /// Parses the text behind word and colon. The error says what is wrong and what is allowed.
    pub plan: fn(&str) -> Result<Arc<dyn Plan>, String>,
}

/// One `--output` for a responder.
#[derive(Clone, Debug)]
pub struct ResponderSpec {
    /// Kind and target, as in the books.
    pub name: String,
    /// As it was given.
    pub value: String,
    pub plan: Arc<dyn Plan>,
}

/// Parses an `--output`; `None`: it is for no responder. The error names the value.
pub fn parse_output(value: &str) -> Option<Result<ResponderSpec, String>> {
    let (kind, rest) = value.split_once(':')?;
    let registered = RESPONDERS.into_iter().find(|one| one.word == kind)?;
    let plan = (registered.plan)(rest).map_err(|wrong| format!("--output {value}: {wrong}"));
    Some(plan.map(|plan| ResponderSpec {
        name: format!("{kind}:{}", shown(plan.path())),
        value: value.to_owned(),
        plan,
    }))
}

/// Responders in the long help of `--output`.
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
    /// Starts them; `None` if there are none.
    pub fn open(
        specs: &[ResponderSpec],
        sensor: &str,
        guard: Guard,
    ) -> Result<Option<Self>, String> {
        if specs.is_empty() {
            return Ok(None);
        }
        let all = specs.iter().map(|one| one.plan.open(sensor));
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
    fn on_event(&mut self, event: TapEvent<'_>) {
        let Body::Alert(detection) = &event.event.body else {
            return;
        };
        let detection = TimedDetection {
            detection,
            due: event.due,
            shift_ns: event.shift_ns,
        };
        for responder in &mut self.all {
            responder.on_detection(&detection, &self.guard);
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
        self.all.iter_mut().find_map(|one| one.take_notice())
    }

    fn counts(&self) -> Vec<ResponderCounts> {
        self.all.iter().map(|one| one.counts()).collect()
    }
}
