//! The subcommands, from parsed flags to exit code.

mod check;
mod panics;

pub use crate::sensor::live::run;
pub use crate::sensor::read::read;
pub use check::check;
pub use panics::install_panic_hook;

use crate::observe::terminal::print_to_stderr;
use crate::words::printable;
use std::fmt::Display;

/// Prints `synledger: ` and these words to standard error.
pub fn say(words: &impl Display) {
    print_to_stderr(&format!("synledger: {words}\n"));
}

/// Ends the program with what is wrong with its arguments, or with the help that they ask for. In colour unless the
/// arguments hold control characters, which a terminal would obey.
pub fn refuse(error: &clap::Error) -> ! {
    let plain = error.render().to_string();
    let harmless = printable(&plain);
    if harmless == plain {
        error.exit();
    }
    print_to_stderr(&harmless);
    std::process::exit(error.exit_code());
}
