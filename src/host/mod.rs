//! This machine: interfaces, addresses, CPUs, open sockets, services, service manager and its journal, routers, name servers; what this
//! process may still do here.

pub mod addresses;
pub(crate) mod cpus;
pub(crate) mod gateways;
pub(crate) mod helper;
pub(crate) mod journal;
pub(crate) mod netlink;
pub mod nic;
pub(crate) mod open_sockets;
pub(crate) mod resolvers;
pub mod sandbox;
pub(crate) mod service_manager;
pub mod services;
pub mod ssh_peers;
pub mod time_servers;
