//! The logger's side of both `run` and `read`.

use crate::books::output::{OutputBooks, OutputCounts};
use crate::books::responder::{ResponderBooks, ResponderCounts};
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::log::budget::Budget;
use crate::log::fold::Folds;
use crate::log::fold::logger::Folding;
use crate::log::formats::context::Context;
use crate::log::formats::interfaces::Interfaces;
use crate::log::logger::{Clock, Control, Logger, lag_histogram};
use crate::log::merge::{Consumer, Merge};
use crate::log::notice::Notices;
use crate::log::outputs::Outputs;
use crate::log::sinks::lines::Patience;
use crate::log::sinks::spec::OutputSpec;
use crate::log::tap::{Listener, Tap};
use crate::respond::guard::{Guard, Shared, Surroundings};
use crate::respond::{Asked, Responders};
use crate::settings::Common;
use crate::time::clock::{RunTime, wall_clock_ns};
use crate::time::durations::LAG_MAX_NS;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

/// Which addresses are ours, renewed when they change.
pub type SharedLocalities = Shared<Localities>;

/// What every output's records share.
pub fn context(
    common: &Common,
    interfaces: &Interfaces,
    localities: &SharedLocalities,
    frames: bool,
) -> Context {
    let localities = Arc::clone(localities);
    Context {
        host: common.sensor.clone(),
        interfaces: interfaces.clone(),
        direction: Arc::new(move |src, dst| {
            // Asked for each record: the lock is cheaper than a clone under it.
            let ours = localities.read().unwrap_or_else(PoisonError::into_inner);
            ours.direction(src, dst).word()
        }),
        frames,
    }
}

/// Opens every output.
///
/// # Errors
///
/// The first that cannot be opened.
pub fn outputs(common: &Common, context: &Context) -> Result<Outputs, Failure> {
    Outputs::open(&common.outputs, context).map_err(Failure::run)
}

/// Starts every responder. In `read` there are no surroundings.
///
/// # Errors
///
/// The first that cannot be started.
pub fn tap(
    common: &Common,
    localities: &SharedLocalities,
    surroundings: &Shared<Surroundings>,
    live: bool,
) -> Result<Tap, Failure> {
    let allow = common.allow.iter().map(|allowed| allowed.net);
    let guard = Guard::new(localities, surroundings, allow);
    let all = Responders::open(&common.responders, &common.sensor, guard, live);
    let all = all.map_err(Failure::Run)?;
    Ok(Tap::new(all.map(|all| Box::new(all) as Box<dyn Listener>)))
}

/// A logger for the shards behind `consumers`, and the way to tell it what the sensor has to say.
///
/// Live, `run_time` is what events come in, and a reader that is slow costs its own lines. `read` waits for
/// readers until `stop` is set.
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
        Patience::Reader(Arc::clone(stop))
    });
    let clock: Clock = Box::new(wall_clock_ns);
    let logger = Logger {
        merge: Merge::new(consumers, live.then_some(LAG_MAX_NS)),
        tap,
        outputs,
        budget: Budget::new(common.alert_rate),
        folding: match common.fold {
            // Fixed keys: which attempts are folded is the same in every run over the same captures.
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

/// The books of the outputs, by their names; one that is there twice gets its number behind its name.
pub fn books(specs: &[OutputSpec], counts: &[OutputCounts]) -> Vec<OutputBooks> {
    let names = specs.iter().map(name).collect();
    told_apart(names)
        .into_iter()
        .zip(counts)
        .map(|(name, &counts)| OutputBooks { name, counts })
        .collect()
}

/// The books of the responders, by their names.
pub fn responder_books(asked: &[Asked], counts: &[ResponderCounts]) -> Vec<ResponderBooks> {
    let names = asked.iter().map(|one| one.name.clone()).collect();
    told_apart(names)
        .into_iter()
        .zip(counts)
        .map(|(name, &counts)| ResponderBooks { name, counts })
        .collect()
}

/// A name that is there twice gets its number behind it.
fn told_apart(names: Vec<String>) -> Vec<String> {
    let apart = |(at, name): (usize, &String)| match names[..at].contains(name) {
        true => format!("{name}#{}", at + 1),
        false => name.clone(),
    };
    names.iter().enumerate().map(apart).collect()
}

/// An output's name in the books: its kind and target.
pub fn name(spec: &OutputSpec) -> String {
    format!("{}:{}", spec.format, spec.target)
}
