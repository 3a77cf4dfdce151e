//! Kinds of records.

words! {
    /// What an output can be asked for, and what it is counted by.
    pub enum EventKind {
        /// New connection attempts.
        Connection = "connection",
        /// Detections.
        Alert = "alert",
        /// Flows at their end.
        Flow = "flow",
        /// The books of an interval.
        Stats = "stats",
        /// Turns in the sensor's life.
        Lifecycle = "lifecycle",
    }
}

/// How many kinds of event there are.
pub const KINDS: usize = EventKind::COUNT;
