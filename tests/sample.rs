//! The sample's BPF filter and its twin in Rust agree, and so do the two libraries that decode what it keeps.
#![allow(
    clippy::print_stdout,
    reason = "a test prints what it ran on, or why it was skipped"
)]

#[path = "fanout/frames.rs"]
#[allow(dead_code, reason = "only its frames are used here")]
mod frames;

use craft::{Ext, FIN, Flow, Ip, Link, RST, SYN, Tcp, mutate};
use frames::{Rng, captured, frame, noisy};
use packet::interp::{Packet, run};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use synledger::capture::bpf::sample::{Ends, Sample, syn};
use synledger::capture::frame::{Frame, LinkType};
use synledger::decode;
use synledger::decode::packet::Reach;
use synledger::witness;

const SNAPLEN: u32 = 192;

/// A SYN of random shape.
fn crafted(rng: &mut Rng) -> Vec<u8> {
    let (src_port, dst_port) = (rng.half(), rng.half());
    let flow = if rng.one_in(2) {
        let address = |rng: &mut Rng| [10, rng.byte(), rng.byte(), rng.byte()];
        Flow::v4(address(rng), src_port, address(rng), dst_port)
    } else {
        let address = |rng: &mut Rng| [0xfd00, 0, 0, 0, 0, 0, rng.half(), rng.half()];
        Flow::v6(address(rng), src_port, address(rng), dst_port)
    };
    let flags = SYN | rng.pick(&[0, 0, 0, FIN, RST, 0x08, 0xc0]);
    let isn = u32::from(rng.half()) << 16 | u32::from(rng.half());
    let mut tcp = Tcp::new(flow, flags, isn);
    if rng.one_in(2) {
        tcp = tcp.options(&[2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1]);
    }
    if rng.one_in(8) {
        tcp = tcp.data(b"fast open");
    }
    let mut ip = Ip::new(flow.src, flow.dst, 6);
    if flow.src.is_ipv4() && rng.one_in(4) {
        ip = ip.options(&[1; 8]);
    }
    if flow.src.is_ipv6() && rng.one_in(4) {
        ip = ip.ext(Ext::padding(60, 8));
    }
    let link = match rng.below(5) {
        0 => Link::ethernet().vlan(7),
        1 => Link::ethernet().qinq(7, 8),
        2 => Link::ethernet()
            .tag(0x9100, 1)
            .tag(0x8100, 2)
            .tag(0x8100, 3),
        _ => Link::ethernet(),
    };
    link.frame(&ip.bytes(&tcp.bytes()))
}

struct Tried {
    programs: Vec<(Sample, Vec<libc::sock_filter>, LinkType)>,
    kept: u64,
    unread: u64,
    frames: u64,
}

impl Tried {
    fn new(seed: u64) -> Self {
        let samples = [1, 2, 64].map(|one_in| Sample::from_seed(one_in, seed));
        let programs = samples.into_iter().flat_map(|sample| {
            [LinkType::Ethernet, LinkType::RawIp].map(|link| {
                let program = sample.program(link, SNAPLEN);
                (sample.clone(), program, link)
            })
        });
        Self {
            programs: programs.collect(),
            kept: 0,
            unread: 0,
            frames: 0,
        }
    }

    fn check(&mut self, wire: &[u8]) {
        self.frames += 1;
        for (sample, program, link) in &self.programs {
            let bytes = match link {
                LinkType::RawIp => wire.get(14..).unwrap_or_default(),
                _ => wire,
            };
            let frame = captured(*link, bytes);
            let ends = syn(&frame).filter(|ends| sample.keeps(ends));
            let packet = Packet {
                data: bytes,
                ..Packet::default()
            };
            let want = if ends.is_some() { SNAPLEN } else { 0 };
            assert_eq!(
                run(program, &packet),
                want,
                "{sample:?} {link:?}: {bytes:02x?}"
            );
            let cut = &bytes[..bytes.len().min(SNAPLEN as usize)];
            assert_eq!(syn(&captured(*link, cut)), syn(&frame), "cut: {bytes:02x?}");
            if let Some(ends) = ends {
                self.kept += 1;
                self.unread += u64::from(!agree(&frame, &ends));
            }
        }
    }
}

/// Whether the witness's library decodes the SYN that the filter kept. If it does, ours must decode the same:
/// otherwise a healthy build would report a disagreement.
fn agree(frame: &Frame<'_>, ends: &Ends) -> bool {
    let Some(theirs) = witness::decode::syn(frame) else {
        return false;
    };
    assert_eq!(theirs.ends, *ends, "{:02x?}", frame.bytes);
    let ours = decode::packet(frame).expect("the other library decoded it");
    let tcp = ours.tcp().expect("a segment");
    assert!(tcp.is_touch(), "{:02x?}", frame.bytes);
    assert_eq!(
        ours.reach,
        Reach::Plain,
        "the filter sees less than the fanout"
    );
    let same = Ends {
        src: ours.src,
        dst: ours.dst,
        src_port: tcp.src_port,
        dst_port: tcp.dst_port,
    };
    assert_eq!((theirs.ends, theirs.isn), (same, tcp.seq));
    true
}

#[test]
fn filter_and_twin_agree_on_every_frame_and_both_libraries_on_kept_frames() {
    for seed in 0..3 {
        let mut tried = Tried::new(seed);
        let mut rng = Rng(seed);
        for id in 0..15_000 {
            tried.check(&frame(seed << 32 | id, id, false).0);
            tried.check(&noisy(seed << 32 | id, id));
            let whole = crafted(&mut rng);
            tried.check(&whole);
            tried.check(&mutate(&whole, seed << 32 | id));
            let mut flipped = whole.clone();
            let at = rng.below(whole.len());
            flipped[at] ^= 1 << rng.below(8);
            tried.check(&flipped);
        }
        println!(
            "{} instructions; {} frames, kept {}, of these {} unread by the other library",
            tried.programs[0].1.len(),
            tried.frames,
            tried.kept,
            tried.unread
        );
        assert!(tried.kept > 30_000 && tried.unread > 100);
        assert!(tried.unread * 20 < tried.kept);
    }
}

#[test]
fn every_cut_of_a_frame_agrees() {
    let mut tried = Tried::new(9);
    let mut rng = Rng(9);
    for _ in 0..500 {
        let whole = crafted(&mut rng);
        (0..whole.len()).for_each(|end| tried.check(&whole[..end]));
    }
    println!(
        "{} cuts, kept {}, unread {}",
        tried.frames, tried.kept, tried.unread
    );
}

#[test]
fn a_retransmission_is_in_the_sample_if_its_first_syn_is() {
    let sample = Sample::from_seed(64, 5);
    let program = sample.program(LinkType::Ethernet, SNAPLEN);
    let flow = |from: u8| Flow::v4([10, 0, 0, from], 1024, [192, 0, 2, 1], 443);
    let kept = |from: u8, isn: u32| {
        let tcp = Tcp::new(flow(from), SYN, isn).bytes();
        let bytes = Link::ethernet().frame(&Ip::new(flow(from).src, flow(from).dst, 6).bytes(&tcp));
        let packet = Packet {
            data: &bytes,
            ..Packet::default()
        };
        run(&program, &packet) > 0
    };
    for from in 0..=255 {
        let isns = [0, 1, 77, u32::MAX].map(|isn| kept(from, isn));
        assert!(isns.iter().all(|one| *one == isns[0]), "{from}: {isns:?}");
    }
}

#[test]
fn one_in_n_is_kept_whichever_field_varies() {
    let v6 = |low: u32| IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)));
    let v4 = |low: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + low));
    let port = |n: u32| u16::try_from(n % 65_536).expect("16 bits");
    let ends = |src, dst, src_port, dst_port| Ends {
        src,
        dst,
        src_port,
        dst_port,
    };
    type Family<'a> = (&'a str, &'a dyn Fn(u32) -> Ends);
    let families: [Family<'_>; 7] = [
        ("sources", &|n| ends(v4(n), v4(1 << 22), 1024, 80)),
        ("high octets", &|n| ends(v4(n << 8), v4(1), 1024, 80)),
        ("destinations", &|n| ends(v4(1), v4(n), 1024, 80)),
        ("source ports", &|n| ends(v4(n >> 16), v4(1), port(n), 80)),
        ("ports", &|n| ends(v4(n >> 16), v4(1), 1024, port(n))),
        ("v6 sources", &|n| ends(v6(n), v6(1 << 22), 1024, 80)),
        ("v6 destinations", &|n| ends(v6(1), v6(n), 1024, 80)),
    ];
    for seed in 0..4 {
        for one_in in [2, 64, 1000] {
            let sample = Sample::from_seed(one_in, seed);
            for (name, of) in families {
                let all = 400_000_u32;
                let kept = (0..all).filter(|&n| sample.keeps(&of(n))).count() as f64;
                let want = f64::from(all) / f64::from(one_in);
                let off = (kept - want).abs() / want.sqrt();
                assert!(
                    off < 8.0,
                    "{name}, 1 in {one_in}: {kept} of {want}, {off:.1} sigma"
                );
            }
        }
    }
}

#[test]
fn two_runs_keep_different_connections() {
    let kept = |sample: &Sample| -> HashSet<u32> {
        let keeps = |&from: &u32| {
            sample.keeps(&Ends {
                src: IpAddr::V4(Ipv4Addr::from_bits(from)),
                dst: IpAddr::V4(Ipv4Addr::LOCALHOST),
                src_port: 1,
                dst_port: 2,
            })
        };
        (0..100_000).filter(keeps).collect()
    };
    let a = kept(&Sample::random(16).expect("random numbers"));
    let b = kept(&Sample::random(16).expect("random numbers"));
    let both = a.intersection(&b).count();
    // 6,250 each, about 390 in both.
    assert!(a.len() > 5_000 && b.len() > 5_000 && both < 900, "{both}");
}
