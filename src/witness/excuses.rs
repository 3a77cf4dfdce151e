//! Excuses for differences between the two sides: each is known from the books, for its time and interface, and
//! covers no more attempts than the loss it stands for.

use crate::books::witness::Excuse;

/// Which side lacks the attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacks {
    Ledger,
    Witness,
}

impl Excuse {
    /// Whether it can explain that this side lacks an attempt.
    const fn explains(self, lacks: Lacks) -> bool {
        match self {
            Self::RingDrops | Self::Filtered | Self::QueueFull => matches!(lacks, Lacks::Ledger),
            Self::WitnessDropped | Self::Unread | Self::Evicted | Self::Misrouted => {
                matches!(lacks, Lacks::Witness)
            }
            _ => true,
        }
    }
}

/// A number of attempts that may be excused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub excuse: Excuse,
    /// `None`: any.
    pub interface: Option<u16>,
    /// First stamp, in run time.
    pub from_ns: i64,
    /// Last stamp.
    pub until_ns: i64,
    /// How many; `u64::MAX`: uncounted.
    pub left: u64,
}

/// Capacity.
const GRANTS_MAX: usize = 1024;
/// Grants of one cause that begin within this time are merged.
const TOGETHER_NS: i64 = 1_000_000_000;

/// The grants of the last minutes.
#[derive(Debug)]
pub struct Grants(Vec<Grant>);

impl Grants {
    pub fn with_capacity() -> Self {
        Self(Vec::with_capacity(GRANTS_MAX))
    }

    pub const fn memory_bytes() -> u64 {
        (GRANTS_MAX * size_of::<Grant>()) as u64
    }

    /// Adds a grant. Without room it is merged with the newest of its kind, or replaces the oldest.
    pub fn add(&mut self, grant: Grant) {
        if grant.left == 0 {
            return;
        }
        let full = self.0.len() == GRANTS_MAX;
        let same = |one: &&mut Grant| {
            (one.excuse, one.interface) == (grant.excuse, grant.interface)
                && (full || grant.from_ns.abs_diff(one.from_ns) < TOGETHER_NS as u64)
        };
        if let Some(one) = self.0.iter_mut().rev().find(same) {
            one.left = one.left.saturating_add(grant.left);
            one.from_ns = one.from_ns.min(grant.from_ns);
            one.until_ns = one.until_ns.max(grant.until_ns);
            return;
        }
        if full {
            self.0.remove(0);
        }
        self.0.push(grant);
    }

    /// Uses up one excuse for an attempt that `lacks` does not have.
    pub fn take(&mut self, lacks: Lacks, interface: u16, ts_ns: i64) -> Option<Excuse> {
        let grant = self.0.iter_mut().find(|grant| {
            grant.left > 0
                && grant.excuse.explains(lacks)
                && grant.interface.is_none_or(|one| one == interface)
                && (grant.from_ns..=grant.until_ns).contains(&ts_ns)
        })?;
        if grant.left != u64::MAX {
            grant.left -= 1;
        }
        Some(grant.excuse)
    }

    /// Drops grants that end before this time.
    pub fn expire(&mut self, before_ns: i64) {
        self.0.retain(|grant| grant.until_ns >= before_ns);
    }
}
