//! Frames from the kernel's rings or from capture files.
#![allow(
    unsafe_code,
    reason = "ring memory and socket options; `sys` is the only other folder that may"
)]

pub mod bpf;
pub mod frame;
pub mod group;
pub mod mode;
pub mod pcap;
pub mod ring;
pub mod socket;
pub mod tunnels;
pub(crate) mod valve;
