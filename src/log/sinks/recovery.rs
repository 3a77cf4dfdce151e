//! What was lost while a sink could not hand on its records, and why.

use crate::books::output::Cause;
use crate::books::record_kind::KINDS;
use std::io::ErrorKind;

/// What was lost while a file took nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When the first write failed, by the logger's clock.
    pub since_ns: i64,
    /// What the last failure was.
    pub cause: Cause,
    /// Lines lost, by kind.
    pub lost: [u64; KINDS],
}

impl Recovery {
    /// Joins it with what was lost before and not yet told.
    pub(super) fn join(self, told: &mut Option<Self>) {
        match told {
            Some(before) => before.add(&self),
            none => *none = Some(self),
        }
    }

    fn add(&mut self, later: &Self) {
        self.cause = later.cause;
        for (sum, lost) in self.lost.iter_mut().zip(later.lost) {
            *sum += lost;
        }
    }
}

/// Why records are lost where the system answers so.
pub(super) fn cause_of(kind: ErrorKind) -> Cause {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::DiskFull,
        ErrorKind::WouldBlock => Cause::Slow,
        _ => Cause::Io,
    }
}
