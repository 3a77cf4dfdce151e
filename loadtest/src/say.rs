//! Output for people. When the reader closes the pipe (`loadtest search 2>&1 | head -1`), the measurement goes on;
//! `eprintln!` would panic.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};

/// Writes a line to standard error, as `eprintln!` does, but ignores a write that fails.
#[macro_export]
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}

/// See [`say!`](crate::say!).
pub fn line(words: Arguments<'_>) {
    // Only this is captured: a test that wants failures would show them in a log without any.
    #[cfg(test)]
    eprintln!("{words}");
    #[cfg(not(test))]
    let _ = writeln!(io::stderr().lock(), "{words}");
}

/// Prints a result on standard output.
///
/// # Errors
///
/// Any error of the write but a closed pipe.
pub fn print(words: Arguments<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    ignore_closed_pipe(writeln!(out, "{words}").and_then(|()| out.flush()))
}

/// `1 scan`, `2 scans`.
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {what}{ending}")
}

fn ignore_closed_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_one_has_no_plural() {
        assert_eq!(counted(1, "scan"), "1 scan");
        assert_eq!(counted(0, "scan"), "0 scans");
    }

    #[test]
    fn only_a_closed_pipe_is_no_error() {
        assert!(ignore_closed_pipe(Err(ErrorKind::BrokenPipe.into())).is_ok());
        assert!(ignore_closed_pipe(Err(ErrorKind::StorageFull.into())).is_err());
    }
}
