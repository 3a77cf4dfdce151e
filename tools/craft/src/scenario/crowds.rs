//! What many sources do to one host: floods of every kind and distributed scans, at the least number of packets or ports that the
//! rule's default asks for, and one fewer.

use super::scene::{SECOND, Scene};
use crate::capture::Capture;
use crate::ip::Ip;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::{ACK, Flow, RST, Udp, icmp};

/// Name and least number of packets in a second, and what sends one from `flow` with a random number.
type Kind = (&'static str, u16, fn(&mut Scene, Flow, u32));

const KINDS: [Kind; 4] = [
    ("syn", 1000, |scene, flow, number| {
        scene.syn(flow, number);
    }),
    ("rst", 5000, |scene, flow, number| {
        scene.bare(flow, RST, number, 0);
    }),
    ("udp", 10_000, |scene, flow, _| {
        let datagram = Udp::new(flow, b"flood").bytes();
        scene.ip(&Ip::new(flow.src, flow.dst, 17), &datagram);
    }),
    ("icmp", 1000, |scene, flow, number| {
        let ends = (flow.src, flow.dst);
        let proto = if flow.src.is_ipv6() { 58 } else { 1 };
        let [_, _, high, low] = number.to_be_bytes();
        let message = icmp::echo(ends, false, u16::from_be_bytes([high, low]), 1, b"flood");
        scene.ip(&Ip::new(flow.src, flow.dst, proto), &message);
    }),
];

/// Captures of floods and of distributed scans, the same for the same seed.
///
/// Each flood is at one host within one second of packet time, from a source of its own for every packet. A distributed
/// scan comes from five sources, each of which tries every fifth port; all ports are closed.
#[must_use]
pub fn crowds(seed: u64) -> Vec<Capture> {
    let mut rng = Rng::new(seed);
    let mut out = Vec::new();
    for (name, least, send) in KINDS {
        for v6 in [false, true] {
            for count in [least - 1, least] {
                let family = if v6 { "v6" } else { "v4" };
                let name = format!("flood-{name}-{count}-{family}");
                out.push(flood(&name, (count, v6), send, &mut rng));
            }
        }
    }
    for v6 in [false, true] {
        out.extend([19, 20].map(|ports| distributed(ports, v6, &mut rng)));
    }
    out
}

fn distributed(ports: u16, v6: bool, rng: &mut Rng) -> Capture {
    let family = if v6 { "v6" } else { "v4" };
    let name = format!("distributed-{ports}-{family}");
    let mut scene = Scene::new(&name, Link::ethernet());
    let (server, first) = (rng.next_u8(), 1 + rng.next_u16() % 60_000);
    for n in 0..ports {
        let isn = rng.next_u32();
        let flow = between(n % 5, (40_000, first + n), server, v6);
        scene.at(i64::from(n) * SECOND).syn(flow, isn);
        scene.wait(SECOND / 100);
        scene.bare(flow.reversed(), RST | ACK, 0, isn.wrapping_add(1));
    }
    // The rule decides at SYNs: the last port is known to be closed at the next one.
    let again = between(0, (40_001, first), server, v6);
    scene
        .at(i64::from(ports) * SECOND)
        .syn(again, rng.next_u32());
    scene.capture
}

/// From source number `n` to a server.
fn between(n: u16, (src_port, dst_port): (u16, u16), server: u8, v6: bool) -> Flow {
    let [high, low] = n.to_be_bytes();
    match v6 {
        true => Flow::v6(
            [0x2001, 0xDB8, 2, 0, 0, 0, 0, n],
            src_port,
            [0x2001, 0xDB8, 1, 0, 0, 0, 0, u16::from(server)],
            dst_port,
        ),
        false => Flow::v4(
            [10, 0, high, low],
            src_port,
            [198, 51, 100, server],
            dst_port,
        ),
    }
}

fn flood(
    name: &str,
    (count, v6): (u16, bool),
    send: fn(&mut Scene, Flow, u32),
    rng: &mut Rng,
) -> Capture {
    let mut scene = Scene::new(name, Link::ethernet());
    let server = rng.next_u8();
    // Above the ports of services: what comes from those is taken for an answer.
    let src_port = 1024 + rng.next_u16() % 60_000;
    for n in 0..count {
        let flow = between(n, (src_port, 80), server, v6);
        scene.at(i64::from(n) * (SECOND / 10_000));
        send(&mut scene, flow, rng.next_u32());
    }
    scene.capture
}
