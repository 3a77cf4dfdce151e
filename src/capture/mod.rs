//! Frames from the kernel's rings or from capture files.

pub mod chunk;
pub mod fanout;
pub mod frame;
pub mod netlink;
pub mod nic;
pub mod pcap;
pub mod preexisting;
