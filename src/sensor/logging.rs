//! Opens the logger with its outputs and responders, and names their books, for `run` and `read` alike.

use crate::books::Books;
use crate::books::output::{Named, OutputBooks, OutputCounts};
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::host::services::Services;
use crate::log::budget::Budget;
use crate::log::fold::Folds;
use crate::log::fold::logger::Folding;
use crate::log::formats::context::{Context, Direction};
use crate::log::formats::interfaces::Interfaces;
use crate::log::logger::{Control, Logger, LoggerClock, Published, lag_histogram};
use crate::log::merge::{Consumer, Merge};
use crate::log::notice::Notices;
use crate::log::outputs::Outputs;
use crate::log::sinks::lines::Patience;
use crate::log::sinks::spec::OutputSpec;
use crate::log::tap::Tap;
use crate::respond::Responders;
use crate::respond::guard::{Guard, Shared, Surroundings};
use crate::settings::Common;
use crate::time::clock::{RunTime, wall_clock_ns};
use crate::time::durations::LAG_MAX_NS;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

/// Addresses of this host and `--local`, kept up to date.
pub type SharedLocalities = Shared<Localities>;

/// The context of all outputs.
pub fn context(
    common: &Common,
    interfaces: &Interfaces,
    direction: Direction,
    services: Option<Services>,
    frames: bool,
) -> Context {
    Context {
        host: common.sensor.clone(),
        interfaces: interfaces.clone(),
        direction,
        services,
        frames,
    }
}

/// Directions by localities that change while the sensor runs.
pub fn direction(localities: &SharedLocalities) -> Direction {
    let localities = Arc::clone(localities);
    Arc::new(move |src, dst| {
        // Asked for each record: the lock is cheaper than a clone under it.
        let ours = localities.read().unwrap_or_else(PoisonError::into_inner);
        ours.direction(src, dst).word()
    })
}

/// Opens all responders, then all outputs. `surroundings` are empty in `read`.
pub fn open(
    common: &Common,
    context: &Context,
    localities: &SharedLocalities,
    surroundings: &Shared<Surroundings>,
) -> Result<(Outputs, Tap), Failure> {
    let allow = common.allow.iter().map(|allowed| allowed.net);
    let guard = Guard::new(localities, surroundings, allow);
    let all = Responders::open(&common.responders, &common.sensor, guard);
    let all = all.map_err(Failure::Run)?;
    let mut tap = Tap::default();
    if let Some(all) = all {
        tap.add(Box::new(all));
    }
    let outputs = Outputs::open(&common.outputs, context).map_err(Failure::run)?;
    Ok((outputs, tap))
}

/// A logger for the shards behind `consumers`, the sender of the sensor's own records, and the logger's control.
///
/// Live, events are stamped in `run_time`, and a slow reader loses lines. `read` waits for readers until `stop`.
pub fn logger(
    common: &Common,
    (mut outputs, tap): (Outputs, Tap),
    consumers: Vec<Consumer>,
    run_time: Option<RunTime>,
    stop: &Arc<AtomicBool>,
) -> (Logger, Notices, Arc<Control>) {
    let (sender, notices) = Notices::channel();
    let control = Arc::new(Control::default());
    let live = run_time.is_some();
    outputs.set_patience(&if live {
        Patience::Live
    } else {
        Patience::UntilTaken(Arc::clone(stop))
    });
    let clock: LoggerClock = Box::new(wall_clock_ns);
    let logger = Logger {
        merge: Merge::new(consumers, live.then_some(LAG_MAX_NS)),
        tap,
        outputs,
        budget: Budget::new(common.alert_rate),
        folding: match common.fold {
            // Fixed keys: every run over the same captures folds the same attempts.
            Some(per_second) if !live => Folding::Here(Box::new(Folds::with_room(
                common.room.folds,
                per_second,
                [0; 2],
            ))),
            _ => Folding::Shards(None),
        },
        notices,
        control: Arc::clone(&control),
        clock,
        run_time,
        lag_us: live.then(lag_histogram),
    };
    (logger, sender, control)
}

/// The books of all outputs.
pub fn output_books(common: &Common, counts: &[OutputCounts]) -> Vec<OutputBooks> {
    named(common.outputs.iter().map(name).collect(), counts)
}

/// The logger's part of the books.
pub fn books(common: &Common, published: &Published) -> Books {
    let responders = common.responders.iter().map(|one| one.name.clone());
    Books {
        outputs: output_books(common, &published.outputs),
        responders: named(responders.collect(), &published.responders),
        own_records: published.own,
        log: published.log,
        ..Books::default()
    }
}

/// A repeated name gets its place behind it: `eve:-#2`.
fn named<C: Copy>(names: Vec<String>, counts: &[C]) -> Vec<Named<C>> {
    let named = |(at, &counts): (usize, &C)| Named {
        name: match names[..at].contains(&names[at]) {
            true => format!("{}#{}", names[at], at + 1),
            false => names[at].clone(),
        },
        counts,
    };
    counts.iter().enumerate().map(named).collect()
}

/// An output's name in the books: its kind and target.
pub fn name(spec: &OutputSpec) -> String {
    format!("{}:{}", spec.format.word, spec.target)
}
