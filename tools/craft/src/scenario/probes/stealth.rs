//! Segments that no stack opens with, and segments with ACK alone that a RST answers; and their likes in connections.

use super::{BORDERS, ROUND_TRIP, flow, phased, scene, spread, to_host};
use crate::capture::Capture;
use crate::rng::Rng;
use crate::scenario::scene::{HORIZON, SECOND, Scene, WINDOW};
use crate::transport::{ACK, CWR, ECE, FIN, Flow, PSH, RST, SYN, URG};

/// N of `stealth_scan`.
const PORTS: u16 = 3;
/// A closed connection waits so long for late packets.
const LINGER: i64 = 5 * SECOND;
/// An attempt waits so long for an answer.
const UNANSWERED: i64 = 5 * SECOND;
/// A connection without a packet for so long has ended.
const IDLE: i64 = 300 * SECOND;
/// What comes so long after a connection has closed is behind its close.
const BEHIND: i64 = 120 * SECOND;

/// Sends a probe; the clock is at the frame that shows that it is one.
type Probe = fn(&mut Scene, Flow, &mut Rng);

pub(super) const TECHNIQUES: [(&str, Probe); 9] = [
    ("null", |s, f, rng| {
        odd(s, f, [0, ECE, CWR | ECE][rng.index(3)], rng)
    }),
    ("fin", |s, f, rng| odd(s, f, FIN, rng)),
    ("xmas", |s, f, rng| odd(s, f, FIN | PSH | URG, rng)),
    ("flags", |s, f, rng| {
        odd(
            s,
            f,
            [PSH, URG, PSH | URG, FIN | URG, FIN | PSH][rng.index(5)],
            rng,
        );
    }),
    ("syn-fin", |s, f, rng| odd(s, f, SYN | FIN, rng)),
    ("syn-rst", |s, f, rng| odd(s, f, SYN | RST, rng)),
    ("ack", |s, f, rng| acknowledged(s, f, ACK, rng)),
    ("maimon", |s, f, rng| acknowledged(s, f, FIN | ACK, rng)),
    ("mix", |s, f, rng| TECHNIQUES[rng.index(8)].1(s, f, rng)),
];

/// A segment with none of SYN, ACK and RST, or an odd SYN. A closed port answers some.
fn odd(scene: &mut Scene, flow: Flow, flags: u8, rng: &mut Rng) {
    let (now, seq) = (scene.now, rng.next_u32());
    scene.bare(flow, flags, seq, 0);
    if rng.one_in(2) {
        scene.wait(ROUND_TRIP);
        let next = seq.wrapping_add(u32::from(flags & (SYN | FIN) != 0));
        scene.bare(flow.reversed(), RST | ACK, 0, next);
    }
    scene.now = now;
}

/// A segment with ACK that the target resets.
fn acknowledged(scene: &mut Scene, flow: Flow, flags: u8, rng: &mut Rng) {
    let (now, seq, ack) = (scene.now, rng.next_u32(), rng.next_u32());
    scene.at_time(now - ROUND_TRIP).bare(flow, flags, seq, ack);
    scene.at_time(now).bare(flow.reversed(), RST, ack, 0);
}

/// Segments like probes to one port, which are none or few.
type Likeness = fn(&mut Scene, Flow, &mut Rng);

const LIKENESSES: [(&str, Likeness); 24] = [
    ("after-syn", |s, f, rng| {
        s.syn(f, rng.next_u32()).wait(SECOND);
        each(s, f, rng);
    }),
    ("after-refused-syn", |s, f, rng| {
        let isn = rng.next_u32();
        s.syn(f, isn).wait(ROUND_TRIP);
        s.bare(f.reversed(), RST | ACK, 0, isn.wrapping_add(1))
            .wait(SECOND);
        each(s, f, rng);
    }),
    ("while-unanswered", |s, f, rng| {
        s.syn(f, rng.next_u32())
            .wait(UNANSWERED - 1)
            .bare(f, 0, 1, 0);
    }),
    ("when-unanswered", |s, f, rng| {
        s.syn(f, rng.next_u32()).wait(UNANSWERED).bare(f, 0, 1, 0);
    }),
    ("within-horizon", |s, f, rng| {
        let isn = rng.next_u32();
        s.syn(f, isn).syn_ack(f, isn, 7).wait(HORIZON - 1);
        s.bare(f, 0, 1, 0);
    }),
    ("at-horizon", |s, f, rng| {
        let isn = rng.next_u32();
        s.syn(f, isn).syn_ack(f, isn, 7).wait(HORIZON);
        s.bare(f, 0, 1, 0);
    }),
    ("of-established", |s, f, rng| {
        s.handshake(f, rng.next_u32(), rng.next_u32());
        each(s, f, rng);
        each(s, f.reversed(), rng);
    }),
    ("of-long-lived", |s, f, rng| {
        let (c, r) = opened(s, f, rng);
        for _ in 0..3 {
            s.wait(IDLE - SECOND).data(f, c, r, b"");
        }
        each(s, f, rng);
    }),
    ("of-idle-before", |s, f, rng| {
        opened(s, f, rng);
        s.wait(IDLE - SECOND / 100 - 1).bare(f, FIN, 1, 0);
    }),
    ("of-idle-on", |s, f, rng| {
        opened(s, f, rng);
        s.wait(IDLE - SECOND / 100).bare(f, FIN, 1, 0);
    }),
    ("of-closed", |s, f, rng| {
        let (c, r) = opened(s, f, rng);
        s.close(f, c, r);
        each(s, f, rng);
    }),
    ("of-closed-long-ago", |s, f, rng| {
        let (c, r) = opened(s, f, rng);
        s.close(f, c, r).wait(HORIZON);
        each(s, f, rng);
    }),
    ("of-midstream", |s, f, rng| {
        let (c, r) = (rng.next_u32(), rng.next_u32());
        s.data(f, c, r, b"first seen");
        s.data(f.reversed(), r, c.wrapping_add(10), b"so is this");
        each(s, f, rng);
    }),
    ("from-other-port", |s, f, rng| {
        s.handshake(f, rng.next_u32(), rng.next_u32());
        each(s, f.from_port(f.src_port ^ 1), rng);
    }),
    ("ack-unanswered", |s, f, rng| {
        s.bare(f, ACK, rng.next_u32(), rng.next_u32());
    }),
    ("ack-with-data", |s, f, rng| {
        let ack = rng.next_u32();
        s.data(f, rng.next_u32(), ack, b"data")
            .bare(f.reversed(), RST, ack, 0);
    }),
    ("ack-and-rst-ack", |s, f, rng| {
        let (seq, ack) = (rng.next_u32(), rng.next_u32());
        s.bare(f, ACK, seq, ack)
            .wait(ROUND_TRIP)
            .bare(f.reversed(), RST | ACK, ack, seq);
    }),
    ("ack-and-rst-of-other-number", |s, f, rng| {
        let ack = rng.next_u32();
        s.bare(f, FIN | ACK, rng.next_u32(), ack).wait(ROUND_TRIP);
        s.bare(f.reversed(), RST, ack.wrapping_add(1), 0)
            .bare(f.reversed(), RST, ack, 0);
    }),
    ("ack-then-data", |s, f, rng| {
        let (seq, ack) = (rng.next_u32(), rng.next_u32());
        s.bare(f, FIN | ACK, seq, ack)
            .wait(ROUND_TRIP)
            .data(f, seq, ack, b"more");
        s.bare(f.reversed(), RST, ack, 0);
    }),
    ("ack-answered-first", |s, f, rng| {
        let (seq, ack) = (rng.next_u32(), rng.next_u32());
        s.bare(f, FIN | ACK, seq, ack)
            .wait(ROUND_TRIP)
            .bare(f.reversed(), ACK, ack, seq);
        s.wait(ROUND_TRIP).bare(f.reversed(), RST, ack, 0);
    }),
    ("syn-ack-and-rst", |s, f, rng| {
        let ack = rng.next_u32();
        s.bare(f, SYN | ACK, rng.next_u32(), ack)
            .wait(ROUND_TRIP)
            .bare(f.reversed(), RST, ack, 0);
    }),
    ("ack-behind-close-before", |s, f, rng| behind(s, f, -1, rng)),
    ("ack-behind-close-on", |s, f, rng| behind(s, f, 0, rng)),
    ("rst-before-ack", |s, f, rng| {
        let ack = rng.next_u32();
        s.bare(f.reversed(), RST, ack, 0)
            .wait(SECOND / 2000)
            .bare(f, FIN | ACK, 7, ack);
    }),
];

/// A FIN, a NULL and an XMAS segment.
fn each(scene: &mut Scene, flow: Flow, rng: &mut Rng) {
    for flags in [FIN, 0, FIN | PSH | URG] {
        scene
            .wait(SECOND / 100)
            .bare(flow, flags, rng.next_u32(), 0);
    }
}

/// A handshake, whose last segment was 10 ms ago; the numbers that come next.
fn opened(scene: &mut Scene, flow: Flow, rng: &mut Rng) -> (u32, u32) {
    let (isn, server_isn) = (rng.next_u32(), rng.next_u32());
    scene.handshake(flow, isn, server_isn);
    (isn.wrapping_add(1), server_isn.wrapping_add(1))
}

/// A refused FIN+ACK at the end of the time in which it still belongs to a connection that has closed.
fn behind(scene: &mut Scene, flow: Flow, off: i64, rng: &mut Rng) {
    let (c, r) = opened(scene, flow, rng);
    scene.close(flow, c, r).wait(-SECOND / 1000);
    let (seq, ack) = (rng.next_u32(), rng.next_u32());
    scene
        .wait(LINGER + BEHIND + off)
        .bare(flow, FIN | ACK, seq, ack)
        .wait(ROUND_TRIP);
    scene.bare(flow.reversed(), RST, ack, 0);
}

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for (n, (technique, probe)) in TECHNIQUES.into_iter().enumerate() {
        for (word, off) in BORDERS {
            let name = format!("stealth-{technique}-window-{word}");
            out.push(scanned(&name, n % 2 == 1, PORTS, off, probe, rng));
        }
    }
    let mix = TECHNIQUES[8].1;
    for (word, off) in BORDERS {
        for count in [PORTS - 1, PORTS + 1] {
            let name = format!("stealth-ports-{count}-window-{word}");
            out.push(scanned(&name, count > PORTS, count, off, mix, rng));
        }
    }
    out.push(together(rng));
    for (word, likeness) in LIKENESSES {
        out.push(likened(&format!("stealth-like-{word}"), likeness, rng));
    }
    out
}

fn scanned(name: &str, v6: bool, count: u16, off: i64, probe: Probe, rng: &mut Rng) -> Capture {
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    let first = 1 + rng.next_u16() % 60_000;
    for (ns, port) in spread(count, WINDOW + off, first, rng) {
        scene.at(ns);
        probe(&mut scene, ends.to_port(port), rng);
    }
    // Packet time goes on, so that what waits for a SYN waits no longer.
    scene.wait(2 * SECOND).bystander((ends.dst, ends.src));
    phased(scene, rng)
}

/// Two NULLs to each of 80 hosts, and then two probes that happen at one frame. The first of these is the third port of its
/// host. They are segments of two flows, which meet two workers.
///
/// Either an ACK's wait for a SYN ends at the frame of another NULL; or two ACKs' waits end at one frame.
fn together(rng: &mut Rng) -> Capture {
    let (mut scene, ends) = (
        scene("stealth-waits-end-at-one-frame", rng),
        flow(rng, false),
    );
    for host in 0..80 {
        let ends = to_host(ends, host);
        scene.at(i64::from(host) * 3 * SECOND);
        for port in [1, 2] {
            scene.bare(ends.to_port(port), 0, rng.next_u32(), 0);
        }
        let ports: &[u16] = if host % 2 == 0 { &[3] } else { &[4, 3] };
        for &port in ports {
            let (probe, ack) = (ends.to_port(port), rng.next_u32());
            scene.bare(probe, ACK, rng.next_u32(), ack).wait(ROUND_TRIP);
            scene.bare(probe.reversed(), RST, ack, 0).wait(ROUND_TRIP);
        }
        scene
            .wait(SECOND)
            .bare(ends.to_port(5), 0, rng.next_u32(), 0);
    }
    phased(scene, rng)
}

/// Four ports see the same likeness, a second apart.
fn likened(name: &str, likeness: Likeness, rng: &mut Rng) -> Capture {
    let v6 = rng.one_in(2);
    let (mut scene, ends) = (scene(name, rng), flow(rng, v6));
    for port in 1..=4 {
        scene.at(i64::from(port) * SECOND);
        likeness(&mut scene, ends.to_port(port), rng);
        scene.wait(2 * SECOND).bystander((ends.dst, ends.src));
    }
    phased(scene, rng)
}
