//! Opens the logger with its outputs and responders, and names their books, for `run` and `read` alike.

use crate::books::Books;
use crate::books::output::{Named, OutputBooks};
use crate::error::Failure;
use crate::host::addresses::Localities;
use crate::host::services::Services;
use crate::log::budget::Budget;
use crate::log::fold::Folds;
use crate::log::fold::logger::Folding;
use crate::log::formats::context::{Context, Direction};
use crate::log::formats::interfaces::Interfaces;
use crate::log::logger::{Control, Logger, Published, lag_histogram};
use crate::log::merge::{Consumer, Merge};
use crate::log::notice::Notices;
use crate::log::outputs::Outputs;
use crate::log::sinks::archive::{Archive, Reach};
use crate::log::sinks::lines::Patience;
use crate::log::tap::Tap;
use crate::respond::Responders;
use crate::respond::guard::{Guard, Shared};
use crate::settings::Common;
use crate::time::clock::{RunTime, wall_clock_ns};
use crate::time::durations::LAG_MAX_NS;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

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
    let (direction, services) = match &common.anonymizer {
        None => (direction, services),
        Some(anonymizer) => {
            let known = anonymizer.clone();
            // Records have replaced addresses. No address, as the source of a flood, is none behind its replacement.
            let real = move |address: IpAddr| match address.is_unspecified() {
                true => address,
                false => known.original(address),
            };
            let direction: Direction = Arc::new(move |src, dst| direction(real(src), real(dst)));
            // They say what runs at which address.
            (direction, None)
        }
    };
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

/// Opens all responders, then all outputs.
pub fn open(common: &Common, context: &Context, guard: Guard) -> Result<(Outputs, Tap), Failure> {
    let all = Responders::open(&common.responders, &common.sensor, guard);
    let all = all.map_err(Failure::Run)?;
    let mut tap = Tap::default();
    if let Some(all) = all {
        tap.add(Box::new(all));
    }
    let outputs = Outputs::open(&common.outputs, context).map_err(Failure::run)?;
    outputs.archive().limit(common.log_budget);
    Ok((outputs, tap))
}

/// The networks of `--allow`, without their ports, for guards. A reload changes them.
pub fn allowed(common: &Common) -> Shared<Vec<IpNet>> {
    let nets = common.allow.iter().map(|allowed| allowed.net).collect();
    Arc::new(RwLock::new(Arc::new(nets)))
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
    let merge = Merge::new(consumers, live.then_some(LAG_MAX_NS));
    let mut logger = Logger::new(merge, outputs, Box::new(wall_clock_ns));
    logger.tap = tap;
    logger.anonymizer = common.anonymizer.clone();
    logger.budget = Budget::new(common.alert_rate);
    if let Some(per_second) = common.fold.filter(|_| !live) {
        // Fixed keys: every run over the same captures folds the same attempts.
        let folds = Folds::with_room(common.room.folds, per_second, [0; 2]);
        logger.folding = Folding::Here(Box::new(folds));
    }
    logger.notices = notices;
    logger.control = Arc::clone(&control);
    logger.run_time = run_time;
    logger.lag_us = live.then(lag_histogram);
    (logger, sender, control)
}

/// How far back each output with limits reaches, in seconds.
pub fn retention(outputs: &[OutputBooks], archive: &Archive) -> Vec<(String, f64)> {
    let all = archive.reach(wall_clock_ns()).into_iter();
    let named = |reach: Reach| Some((outputs.get(reach.output)?.name.clone(), reach.seconds));
    all.filter_map(named).collect()
}

/// The logger's part of the books.
pub fn books(common: &Common, published: &Published) -> Books {
    let responders = common.responders.iter().map(|one| one.name.clone());
    Books {
        outputs: published.outputs.clone(),
        responders: Named::numbered(responders.collect(), &published.responders),
        own_records: published.own,
        log: published.log,
        ..Books::default()
    }
}
