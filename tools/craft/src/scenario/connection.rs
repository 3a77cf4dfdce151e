//! Connections and attempts: every way they open, fail, close and come back.

use super::scene::{HORIZON, SECOND, Scene, flow};
use crate::capture::Capture;
use crate::ip::Ip;
use crate::link::Link;
use crate::rng::Rng;
use crate::transport::{ACK, CWR, ECE, FIN, Flow, PSH, RST, SYN, Tcp, URG, icmp};

/// Sends the segments of one flow, given the client's and the server's initial sequence number.
type Exchange = fn(&mut Scene, Flow, u32, u32);

const EXCHANGES: [(&str, Exchange); 37] = [
    ("data-and-close", |s, f, c, r| conversation(s, f, c, r)),
    ("server-closes", server_closes),
    ("client-resets", |s, f, c, r| {
        s.handshake(f, c, r)
            .bare(f, RST | ACK, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("server-resets", |s, f, c, r| {
        s.handshake(f, c, r)
            .bare(f.reversed(), RST, r.wrapping_add(1), 0);
    }),
    ("proven-by-fin", |s, f, c, r| {
        s.syn(f, c).syn_ack(f, c, r);
        s.bare(f, FIN | ACK, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("blind-spoofed-ack", |s, f, c, r| {
        s.syn(f, c).wait(SECOND).syn_ack(f, c, r).wait(SECOND);
        s.bare(f, ACK, c.wrapping_add(1), r.wrapping_add(4711));
    }),
    ("blind-spoofed-rst-and-fin", |s, f, c, r| {
        s.syn(f, c)
            .syn_ack(f, c, r)
            .bare(f, FIN | ACK, c, r.wrapping_add(9));
        s.bare(f, RST, c.wrapping_add(1_000_000), 0);
    }),
    ("ack-before-syn-ack", |s, f, c, r| {
        s.syn(f, c)
            .bare(f, ACK, c.wrapping_add(1), r.wrapping_add(1))
            .syn_ack(f, c, r);
    }),
    ("simultaneous-open", |s, f, c, r| {
        s.syn(f, c).syn(f.reversed(), r).wait(SECOND / 10);
        s.bare(f, SYN | ACK, c, r.wrapping_add(1));
        s.syn_ack(f, c, r);
        s.bare(f, ACK, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("syn-fin", |s, f, c, r| {
        s.bare(f, SYN | FIN, c, 0).syn_ack(f, c, r);
        s.bare(f, ACK, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("syn-rst", |s, f, c, r| {
        s.bare(f, SYN | RST, c, 0)
            .bare(f.reversed(), RST | ACK, r, c.wrapping_add(1));
    }),
    ("syn-all-flags-but-ack", |s, f, c, _| {
        s.bare(f, SYN | FIN | RST | PSH | URG | ECE | CWR, c, 5);
    }),
    ("syn-ecn", |s, f, c, _| {
        s.bare(f, SYN | ECE | CWR, c, 0);
    }),
    ("fast-open-data-accepted", |s, f, c, r| {
        fast_open(s, f, c, r, true)
    }),
    ("fast-open-data-refused", |s, f, c, r| {
        fast_open(s, f, c, r, false)
    }),
    ("midstream", |s, f, c, r| {
        s.data(f, c, r, b"first seen")
            .data(f.reversed(), r, c.wrapping_add(10), b"so is this");
    }),
    ("midstream-from-syn-ack", |s, f, c, r| {
        s.syn_ack(f, c, r)
            .bare(f, ACK, c.wrapping_add(1), r.wrapping_add(1));
        s.close(f, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("refused", |s, f, c, _| {
        s.syn(f, c)
            .wait(1)
            .bare(f.reversed(), RST | ACK, 0, c.wrapping_add(1));
    }),
    ("refused-by-wrong-ack", |s, f, c, _| {
        s.syn(f, c)
            .wait(1)
            .bare(f.reversed(), RST | ACK, 0, c.wrapping_add(2));
    }),
    ("refused-by-icmp", |s, f, c, _| unreachable(s, f, c, 28)),
    ("refused-by-icmp-long-quote", |s, f, c, _| {
        unreachable(s, f, c, 600)
    }),
    ("unanswered", |s, f, c, _| {
        s.syn(f, c).wait(6 * SECOND).bystander((f.src, f.dst));
    }),
    ("unanswered-at-5s-exactly", |s, f, c, r| {
        s.syn(f, c).wait(5 * SECOND).syn_ack(f, c, r);
    }),
    ("answered-late", |s, f, c, r| {
        s.syn(f, c).wait(129 * SECOND).syn_ack(f, c, r);
        s.bare(f, ACK, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("answered-too-late", |s, f, c, r| {
        s.syn(f, c).wait(131 * SECOND).syn_ack(f, c, r);
        s.bare(f, ACK, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("never-acknowledged", |s, f, c, r| {
        s.syn(f, c)
            .syn_ack(f, c, r)
            .wait(SECOND)
            .syn_ack(f, c, r)
            .wait(9 * SECOND);
        s.bystander((f.src, f.dst));
    }),
    ("syn-ack-of-another", |s, f, c, r| {
        s.syn(f, c).syn_ack(f, c.wrapping_add(77), r);
        s.bare(f, RST, c.wrapping_add(78), 0);
    }),
    ("retransmitted-then-open", |s, f, c, r| {
        for wait in [1, 2, 4, 8] {
            s.syn(f, c).wait(wait * SECOND);
        }
        s.handshake(f, c, r);
    }),
    ("duplicates", |s, f, c, r| {
        s.syn(f, c)
            .syn(f, c)
            .syn_ack(f, c, r)
            .syn_ack(f, c, r)
            .wait(1)
            .syn(f, c);
    }),
    ("sequence-wraps", |s, f, _, _| {
        conversation(s, f, u32::MAX, u32::MAX)
    }),
    ("sequence-zero", |s, f, _, _| conversation(s, f, 0, 0)),
    ("port-zero", |s, f, c, r| {
        for ends in [f.from_port(0), f.to_port(0), f.from_port(0).to_port(0)] {
            s.handshake(ends, c, r);
        }
    }),
    ("idle-for-an-hour", |s, f, c, r| {
        s.handshake(f, c, r).wait(3600 * SECOND);
        s.close(f, c.wrapping_add(1), r.wrapping_add(1));
    }),
    ("ports-reused-after-close", |s, f, c, r| {
        conversation(s, f, c, r);
        s.wait(SECOND);
        conversation(s, f, c.wrapping_add(100_000), r.wrapping_add(100_000));
        conversation(s, f, c.wrapping_sub(100_000), r);
    }),
    ("ports-reused-while-open", |s, f, c, r| {
        s.handshake(f, c, r)
            .syn(f, c.wrapping_add(1))
            .wait(SECOND)
            .syn(f, c)
            .wait(SECOND);
        s.bare(f.reversed(), ACK, r.wrapping_add(1), c.wrapping_add(1))
            .syn(f, c.wrapping_add(9));
    }),
    ("roles-swapped", |s, f, c, r| {
        conversation(s, f, c, r);
        conversation(s, f.reversed(), c, r);
    }),
    ("probes-without-syn", |s, f, c, _| {
        for flags in [0, FIN, FIN | PSH | URG, ACK, RST, URG, SYN | ACK] {
            s.wait(SECOND)
                .bare(f.to_port(u16::from(flags)), flags, c, 0);
        }
    }),
];

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out = horizons(rng);
    for (i, (name, exchange)) in EXCHANGES.into_iter().enumerate() {
        // Every second one in IPv6, too: the family changes keys and quotes, not the exchange.
        let families: &[bool] = if i % 2 == 0 { &[false, true] } else { &[false] };
        for &v6 in families {
            let link = if v6 {
                Link::ethernet().vlan(42)
            } else {
                Link::ethernet()
            };
            let name = format!("{name}-{}", if v6 { "v6-vlan" } else { "v4" });
            let mut scene = Scene::new(&name, link);
            exchange(&mut scene, flow(rng, v6), rng.next_u32(), rng.next_u32());
            out.push(scene.capture);
        }
    }
    out.push(mixture(rng));
    out
}

/// A whole conversation with data both ways.
fn conversation(scene: &mut Scene, flow: Flow, isn: u32, server_isn: u32) {
    let (next, server_next) = (isn.wrapping_add(1), server_isn.wrapping_add(1));
    scene.handshake(flow, isn, server_isn);
    scene.data(flow, next, server_next, b"question");
    scene.data(
        flow.reversed(),
        server_next,
        next.wrapping_add(8),
        b"answer",
    );
    scene.close(flow, next.wrapping_add(8), server_next.wrapping_add(6));
}

fn server_closes(scene: &mut Scene, flow: Flow, isn: u32, server_isn: u32) {
    let (next, server_next) = (isn.wrapping_add(1), server_isn.wrapping_add(1));
    scene.handshake(flow, isn, server_isn);
    scene
        .bare(flow.reversed(), FIN | ACK, server_next, next)
        .wait(SECOND);
    scene.data(flow, next, server_next.wrapping_add(1), b"half closed");
    scene.bare(
        flow,
        FIN | ACK,
        next.wrapping_add(11),
        server_next.wrapping_add(1),
    );
    scene.bare(
        flow.reversed(),
        ACK,
        server_next.wrapping_add(1),
        next.wrapping_add(12),
    );
}

/// SYN with data; the server acknowledges the data, or only the SYN.
fn fast_open(scene: &mut Scene, flow: Flow, isn: u32, server_isn: u32, accepted: bool) {
    let cookie = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
    let data = b"GET / HTTP/1.0\r\n\r\n";
    let len = u32::try_from(data.len()).expect("short");
    scene
        .tcp(&Tcp::new(flow, SYN, isn).options(&cookie).data(data))
        .wait(SECOND / 10);
    let accepted_len = if accepted { len } else { 0 };
    scene
        .syn_ack(flow, isn.wrapping_add(accepted_len), server_isn)
        .wait(SECOND / 10);
    let next = isn.wrapping_add(1 + accepted_len);
    scene
        .bare(flow, ACK, next, server_isn.wrapping_add(1))
        .wait(SECOND / 10);
    scene.close(flow, next, server_isn.wrapping_add(1));
}

/// A SYN answered by "administratively prohibited" and "port unreachable".
fn unreachable(scene: &mut Scene, flow: Flow, isn: u32, quote_len: usize) {
    let v6 = flow.src.is_ipv6();
    let syn = Ip::new(flow.src, flow.dst, 6).bytes(&Tcp::new(flow, SYN, isn).bytes());
    scene.syn(flow, isn).wait(SECOND / 10);
    let ends = (flow.dst, flow.src);
    let (proto, codes) = if v6 {
        (58, [(1, 1), (1, 4)])
    } else {
        (1, [(3, 13), (3, 3)])
    };
    let quote_len = if v6 { quote_len.max(48) } else { quote_len };
    for (kind, code) in codes {
        let error = icmp::error(ends, kind, code, &syn, quote_len);
        scene
            .ip(&Ip::new(ends.0, ends.1, proto), &error)
            .wait(SECOND / 10);
    }
}

/// SYNs that repeat a sequence number around the end of the horizon.
fn horizons(rng: &mut Rng) -> Vec<Capture> {
    let borders = [
        ("129s", -SECOND),
        ("before", -1),
        ("on", 0),
        ("after", 1),
        ("131s", SECOND),
    ];
    let mut out = Vec::new();
    for (word, off) in borders {
        for v6 in [false, true] {
            let family = if v6 { "v6" } else { "v4" };
            let mut scene = Scene::new(&format!("horizon-{word}-{family}"), Link::ethernet());
            let (ends, isn) = (flow(rng, v6), rng.next_u32());
            for ns in [
                0,
                100 * SECOND,
                HORIZON + off,
                HORIZON + off + 1,
                2 * HORIZON + off,
            ] {
                scene.at(ns).syn(ends, isn);
            }
            out.push(scene.capture);
        }
    }
    for (word, off) in &borders[1..4] {
        // A bystander moves packet time forward; the repeated SYN is stamped before the first.
        let mut scene = Scene::new(&format!("horizon-{word}-by-bystander"), Link::ethernet());
        let (ends, isn) = (flow(rng, false), rng.next_u32());
        scene
            .at(0)
            .syn(ends, isn)
            .at(HORIZON + off)
            .bystander((ends.dst, ends.src));
        scene
            .at(-SECOND)
            .syn(ends, isn)
            .at(50 * SECOND)
            .syn(ends, isn);
        out.push(scene.capture);
    }
    for gap in [0, 1, 60] {
        let mut scene = Scene::new(&format!("another-isn-after-{gap}s"), Link::ethernet());
        let (ends, isn) = (flow(rng, false), rng.next_u32());
        for i in 0..3 {
            scene
                .at(i64::from(i) * gap * SECOND)
                .syn(ends, isn.wrapping_add(i))
                .syn(ends, isn);
        }
        out.push(scene.capture);
    }
    out
}

/// 200 clients: refused, unanswered, answered, open and closed, in one capture.
fn mixture(rng: &mut Rng) -> Capture {
    let mut scene = Scene::new("mixture", Link::ethernet());
    let ends = flow(rng, false);
    for port in 20_000..20_200 {
        let (flow, isn, server_isn) = (ends.from_port(port), rng.next_u32(), rng.next_u32());
        scene.wait(SECOND / 7).syn(flow, isn);
        match rng.below(5) {
            0 => {
                scene.bare(flow.reversed(), RST | ACK, 0, isn.wrapping_add(1));
            }
            1 => {}
            2 => {
                scene.syn_ack(flow, isn, server_isn);
            }
            3 => {
                scene.handshake(flow, isn, server_isn);
            }
            _ => conversation(&mut scene, flow, isn, server_isn),
        }
    }
    scene.capture
}
