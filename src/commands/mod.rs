//! What each subcommand does, from checked flags to exit code.

mod check;
mod failure;
mod logging;
mod read;
mod run;
mod signals;

use crate::books::Books;
use crate::config::Common;
use crate::log::notice::EventKind;
use crate::log::sink::{Patience, Sink};
use crate::{report, sensor};
pub use check::check;
pub use failure::Failure;
pub use read::read;
pub use run::run;
use std::os::fd::AsFd;

/// Pins this thread, or says why it stays where it is.
fn pin(cpu: Option<usize>, worker: usize) {
    if let Some(cpu) = cpu
        && let Err(errno) = crate::cpus::pin_current_thread(cpu)
    {
        eprintln!(
            "synledger: worker {worker} cannot be pinned to CPU {cpu}: {errno}; it goes on unpinned"
        );
    }
}

/// Says something on standard error. Who reads that together with standard output may have stopped: the end
/// of a run waits for a second, not for ever.
fn tell(text: &str) {
    let Ok(fd) = std::io::stderr().as_fd().try_clone_to_owned() else {
        return;
    };
    let mut sink = Sink::from_fd(fd);
    sink.set_patience(Patience::Live);
    if let Some(out) = sink.admit(EventKind::Lifecycle, 0) {
        out.extend_from_slice(text.as_bytes());
        sink.commit(EventKind::Lifecycle, 0);
    }
    sink.finish(0);
}

/// Shows the books to a person and gives the exit code that they ask for.
fn close(common: &Common, books: &Books) -> u8 {
    if !common.quiet {
        tell(&report::ten_lines(books));
    }
    sensor::exit_code(books, common.strict)
}
