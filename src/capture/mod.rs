//! Frames from the kernel's rings or from capture files.

pub mod fanout;
pub mod filter;
pub mod frame;
