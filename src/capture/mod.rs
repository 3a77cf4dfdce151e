//! Frames from the kernel's rings or from capture files.
#![allow(
    unsafe_code,
    reason = "ring memory and socket options; no other folder may"
)]

pub mod bpf;
pub mod frame;
pub mod group;
pub mod mode;
pub mod pcap;
pub mod ring;
pub mod socket;
pub mod valve;
