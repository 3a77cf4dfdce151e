//! What tests and the load tester ask the kernel with, so that the sensor's own sockets are not their own witness: packet
//! sockets that send or receive, a device without link headers, and classic BPF on machines where nothing may be
//! attached.

pub mod interp;
mod socket;

pub use socket::{Tap, TxSocket, fanout_group, sender, tun};
