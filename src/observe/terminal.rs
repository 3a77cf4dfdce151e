//! Text for the person at the terminal.

use crate::books::record_kind::EventKind;
use crate::log::sinks::lines::{Lines, Patience};
use crate::log::sinks::{Entry, Moment, Sink as _};
use crate::words::printable;
use std::os::fd::AsFd;

/// Writes to standard error. A reader that has stopped delays the end of a run by a second at most.
///
/// Control characters are escaped: see [`printable`].
pub fn print_to_stderr(text: &str) {
    let text = &*printable(text);
    let Ok(fd) = std::io::stderr().as_fd().try_clone_to_owned() else {
        // No descriptor is left. The text must not be lost.
        eprint!("{text}");
        return;
    };
    let mut sink = Lines::from_fd(fd);
    sink.set_patience(Patience::Live);
    let at = Moment::default();
    let entry = Entry {
        kind: EventKind::Lifecycle,
        folded: 0,
    };
    if let Some(out) = sink.admit(entry, at) {
        out.extend_from_slice(text.as_bytes());
        sink.commit(entry, at);
    }
    sink.finish(at);
}
