//! Scans by every kind of probe, at the borders of the rules and in noise.
//!
//! One capture asks one question: is it a scan, and at which frame? N is the rule's default. Names say what is at the
//! border; the seed chooses addresses, ports, the phase, tags and the order.

mod mixed;
mod noise;
mod ports;
mod slow;
mod stealth;
mod udp;

use super::scene::{SECOND, Scene, flow};
use crate::capture::Capture;
use crate::ip::Ip;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::{ACK, Flow, RST, SYN, Tcp, Udp, icmp};

/// Number of captures.
const COUNT: u64 = 200;
/// Distances from a border, with the words for them in names.
const BORDERS: [(&str, i64); 3] = [("before", -1), ("on", 0), ("after", 1)];
/// How long after a probe its answer comes.
const ROUND_TRIP: i64 = SECOND / 50;

/// 200 captures of scans and of what only looks like one, the same for the same seed.
///
/// The first ones lie at borders of `port_scan`, `host_sweep`, `stealth_scan`, `udp_scan` and `slow_scan`; the last ones,
/// `mixed-…`, are random, in noise.
#[must_use]
pub fn probes(seed: u64) -> Vec<Capture> {
    let mut rng = Rng::new(seed);
    let mut out = ports::all(&mut rng);
    out.extend(stealth::all(&mut rng));
    out.extend(udp::all(&mut rng));
    out.extend(slow::all(&mut rng));
    let fixed = u64::try_from(out.len()).expect("few");
    out.extend((fixed..COUNT).map(|n| mixed::mixed(n - fixed, &mut rng)));
    out
}

/// An empty capture, in one of four with a VLAN tag or two.
fn scene(name: &str, rng: &mut Rng) -> Scene {
    let link = match rng.below(8) {
        0 => Link::ethernet().vlan(7),
        1 => Link::ethernet().qinq(100, 200),
        _ => Link::ethernet(),
    };
    Scene::new(name, link)
}

/// The capture in order of time, begun at a random phase of 0 to 60 s.
fn phased(scene: Scene, rng: &mut Rng) -> Capture {
    let mut out = scene.capture;
    let phase = i64::try_from(rng.below(60_000_000_000)).expect("below 2^63");
    for frame in &mut out.frames {
        frame.ts_ns += phase;
    }
    out.sort();
    out
}

/// Times of `count` touches in random order of items: the first at 0, the last at `last`, the rest a second apart from 1 s.
fn spread(count: u16, last: i64, first_item: u16, rng: &mut Rng) -> Vec<(i64, u16)> {
    let mut items: Vec<u16> = (0..count).map(|n| first_item + n).collect();
    rng.shuffle(&mut items);
    let mut out: Vec<_> = items
        .into_iter()
        .zip(0..)
        .map(|(item, n): (u16, i64)| (n * SECOND, item))
        .collect();
    if let Some(touch) = out.last_mut() {
        touch.0 = last;
    }
    out
}

/// `flow` to host number `n` of a documentation range.
fn to_host(flow: Flow, n: u16) -> Flow {
    let to = match flow.src.is_ipv6() {
        true => Flow::v6([0; 8], 0, [0x2001, 0xDB8, 2, 0, 0, 0, 0, n + 1], 0),
        false => Flow::v4([0; 4], 0, [203, 0, 113, n.to_be_bytes()[1]], 0),
    };
    Flow {
        dst: to.dst,
        ..flow
    }
}

/// What a SYN meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    /// Nothing.
    Silence,
    /// RST.
    Reset,
    /// An ICMP or ICMPv6 error that quotes the SYN.
    Unreachable,
    /// SYN+ACK, which the client's stack resets: it knows of no connection.
    HalfOpen,
    /// A whole conversation.
    Open,
}

const REPLIES: [Reply; 5] = [
    Reply::Silence,
    Reply::Reset,
    Reply::Unreachable,
    Reply::HalfOpen,
    Reply::Open,
];

/// A SYN and what it meets; the clock stays at the SYN.
fn syn(scene: &mut Scene, flow: Flow, reply: Reply, rng: &mut Rng) {
    let (now, isn, server_isn) = (scene.now, rng.next_u32(), rng.next_u32());
    let next = isn.wrapping_add(1);
    match reply {
        Reply::Silence => {
            scene.syn(flow, isn);
        }
        Reply::Reset => {
            scene.syn(flow, isn).wait(ROUND_TRIP);
            scene.bare(flow.reversed(), RST | ACK, 0, next);
        }
        Reply::Unreachable => {
            let quoted = Ip::new(flow.src, flow.dst, 6).bytes(&Tcp::new(flow, SYN, isn).bytes());
            scene.syn(flow, isn).wait(ROUND_TRIP);
            unreachable(scene, flow, &quoted, rng);
        }
        Reply::HalfOpen => {
            scene.syn(flow, isn).wait(ROUND_TRIP);
            scene.syn_ack(flow, isn, server_isn).wait(ROUND_TRIP);
            scene.bare(flow, RST, next, 0);
        }
        Reply::Open => {
            scene.handshake(flow, isn, server_isn);
            scene.data(flow, next, server_isn.wrapping_add(1), b"hello");
            scene.close(flow, next.wrapping_add(5), server_isn.wrapping_add(1));
        }
    }
    scene.now = now;
}

/// A destination unreachable by the target of `flow`, with a short or a long quote.
fn unreachable(scene: &mut Scene, flow: Flow, quoted: &[u8], rng: &mut Rng) {
    let ends = (flow.dst, flow.src);
    let (proto, header, (kind, code)) = match flow.src.is_ipv6() {
        true => (58, 40, [(1, 1), (1, 4)][rng.index(2)]),
        false => (1, 20, [(3, 1), (3, 3), (3, 13)][rng.index(3)]),
    };
    let quote_len = header + [8, 20, 600][rng.index(3)];
    let error = icmp::error(ends, kind, code, quoted, quote_len);
    scene.ip(&Ip::new(ends.0, ends.1, proto), &error);
}

/// A datagram.
fn datagram(scene: &mut Scene, flow: Flow, data: &[u8]) {
    let udp = Udp::new(flow, data);
    scene.ip(&Ip::new(flow.src, flow.dst, 17), &udp.bytes());
}
