//! Threads of a run: named and, if asked, pinned.

use crate::host::cpus;
use std::thread::{Builder, Scope};

/// Starts a thread of `scope` under a name, which `top -H` and the sentence about a panic show.
///
/// # Panics
///
/// As [`Scope::spawn`]: the system has no thread to give.
pub fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() + Send + 'scope,
) {
    let started = Builder::new().name(name).spawn_scoped(scope, work);
    started.expect("the system has a thread to give");
}

/// Pins this thread, or says why it stays where it is.
pub fn pin(cpu: Option<usize>, worker: usize) {
    if let Some(cpu) = cpu
        && let Err(errno) = cpus::pin_current_thread(cpu)
    {
        eprintln!(
            "synledger: worker {worker} cannot be pinned to CPU {cpu}: {errno}; it goes on unpinned"
        );
    }
}
