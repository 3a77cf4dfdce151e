//! An XDP program: drops packets of whom is blocked before the kernel spends memory on them.
//!
//! The program is at every interface that is watched; two maps have the blocked networks, with the end of each block.
//! So a block ends by itself. Program and maps have names in `/sys/fs/bpf/synledger/`, where the file system is there:
//! they outlive a helper that was killed, and the next one takes them over.
//!
//! Its worker ([`crate::respond::block::helper`]) needs CAP_NET_ADMIN and CAP_BPF; CAP_PERFMON where the kernel's
//! verifier takes the program no other way.

mod backend;
mod elements;
mod hooks;
mod left;
mod notices;
mod pins;
mod prepare;
mod program;
mod stale;
#[cfg(test)]
mod tests;

pub use backend::{METHOD, start};
