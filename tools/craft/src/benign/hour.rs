//! Hosts, ports, time: what one capture is built with. Frames may be sent in any order of time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::capture::Capture;
use crate::ip::Ip;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::{Flow, Tcp, Udp, icmp};

/// One millisecond in nanoseconds.
pub(super) const MS: i64 = 1_000_000;
/// One second in nanoseconds.
pub(super) const SECOND: i64 = 1000 * MS;
/// One minute in nanoseconds.
pub(super) const MINUTE: i64 = 60 * SECOND;
/// Time 0 of every capture: 2023-11-14.
const START: i64 = 1_700_000_000 * SECOND;
/// Hosts farther than this are behind routers: packets of theirs get lost at times.
const FAR: i64 = 5 * MS;

/// A host, as the sensor sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Its address.
    pub(super) address: IpAddr,
    /// Nanoseconds between a packet to it and its answer.
    pub(super) delay_ns: i64,
}

/// A conversation of two hosts, seen from the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// Client's and server's address and port.
    pub(super) flow: Flow,
    /// Nanoseconds until the client answers.
    pub(super) client_ns: i64,
    /// Nanoseconds until the server answers.
    pub(super) server_ns: i64,
}

impl Path {
    /// From a port of `client` to a port of `server`.
    pub(super) fn new(client: Host, src_port: u16, server: Host, dst_port: u16) -> Self {
        Self {
            flow: Flow {
                src: client.address,
                dst: server.address,
                src_port,
                dst_port,
            },
            client_ns: client.delay_ns,
            server_ns: server.delay_ns,
        }
    }
}

/// A capture under construction. Times are nanoseconds after its begin.
pub(super) struct Hour {
    /// Chooses what is free.
    pub(super) rng: Rng,
    /// Length of the capture: later frames are not captured.
    pub(super) end: i64,
    capture: Capture,
    ports: BTreeMap<IpAddr, u16>,
    taken: BTreeSet<IpAddr>,
    ttls: BTreeMap<IpAddr, u8>,
}

impl Hour {
    /// An empty capture of `minutes`.
    pub(super) fn new(name: &str, seed: u64, minutes: u16) -> Self {
        let link = Link::ethernet();
        Self {
            rng: Rng::new(seed),
            end: i64::from(minutes) * MINUTE,
            capture: Capture::new(name, link.kind),
            ports: BTreeMap::new(),
            taken: BTreeSet::new(),
            ttls: BTreeMap::new(),
        }
    }

    /// The capture, in order of time.
    pub(super) fn finish(mut self) -> Capture {
        self.capture.sort();
        self.capture
    }

    /// A number from `low` to below `high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high - low).expect("ascending");
        low + i64::try_from(self.rng.below(width)).expect("below an i64")
    }

    /// A port from `low` to `high`.
    pub(super) fn port(&mut self, low: u16, high: u16) -> u16 {
        let port = self.between(i64::from(low), i64::from(high) + 1);
        u16::try_from(port).expect("between two ports")
    }

    /// True in `n` of 100 draws, on average.
    pub(super) fn percent(&mut self, n: u64) -> bool {
        self.rng.below(100) < n
    }

    /// One of `items`.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.rng.index(items.len())]
    }

    /// Times at random, `gap` apart on average, from `from` to the end of the capture.
    pub(super) fn times(&mut self, from: i64, gap: i64) -> Vec<i64> {
        let mut out = Vec::new();
        let mut at = from + self.between(0, gap);
        while at < self.end {
            out.push(at);
            at += self.between(gap / 5, gap * 9 / 5);
        }
        out
    }

    /// A host on the sensor's own link, which answers within 0.3 ms.
    pub(super) fn near(&mut self, address: IpAddr) -> Host {
        let ttl = if self.rng.one_in(3) { 128 } else { 64 };
        self.taken.insert(address);
        self.ttls.insert(address, ttl);
        Host {
            address,
            delay_ns: self.between(MS / 20, MS * 3 / 10),
        }
    }

    /// A host of the Internet: 198.18.0.0/15, 10 to 180 ms away.
    pub(super) fn remote(&mut self) -> Host {
        let address = loop {
            let address = Ipv4Addr::from(0xC612_0000 | (self.rng.next_u32() & 0x1_FFFF)).into();
            if self.taken.insert(address) {
                break address;
            }
        };
        self.far(address)
    }

    /// A host of the Internet with an IPv6 address: 2001:db8:8000::/33, 10 to 180 ms away.
    pub(super) fn remote_v6(&mut self) -> Host {
        let [net, low] = [self.rng.next_u16() | 0x8000, self.rng.next_u16()];
        let address = Ipv6Addr::new(0x2001, 0xDB8, net, 0, 0, 0, 0, low).into();
        self.taken.insert(address);
        self.far(address)
    }

    fn far(&mut self, address: IpAddr) -> Host {
        let hops = u8::try_from(self.between(6, 20)).expect("few");
        self.ttls.insert(address, 64 - hops);
        Host {
            address,
            delay_ns: self.between(10 * MS, 180 * MS),
        }
    }

    /// The next ephemeral port of a host.
    pub(super) fn ephemeral(&mut self, address: IpAddr) -> u16 {
        const FIRST: u16 = 32_768;
        const LAST: u16 = 60_999;
        let first = self.port(FIRST, LAST);
        let next = self.ports.entry(address).or_insert(first);
        let port = *next;
        *next = if port == LAST { FIRST } else { port + 1 };
        port
    }

    /// From a new ephemeral port of `client` to a port of `server`.
    pub(super) fn path(&mut self, client: Host, server: Host, dst_port: u16) -> Path {
        let src_port = self.ephemeral(client.address);
        Path::new(client, src_port, server, dst_port)
    }

    /// A delay as it varies from packet to packet: 90 to 130 %.
    pub(super) fn jitter(&mut self, delay_ns: i64) -> i64 {
        delay_ns * self.between(90, 130) / 100
    }

    /// Whether a packet on this path gets lost: one in 150 of those that routers carry.
    pub(super) fn lost(&mut self, path: &Path) -> bool {
        path.client_ns.max(path.server_ns) > FAR && self.rng.one_in(150)
    }

    fn header(&mut self, src: IpAddr, dst: IpAddr, proto: u8) -> Ip {
        let mut ip = Ip::new(src, dst, proto).id(self.rng.next_u32());
        ip.ttl = self.ttls.get(&src).copied().unwrap_or(64);
        ip.dont_fragment = proto == 6;
        ip
    }

    /// Sends an IP packet at `at`; returns it.
    fn ip(&mut self, at: i64, (src, dst): (IpAddr, IpAddr), proto: u8, payload: &[u8]) -> Vec<u8> {
        let packet = self.header(src, dst, proto).bytes(payload);
        if (0..self.end).contains(&at) {
            let mut link = Link::ethernet();
            link.macs = (mac(src), mac(dst));
            self.capture.push(START + at, link.frame(&packet));
        }
        packet
    }

    /// Sends a segment; returns its packet.
    pub(super) fn tcp(&mut self, at: i64, tcp: &Tcp) -> Vec<u8> {
        self.ip(at, (tcp.flow.src, tcp.flow.dst), 6, &tcp.bytes())
    }

    /// Sends a datagram; returns its packet.
    pub(super) fn udp(&mut self, at: i64, flow: Flow, data: &[u8]) -> Vec<u8> {
        let datagram = Udp::new(flow, data).bytes();
        self.ip(at, (flow.src, flow.dst), 17, &datagram)
    }

    /// A packet that never crosses the sensor, for an error to quote.
    pub(super) fn unseen(&mut self, flow: Flow, proto: u8, payload: &[u8]) -> Vec<u8> {
        self.header(flow.src, flow.dst, proto).bytes(payload)
    }

    /// Sends an ICMP or ICMPv6 message of `src`.
    pub(super) fn icmp(&mut self, at: i64, ends: (IpAddr, IpAddr), message: &[u8]) {
        let proto = if ends.0.is_ipv6() { 58 } else { 1 };
        self.ip(at, ends, proto, message);
    }

    /// An error of `by` about `quoted`, to its sender: port unreachable, or with `filtered`
    /// "administratively prohibited".
    pub(super) fn unreachable(&mut self, at: i64, by: IpAddr, quoted: &[u8], filtered: bool) {
        let (kind, code, to) = match (by.is_ipv6(), filtered) {
            (false, false) => (3, 3, v4_source(quoted)),
            (false, true) => (3, 13, v4_source(quoted)),
            (true, false) => (1, 4, v6_source(quoted)),
            (true, true) => (1, 1, v6_source(quoted)),
        };
        // Linux quotes as much as fits: 576 bytes of IPv4, 1280 of IPv6. Older stacks quote 28.
        let quote_len = if by.is_ipv4() && self.rng.one_in(3) {
            28
        } else {
            548
        };
        let message = icmp::error((by, to), kind, code, quoted, quote_len);
        self.icmp(at, (by, to), &message);
    }
}

/// Last byte of a MAC address: a host's own on the sensor's link, the router's for the rest.
fn mac(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if !matches!(v4.octets(), [198, 18 | 19, ..]) => v4.octets()[3],
        IpAddr::V6(v6) if v6.octets()[4] < 0x80 => v6.octets()[15],
        _ => 0xFE,
    }
}

fn v4_source(packet: &[u8]) -> IpAddr {
    let octets: [u8; 4] = packet[12..16].try_into().expect("four bytes");
    octets.into()
}

fn v6_source(packet: &[u8]) -> IpAddr {
    let octets: [u8; 16] = packet[8..24].try_into().expect("sixteen bytes");
    octets.into()
}

/// The address 10.`net`.`third`.`last`.
pub(super) fn inside(net: u8, third: u8, last: u8) -> IpAddr {
    Ipv4Addr::new(10, net, third, last).into()
}

/// The address 192.0.2.`last`, public and ours.
pub(super) fn public(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

/// The address 2001:db8:`net`::`last`, public and ours.
pub(super) fn public_v6(net: u16, last: u8) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xDB8, net, 0, 0, 0, 0, u16::from(last)).into()
}
