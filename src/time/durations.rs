//! Durations that several stages go by.

/// A SYN is a retransmission until this long after the first one (DESIGN 5).
pub const HORIZON_NS: i64 = 130_000_000_000;
/// An attempt, or a port, without an answer for this long is unanswered.
pub const UNANSWERED_NS: i64 = 5_000_000_000;
/// Live: a worker further behind the others than this is not waited for.
pub const LAG_MAX_NS: u64 = 500_000_000;
