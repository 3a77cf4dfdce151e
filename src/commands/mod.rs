//! The subcommands, from parsed flags to exit code.

mod check;
mod panics;

pub use crate::sensor::live::run;
pub use crate::sensor::read::read;
pub use check::check;
pub use panics::install_panic_hook;
