//! This machine: interfaces, addresses, CPUs, open sockets, services, routers, name servers.

pub mod addresses;
pub(crate) mod cpus;
pub(crate) mod gateways;
pub(crate) mod netlink;
pub mod nic;
pub(crate) mod open_sockets;
pub(crate) mod resolvers;
pub mod services;
