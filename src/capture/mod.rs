//! Frames from the kernel's rings or from capture files.
#![allow(
    unsafe_code,
    reason = "ring memory and socket options; no other folder may"
)]

pub mod abi;
pub mod block;
pub mod chunk;
pub mod clock;
pub mod fake;
pub mod fanout;
pub mod filter;
pub mod frame;
pub mod group;
pub mod huge;
pub mod memory;
pub mod netlink;
pub mod nic;
pub mod pcap;
pub mod poll;
pub mod preexisting;
pub mod prefetch;
pub mod reject;
pub mod ring;
pub mod sample;
pub mod socket;
pub mod valve;

#[cfg(test)]
mod race;
#[cfg(test)]
mod ring_tests;
