//! Packet sockets, a tun device and a classic BPF interpreter, for tests and the load tester. None of it is the sensor's
//! code: the sensor is not its own witness.

pub mod interp;
mod socket;

pub use socket::{Tap, TxSocket, fanout_group, sender, tun, tun_as};
