//! One pinned thread: blocks → frames in time order → shard → give back → tick.

use std::time::SystemTime;

/// CLOCK_REALTIME in nanoseconds since the Unix epoch.
pub fn wall_clock_ns() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}
