//! Where a frame stands in the log.

use crate::capture::frame::Class;
use crate::time::timeline::Timeline;

/// A frame's place in the log and the packet time at it.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// `read`: the frame's number. Live: its time stamp as a position.
    pub position: u64,
    /// The newest time stamp up to and with this frame.
    pub watermark_ns: i64,
    /// Maps deadlines to positions.
    pub timeline: Timeline<'a>,
    /// The ring it came from, where rings are by class.
    pub ring: Option<Class>,
}
