//! Random sources with every technique, among spoofed floods, duplicated and out of order.

use super::stealth::TECHNIQUES;
use super::{REPLIES, datagram, flow, noise, phased, scene, syn, to_host};
use crate::capture::Capture;
use crate::rng::Rng;
use crate::scenario::scene::SECOND;
use crate::transport::Flow;

/// Time steps: within the windows, and rarely up to hours. No two touches have one time: which of them `slow_scan` keeps
/// is not defined.
const STEPS: [i64; 7] = [
    1,
    SECOND / 50,
    SECOND,
    3 * SECOND,
    6 * SECOND,
    20 * SECOND,
    45 * SECOND,
];

/// Random capture number `n`.
pub(super) fn mixed(n: u64, rng: &mut Rng) -> Capture {
    let mut out = probed(n, rng);
    match n % 6 {
        1 => noise::duplicated(&mut out, rng),
        2 => noise::delayed(&mut out, true, rng),
        3 => noise::delayed(&mut out, false, rng),
        4 => {
            noise::duplicated(&mut out, rng);
            noise::delayed(&mut out, true, rng);
        }
        _ => {}
    }
    if n % 3 == 2 {
        // Both scenes have one link type: tags are no link type.
        let flood = noise::flood(&out, n.is_multiple_of(2), 600, 60, rng);
        out = noise::among(out, flood, rng);
    }
    out
}

/// Two or three sources, few hosts, few ports; each probes in its own way, most of the time.
fn probed(n: u64, rng: &mut Rng) -> Capture {
    let word = if n % 3 == 2 { "-in-flood" } else { "" };
    let mut scene = scene(&format!("mixed-{n}{word}"), rng);
    let v6 = n % 4 == 1;
    let sources: Vec<Flow> = (0..2 + rng.index(2)).map(|_| flow(rng, v6)).collect();
    let hosts = 1 + rng.next_u16() % 3;
    let ways: Vec<usize> = sources.iter().map(|_| rng.index(4)).collect();
    // Half of the captures are quick: many items lie within a window.
    let steps = &STEPS[..[4, 7][rng.index(2)]];
    for _ in 0..150 {
        let long = [1800, 7200][rng.index(2)] * SECOND;
        scene.wait(if rng.one_in(40) {
            long
        } else {
            steps[rng.index(steps.len())]
        });
        let at = rng.index(sources.len());
        let (host, port) = (rng.next_u16() % hosts, 1 + rng.next_u16() % 30);
        let ends = to_host(sources[at], host).to_port(port);
        // Reused source ports make segments of one flow of many; others are each alone.
        let ends = match rng.one_in(3) {
            true => ends,
            false => ends.from_port(1024 + rng.next_u16() % 60_000),
        };
        let way = if rng.one_in(5) {
            rng.index(4)
        } else {
            ways[at]
        };
        match way {
            0 => TECHNIQUES[rng.index(TECHNIQUES.len())].1(&mut scene, ends, rng),
            1 => {
                datagram(&mut scene, ends, b"?");
                if rng.one_in(3) {
                    datagram(&mut scene, ends.reversed(), b"!");
                }
            }
            _ => syn(&mut scene, ends, REPLIES[rng.index(REPLIES.len())], rng),
        }
    }
    phased(scene, rng)
}
