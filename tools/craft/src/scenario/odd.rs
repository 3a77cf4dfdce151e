//! Link headers, fragments, cut frames, several interfaces.

use super::scene::{SECOND, START, Scene, flow};
use crate::capture::Capture;
use crate::ip::{Ext, Ip};
use crate::link::{Link, LinkType};
use crate::rng::Rng;
use crate::transport::{Flow, SYN, Tcp, icmp};

pub(super) fn all(rng: &mut Rng) -> Vec<Capture> {
    let mut out: Vec<Capture> = encapsulations()
        .into_iter()
        .map(|(name, link)| encapsulated(name, link, rng))
        .collect();
    out.extend(extended(rng));
    for v6 in [false, true] {
        out.extend(fragmented(rng, v6));
    }
    out.extend(cut(rng));
    for (name, delay) in [("at-once", 0), ("later", 1000), ("backward", -1000)] {
        out.push(two_interfaces(name, delay, rng));
    }
    out
}

fn encapsulations() -> Vec<(&'static str, Link)> {
    vec![
        ("null", Link::new(LinkType::Null)),
        ("raw", Link::new(LinkType::Raw)),
        ("loop", Link::new(LinkType::Loop)),
        ("sll", Link::new(LinkType::Sll)),
        ("sll2", Link::new(LinkType::Sll2)),
        ("sll-vlan", Link::new(LinkType::Sll).vlan(9)),
        ("sll2-vlan", Link::new(LinkType::Sll2).vlan(9)),
        ("priority-tag", Link::ethernet().vlan(0)),
        ("qinq", Link::ethernet().qinq(100, 200)),
        ("two-8100-tags", Link::ethernet().vlan(100).vlan(200)),
        ("three-tags", Link::ethernet().qinq(1, 2).vlan(3)),
        ("pppoe", Link::ethernet().pppoe(17)),
        ("vlan-pppoe", Link::ethernet().vlan(7).pppoe(17)),
        ("mpls", Link::ethernet().mpls(16)),
        (
            "three-mpls-labels",
            Link::ethernet().mpls(16).mpls(17).mpls(18),
        ),
    ]
}

/// A connection and a scan in both families.
fn encapsulated(name: &str, link: Link, rng: &mut Rng) -> Capture {
    let mut scene = Scene::new(&format!("link-{name}"), link);
    for v6 in [false, true] {
        let ends = flow(rng, v6);
        scene.handshake(ends, rng.next_u32(), rng.next_u32());
        for port in 1..=5 {
            scene.wait(SECOND).syn(ends.to_port(port), rng.next_u32());
        }
    }
    scene.capture
}

/// A scan whose packets carry IPv4 options or IPv6 extension headers.
fn extended(rng: &mut Rng) -> Vec<Capture> {
    let options = Ext::padding(60, 8);
    // A segment routing header with no segment left.
    let routing = Ext {
        kind: 43,
        body: [[4, 0, 0, 0, 0, 0].as_slice(), &[0x20; 16]].concat(),
    };
    let auth = Ext {
        kind: 51,
        body: vec![0; 22],
    };
    let lists: [(&str, Vec<Ext>); 8] = [
        ("v4-options", vec![]),
        ("hop-by-hop", vec![Ext::padding(0, 16)]),
        ("destination", vec![options.clone()]),
        ("routing", vec![routing.clone()]),
        ("authentication", vec![auth.clone()]),
        ("atomic-fragment", vec![Ext::atomic(99)]),
        (
            "chain",
            vec![
                Ext::padding(0, 8),
                options.clone(),
                routing,
                Ext::atomic(5),
                auth,
            ],
        ),
        ("deep", vec![options; 7]),
    ];
    let mut out = Vec::new();
    for (name, ext) in lists {
        let mut scene = Scene::new(&format!("headers-{name}"), Link::ethernet());
        let ends = flow(rng, !ext.is_empty());
        for port in 1..=4 {
            let syn = Tcp::new(ends.to_port(port), SYN, rng.next_u32());
            let mut ip = Ip::new(ends.src, ends.dst, 6);
            if ext.is_empty() {
                ip = ip.options(&[7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
            }
            ip.ext.clone_from(&ext);
            scene.wait(SECOND).ip(&ip, &syn.bytes());
        }
        out.push(scene.capture);
    }
    out
}

/// A SYN in pieces of 8 bytes.
fn pieces(flow: Flow, isn: u32, id: u32) -> Vec<Vec<u8>> {
    let syn = Tcp::new(flow, SYN, isn).options(&[2, 4, 5, 0xB4]);
    Ip::new(flow.src, flow.dst, 6)
        .id(id)
        .fragments(&syn.bytes(), &[8, 16])
}

/// Fragments as `nmap -f` sends them, in every order and around the join timeout of 30 s.
fn fragmented(rng: &mut Rng, v6: bool) -> Vec<Capture> {
    let family = if v6 { "v6" } else { "v4" };
    let ends = flow(rng, v6);
    let orders: [(&str, &[usize], i64); 7] = [
        ("in-order", &[0, 1, 2], 1000),
        ("backward", &[2, 1, 0], 1000),
        ("no-head", &[1, 2], 1000),
        ("no-tail", &[0, 2], 1000),
        ("just-in-time", &[0, 1], 30 * SECOND - 1),
        ("too-late", &[1, 0], 30 * SECOND),
        ("duplicated", &[0, 0, 1, 1, 2, 0, 1], 1000),
    ];
    let mut out = Vec::new();
    for (word, order, gap) in orders {
        let mut scene = Scene::new(&format!("fragments-{word}-{family}"), Link::ethernet());
        for (port, id) in (1..=5).zip(1..) {
            let parts = pieces(ends.to_port(port), rng.next_u32(), id);
            for &part in order {
                scene.raw(&parts[part]).wait(gap);
            }
        }
        out.push(scene.capture);
    }
    let mut scene = Scene::new(&format!("fragments-interleaved-{family}"), Link::ethernet());
    let packets: Vec<_> = (1..=5)
        .map(|p| pieces(ends.to_port(p), 7, u32::from(p)))
        .collect();
    for part in 0..3 {
        for packet in &packets {
            scene.wait(1000).raw(&packet[part]);
        }
    }
    // The same attempt again, unfragmented: joined and whole SYNs are not compared with each other.
    scene.wait(SECOND).syn(ends.to_port(1), 7);
    out.push(scene.capture);
    let mut scene = Scene::new(&format!("fragments-16-bytes-{family}"), Link::ethernet());
    for port in 1..=4 {
        let syn = Tcp::new(ends.to_port(port), SYN, 7).data(&[0; 40]);
        let ip = Ip::new(ends.src, ends.dst, 6).id(u32::from(port));
        for fragment in ip.fragments(&syn.bytes(), &[16, 32]) {
            scene.wait(1000).raw(&fragment);
        }
    }
    out.push(scene.capture);
    out
}

/// Frames cut by the snap length, and a header that points past its packet.
fn cut(rng: &mut Rng) -> Vec<Capture> {
    let mut out = Vec::new();
    for snap_len in [33, 47, 54, 67, 74] {
        let mut capture = encapsulated("ethernet", Link::ethernet(), rng);
        capture.name = format!("snapped-{snap_len}");
        capture.snap(snap_len);
        out.push(capture);
    }
    for words in [0, 4, 15] {
        let mut scene = Scene::new(&format!("data-offset-{words}"), Link::ethernet());
        let mut syn = Tcp::new(flow(rng, false), SYN, rng.next_u32());
        syn.data_offset = Some(words);
        scene.tcp(&syn);
        out.push(scene.capture);
    }
    let mut scene = Scene::new("quoted-syns", Link::ethernet());
    let ends = flow(rng, false);
    for port in 1..=6 {
        // Only the ICMP errors are seen: a quoted SYN is no touch.
        let syn = Tcp::new(ends.to_port(port), SYN, 1).bytes();
        let quoted = Ip::new(ends.src, ends.dst, 6).bytes(&syn);
        let error = icmp::error((ends.dst, ends.src), 3, 13, &quoted, 40);
        scene
            .ip(&Ip::new(ends.dst, ends.src, 1), &error)
            .wait(SECOND);
    }
    let echo = icmp::echo((ends.src, ends.dst), false, 1, 1, b"ping");
    scene.ip(&Ip::new(ends.src, ends.dst, 1), &echo);
    out.push(scene.capture);
    out
}

/// Two interfaces of a router: each frame at both, `delay` later at the second.
fn two_interfaces(name: &str, delay: i64, rng: &mut Rng) -> Capture {
    let seen = encapsulated("both", Link::ethernet(), rng);
    let mut out = Capture::new(&format!("two-interfaces-{name}"), seen.link);
    for frame in seen.frames {
        out.push_on(0, frame.ts_ns, frame.bytes.clone());
        out.push_on(1, (frame.ts_ns + delay).max(START), frame.bytes);
    }
    out
}
