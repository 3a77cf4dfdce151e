//! SYNs to N - 1, N and N + 1 ports or hosts, whose last comes one nanosecond before, on or after the window's end. What
//! they meet does not matter to these rules.

use super::{BORDERS, REPLIES, Reply, flow, phased, scene, spread, syn, to_host};
use crate::capture::Capture;
use crate::rng::Rng;
use crate::scenario::scene::WINDOW;

/// N of `port_scan`.
const PORTS: u16 = 4;
/// N of `host_sweep`, as the captures are read: `--sweep-hosts 5`.
const HOSTS: u16 = 5;

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for (word, off) in BORDERS {
        for count in PORTS - 1..=PORTS + 1 {
            let name = format!("syn-ports-{count}-window-{word}");
            out.push(scanned(&name, count, off, rng));
        }
        for count in HOSTS - 1..=HOSTS + 1 {
            let name = format!("syn-hosts-{count}-window-{word}");
            out.push(swept(&name, count, off, rng));
        }
    }
    for reply in REPLIES {
        let name = format!("syn-ports-all-{reply:?}").to_lowercase();
        out.push(met(&name, reply, rng));
    }
    out
}

fn scanned(name: &str, count: u16, off: i64, rng: &mut Rng) -> Capture {
    let v6 = rng.one_in(2);
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    let first = 1 + rng.next_u16() % 60_000;
    for (ns, port) in spread(count, WINDOW + off, first, rng) {
        scene.at(ns);
        let reply = REPLIES[rng.index(REPLIES.len())];
        syn(&mut scene, ends.to_port(port), reply, rng);
    }
    phased(scene, rng)
}

fn swept(name: &str, count: u16, off: i64, rng: &mut Rng) -> Capture {
    let v6 = rng.one_in(2);
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    for (ns, host) in spread(count, WINDOW + off, 1, rng) {
        scene.at(ns);
        let reply = REPLIES[rng.index(REPLIES.len())];
        syn(&mut scene, to_host(ends, host), reply, rng);
    }
    phased(scene, rng)
}

/// Fifteen ports that all answer alike.
fn met(name: &str, reply: Reply, rng: &mut Rng) -> Capture {
    let v6 = rng.one_in(2);
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    for (ns, port) in spread(15, 3 * WINDOW, 20, rng) {
        scene.at(ns * 7);
        syn(&mut scene, ends.to_port(port), reply, rng);
    }
    phased(scene, rng)
}
