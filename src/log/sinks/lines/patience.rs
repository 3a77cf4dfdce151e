//! How long lines wait for a reader.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long lines wait for the reader of a pipe or terminal.
#[derive(Clone, Debug)]
pub enum Patience {
    /// `run`: not at all, so that no output delays another; at the end of the run a second.
    Live,
    /// `read`: until the reader takes them; once this flag is set, a second more.
    UntilTaken(Arc<AtomicBool>),
}

/// Waits that are left at the end of the run.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Waits without progress: a second.
    pub idle: u16,
    /// All waits, for a reader that takes a little each time: ten seconds.
    pub all: u16,
}

impl Allowance {
    pub const WAIT: Duration = Duration::from_millis(10);
    pub const FULL: Self = Self {
        idle: 100,
        all: 1000,
    };
    pub const NONE: Self = Self { idle: 0, all: 0 };
}
