//! The kernel's interfaces that no safe crate has. All `unsafe` of this crate is below this folder.
#![allow(
    unsafe_code,
    reason = "system calls and memory shared with the kernel; each block says why it is sound"
)]

mod wait;

pub use wait::{Ended, wait};
