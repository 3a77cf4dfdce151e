//! What each subcommand does, from checked flags to exit code.

mod check;
mod failure;
mod logging;
mod panics;
mod read;
mod run;
mod signals;

use crate::books::Books;
use crate::check::{Level, memory_available_bytes, memory_level};
use crate::config::Common;
use crate::log::notice::EventKind;
use crate::log::sink::{Patience, Sink};
use crate::{report, sensor};
pub use check::check;
pub use failure::Failure;
pub use panics::end_with_a_sentence;
pub use read::read;
pub use run::run;
use std::os::fd::AsFd;
use std::thread::{Builder, Scope};

/// Starts a thread of `scope` under a name, which `top -H` and the sentence about a panic show.
///
/// # Panics
///
/// As [`Scope::spawn`]: the system has no thread to give.
fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() + Send + 'scope,
) {
    let started = Builder::new().name(name).spawn_scoped(scope, work);
    started.expect("the system has a thread to give");
}

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
        // No descriptor is left: what there is to say then must not be lost.
        eprint!("{text}");
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

/// Refuses what does not fit into memory: it would push everything else out of it. `asked` says which flags take how
/// much.
fn refuse_too_much_memory(bytes: u64, asked: impl FnOnce() -> String) -> Result<(), Failure> {
    match memory_available_bytes() {
        Some(available) if memory_level(available, bytes) == Level::Fail => {
            Err(Failure::Usage(format!(
                "{}; {} MiB are available: ask for less, or lower --workers",
                asked(),
                available >> 20
            )))
        }
        _ => Ok(()),
    }
}

/// Shows the books to a person and gives the exit code that they ask for. Records that an output lost are an
/// error: said even to those who asked for quiet.
fn close(common: &Common, books: &Books) -> u8 {
    if !common.quiet {
        tell(&report::ten_lines(books));
    }
    for output in books.outputs.iter().filter(|output| output.failed() > 0) {
        let (name, lost) = (&output.name, output.failed());
        let records = if lost == 1 { "record" } else { "records" };
        tell(&format!(
            "synledger: {name} lost {lost} {records}: that log is not whole\n"
        ));
    }
    sensor::exit_code(books, common.strict)
}
