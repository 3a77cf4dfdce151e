//! The subcommands, from parsed flags to exit code.

mod block;
mod check;
mod panics;
mod tips;
mod top;

pub use crate::sensor::live::run;
pub use crate::sensor::read::read;
pub use block::block;
pub use check::check;
pub use panics::install_panic_hook;
pub use top::top;

use crate::host::services::finder;
use crate::observe::terminal::print_to_stderr;
use crate::respond::block::helper as block_helper;
use crate::words::printable;
use std::ffi::OsString;
use std::fmt::Display;

/// Runs a helper process if the arguments are those of one, which only this program starts. Returns its exit code.
pub fn helper(arguments: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let mut arguments = arguments.into_iter().skip(1);
    let first = arguments.next()?;
    let (code, says) = match first.to_str()? {
        block_helper::HELPER => block_helper::helper(arguments),
        finder::FINDER => finder::serve(),
        _ => return None,
    };
    if let Some(says) = says {
        say(&says);
    }
    Some(code)
}

/// Prints `synledger: ` and these words to standard error.
pub fn say(words: &impl Display) {
    print_to_stderr(&format!("synledger: {words}\n"));
}

/// Ends the program with what is wrong with its arguments, or with the help that they ask for. In colour unless the
/// arguments hold control characters, which a terminal would obey.
pub fn refuse(mut error: clap::Error) -> ! {
    tips::add(&mut error, std::env::args_os());
    let plain = error.render().to_string();
    let harmless = printable(&plain);
    if harmless == plain {
        error.exit();
    }
    print_to_stderr(&harmless);
    std::process::exit(error.exit_code());
}
