//! Losses of a sink's outage, reported once it has ended.

use crate::books::output::Cause;
use crate::books::record_kind::KINDS;
use std::io::ErrorKind;

/// Losses of one outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Time of the first failed write, by the logger's clock.
    pub since_ns: i64,
    /// Cause of the last failure.
    pub cause: Cause,
    /// Lines lost, by kind.
    pub lost: [u64; KINDS],
}

impl Recovery {
    /// Adds it to the losses that are not yet reported.
    pub(super) fn join(self, unreported: &mut Option<Self>) {
        let Some(sum) = unreported else {
            *unreported = Some(self);
            return;
        };
        sum.cause = self.cause;
        for (sum, lost) in sum.lost.iter_mut().zip(self.lost) {
            *sum += lost;
        }
    }
}

/// The cause of loss that an I/O error counts as.
pub(super) fn cause_of(kind: ErrorKind) -> Cause {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::DiskFull,
        ErrorKind::WouldBlock => Cause::Slow,
        _ => Cause::Io,
    }
}
