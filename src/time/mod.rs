//! Clocks, positions in packet time, shared durations.

pub(crate) mod clock;
pub mod durations;
pub(crate) mod recent;
pub mod timeline;
