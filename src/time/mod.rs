//! Clocks, positions in packet time, and the lengths of time that several stages share.

pub mod clock;
pub mod durations;
pub mod recent;
pub mod timeline;
