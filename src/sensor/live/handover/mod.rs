//! A restart without a loss: the running process stops its workers between two frames, writes all that must live on into
//! sealed memory, and gives that and its packet sockets to the next process, which goes on with the same rings.
//!
//! Two ways: the service manager's store of descriptors, or a socket (`--takeover`).

pub(super) mod exchange;
pub(super) mod give;
pub(super) mod state;
pub(super) mod store;
pub(super) mod take;

use super::dry_run::refused_settings;
use crate::error::Failure;
use crate::host::service_manager::ServiceManager;
use crate::observe::terminal::print_to_stderr;
use crate::settings::RunConfig;
use exchange::Answer;
use state::Terms;
use std::os::fd::{BorrowedFd, OwnedFd};
use take::Inherited;

/// Begins the names of all descriptors.
const PREFIX: &str = "synledger-";

/// Descriptors with their names.
pub(super) type Named = Vec<(String, OwnedFd)>;
/// The same, which this process keeps: copies could be more than it may have.
pub(super) type Lent<'a> = Vec<(String, BorrowedFd<'a>)>;

/// The name of what the sensor knows beside its shards.
fn sensor_name() -> String {
    format!("{PREFIX}sensor")
}

/// The name of a worker's state.
fn worker_name(id: usize) -> String {
    format!("{PREFIX}worker-{id}")
}

/// The name of a descriptor of a group.
fn group_name(interface: usize, at: usize) -> String {
    format!("{PREFIX}group-{interface}-{at}")
}

/// What a process before has handed over, by the service manager's store or at the path of `--takeover`.
pub(super) fn inherit(
    config: &RunConfig,
    manager: &ServiceManager,
    terms: &Terms,
) -> Result<Option<Box<Inherited>>, Failure> {
    let anew = |why: &str| {
        print_to_stderr(&format!(
            "synledger: nothing is taken over from the process before: {why}; starting anew\n"
        ));
    };
    let workers = config.common.workers;
    let (named, names) = store::inherited();
    if !names.is_empty() {
        let taken = Inherited::open(terms, named, workers);
        // What stays there would be stale.
        store::clear(manager, &names);
        match taken {
            Ok(taken) => return Ok(Some(Box::new(taken))),
            Err(why) => anew(&why),
        }
    }
    let Some(path) = &config.takeover else {
        return Ok(None);
    };
    // The process that listens ends before this one opens anything: what would fail is found before it is asked.
    let wrong = refused_settings(config, true);
    if !wrong.is_empty() {
        return Err(Failure::Run(wrong.join("\nsynledger: ")));
    }
    match exchange::ask(path, terms, workers).map_err(Failure::Run)? {
        Answer::Nobody => Ok(None),
        Answer::Stopped(why) => {
            anew(&why);
            Ok(None)
        }
        Answer::Taken(taken) => Ok(Some(taken)),
    }
}
