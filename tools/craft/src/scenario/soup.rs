//! Random captures with so few addresses, ports and sequence numbers that flows collide.

use super::scene::{HORIZON, SECOND, Scene, WINDOW};
use crate::capture::Capture;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::{ACK, FIN, Flow, RST, SYN, Tcp};

/// Random capture number `n`. Every fourth hides a scan in a spoofed flood.
pub(super) fn soup(n: u64, rng: &mut Rng) -> Capture {
    if n % 4 == 3 {
        flooded(n, rng)
    } else {
        mixed(n, rng)
    }
}

/// Two clients, two servers, six ports, three sequence numbers; time steps on and around borders.
fn mixed(n: u64, rng: &mut Rng) -> Capture {
    let small = [
        0,
        0,
        1,
        SECOND / 1000,
        SECOND,
        10 * SECOND,
        20 * SECOND - 1,
        20 * SECOND,
    ];
    let large = [
        WINDOW - 1,
        WINDOW,
        HORIZON - 1,
        HORIZON,
        2 * WINDOW,
        -1,
        -SECOND,
        -WINDOW,
    ];
    // Captures of even number never step backward.
    let large = if n.is_multiple_of(2) {
        &large[..5]
    } else {
        &large[..]
    };
    let mut scene = Scene::new(&format!("soup-{n}"), Link::ethernet());
    let flags = [
        SYN,
        SYN,
        SYN,
        SYN,
        SYN,
        SYN | ACK,
        ACK,
        FIN | ACK,
        RST,
        RST | ACK,
        SYN | FIN,
    ];
    for _ in 0..300 {
        let mut ends = Flow::v4(
            [192, 0, 2, 1 + rng.next_u8() % 2],
            4000 + rng.next_u16() % 2,
            [198, 51, 100, 1 + rng.next_u8() % 2],
            80 + rng.next_u16() % 6,
        );
        if rng.one_in(4) {
            ends = ends.reversed();
        }
        let (seq, ack) = (rng.next_u32() % 3, rng.next_u32() % 3);
        let data = if rng.one_in(5) { &b"data"[..] } else { &[] };
        let step = if rng.one_in(12) {
            large[rng.index(large.len())]
        } else {
            small[rng.index(8)]
        };
        let segment = Tcp::new(ends, flags[rng.index(flags.len())], seq)
            .ack(ack)
            .data(data);
        scene.wait(step).tcp(&segment);
    }
    scene.capture
}

/// A scan of 4 to 7 ports among 2,000 SYNs from anywhere, with answers to some.
fn flooded(n: u64, rng: &mut Rng) -> Capture {
    let mut scene = Scene::new(&format!("soup-{n}-scan-in-flood"), Link::ethernet());
    let target = [198, 51, 100, 7];
    let scanner = Flow::v4([192, 0, 2, 66], 40_000, target, 1);
    let mut ports = 1 + rng.next_u16() % 1000;
    let mut left = 4 + rng.below(4);
    for i in 0..2000_u64 {
        scene.wait(i64::from(rng.next_u16()) * 200);
        if left > 0 && rng.one_in(100) {
            ports += 1;
            left -= 1;
            scene.syn(scanner.to_port(ports), rng.next_u32());
        }
        let source = rng.next_u32().to_be_bytes();
        let spoofed = Flow::v4(source, rng.next_u16(), target, 80 + rng.next_u16() % 2);
        let isn = rng.next_u32();
        scene.syn(spoofed, isn);
        match rng.below(8) {
            0 => {
                scene.syn_ack(spoofed, isn, rng.next_u32());
            }
            1 => {
                scene.bare(spoofed.reversed(), RST | ACK, 0, isn.wrapping_add(1));
            }
            2 => {
                scene.syn(spoofed, isn);
            }
            _ => {}
        }
        if i % 500 == 499 {
            scene.handshake(Flow::v4([192, 0, 2, 10], 5000, target, 443), isn, 77);
        }
    }
    scene.capture
}
