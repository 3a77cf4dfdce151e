//! Kinds of records.

words! {
    /// Kinds of events: outputs select and count by them.
    pub enum EventKind {
        /// New connection attempts.
        Connection = "connection",
        /// Detections.
        Alert = "alert",
        /// Flows at their end.
        Flow = "flow",
        /// The books of an interval.
        Stats = "stats",
        /// Changes in the sensor's own state.
        Lifecycle = "lifecycle",
        /// Blocks: carried out, refused, ended.
        Block = "block",
    }
}

/// Number of kinds.
pub const KINDS: usize = EventKind::COUNT;
