//! Two hosts with NAT between them: a client behind a bridge, a server outside. They connect to each other.

use super::lockstep::{Closer, listen, refused, talk, wait_until_silent};
use super::peer::Peer;
use super::programs::text_of;
use super::sensor::PATIENCE;
use super::web::retransmitted;
use crate::common::netns::{ip, try_ip, wait_for_end};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

/// The bridge, its port to the client, and the device beyond NAT, to the server.
pub const BRIDGE: &str = "br0";
pub const PORT: &str = "port0";
pub const OUTSIDE: &str = "outside";
/// The other ends of both pairs, each in a namespace of its own.
const CLIENT: &str = "client";
const SERVER: &str = "server";
/// Connections of each kind and family.
const COUNT: usize = 5;
/// Payload of the last frame of a run.
pub const LAST: &[u8] = b"nothing follows this datagram";

/// Addresses of one family.
#[derive(Clone, Copy)]
struct Addresses {
    client: &'static str,
    /// Of the bridge.
    inside: &'static str,
    outside: &'static str,
    server: &'static str,
    prefix: u8,
}

const FAMILIES: [Addresses; 2] = [
    Addresses {
        client: "192.0.2.2",
        inside: "192.0.2.1",
        outside: "198.51.100.1",
        server: "198.51.100.2",
        prefix: 24,
    },
    Addresses {
        client: "fd00:1::2",
        inside: "fd00:1::1",
        outside: "fd00:2::1",
        server: "fd00:2::2",
        prefix: 64,
    },
];

/// Masquerades what goes out, and forwards two ports of the host to the client; nothing listens on the second.
const NAT: &str = r#"
table inet nat {
  chain post {
    type nat hook postrouting priority srcnat
    oifname "outside" masquerade
  }
  chain pre {
    type nat hook prerouting priority dstnat
    iifname "outside" meta nfproto ipv4 tcp dport 8080 dnat ip to 192.0.2.2:80
    iifname "outside" meta nfproto ipv4 tcp dport 8081 dnat ip to 192.0.2.2:81
    iifname "outside" meta nfproto ipv6 tcp dport 8080 dnat ip6 to [fd00:1::2]:80
    iifname "outside" meta nfproto ipv6 tcp dport 8081 dnat ip6 to [fd00:1::2]:81
  }
}"#;
/// The kernel's own frames would come at any moment: whether a place sees one would be chance.
const QUIET: &str = "
table inet quiet {
  chain out {
    type filter hook output priority 0
    meta l4proto { ipv6-icmp, igmp } drop
  }
}";
/// Fails where the kernel has no NAT.
const PROBE: &str = "
table inet probe {
  chain post {
    type nat hook postrouting priority srcnat
    masquerade
  }
}";

fn address(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

fn try_nft(rules: &str) -> Result<(), String> {
    let output = Command::new("nft").arg(rules).output().expect("nft starts");
    match output.status.success() {
        true => Ok(()),
        false => Err(text_of(&output)),
    }
}

fn nft(rules: &str) {
    try_nft(rules).unwrap_or_else(|why| panic!("nft: {why}"));
}

fn forward() {
    for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        let path = format!("/proc/sys/net/{file}");
        std::fs::write(&path, "1").expect(&path);
    }
}

/// Gives a device its addresses, and those of its one neighbour, whom it need not ask for.
fn add_addresses(device: &str, lladdr: &str, of: impl Fn(Addresses) -> [&'static str; 2]) {
    for family in FAMILIES {
        let [own, other] = of(family);
        let nodad = if own.contains(':') { " nodad" } else { "" };
        ip(&format!(
            "address add {own}/{} dev {device}{nodad}",
            family.prefix
        ));
        ip(&format!(
            "neigh add {other} lladdr {lladdr} dev {device} nud permanent"
        ));
    }
}

/// The client's namespace, the host with bridge and NAT in the calling thread's, the server's.
pub struct Lab {
    client: Peer,
    server: Peer,
}

impl Lab {
    /// Makes the devices, addresses and rules.
    ///
    /// # Errors
    ///
    /// What this kernel lacks.
    pub fn new() -> Result<Self, String> {
        let [client_mac, bridge_mac] = ["02:00:00:00:01:02", "02:00:00:00:01:01"];
        let [server_mac, outside_mac] = ["02:00:00:00:02:02", "02:00:00:00:02:01"];
        if !Path::new("/proc/sys/net/ipv6").exists() {
            return Err("no IPv6".to_owned());
        }
        try_nft(PROBE).map_err(|why| format!("no NAT: {why}"))?;
        nft("delete table inet probe");
        nft(QUIET);
        nft(NAT);
        let bridge = format!("link add {BRIDGE} address {bridge_mac} type bridge");
        try_ip(&bridge).map_err(|why| format!("no bridge: {why}"))?;
        ip(&format!(
            "link add {CLIENT} address {client_mac} type veth peer name {PORT}"
        ));
        ip(&format!(
            "link add {SERVER} address {server_mac} type veth peer name {OUTSIDE} address {outside_mac}"
        ));
        ip(&format!("link set {PORT} master {BRIDGE}"));
        [BRIDGE, PORT, OUTSIDE]
            .iter()
            .for_each(|name| ip(&format!("link set {name} up")));
        let [client, server] = [CLIENT, SERVER].map(Peer::with);
        client.run(move || {
            nft(QUIET);
            add_addresses(CLIENT, bridge_mac, |family| [family.client, family.inside]);
            for family in FAMILIES {
                ip(&format!("route add default via {}", family.inside));
            }
        });
        server.run(move || {
            nft(QUIET);
            add_addresses(SERVER, outside_mac, |family| {
                [family.server, family.outside]
            });
        });
        [BRIDGE, PORT, OUTSIDE].into_iter().for_each(wait_for_end);
        add_addresses(BRIDGE, client_mac, |family| [family.inside, family.client]);
        add_addresses(OUTSIDE, server_mac, |family| {
            [family.outside, family.server]
        });
        forward();
        Ok(Self { client, server })
    }
}

/// Source, destination, its port, direction and state of a connection; then its payload each way.
pub type Line = (String, String);

/// The connections that were made, as each side of NAT shows them.
#[derive(Default)]
pub struct Truth {
    pub inside: Vec<Line>,
    pub outside: Vec<Line>,
    /// Segments that a kernel sent again: their payload counts again.
    pub resent: u64,
}

/// Source, destination, its port, and the direction, as one side shows them.
type Side<'a> = (&'a str, &'a str, u16, &'a str);

impl Truth {
    fn add(&mut self, inside: Side<'_>, outside: Side<'_>, state: &str, payload: &str) {
        for ((from, to, port, direction), lines) in
            [(inside, &mut self.inside), (outside, &mut self.outside)]
        {
            let line = format!("{from} {to} {port} {direction} {state}");
            lines.push((line, payload.to_owned()));
        }
    }
}

impl Lab {
    /// Makes connections in both directions, and then sends a datagram with [`LAST`], after which nothing follows.
    pub fn traffic(&self) -> Truth {
        let mut truth = Truth::default();
        let resent = || self.client.run(retransmitted) + self.server.run(retransmitted);
        let before = resent();
        for family in FAMILIES {
            self.connect(family, &mut truth);
        }
        for peer in [&self.client, &self.server] {
            wait_until_silent(peer);
        }
        truth.resent = resent() - before;
        self.send_last();
        truth
    }

    /// Connections through NAT over one family, whole and refused.
    fn connect(&self, family: Addresses, truth: &mut Truth) {
        let Addresses {
            client,
            outside,
            server,
            ..
        } = family;
        let at_server = listen(&self.server, address(server, 80));
        let at_client = listen(&self.client, address(client, 80));
        for i in 0..COUNT {
            let up = 100 + i;
            let rounds = [(up, 200), (3_000, 20_000)];
            let payload = format!("{} 20200", up + 3_000);
            let closer = [Closer::Client, Closer::Server][i % 2];

            let side = |port| (client, server, port, "transit");
            let far_side = |port| (outside, server, port, "out");
            let target = address(server, 80);
            let (from, _) = talk(&self.client, target, &at_server, &rounds, closer);
            assert_eq!(from.ip(), address(outside, 0).ip(), "masqueraded");
            truth.add(side(80), far_side(80), "SF", &payload);
            refused(&self.client, address(server, 81));
            truth.add(side(81), far_side(81), "REJ", "0 0");

            let side = |port| (server, client, port, "transit");
            let far_side = |port| (server, outside, port, "in");
            let target = address(outside, 8080);
            let (_, to) = talk(&self.server, target, &at_client, &rounds, closer);
            assert_eq!(to, address(client, 80), "forwarded");
            truth.add(side(80), far_side(8080), "SF", &payload);
            refused(&self.server, address(outside, 8081));
            truth.add(side(81), far_side(8081), "REJ", "0 0");
        }
    }

    fn send_last(&self) {
        let [there, here] = [FAMILIES[0].server, FAMILIES[0].client].map(|ip| address(ip, 9));
        let receiver = self.server.run(move || UdpSocket::bind(there));
        let receiver = receiver.expect("a receiver");
        let patience = Some(PATIENCE);
        receiver
            .set_read_timeout(patience)
            .expect("a patient socket");
        self.client.run(move || {
            let sender = UdpSocket::bind(here).expect("a sender");
            sender.send_to(LAST, there).expect("a datagram is sent");
        });
        let received = receiver.recv(&mut [0; LAST.len()]);
        received.expect("the datagram arrives");
    }
}
