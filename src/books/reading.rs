//! What `read` did with frames whose time stamps are out of order.

use crate::counters::counters;

counters! {
    /// Counters of `read` before the shards.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReadingCounts "" {
        frames_reordered: "Frames of captures that were moved before frames that were read earlier but have later stamps",
        stamps_outlying: "Frames whose time stamp was wrong by over ten minutes: they got the packet time around them",
        clock_restarts: "Clocks of captures that started again over ten minutes earlier",
        reorder_window_full: "Frames inside --reorder that kept their place: too many frames lay between",
    }
}
