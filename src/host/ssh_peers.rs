//! Who has an SSH connection to this host now.

use super::open_sockets;
use super::services::Reader;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

/// The port of SSH; sshd may listen on others.
const SSH: u16 = 22;
/// Most ports that are looked at.
const PORTS_MAX: usize = 16;
/// Units and commands of a server, as [`Reader`] names them.
const SERVERS: [&str; 5] = [
    "sshd",
    "ssh.service",
    "sshd.service",
    "dropbear",
    "dropbear.service",
];

/// Reads the peers; remembers names of services.
#[derive(Debug, Default)]
pub struct SshPeers {
    services: Reader,
    /// Ports as of the last look at services.
    ports: BTreeSet<u16>,
}

impl SshPeers {
    /// With this reader of services.
    pub(crate) fn with(services: Reader) -> Self {
        Self {
            services,
            ..Self::default()
        }
    }

    /// Looks anew on which ports sshd listens, where the kernel and the process's rights tell.
    pub fn renew_ports(&mut self) {
        let named = self.services.read().map(|listeners| {
            let is_ssh = |name: &str| SERVERS.contains(&name);
            listeners.ports_of(is_ssh).take(PORTS_MAX - 1).collect()
        });
        // A kernel without inet_diag: the port of SSH remains.
        self.ports = named.unwrap_or_default();
        self.ports.insert(SSH);
    }

    /// The other ends of established connections to these ports, sorted.
    ///
    /// # Errors
    ///
    /// Neither `NETLINK_SOCK_DIAG` nor `/proc/net/tcp` can be read.
    pub fn read(&self) -> io::Result<Vec<IpAddr>> {
        let mut peers = Vec::new();
        for &port in &self.ports {
            peers.extend(open_sockets::peers_of(port)?);
        }
        peers.sort_unstable();
        peers.dedup();
        Ok(peers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_port_of_ssh_is_always_looked_at() {
        let mut peers = SshPeers::default();
        peers.renew_ports();
        assert!(peers.ports.contains(&SSH) && peers.ports.len() <= PORTS_MAX);
        assert!(peers.read().is_ok());
    }

    #[test]
    fn peers_are_the_other_ends_while_a_connection_is_open() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let peers = SshPeers {
            ports: BTreeSet::from([address.port()]),
            ..SshPeers::default()
        };
        assert!(peers.read().expect("readable").is_empty());
        let client = TcpStream::connect(address).expect("a connection");
        let (server, _) = listener.accept().expect("its other end");
        assert_eq!(peers.read().expect("readable"), [address.ip()]);
        drop((client, server));
        assert!(peers.read().expect("readable").is_empty());
    }
}
