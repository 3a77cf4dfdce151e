//! The program and its twin in Rust agree; flows spread whatever an attacker chooses.

use super::interp;
use super::*;
use crate::capture::frame::{Class, Frame, LinkType};
use craft::Rng;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FRAMES: u64 = 120_000;

fn frame(bytes: &[u8]) -> Frame<'_> {
    let wire_len = u32::try_from(bytes.len()).expect("small");
    Frame {
        bytes,
        wire_len,
        ts_ns: 0,
        interface: 0,
        link: LinkType::Ethernet,
        vlan: None,
        gso: false,
    }
}

/// What a generated frame carries.
fn generated(rng: &mut Rng) -> Vec<u8> {
    let flow = if rng.one_in(2) {
        craft::Flow::v4(
            [10, 0, 0, rng.next_u8()],
            rng.next_u16(),
            [10, 1, 0, rng.next_u8()],
            rng.next_u16(),
        )
    } else {
        let low = rng.next_u16();
        craft::Flow::v6(
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, low],
            rng.next_u16(),
            [0xfd00, 0, 1, 2, 3, 4, 5, 6],
            80,
        )
    };
    let (proto, payload) = transport(rng, flow);
    let mut ip = craft::Ip::new(flow.src, flow.dst, proto).id(rng.next_u32());
    if flow.src.is_ipv4() {
        let options = vec![1; 4 * rng.index(11)];
        ip = ip.options(&options);
    } else {
        for _ in 0..rng.index(4) {
            ip = match rng.index(4) {
                0 => ip.ext(craft::Ext::atomic(rng.next_u32())),
                kind => ip.ext(craft::Ext::padding(
                    [0, 43, 60][kind - 1],
                    8 * (1 + rng.index(12)),
                )),
            };
        }
    }
    let packet = match rng.index(4) {
        0 if payload.len() > 8 => {
            let cut = 8 * (1 + rng.index(payload.len() / 8));
            let pieces = if cut < payload.len() {
                ip.fragments(&payload, &[cut])
            } else {
                vec![ip.bytes(&payload)]
            };
            let which = rng.index(pieces.len());
            pieces[which].clone()
        }
        _ => ip.bytes(&payload),
    };
    let mut link = craft::Link::ethernet();
    for _ in 0..rng.index(4) {
        link = link.tag([0x8100, 0x88a8, 0x9100][rng.index(3)], rng.next_u16());
    }
    let mut bytes = link.frame(&packet);
    match rng.index(6) {
        0 => bytes.truncate(rng.index(bytes.len() + 1)),
        1 if bytes.len() < 60 => bytes.resize(60, 0),
        2 => {
            let at = rng.index(bytes.len());
            bytes[at] = rng.next_u8();
        }
        _ => {}
    }
    bytes
}

fn transport(rng: &mut Rng, flow: craft::Flow) -> (u8, Vec<u8>) {
    let v6 = flow.src.is_ipv6();
    match rng.index(5) {
        0 => (17, craft::Udp::new(flow, &[0; 9]).bytes()),
        1 => {
            let quoted = craft::Tcp::new(flow, craft::SYN, rng.next_u32());
            let mut packet = craft::Ip::new(flow.src, flow.dst, 6);
            if !v6 {
                packet = packet.options(&vec![1; 4 * rng.index(11)]);
            }
            let mut message = if v6 {
                vec![1_u8, 4, 0, 0]
            } else {
                vec![3_u8, 3, 0, 0]
            };
            message.extend([0; 4]);
            message.extend(packet.bytes(&quoted.bytes()));
            message.truncate(8 + rng.index(message.len()));
            (if v6 { 58 } else { 1 }, message)
        }
        2 => (rng.next_u8(), vec![rng.next_u8(); 24]),
        _ => {
            let flags = rng.next_u8();
            (
                6,
                craft::Tcp::new(flow, flags, rng.next_u32())
                    .data(&vec![0; rng.index(40)])
                    .bytes(),
            )
        }
    }
}

#[test]
fn the_program_and_its_twin_agree_on_every_frame() {
    let keys = Keys::from_seed(7);
    let workers = 5;
    let member = program(&keys, LinkType::Ethernet, Leaf::Member { workers });
    let filter = program(&keys, LinkType::Ethernet, Leaf::Filter { snaplen: 192 });
    println!(
        "fanout: {} instructions, filter {}",
        member.len(),
        filter.len()
    );
    let mut rng = Rng::new(1);
    let mut seen = [0_u64; 15];
    for number in 0..FRAMES {
        let bytes = generated(&mut rng);
        let (class, worker) = demux(&keys, &frame(&bytes)).member(workers as usize);
        let ours = class as u32 * workers + u32::try_from(worker).expect("small");
        assert_eq!(
            interp::run(&member, &bytes),
            ours,
            "frame {number}: {bytes:02x?}"
        );
        let kept = if class == Class::Data { 0 } else { 192 };
        assert_eq!(
            interp::run(&filter, &bytes),
            kept,
            "frame {number}: {bytes:02x?}"
        );
        seen[ours as usize] += 1;
    }
    println!("fanout: {FRAMES} frames, by member {seen:?}");
    assert!(
        seen.iter().all(|&count| count > 200),
        "every member is met: {seen:?}"
    );
}

#[test]
fn the_program_and_its_twin_agree_on_raw_ip() {
    let keys = Keys::from_seed(8);
    let member = program(&keys, LinkType::RawIp, Leaf::Member { workers: 3 });
    let mut rng = Rng::new(2);
    for _ in 0..20_000 {
        let bytes = generated(&mut rng);
        let bytes = bytes.get(14..).unwrap_or_default();
        let (class, worker) = demux(
            &keys,
            &Frame {
                link: LinkType::RawIp,
                ..frame(bytes)
            },
        )
        .member(3);
        assert_eq!(
            interp::run(&member, bytes),
            class as u32 * 3 + u32::try_from(worker).expect("small")
        );
    }
}

#[test]
fn both_directions_and_the_errors_about_them_meet_the_same_worker() {
    let keys = Keys::from_seed(9);
    let mut rng = Rng::new(3);
    for _ in 0..5_000 {
        let flow = craft::Flow::v4(
            rng.next_u32().to_be_bytes(),
            rng.next_u16(),
            [10, 9, 8, 7],
            rng.next_u16(),
        );
        let packet = |flow: craft::Flow| {
            craft::Ip::new(flow.src, flow.dst, 6)
                .bytes(&craft::Tcp::new(flow, craft::SYN, 1).bytes())
        };
        let hash = |ip: &[u8]| demux(&keys, &frame(&craft::Link::ethernet().frame(ip))).hash;
        let mut error = vec![3, 3, 0, 0, 0, 0, 0, 0];
        error.extend(packet(flow));
        let router = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
        let error = craft::Ip::new(router, flow.src, 1).bytes(&error);
        assert_eq!(hash(&packet(flow)), hash(&packet(flow.reversed())));
        assert_eq!(hash(&packet(flow)), hash(&error));
        let by_fields = keys.flow_hash((flow.src, flow.src_port), (flow.dst, flow.dst_port));
        assert_eq!(hash(&packet(flow)), by_fields);
    }
}

/// max/mean of 50,000 flows over 8 workers.
fn imbalance(keys: &Keys, flows: impl Iterator<Item = (IpAddr, u16, IpAddr, u16)>) -> f64 {
    let mut load = [0_u32; 8];
    let mut count = 0;
    for (src, src_port, dst, dst_port) in flows {
        load[keys.flow_hash((src, src_port), (dst, dst_port)) as usize % 8] += 1;
        count += 1;
    }
    assert_eq!(count, 50_000);
    f64::from(load.into_iter().max().expect("eight")) * 8.0 / f64::from(count)
}

#[test]
fn chosen_families_of_flows_spread_over_the_workers() {
    let v4 = |word: u32| IpAddr::V4(Ipv4Addr::from(word));
    let v6 = |a: u32, b: u32| {
        IpAddr::V6(Ipv6Addr::from(
            (u128::from(a) << 96) | (u128::from(b) << 32),
        ))
    };
    let port = |i: u32| u16::try_from(i % 65_536).expect("reduced");
    for seed in [11, 12, 13] {
        let keys = Keys::from_seed(seed);
        let families = [
            imbalance(
                &keys,
                (0..50_000).map(|i| (v4(0x0a00_0000 + i), 1024, v4(0x0b00_0000 - i), 80)),
            ),
            imbalance(
                &keys,
                (0..50_000).map(|i| (v4(1), port(i), v4(2), port(65_535 - i))),
            ),
            imbalance(
                &keys,
                (0..50_000).map(|i| {
                    (
                        v4(0x0a00_0000 + i),
                        port(i),
                        v4(0x0b00_0000 - i),
                        port(65_535 - i),
                    )
                }),
            ),
            imbalance(
                &keys,
                (0..50_000).map(|i| (v6(i, u32::MAX - i), 1024, v6(1, 2), 80)),
            ),
            imbalance(&keys, (0..50_000).map(|i| (v6(i, i), 1024, v6(1, 2), 80))),
            imbalance(
                &keys,
                (0..50_000).map(|i| (v6(i, 7), 1024, v6(u32::MAX - i, 7), 80)),
            ),
            imbalance(
                &keys,
                (0..50_000).map(|i| (v4(i << 16), 1024, v4(0x0b00_0000), 80)),
            ),
            imbalance(&keys, (0..50_000).map(|i| (v4(1), 1024, v4(2), port(i)))),
        ];
        println!("fanout: seed {seed}: max/mean {families:.3?}");
        assert!(
            families.iter().all(|&ratio| ratio <= 1.3),
            "seed {seed}: {families:?}"
        );
    }
}
