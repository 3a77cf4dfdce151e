//! Memory as the machine has it: cache lines, huge pages, prefetch.
#![allow(
    unsafe_code,
    reason = "memory and one instruction; see `capture` for the only other folder that may"
)]

pub mod huge_pages;
pub mod lines;
pub mod prefetch;
