//! What the program says: a JSON line on standard error for each thing that happened.

use crate::credentials::Secret;
use serde_json::{Value, json};
use std::io::{self, Write as _};

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Segments whose rows are all at their place.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Files put.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Puts that failed, and were or will be tried again.
    pub failures: u64,
    /// Bytes behind the last good row of segments: what a killed sensor left, or damage.
    pub lost_bytes: u64,
    /// Segments that were set aside.
    pub set_aside: u64,
}

impl Counts {
    fn members(&self) -> Value {
        let Self {
            segments,
            rows,
            files,
            bytes,
            failures,
            lost_bytes,
            set_aside,
        } = self;
        json!({
            "segments": segments, "rows": rows, "files": files, "bytes": bytes, "failures": failures,
            "lost_bytes": lost_bytes, "set_aside": set_aside,
        })
    }
}

/// Prints, without secrets.
#[derive(Debug)]
pub struct Report {
    secret: Secret,
    /// Counts since the start.
    pub counts: Counts,
}

impl Report {
    /// A report that hides these secrets.
    pub fn new(secret: Secret) -> Self {
        let counts = Counts::default();
        Self { secret, counts }
    }

    /// Prints what happened to a segment or file, and the counts so far.
    pub fn say(&self, event: &str, subject: &str, message: &str) {
        let line = json!({
            "synledger_parquet": event, "of": subject, "message": message, "counts": self.counts.members(),
        });
        let line = self.secret.hide(&line.to_string());
        // Nobody is left to tell if standard error fails.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}
