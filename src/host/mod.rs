//! This machine: interfaces, addresses, CPUs, open sockets, limits.

pub mod addresses;
pub mod cpus;
pub mod gateways;
pub mod netlink;
pub mod nic;
pub mod open_sockets;
pub mod resolvers;
