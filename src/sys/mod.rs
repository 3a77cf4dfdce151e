//! Unsafe code outside `capture`: cache lines, comparisons of many numbers at once, huge pages, prefetch,
//! prefault, one ioctl.
#![allow(
    unsafe_code,
    reason = "memory, one instruction, one ioctl; `capture` is the only other folder that may"
)]

pub(crate) mod compare;
pub(crate) mod ethtool;
pub mod huge_pages;
pub(crate) mod lines;
pub(crate) mod prefault;
pub mod prefetch;
