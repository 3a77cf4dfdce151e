//! The kernel's fanout program and its twin in user space agree, and chosen flows spread over all workers.
#![allow(
    clippy::print_stdout,
    reason = "a test prints what it ran on, or why it was skipped"
)]

#[path = "fanout/frames.rs"]
mod frames;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use frames::{Rng, captured, frame, noisy};
use libc::sock_filter;
use packet::interp::{Packet, run};
use synledger::capture::bpf::depth::{control_only, without_bulk};
use synledger::capture::bpf::fanout::{
    DEPTH, Demux, HashKind, Keys, Mode, WORKERS_MAX, demux, flow_hash, pair_hash, program, whole,
    worker,
};
use synledger::capture::frame::{Class, Frame, LinkType};
use synledger::decode::packet::Transport;
use synledger::decode::{self, Headers, Unread};

const WORKERS: [u32; 4] = [1, 4, 7, WORKERS_MAX];

fn native(keys: &Keys, link: LinkType, bytes: &[u8]) -> Demux {
    let frame = captured(link, bytes);
    let place = demux(keys, &frame);
    // A live frame that decodes to a whole segment or datagram is placed by its decoded fields.
    let packet = decode::packet(&frame).ok();
    let headers = packet.as_ref().and_then(Headers::of);
    if let Some(of) = headers.as_ref().and_then(Headers::as_whole) {
        let of_packet = whole(keys, of.ends, of.ports, of.flags);
        assert_eq!(of_packet, place, "{link:?} {bytes:x?}");
        let kind = usize::from(of.flags.is_none());
        WHOLE[kind].fetch_add(1, Ordering::Relaxed);
    }
    place
}

/// Segments and datagrams that were also placed by their decoded fields.
static WHOLE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// An incoming frame as the kernel delivers it: without its outermost tag.
fn stripped(wire: &[u8]) -> Vec<u8> {
    match matches!(half(wire, 12), 0x8100 | 0x88a8) && wire.len() >= 20 {
        true => [&wire[..12], &wire[16..]].concat(),
        false => wire.to_vec(),
    }
}

struct Programs {
    keys: Keys,
    fanout: Vec<(u32, Vec<sock_filter>)>,
    filter: Vec<sock_filter>,
}

impl Programs {
    fn new(keys: Keys) -> Self {
        let fanout = WORKERS.map(|w| (w, program(&keys, w, Mode::Fanout)));
        Self {
            keys,
            fanout: fanout.to_vec(),
            filter: control_only(96),
        }
    }

    fn same(&self, what: &str, packet: &Packet<'_>, want: Demux, bytes: &[u8]) {
        for (workers, program) in &self.fanout {
            let (class, worker) = want.member(*workers);
            let member = u32::from(class as u8) * workers + worker;
            let got = run(program, packet);
            assert_eq!(
                got, member,
                "{what}, {workers} workers: {want:?}\n{bytes:02x?}"
            );
        }
    }

    fn check(&self, wire: &[u8]) {
        let out = native(&self.keys, LinkType::Ethernet, wire);
        let egress = Packet {
            data: wire,
            protocol: 0x0800,
            pkttype: 4,
            hatype: 1,
        };
        self.same("out", &egress, out, wire);
        let bytes = &stripped(wire)[..];
        let inward = native(&self.keys, LinkType::Ethernet, bytes);
        let ingress = Packet {
            data: &bytes[14..],
            protocol: half(bytes, 12),
            pkttype: 3,
            hatype: 1,
        };
        self.same("in", &ingress, inward, bytes);
        let filter = Packet {
            data: bytes,
            hatype: 1,
            ..ingress
        };
        let keep = if inward.class == Class::Data { 0 } else { 96 };
        assert_eq!(run(&self.filter, &filter), keep, "filter: {bytes:02x?}");
        let short = &bytes[..bytes.len().min(DEPTH)];
        let cut = native(&self.keys, LinkType::Ethernet, short);
        assert_eq!(cut, inward, "cut to {DEPTH}: {bytes:02x?}");
        if let 0x0800 | 0x86dd = half(bytes, 12) {
            self.bare(&bytes[14..], half(bytes, 12));
        }
    }

    /// The same packet on a device without link headers, and behind the link headers of capture files.
    fn bare(&self, ip: &[u8], protocol: u16) {
        let want = native(&self.keys, LinkType::RawIp, ip);
        if ip.first().map(|v| v >> 4) != Some(if protocol == 0x0800 { 4 } else { 6 }) {
            return;
        }
        for pkttype in [0, 4] {
            let packet = Packet {
                data: ip,
                protocol,
                pkttype,
                hatype: 0xfffe,
            };
            self.same("bare", &packet, want, ip);
        }
        let sll = [&[0; 14], &protocol.to_be_bytes()[..], ip].concat();
        assert_eq!(native(&self.keys, LinkType::LinuxSll, &sll), want);
        let sll2 = [&protocol.to_be_bytes()[..], &[0; 18], ip].concat();
        assert_eq!(native(&self.keys, LinkType::LinuxSll2, &sll2), want);
        let null = [&[2, 0, 0, 0], ip].concat();
        assert_eq!(native(&self.keys, LinkType::Null, &null), want);
        assert_eq!(native(&self.keys, LinkType::Loop, &null), want);
    }
}

#[test]
fn program_and_user_space_agree_on_every_frame() {
    let (mut kinds, mut classes, mut unread) = ([0; 3], [0; 3], 0);
    for key in 0..3 {
        let p = Programs::new(Keys::from_seed(key));
        println!(
            "{} instructions, filter {}",
            p.fanout[1].1.len(),
            p.filter.len()
        );
        for i in 0..50_000 {
            let seed = key << 32 | i;
            let (wire, whole) = frame(seed, i, false);
            p.check(&wire);
            p.check(&noisy(seed, i));
            let there = native(&p.keys, LinkType::Ethernet, &wire);
            if whole {
                let back = native(&p.keys, LinkType::Ethernet, &frame(seed, i, true).0);
                assert_eq!(there, back, "other direction of {wire:02x?}");
            }
            kinds[there.key as usize] += 1;
            classes[there.class as usize] += 1;
            unread += u32::from(!there.is_in_depth);
        }
    }
    println!("flow, pair, none: {kinds:?}; data, control, open: {classes:?}; unread: {unread}");
    assert!(kinds.iter().chain(&classes).all(|n| *n > 10_000));
    assert!(unread > 3_000);
    let placed = WHOLE.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(
        placed.iter().all(|&count| count > 10_000),
        "{placed:?} segments and datagrams were placed by decoded fields"
    );
}

#[test]
fn every_cut_of_a_frame_agrees() {
    let p = Programs::new(Keys::from_seed(9));
    for i in 0..1_500 {
        let (wire, _) = frame(i, i, false);
        for end in 14..=wire.len().min(200) {
            p.check(&wire[..end]);
        }
    }
}

#[test]
fn a_frame_and_its_addresses_hash_alike() {
    let keys = Keys::from_seed(1);
    let v4 = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    bytes.extend([192, 0, 2, 1, 192, 0, 2, 2, 0x9c, 0x40, 0, 80]);
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]);
    let found = native(&keys, LinkType::Ethernet, &bytes);
    assert_eq!(found.hash, flow_hash(&keys, v4(1), v4(2), 40_000, 80));
    assert_eq!(found.hash, flow_hash(&keys, v4(2), v4(1), 80, 40_000));
    assert_eq!((found.class, found.key), (Class::Open, HashKind::Flow));
    bytes[20] = 0x20; // more fragments follow
    bytes[17] = 28; // and this one has 8 bytes of TCP
    let tiny = native(&keys, LinkType::Ethernet, &bytes);
    assert_eq!(tiny.hash, pair_hash(&keys, v4(1), v4(2)));
    assert_eq!((tiny.class, tiny.key), (Class::Open, HashKind::Pair));
    // An ICMP error from a router follows the flow it quotes.
    let quoted = bytes[14..42].to_vec();
    let mut error = vec![0; 12];
    error.extend([8, 0, 0x45, 0, 0, 56, 0, 0, 0, 0, 64, 1, 0, 0]);
    error.extend([198, 51, 100, 7, 192, 0, 2, 1, 3, 1, 0, 0, 0, 0, 0, 0]);
    error.extend(quoted);
    let error = native(&keys, LinkType::Ethernet, &error);
    assert_eq!(error.hash, found.hash);
    assert_eq!((error.class, error.key), (Class::Control, HashKind::Flow));
}

/// A SYN over IPv6 behind `chain`, whose first header is `first`.
fn syn6(first: u8, chain: &[u8], tags: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0; 12], tags, &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    let payload = u8::try_from(chain.len() + 20).expect("short");
    bytes.extend([0, payload, first, 64]);
    bytes.extend([0x20; 16]);
    bytes.extend([0x21; 16]);
    bytes.extend(chain);
    bytes.extend([0x9c, 0x40, 0, 22, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 0]);
    bytes.extend([0; 4]);
    bytes
}

#[test]
fn a_syn_is_of_class_open_behind_any_headers() {
    let keys = Keys::from_seed(4);
    let place = |bytes: &[u8]| native(&keys, LinkType::Ethernet, bytes);
    let plain = place(&syn6(6, &[], &[]));
    assert_eq!((plain.class, plain.key), (Class::Open, HashKind::Flow));
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    let atomic = [6, 0, 0, 0, 0, 0, 0, 9];
    let both = [44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 9];
    let first = [6, 0, 0, 1, 0, 0, 0, 9];
    let tags = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 8];
    for (next, chain) in [(0, &options[..]), (44, &atomic), (60, &both), (44, &first)] {
        assert_eq!(place(&syn6(next, chain, &[])), plain, "{next} {chain:?}");
        assert_eq!(place(&syn6(next, chain, &tags)), plain, "two tags, {next}");
    }
    let pair = pair_hash(&keys, v6([0x2020_2020; 4]), v6([0x2121_2121; 4]));
    for (field, class) in [(8, Class::Open), (9, Class::Open), (16, Class::Data)] {
        let later = place(&syn6(44, &[6, 0, 0, field, 0, 0, 0, 9], &[]));
        assert_eq!(
            (later.class, later.key),
            (class, HashKind::Pair),
            "field {field}"
        );
        assert_eq!(later.hash, pair);
    }
    // Eight bytes of TCP in the first fragment: the flags are in the next.
    let mut tiny = syn6(44, &first, &[]);
    tiny[19] = 16;
    let tiny = place(&tiny);
    assert_eq!((tiny.class, tiny.hash), (Class::Open, pair));
}

#[test]
fn the_flags_decide_the_class() {
    let keys = Keys::from_seed(1);
    let mut bytes = vec![0; 12];
    bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
    bytes.extend([0; 28]);
    let mut class = |flags| {
        bytes[47] = flags;
        native(&keys, LinkType::Ethernet, &bytes).class
    };
    for (want, flags) in [
        (
            Class::Open,
            &[0x02, 0xc2, 0x03, 0x06, 0x00, 0x01, 0x29, 0x08, 0x20][..],
        ),
        (
            Class::Control,
            &[0x12, 0x04, 0x14, 0x05, 0x11, 0x19, 0x13, 0x16],
        ),
        (Class::Data, &[0x10, 0x18, 0x30, 0xd0]),
    ] {
        for flags in flags {
            assert_eq!(class(*flags), want, "flags {flags:#x}");
        }
    }
}

type Flow = (IpAddr, IpAddr, u16, u16);
type Family = (&'static str, Box<dyn Fn(u32) -> Flow>);

fn port(i: u32) -> u16 {
    u16::try_from(i & 0xffff).expect("masked")
}

fn v4(a: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(a))
}

fn v6(w: [u32; 4]) -> IpAddr {
    let [a, b, c, d] = w.map(u128::from);
    IpAddr::V6(Ipv6Addr::from_bits(a << 96 | b << 64 | c << 32 | d))
}

/// Families of flows that a weak hash would put on one worker.
fn families_v4() -> Vec<Family> {
    let here = 0x0a00_0001;
    vec![
        (
            "one source, ports in turn",
            Box::new(move |i| (v4(7), v4(here), port(i), 443)),
        ),
        (
            "sources in turn",
            Box::new(move |i| (v4(0x0b00_0000 + i), v4(here), 1024, 443)),
        ),
        (
            "same sum of addresses",
            Box::new(move |i| (v4(0x4000_0000 + i), v4(0x4000_0000 - i), 9, 80)),
        ),
        (
            "same xor of addresses",
            Box::new(move |i| (v4(i << 9), v4(i << 9 ^ 0x5555), 9, 80)),
        ),
        (
            "same sum of ports",
            Box::new(move |i| (v4(7), v4(here), port(i), port(!i))),
        ),
        (
            "same difference of ports",
            Box::new(move |i| (v4(7), v4(here), port(i), port(i + 99))),
        ),
        (
            "same sum of both",
            Box::new(move |i| (v4(0x0b00_0000 + i), v4(here), port(!i), 443)),
        ),
        (
            "same sum, crosswise",
            Box::new(move |i| (v4(1 << 30 | i), v4(1 << 30), 5, port(!i))),
        ),
        (
            "one pair of ends",
            Box::new(move |i| (v4(i), v4(i), port(i), port(i))),
        ),
        (
            "high bits only",
            Box::new(move |i| (v4(i << 16), v4(here), port(i >> 4), 443)),
        ),
        (
            "steps of 2^15",
            Box::new(move |i| (v4(i << 15), v4(here ^ i << 15), 1, 1)),
        ),
    ]
}

fn families_v6() -> Vec<Family> {
    let six = [0x2001_0db8, 0, 0, 1];
    vec![
        (
            "v6 words, same sum",
            Box::new(move |i| (v6([1, 2, i, !i]), v6(six), 9, 80)),
        ),
        (
            "v6 words, same xor",
            Box::new(move |i| (v6([i, i ^ 77, 3, 4]), v6(six), 9, 80)),
        ),
        (
            "v6 four words",
            Box::new(move |i| (v6([i, !i, !i, i]), v6(six), 9, 80)),
        ),
        (
            "v6 ends, same sum",
            Box::new(move |i| (v6([1, 2, 3, i]), v6([1, 2, 3, !i]), 9, 80)),
        ),
        (
            "v6 word and port",
            Box::new(move |i| (v6([1, 2, 3, i]), v6(six), port(!i), 80)),
        ),
        (
            "v6 words 0 and 3",
            Box::new(move |i| (v6([i, 0, 0, !i]), v6(six), 9, 80)),
        ),
        (
            "v6 top bits",
            Box::new(move |i| (v6([i << 16, i << 16, 0, 0]), v6(six), 9, 80)),
        ),
    ]
}

#[test]
fn chosen_flows_spread_over_the_workers() {
    let mut worst = (0.0, String::new());
    for seed in 0..3 {
        let keys = Keys::from_seed(seed);
        for (name, flow) in families_v4().into_iter().chain(families_v6()) {
            let mut load = [0u32; 8];
            for i in 0..50_000 {
                let (a, b, from, to) = flow(i);
                load[worker(flow_hash(&keys, a, b, from, to), 8) as usize] += 1;
            }
            let max = load.iter().max().copied().unwrap_or_default();
            let over = f64::from(max) / (50_000.0 / 8.0);
            assert!(over <= 1.3, "{name}, key {seed}: {load:?}");
            if over > worst.0 {
                worst = (over, format!("{name}, key {seed}"));
            }
        }
    }
    println!("worst max/mean {:.3}: {}", worst.0, worst.1);
}

/// The share of keys under which few flows of a pattern crowd one worker is that of random flows.
#[test]
fn few_chosen_flows_spread_under_nearly_every_key() {
    for (name, flow) in families_v4().into_iter().chain(families_v6()) {
        let crowded = |&seed: &u64| {
            let (keys, mut load) = (Keys::from_seed(seed), [0u32; 8]);
            for (a, b, from, to) in (1..65).map(&flow) {
                load[worker(flow_hash(&keys, a, b, from, to), 8) as usize] += 1;
            }
            load.iter().any(|&count| count > 20)
        };
        let crowded = (0..1_000).filter(crowded).count();
        assert!(crowded <= 8, "{name}: under {crowded} of 1000 keys");
    }
}

#[test]
fn random_keys_differ() {
    let flow = |keys| flow_hash(&keys, v4(1), v4(2), 3, 4);
    let hashes = [(); 4].map(|()| flow(Keys::random().expect("the kernel has random numbers")));
    assert!(hashes.iter().any(|h| *h != hashes[0]));
    let mut rng = Rng(5);
    let keys = Keys::from_seed(rng.next());
    assert_eq!(flow(keys), flow(keys));
}

#[test]
fn a_frame_rejected_as_bulk_never_opens_answers_or_ends_a_connection() {
    let all = |link| without_bulk(link, 96, &synledger::capture::tunnels::Tunnels::NONE);
    let programs = [LinkType::Ethernet, LinkType::RawIp].map(|link| (link, all(link)));
    let (mut refused, mut kept) = ([0; 2], [0; 2]);
    for id in 0..60_000 {
        let wire = match id % 2 {
            0 => frame(id, id, false).0,
            _ => noisy(id, id),
        };
        for (at, (link, program)) in programs.iter().enumerate() {
            let data = match link {
                LinkType::RawIp => wire.get(14..).unwrap_or_default(),
                _ => &wire,
            };
            let packet = Packet {
                data,
                ..Packet::default()
            };
            if run(program, &packet) > 0 {
                kept[at] += 1;
                continue;
            }
            let whole = Frame {
                bytes: data,
                wire_len: u32::try_from(data.len()).expect("frames are short"),
                ts_ns: 0,
                interface: 0,
                link: *link,
                vlan: None,
                gso: false,
                incoming: false,
            };
            match decode::packet(&whole).map(|packet| packet.transport) {
                Ok(Transport::Tcp(tcp)) => {
                    refused[at] += 1;
                    assert_eq!(tcp.flags & 0x17, 0x10, "{tcp:?} of {data:02x?}");
                }
                Ok(Transport::Udp(_)) => refused[at] += 1,
                // The frame ends before the flags that its IP header promises: every host drops it.
                Ok(other @ Transport::TinyFragment { .. }) => {
                    let data = &[data, &[0; 64]].concat();
                    let longer = Packet { data, ..packet };
                    assert!(run(program, &longer) > 0, "{other:?} of {data:02x?}");
                }
                Ok(other) => panic!("{other:?} of {data:02x?}"),
                // The frame ends within its headers.
                Err(why) => assert!(matches!(why, Unread::Malformed(_)), "{why:?}: {data:02x?}"),
            }
        }
    }
    println!("rejected {refused:?}, kept {kept:?}");
    assert!(refused.into_iter().chain(kept).all(|count| count > 1_000));
}
