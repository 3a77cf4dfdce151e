//! What is blocked does not arrive, by address, prefix and family, also forwarded; what is let in does again.

use super::common::netns::{SENSOR, ip};
use super::host::{Host, add, nft, remove, with_nftables};
use super::peer::Peer;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use synledger::firewall::Order;
use synledger::nft::Kernel;

const SENDER: &str = super::common::netns::SENDER;
/// Addresses of a host that scans, and of an innocent neighbour in another network.
pub const BAD: [&str; 2] = ["192.0.2.7", "2001:db8:0:7::7"];
pub const GOOD: [&str; 2] = ["198.51.100.8", "2001:db8:0:8::8"];
pub const OURS: [&str; 2] = ["192.0.2.1", "2001:db8:0:7::1"];

/// A veth pair between the calling thread's namespace, which has [`OURS`], and one that has the other addresses.
pub fn with_neighbour() -> Peer {
    ip(&format!("link add {SENDER} type veth peer name {SENSOR}"));
    ip(&format!("link set {SENSOR} up"));
    let peer = Peer::new();
    give(SENSOR, &[OURS[0], OURS[1]]);
    peer.run(|| {
        give(SENDER, &[BAD[0], BAD[1], GOOD[0], GOOD[1]]);
        ip(&format!("route add 192.0.2.1 dev {SENDER}"));
    });
    for net in ["192.0.2.0/24", "198.51.100.0/24"] {
        ip(&format!("route add {net} dev {SENSOR}"));
    }
    ip(&format!("route add 2001:db8::/32 dev {SENSOR}"));
    peer.run(|| ip(&format!("route add 2001:db8::/32 dev {SENDER}")));
    peer
}

pub fn give(device: &str, addresses: &[&str]) {
    for address in addresses {
        let (bits, nodad) = match address.contains(':') {
            true => (128, " nodad"),
            false => (32, ""),
        };
        ip(&format!("addr add {address}/{bits} dev {device}{nodad}"));
    }
}

/// Whether a datagram that the peer sends from this address arrives at `to`, where `socket` is bound.
pub fn arrives(peer: &Peer, from: &str, socket: &UdpSocket) -> bool {
    let from = SocketAddr::new(from.parse().expect("an address"), 0);
    let to = socket.local_addr().expect("it is bound");
    peer.run(move || {
        let socket = UdpSocket::bind(from).expect("its own address");
        socket.send_to(b"hello", to).expect("sent");
    });
    let mut buffer = [0; 16];
    socket.recv(&mut buffer).is_ok()
}

pub fn listen(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address.parse().expect("an address"), 0));
    let socket = socket.expect("its own address");
    let patience = Some(Duration::from_millis(400));
    socket.set_read_timeout(patience).expect("a timeout");
    socket
}

/// Blocks an address of each family and lets it in again: its packets are dropped and counted, no other's are.
pub fn drops_what_is_blocked(host: &mut Host, peer: &Peer) {
    for family in 0..2 {
        let socket = listen(OURS[family]);
        assert!(arrives(peer, BAD[family], &socket), "{}", BAD[family]);
        host.done(add(BAD[family], 600));
        assert!(!arrives(peer, BAD[family], &socket), "{}", BAD[family]);
        assert!(arrives(peer, GOOD[family], &socket), "{}", GOOD[family]);
        assert_eq!(host.dropped(BAD[family]), 1);
        assert_eq!(host.counted(BAD[family]), Some(1));
        host.done(remove(BAD[family]));
        assert!(arrives(peer, BAD[family], &socket), "{}", BAD[family]);
    }
    assert_eq!(host.nets(), [""; 0]);
}

/// The same with prefixes of odd and even lengths.
pub fn drops_whole_prefixes(host: &mut Host, peer: &Peer) {
    let sockets = OURS.map(listen);
    // The network of our own address cannot be blocked: see `guard`. So the roles are changed.
    for (net, dropped, arriving) in [
        ("198.51.100.0/24", GOOD[0], BAD[0]),
        ("198.51.100.8/29", GOOD[0], BAD[0]),
        ("2001:db8:0:8::/64", GOOD[1], BAD[1]),
        ("2001:db8:0:8::/65", GOOD[1], BAD[1]),
    ] {
        let socket = &sockets[usize::from(net.contains(':'))];
        assert!(arrives(peer, dropped, socket), "{net}: not blocked yet");
        host.done(add(net, 600));
        assert!(!arrives(peer, dropped, socket), "{net}: {dropped}");
        assert!(arrives(peer, arriving, socket), "{net}: {arriving}");
        assert_eq!(host.dropped(net), 1, "{net}");
        assert_eq!(host.counted(net), Some(1), "{net}");
        host.done(remove(net));
        assert_eq!(host.counted(net), None, "{net}");
        assert!(arrives(peer, dropped, socket), "{net}: let in again");
    }
}

#[test]
fn packets_of_a_blocked_address_are_dropped_and_counted_and_those_of_others_arrive() {
    with_nftables(|| {
        let peer = with_neighbour();
        let mut host = Host::start(Kernel::Whole);
        drops_what_is_blocked(&mut host, &peer);
        host.close();
    });
}

#[test]
fn a_blocked_prefix_drops_every_address_in_it_and_no_other() {
    with_nftables(|| {
        let peer = with_neighbour();
        let mut host = Host::start(Kernel::Whole);
        drops_whole_prefixes(&mut host, &peer);
        host.close();
    });
}

#[test]
fn a_block_ends_by_itself_and_one_given_again_lasts_anew() {
    for kernel in [Kernel::Whole, Kernel::Old] {
        with_nftables(move || {
            let peer = with_neighbour();
            let mut host = Host::start(kernel);
            let socket = listen(OURS[0]);
            host.done(add(BAD[0], 2));
            host.done(add("198.51.100.200", 1));
            host.done(add(BAD[0], 600));
            let left = host.elements()[0].expires_s;
            assert!((595..=600).contains(&left), "{kernel:?}: {left} s left");
            host.done(add(BAD[0], 2));
            let left = host.elements()[0].expires_s;
            assert!(left <= 2, "{kernel:?}: {left} s left");
            assert!(!arrives(&peer, BAD[0], &socket), "{kernel:?}: blocked");
            std::thread::sleep(Duration::from_millis(2_100));
            assert!(arrives(&peer, BAD[0], &socket), "{kernel:?}: expired");
            assert_eq!(host.nets(), [""; 0], "{kernel:?}");
            // As if it had been new.
            host.done(add(BAD[0], 600));
            assert!(!arrives(&peer, BAD[0], &socket), "{kernel:?}: again");
            let left = host.elements()[0].expires_s;
            assert!((595..=600).contains(&left), "{kernel:?}: {left} s left");
            // One that has expired is no reason to refuse the others of its transaction.
            let orders = [
                remove("198.51.100.200"),
                add("198.51.100.201", 60),
                remove(BAD[0]),
            ];
            assert_eq!(host.order(&orders), [Ok(()); 3], "{kernel:?}");
            assert_eq!(host.nets(), ["198.51.100.201/32"], "{kernel:?}");
            host.close();
        });
    }
}

#[test]
fn what_was_dropped_is_still_counted_after_the_block_was_given_again() {
    with_nftables(|| {
        let peer = with_neighbour();
        let mut host = Host::start(Kernel::Whole);
        let socket = listen(OURS[0]);
        host.done(add(BAD[0], 600));
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        host.done(add(BAD[0], 900));
        // Before Linux 6.12 the element is a new one.
        let counted = host.dropped(BAD[0]);
        eprintln!("counted after a second order: {counted}");
        assert!(counted <= 1);
        host.vanish();
        let mut next = Host::start(Kernel::Whole);
        assert_eq!(next.dropped(BAD[0]), counted, "adopted with its count");
        next.close();
    });
}

#[test]
fn a_flush_lets_everybody_in_and_orders_around_it_keep_their_order() {
    with_nftables(|| {
        let peer = with_neighbour();
        let mut host = Host::start(Kernel::Whole);
        let socket = listen(OURS[0]);
        let orders = [
            add(BAD[0], 600),
            add("2001:db8:9::/48", 600),
            Order::Flush,
            add("198.51.100.77", 600),
            remove("198.51.100.77"),
            add("198.51.100.77", 300),
            remove("198.51.100.99"),
        ];
        assert_eq!(host.order(&orders), [Ok(()); 7]);
        assert!(arrives(&peer, BAD[0], &socket), "flushed");
        assert_eq!(host.nets(), ["198.51.100.77/32"]);
        host.close();
    });
}

/// A neighbour, and a server behind this host, which forwards.
pub fn with_server_behind() -> (Peer, Peer, UdpSocket) {
    const INSIDE: &str = "inside";
    const SERVER: &str = "server";
    let peer = with_neighbour();
    ip(&format!("link add {SERVER} type veth peer name {INSIDE}"));
    ip(&format!("link set {INSIDE} up"));
    give(INSIDE, &["203.0.113.1"]);
    ip(&format!("route add 203.0.113.0/24 dev {INSIDE}"));
    let server = Peer::with(SERVER);
    server.run(|| {
        give(SERVER, &["203.0.113.2"]);
        ip(&format!("route add 203.0.113.1 dev {SERVER}"));
        ip("route add default via 203.0.113.1");
    });
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a router");
    peer.run(|| ip("route add 203.0.113.0/24 via 192.0.2.1"));
    let socket = server.run(|| listen("203.0.113.2"));
    assert!(arrives(&peer, BAD[0], &socket), "the router forwards");
    (peer, server, socket)
}

#[test]
fn forwarded_packets_of_a_blocked_address_are_dropped_too() {
    with_nftables(|| {
        let (peer, _server, socket) = with_server_behind();
        let mut host = Host::start(Kernel::Whole);
        host.done(add(BAD[0], 600));
        assert!(!arrives(&peer, BAD[0], &socket), "blocked");
        assert!(arrives(&peer, GOOD[0], &socket), "the innocent neighbour");
        assert_eq!(host.dropped(BAD[0]), 1);
        host.close();
    });
}

#[test]
fn nft_lists_the_table_with_its_sets_and_rules() {
    with_nftables(|| {
        let mut host = Host::start(Kernel::Whole);
        host.done(add("198.51.100.0/24", 600));
        host.done(add("2001:db8:1:2::/64", 600));
        host.done(add("198.51.100.7", 600));
        let listed = nft("list table inet synledger");
        eprintln!("{listed}");
        for part in [
            "type filter hook prerouting priority raw; policy accept;",
            "ip saddr @blocked4 drop",
            "ip6 saddr @blocked6 drop",
            "ip saddr & 255.255.255.0 == @blocked4_24 drop",
            "ip6 saddr & ffff:ffff:ffff:ffff:: == @blocked6_64 drop",
            "elements = { 198.51.100.7 counter packets 0 bytes 0 timeout 10m",
            "elements = { 198.51.100.0 counter",
            "elements = { 2001:db8:1:2:: counter",
        ] {
            assert!(listed.contains(part), "{part}: {listed}");
        }
        host.close();
        assert!(!nft("list tables").contains("inet synledger"));
    });
}
