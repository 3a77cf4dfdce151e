//! Host sweeps of N - 1, N and N + 1 hosts, whose last touch comes one nanosecond before, on or after the window's end.

use super::scene::{SECOND, Scene, WINDOW, flow};
use crate::capture::Capture;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::Flow;

/// N: the `--sweep-hosts` that the captures are read with, and its default.
const HOSTS: [u16; 2] = [5, 25];

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for hosts in HOSTS {
        for (word, off) in [("before", -1), ("on", 0), ("after", 1)] {
            for count in [hosts - 1, hosts, hosts + 1] {
                let v6 = rng.one_in(2);
                out.push(swept(
                    rng,
                    v6,
                    &format!("hosts-{count}-window-{word}"),
                    count,
                    off,
                ));
            }
        }
    }
    out.push(two_ports(rng));
    out
}

/// `flow` to host number `n` of the documentation ranges.
fn to_host(flow: Flow, n: u16) -> Flow {
    let to = match flow.src.is_ipv6() {
        true => Flow::v6([0; 8], 0, [0x2001, 0xDB8, 2, 0, 0, 0, 0, n + 1], 0),
        false => Flow::v4(
            [0; 4],
            0,
            [203, 0, 113, u8::try_from(n + 1).expect("few hosts")],
            0,
        ),
    };
    Flow {
        dst: to.dst,
        ..flow
    }
}

/// One touch of each host, the first at 0, the last a window and `off` later.
fn swept(rng: &mut Rng, v6: bool, name: &str, count: u16, off: i64) -> Capture {
    let mut scene = Scene::new(name, Link::ethernet());
    let from = flow(rng, v6);
    for n in 0..count {
        let last = n == count - 1;
        let ns = if last {
            WINDOW + off
        } else {
            i64::from(n) * SECOND
        };
        scene.at(ns).syn(to_host(from, n), u32::from(n));
    }
    scene.capture
}

/// Hosts on two ports in turn: neither port has enough hosts.
fn two_ports(rng: &mut Rng) -> Capture {
    let mut scene = Scene::new("hosts-of-two-ports", Link::ethernet());
    let from = flow(rng, false);
    for n in 0..8 {
        let flow = to_host(from, n).to_port(80 + n % 2);
        scene.at(i64::from(n)).syn(flow, u32::from(n));
    }
    scene.capture
}
