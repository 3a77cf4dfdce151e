//! Datagrams to N - 1, N and N + 1 ports; what opens a flow and what does not.

use super::{BORDERS, ROUND_TRIP, datagram, flow, phased, scene, spread, to_host, unreachable};
use crate::capture::Capture;
use crate::ip::Ip;
use crate::rng::Rng;
use crate::scenario::scene::{SECOND, Scene, WINDOW};
use crate::transport::{Flow, Udp};

/// N of `udp_scan`.
const PORTS: u16 = 10;
/// A UDP flow ends after so long without a datagram.
const IDLE: i64 = 60 * SECOND;

/// Sends `flow`'s datagrams to this many ports, one a second.
type Exchange = fn(&mut Scene, Flow, u16, &mut Rng);

/// Eleven ports each: some are scans.
const EXCHANGES: [(&str, Exchange); 11] = [
    ("answered", |s, f, p, _| {
        asked(s, f.to_port(p));
        s.wait(ROUND_TRIP);
        datagram(s, f.to_port(p).reversed(), b"answer");
    }),
    ("refused", refused),
    ("each-twice", |s, f, p, _| {
        asked(s, f.to_port(p));
        s.wait(ROUND_TRIP);
        asked(s, f.to_port(p));
    }),
    ("answers-without-question", |s, f, p, _| {
        // The question was not captured: a resolver sends to ports of its client.
        asked(s, f.from_port(53).to_port(2000 + p));
    }),
    ("empty-from-53", |s, f, p, _| {
        // No answer is empty.
        datagram(s, f.from_port(53).to_port(2000 + p), b"");
    }),
    ("from-low-to-low-ports", |s, f, p, _| {
        asked(s, f.from_port(53).to_port(p));
    }),
    ("from-1023-to-1024-and-more", |s, f, p, _| {
        asked(s, f.from_port(1023).to_port(1014 + p));
    }),
    ("from-1024", |s, f, p, _| {
        asked(s, f.from_port(1024).to_port(2000 + p));
    }),
    ("to-multicast", |s, f, p, _| {
        asked(s, to_group(f).to_port(p))
    }),
    ("to-other-hosts", |s, f, p, _| {
        asked(s, to_host(f, p).to_port(p))
    }),
    ("from-other-ports", |s, f, p, rng| {
        asked(
            s,
            f.from_port(1024 + rng.next_u16() % 60_000).to_port(p % 9),
        );
    }),
];

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for v6 in [false, true] {
        let family = if v6 { "v6" } else { "v4" };
        for (word, off) in BORDERS {
            for count in PORTS - 1..=PORTS + 1 {
                let name = format!("udp-ports-{count}-window-{word}-{family}");
                out.push(scanned(&name, v6, count, off, rng));
            }
            out.push(reopened(&format!("udp-idle-{word}-{family}"), v6, off, rng));
        }
        for (word, exchange) in EXCHANGES {
            let (mut scene, ends) = (scene(&format!("udp-{word}-{family}"), rng), flow(rng, v6));
            for port in 1..=PORTS + 1 {
                scene.at(i64::from(port) * SECOND);
                exchange(&mut scene, ends, port, rng);
            }
            out.push(phased(scene, rng));
        }
    }
    for (word, address) in [("broadcast", [255; 4]), ("first-multicast", [224, 0, 0, 0])] {
        out.push(to_one(&format!("udp-to-{word}"), address, rng));
    }
    for (word, address) in [
        ("below-multicast", [223, 255, 255, 255]),
        ("class-e", [240, 0, 0, 1]),
    ] {
        out.push(to_one(&format!("udp-to-{word}"), address, rng));
    }
    out
}

fn asked(scene: &mut Scene, flow: Flow) {
    datagram(scene, flow, b"question");
}

fn refused(scene: &mut Scene, flow: Flow, port: u16, rng: &mut Rng) {
    let flow = flow.to_port(port);
    let quoted = Ip::new(flow.src, flow.dst, 17).bytes(&Udp::new(flow, b"question").bytes());
    asked(scene, flow);
    scene.wait(ROUND_TRIP);
    unreachable(scene, flow, &quoted, rng);
}

fn to_group(flow: Flow) -> Flow {
    let dst = match flow.src.is_ipv6() {
        true => Flow::v6([0; 8], 0, [0xFF02, 0, 0, 0, 0, 0, 0, 0xFB], 0).dst,
        false => Flow::v4([0; 4], 0, [239, 255, 255, 250], 0).dst,
    };
    Flow { dst, ..flow }
}

/// A scan of an address that is a group, or nearly.
fn to_one(name: &str, address: [u8; 4], rng: &mut Rng) -> Capture {
    let (mut scene, ends) = (scene(name, rng), flow(rng, false));
    let dst = Flow::v4([0; 4], 0, address, 0).dst;
    for (ns, port) in spread(PORTS, 20 * SECOND, 7, rng) {
        scene.at(ns);
        asked(&mut scene, Flow { dst, ..ends }.to_port(port));
    }
    phased(scene, rng)
}

fn scanned(name: &str, v6: bool, count: u16, off: i64, rng: &mut Rng) -> Capture {
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    let first = 1 + rng.next_u16() % 60_000;
    for (ns, port) in spread(count, WINDOW + off, first, rng) {
        scene.at(ns);
        match rng.below(3) {
            0 => refused(&mut scene, ends, port, rng),
            _ => asked(&mut scene, ends.to_port(port)),
        }
    }
    phased(scene, rng)
}

/// The first port is asked again when its flow has just ended, or just not: only a new flow touches the port. An answer
/// keeps the second port's flow for longer.
fn reopened(name: &str, v6: bool, off: i64, rng: &mut Rng) -> Capture {
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    let (first, second) = (ends.to_port(1), ends.to_port(2));
    scene.at(0);
    asked(&mut scene, first);
    scene.at(SECOND);
    asked(&mut scene, second);
    scene.at(30 * SECOND);
    datagram(&mut scene, second.reversed(), b"answer");
    scene.at(IDLE + off);
    asked(&mut scene, first);
    scene.at(IDLE + SECOND + off);
    asked(&mut scene, second);
    // With the first port's second touch these are ten; without it nine.
    for port in 3..=11 {
        scene.at(IDLE + i64::from(port) * SECOND);
        asked(&mut scene, ends.to_port(port));
    }
    phased(scene, rng)
}
