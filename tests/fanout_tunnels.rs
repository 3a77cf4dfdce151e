//! The fanout program with `--decap`, its twin in user space, and the filters: a tunnel goes to one worker, and passes.

#[path = "fanout/frames.rs"]
#[allow(dead_code, reason = "another test uses the rest")]
mod frames;

use craft::{Ext, Flow, Ip, Link};
use frames::{Rng, captured, frame, noisy};
use packet::interp::{Packet, run};
use synledger::capture::bpf::depth::{headers, only_tunnels, without_bulk};
use synledger::capture::bpf::fanout::{
    DEPTH, HashKind, Keys, Mode, demux, demux_with, program, program_with,
};
use synledger::capture::frame::{Class, LinkType};
use synledger::capture::tunnels::Tunnels;

const WORKERS: u32 = 7;

fn tunnels(list: &str) -> Tunnels {
    let choices = list.split(',').map(|one| one.parse().expect("a tunnel"));
    Tunnels::new(&choices.collect::<Vec<_>>()).expect("sound")
}

fn ethertype(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[12], bytes[13]])
}

/// Member of the program on the way out and on the way in, which agree with the twin; returns the worker.
fn place(keys: &Keys, bytes: &[u8], tunnels: &Tunnels) -> (Class, u32) {
    let program = program_with(keys, WORKERS, Mode::Fanout, tunnels);
    let twin = demux_with(keys, &captured(LinkType::Ethernet, bytes), tunnels);
    let (class, worker) = twin.member(WORKERS);
    let member = class as u32 * WORKERS + worker;
    let out = Packet {
        data: bytes,
        protocol: 0x0800,
        pkttype: 4,
        hatype: 1,
    };
    assert_eq!(run(&program, &out), member, "out: {bytes:02x?}");
    let inward = Packet {
        data: bytes.get(14..).unwrap_or_default(),
        protocol: ethertype(bytes),
        pkttype: 0,
        hatype: 1,
    };
    assert_eq!(run(&program, &inward), member, "in: {bytes:02x?}");
    let cut = &bytes[..bytes.len().min(DEPTH)];
    let cut = demux_with(keys, &captured(LinkType::Ethernet, cut), tunnels);
    assert_eq!(cut, twin, "cut: {bytes:02x?}");
    (class, worker)
}

/// A datagram to this port, from this one, over IPv4 or IPv6, with or without an extension header or an option.
fn datagram(v6: bool, odd: bool, from: u16, to: u16, back: bool) -> Vec<u8> {
    let six = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
    let (a, b) = if back { (2, 1) } else { (1, 2) };
    let flow = match v6 {
        true => Flow::v6(six(a), from, six(b), to),
        false => Flow::v4(
            [10, 0, 0, u8::try_from(a).expect("small")],
            from,
            [10, 0, 0, u8::try_from(b).expect("small")],
            to,
        ),
    };
    let mut ip = Ip::new(flow.src, flow.dst, 17);
    if odd && v6 {
        ip = ip.ext(Ext::padding(60, 8));
    } else if odd {
        ip.options = vec![1; 4];
    }
    let data = craft::Udp::new(flow, &[8; 60]).bytes();
    Link::ethernet().frame(&ip.bytes(&data))
}

fn protocol(v6: bool, proto: u8, odd: bool) -> Vec<u8> {
    let six = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
    let flow = match v6 {
        true => Flow::v6(six(1), 0, six(2), 0),
        false => Flow::v4([10, 0, 0, 1], 0, [10, 0, 0, 2], 0),
    };
    let ip = Ip::new(flow.src, flow.dst, proto);
    let ip = if odd && v6 {
        ip.ext(Ext::padding(60, 8))
    } else {
        ip
    };
    Link::ethernet().frame(&ip.bytes(&[0x45; 60]))
}

#[test]
fn a_tunnel_goes_to_one_worker_whatever_its_source_port() {
    let chosen = tunnels("vxlan,vxlan:8472,geneve");
    let mut spread = std::collections::HashSet::new();
    for seed in 0..20 {
        let keys = Keys::from_seed(seed);
        for (v6, odd) in [(false, false), (false, true), (true, false), (true, true)] {
            for to in [4789, 8472, 6081] {
                let one = place(&keys, &datagram(v6, odd, 50_000, to, false), &chosen);
                assert_eq!(one.0, Class::Data);
                for from in [50_001, 3, 4789] {
                    let back = datagram(v6, odd, from, to, true);
                    assert_eq!(place(&keys, &back, &chosen), one, "{v6} {odd} {to}");
                }
            }
            // Other datagrams go by their ports, as ever.
            let other = datagram(v6, odd, 50_000, 53, false);
            let (_, worker) = place(&keys, &other, &chosen);
            let plain = demux(&keys, &captured(LinkType::Ethernet, &other));
            assert_eq!(
                (plain.key, plain.member(WORKERS).1),
                (HashKind::Flow, worker)
            );
            spread.insert(worker);
        }
    }
    assert!(spread.len() > 3, "{spread:?}");
}

#[test]
fn the_program_and_its_twin_agree_on_any_frame_with_tunnels() {
    // Ports of chance frames: those of the generator's own choice, too.
    let (mut rng, keys) = (Rng(7), Keys::from_seed(3));
    let all = tunnels("all,vxlan:53,geneve:443");
    let mut by_pair = 0;
    for id in 0..20_000 {
        let mut wire = match id % 2 {
            0 => frame(id, id, false).0,
            _ => noisy(id, id),
        };
        if wire.len() < 14 || matches!(ethertype(&wire), 0x8100 | 0x88a8 | 0x9100) {
            continue;
        }
        // Behind a plain IPv4 header or an IPv6 header: the destination port.
        let at = match (ethertype(&wire), wire.get(14)) {
            (0x0800, Some(0x45)) => 36,
            (0x86dd, _) => 56,
            _ => 0,
        };
        if at > 0 && wire.len() > at + 1 && rng.one_in(2) {
            let port: u16 = rng.pick(&[4789, 6081, 53, 443, 8472]);
            wire[at..at + 2].copy_from_slice(&port.to_be_bytes());
        }
        place(&keys, &wire, &all);
        let captured = captured(LinkType::Ethernet, &wire);
        by_pair += u32::from(demux_with(&keys, &captured, &all) != demux(&keys, &captured));
    }
    assert!(by_pair > 100, "{by_pair} frames go elsewhere");
}

#[test]
fn without_tunnels_the_programs_are_those_of_today() {
    let keys = Keys::from_seed(1);
    let text = |program: Vec<libc::sock_filter>| -> Vec<_> {
        program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect()
    };
    for mode in [Mode::Fanout, Mode::Filter { snaplen: 96 }] {
        let with = program_with(&keys, 4, mode, &Tunnels::NONE);
        assert_eq!(text(with), text(program(&keys, 4, mode)));
    }
    // A limit of the kernel's (BPF_MAXINSNS).
    let most = tunnels("all,vxlan:1,vxlan:2,vxlan:3,geneve:4,geneve:5,geneve:6");
    let longest = program_with(&keys, 64, Mode::Fanout, &most);
    assert!(longest.len() < 4096, "{}", longest.len());
}

#[test]
fn filters_let_tunnels_pass_and_keep_them_deep() {
    let all = tunnels("all,vxlan:8472");
    let mut cases = vec![];
    for v6 in [false, true] {
        for odd in [false, true] {
            for to in [4789, 8472, 6081] {
                cases.push((datagram(v6, odd, 50_000, to, false), true));
            }
            cases.push((datagram(v6, odd, 4789, 53, false), false));
            for proto in [4, 41, 47] {
                cases.push((protocol(v6, proto, odd), true));
            }
            cases.push((protocol(v6, 132, odd), false));
        }
    }
    for (bytes, is_tunnel) in &cases {
        for (link, data) in [
            (LinkType::Ethernet, &bytes[..]),
            (LinkType::RawIp, &bytes[14..]),
        ] {
            let packet = Packet {
                data,
                ..Packet::default()
            };
            let kept = run(&headers(link, 192, 2048, &all), &packet);
            // Behind options no port is looked for.
            let deep = *is_tunnel || bytes[14] == 0x46 || bytes[20] == 60;
            assert_eq!(kept, if deep { 2048 } else { 192 }, "{bytes:02x?}");
            let only = run(&only_tunnels(link, 2048, &all), &packet);
            assert_eq!(only, if *is_tunnel { 2048 } else { 0 }, "{bytes:02x?}");
            let loaded = run(&without_bulk(link, 2048, &all), &packet);
            let is_datagram = bytes[23] == 17 || bytes[20] == 17 || bytes[54] == 17;
            let expected = *is_tunnel || !is_datagram;
            assert_eq!(loaded > 0, expected, "under load: {bytes:02x?}");
            // No cut frame is lost to a load beyond its end.
            for len in 0..data.len() {
                let packet = Packet {
                    data: &data[..len],
                    ..Packet::default()
                };
                assert_ne!(
                    run(&headers(link, 192, 2048, &all), &packet),
                    0,
                    "{len} bytes"
                );
            }
            let none = Tunnels::NONE;
            assert_eq!(run(&only_tunnels(link, 2048, &none), &packet), 0);
        }
    }
}
