//! What each subcommand does, from checked flags to exit code.

mod check;
mod failure;
mod logging;
mod read;
mod run;
mod signals;

use crate::books::Books;
use crate::config::Common;
use crate::{report, sensor};
pub use check::check;
pub use failure::Failure;
pub use read::read;
pub use run::run;

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

/// Shows the books to a person and gives the exit code that they ask for.
fn close(common: &Common, books: &Books) -> u8 {
    if !common.quiet {
        eprint!("{}", report::ten_lines(books));
    }
    sensor::exit_code(books, common.strict)
}
