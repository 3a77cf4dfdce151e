//! Frames from the kernel's rings or from capture files.

pub mod frame;
pub mod netlink;
pub mod nic;
pub mod preexisting;
