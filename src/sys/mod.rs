//! Unsafe code outside `capture`: cache lines, comparisons of many numbers at once, huge pages, prefetch,
//! prefault, two ioctls, adjtimex(2), bpf(2), seccomp(2), the priority of a thread.
#![allow(
    unsafe_code,
    reason = "memory, one instruction, ioctls, bpf(2); `capture` is the only other folder that may"
)]

pub(crate) mod adjtimex;
pub(crate) mod bpf;
pub(crate) mod compare;
pub(crate) mod ethtool;
pub mod huge_pages;
pub(crate) mod lines;
pub mod memfd;
#[cfg(test)]
pub(crate) mod panic_of;
pub mod passing;
pub(crate) mod peer_groups;
pub(crate) mod prefault;
pub mod prefetch;
pub(crate) mod priority;
pub(crate) mod seccomp;
pub(crate) mod socket_queue;
