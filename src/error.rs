//! Set-up errors, for a person: what happened, to what, what to do.

use std::{error, fmt, io};

/// A failed call at set-up.
///
/// Prints as one line: the call, its subject, what to do, the kernel's answer.
#[derive(Debug)]
pub struct SetupError {
    call: &'static str,
    subject: String,
    hint: Option<&'static str>,
    source: io::Error,
}

impl SetupError {
    /// `call` failed for `subject` with `source`.
    pub fn new(call: &'static str, subject: impl Into<String>, source: io::Error) -> Self {
        Self {
            call,
            subject: subject.into(),
            hint: None,
            source,
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed for {}", self.call, self.subject)?;
        if let Some(hint) = self.hint {
            write!(f, " ({hint})")?;
        }
        write!(f, ": {}", without_number(&self.source))
    }
}

/// An error in words: the error number of the kernel adds nothing to them.
pub fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

impl error::Error for SetupError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A refused value: names the value, its range, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for ConfigError {}

/// A failure that ends the program, for a person.
#[derive(Debug)]
pub enum Failure {
    /// A flag has a refused value: exit code 2.
    Usage(String),
    /// The run could not start or had to end: exit code 1.
    Run(String),
}

impl Failure {
    /// A run-time failure with the text of `error`.
    pub fn run(error: impl fmt::Display) -> Self {
        Self::Run(error.to_string())
    }

    /// Exit code.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_call_subject_hint_and_answer() {
        let out_of_memory = io::Error::from_raw_os_error(libc::ENOMEM);
        let error = SetupError::new(
            "setsockopt(PACKET_RX_RING)",
            "eth0, 64 blocks of 1024 KiB",
            out_of_memory,
        )
        .hint("not enough contiguous memory: lower --ring-mib");
        assert_eq!(
            error.to_string(),
            "setsockopt(PACKET_RX_RING) failed for eth0, 64 blocks of 1024 KiB \
             (not enough contiguous memory: lower --ring-mib): Cannot allocate memory"
        );
    }

    #[test]
    fn an_error_without_a_number_prints_its_words() {
        let error = SetupError::new("open", "x", io::Error::other("not a capture"));
        assert_eq!(error.to_string(), "open failed for x: not a capture");
    }
}
