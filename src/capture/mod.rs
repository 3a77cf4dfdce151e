//! Frames from the kernel's rings or from capture files.

pub mod frame;
pub mod pcap;
