//! Named and pinned threads.

use crate::host::cpus;
use crate::observe::terminal::print_to_stderr;
use std::thread::{Builder, Scope};

/// Starts a thread with a name, which `top -H` and a panic show.
pub fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() + Send + 'scope,
) {
    let started = Builder::new().name(name).spawn_scoped(scope, work);
    started.expect("the system has a thread to give");
}

/// Pins this thread, or prints why it cannot be.
pub fn pin(cpu: Option<usize>, worker: usize) {
    if let Some(cpu) = cpu
        && let Err(errno) = cpus::pin_current_thread(cpu)
    {
        print_to_stderr(&format!(
            "synledger: worker {worker} cannot be pinned to CPU {cpu}: {errno}; it goes on unpinned\n"
        ));
    }
}
