//! What a network does to a capture, and what others send meanwhile.

use super::datagram;
use crate::capture::{Capture, merge};
use crate::link::Link;
use crate::rng::Rng;
use crate::scenario::scene::{SECOND, START, Scene};
use crate::transport::{ACK, Flow, RST};

/// The longest delay of a frame that is reordered.
const DELAY_MAX: u64 = 1_000_000;

/// Puts a copy behind one in four frames.
pub(super) fn duplicated(capture: &mut Capture, rng: &mut Rng) {
    let frames = std::mem::take(&mut capture.frames);
    for frame in frames {
        let copy = rng.one_in(4).then(|| frame.clone());
        capture.frames.push(frame);
        capture.frames.extend(copy);
    }
}

/// Delays one in three frames by up to 1 ms. They are stamped when they come (`stamped`), or when they were sent: then
/// time goes backward.
pub(super) fn delayed(capture: &mut Capture, stamped: bool, rng: &mut Rng) {
    let sent: Vec<i64> = capture.frames.iter().map(|frame| frame.ts_ns).collect();
    for frame in &mut capture.frames {
        if rng.one_in(3) {
            frame.ts_ns += i64::try_from(rng.below(DELAY_MAX)).expect("below 2^63");
        }
    }
    let mut order: Vec<usize> = (0..sent.len()).collect();
    order.sort_by_key(|&at| capture.frames[at].ts_ns);
    let frames = order.iter().map(|&at| {
        let mut frame = capture.frames[at].clone();
        if !stamped {
            frame.ts_ns = sent[at];
        }
        frame
    });
    capture.frames = frames.collect();
}

/// A flood of `count` SYNs to one port or datagrams to any, from spoofed sources, over `seconds` from `from` on.
pub(super) fn flood(
    capture: &Capture,
    udp: bool,
    count: i64,
    seconds: i64,
    rng: &mut Rng,
) -> Capture {
    let mut scene = Scene::new("flood", Link::new(capture.link));
    let target = [198, 51, 100, 200 + rng.next_u8() % 50];
    for n in 0..count {
        let source = [
            10 + rng.next_u8() % 80,
            rng.next_u8(),
            rng.next_u8(),
            rng.next_u8(),
        ];
        let spoofed = Flow::v4(source, 1024 + rng.next_u16() % 60_000, target, 80);
        scene.at(n * seconds * SECOND / count);
        if udp {
            datagram(
                &mut scene,
                spoofed.to_port(1 + rng.next_u16() % 60_000),
                b"flood",
            );
            continue;
        }
        let isn = rng.next_u32();
        scene.syn(spoofed, isn);
        match rng.below(4) {
            0 => drop(scene.syn_ack(spoofed, isn, rng.next_u32())),
            1 => drop(scene.bare(spoofed.reversed(), RST | ACK, 0, isn.wrapping_add(1))),
            _ => {}
        }
    }
    scene.capture
}

/// Both captures, from the first frame of `capture` on.
pub(super) fn among(capture: Capture, mut other: Capture, rng: &mut Rng) -> Capture {
    let first = capture.frames.first().map_or(START, |frame| frame.ts_ns);
    for frame in &mut other.frames {
        frame.ts_ns += first - START;
    }
    let name = capture.name.clone();
    let mut out = merge(&[capture, other], rng.next_u64());
    out.name = name;
    out
}
