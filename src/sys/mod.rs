//! What needs unsafe code and is no capture: cache lines, huge pages, prefetch, prefault, one ioctl.
#![allow(
    unsafe_code,
    reason = "memory, one instruction, one ioctl; `capture` is the only other folder that may"
)]

pub mod ethtool;
pub mod huge_pages;
pub mod lines;
pub mod prefault;
pub mod prefetch;
