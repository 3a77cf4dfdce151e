//! The logger's side of both `run` and `read`.

use crate::books::output::{OutputBooks, OutputCounts};
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::log::budget::Budget;
use crate::log::fold::Folds;
use crate::log::formats::context::Context;
use crate::log::formats::interfaces::Interfaces;
use crate::log::logger::{Clock, Control, Folding, Logger, lag_histogram};
use crate::log::merge::Merge;
use crate::log::notice::Notices;
use crate::log::outputs::Outputs;
use crate::log::queue::Consumer;
use crate::log::sinks::lines::Patience;
use crate::log::sinks::spec::OutputSpec;
use crate::settings::Common;
use crate::time::clock::{RunTime, wall_clock_ns};
use crate::time::durations::LAG_MAX_NS;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

/// Which addresses are ours, renewed when they change.
pub type SharedLocalities = Arc<RwLock<Arc<Localities>>>;

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

/// A logger for the shards behind `consumers`, and the way to tell it what the sensor has to say.
///
/// Live, `run_time` is what events come in, and a reader that is slow costs its own lines. `read` waits for
/// readers until `stop` is set.
pub fn logger(
    common: &Common,
    mut outputs: Outputs,
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
    let names: Vec<String> = specs.iter().map(name).collect();
    let names = names.iter().enumerate().map(|(at, name)| {
        if names[..at].contains(name) {
            format!("{name}#{}", at + 1)
        } else {
            name.clone()
        }
    });
    names
        .zip(counts)
        .map(|(name, &counts)| OutputBooks { name, counts })
        .collect()
}

/// An output's name in the books: its kind and target.
pub fn name(spec: &OutputSpec) -> String {
    format!("{}:{}", spec.format, spec.target)
}
