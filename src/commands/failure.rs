//! Why a subcommand could not do its work.

use crate::capture::nic::SelectError;
use crate::config::ConfigError;
use std::fmt;

/// A failure, said once, to a person.
#[derive(Debug)]
pub enum Failure {
    /// A flag has a value that cannot be: exit code 2.
    Usage(String),
    /// The run could not start or had to end: exit code 1.
    Run(String),
}

impl Failure {
    /// A run-time failure in the words of `error`.
    pub fn run(error: impl fmt::Display) -> Self {
        Self::Run(error.to_string())
    }

    /// The program's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Run(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Run(text) => f.write_str(text),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.0)
    }
}

impl From<SelectError> for Failure {
    fn from(error: SelectError) -> Self {
        match error.is_usage_fault() {
            true => Self::Usage(error.to_string()),
            false => Self::run(error),
        }
    }
}
