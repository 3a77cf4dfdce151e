//! What the program drops, by a rule that shares nothing with it.

use super::super::elements::Elements;
use super::super::program::{load, load_whole};
use super::{maps, net, value};
use crate::capture::frame::LinkType;
use crate::decode::shapes::{ethernet, shapes, tags};
use crate::splitmix::splitmix64;
use crate::sys::bpf::{Map, Program};
use ipnet::IpNet;
use std::net::IpAddr;

const DROP: u32 = 1;
const PASS: u32 = 2;
/// The kernel runs programs on no shorter frames.
const LEAST: usize = 14;

/// The source address of a frame whose IP header can be read.
fn source(frame: &[u8]) -> Option<IpAddr> {
    let kind =
        |at: usize| Some(usize::from(*frame.get(at)?) * 256 + usize::from(*frame.get(at + 1)?));
    let mut ip = 14;
    for _ in 0..2 {
        if [0x8100, 0x88a8, 0x9100].contains(&kind(ip - 2)?) {
            ip += 4;
        }
    }
    let (version, from, length, whole) = match kind(ip - 2)? {
        0x0800 => (4, 12, 4, 20),
        0x86dd => (6, 8, 16, 40),
        _ => return None,
    };
    if frame.len() < ip + whole || frame[ip] / 16 != version {
        return None;
    }
    let address = &frame[ip + from..ip + from + length];
    Some(match length {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).expect("four")),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).expect("sixteen")),
    })
}

/// Networks, and whether their time is still running.
type Blocked = Vec<(IpNet, bool)>;

fn expected(frame: &[u8], blocked: &Blocked) -> u32 {
    let is_blocked = |address: IpAddr| {
        let mut live = blocked.iter().filter(|(_, is_live)| *is_live);
        live.any(|(net, _)| net.contains(&address))
    };
    match source(frame) {
        Some(address) if is_blocked(address) => DROP,
        _ => PASS,
    }
}

/// Sets that have the sources of the shapes, 10.0.0.1 and 2001:db8::1, in all ways.
fn sets() -> Vec<Blocked> {
    let set = |all: &[(&str, bool)]| all.iter().map(|(text, live)| (net(text), *live)).collect();
    let v4_over = (17..=32).map(|bits| {
        (
            IpNet::new([10, 0, 0, 1].into(), bits)
                .expect("bits")
                .trunc(),
            false,
        )
    });
    let v6 = "2001:db8::1".parse::<IpAddr>().expect("an address");
    let v6_over = (33..=128).map(|bits| (IpNet::new(v6, bits).expect("bits").trunc(), false));
    let mut deep: Blocked = v4_over.chain(v6_over).collect();
    let all_over = deep.clone();
    deep.extend([(net("10.0.0.0/16"), true), (net("2001:db8::/32"), true)]);
    vec![
        Vec::new(),
        set(&[("10.0.0.1/32", true), ("2001:db8::1/128", true)]),
        set(&[("10.0.0.2/32", true), ("2001:db8::2/128", true)]),
        set(&[("10.0.0.0/24", true), ("2001:db8::/64", true)]),
        set(&[("10.0.0.1/32", false), ("2001:db8::1/128", false)]),
        set(&[
            ("10.0.0.1/32", false),
            ("10.0.0.0/24", true),
            ("2001:db8::1/128", false),
            ("2001:db8::/64", true),
        ]),
        set(&[
            ("10.0.0.1/32", true),
            ("10.0.0.0/24", false),
            ("2001:db8::1/128", true),
            ("2001:db8::/64", false),
        ]),
        set(&[
            ("10.0.0.0/24", false),
            ("10.0.0.0/16", true),
            ("10.0.0.2/31", true),
        ]),
        deep,
        all_over,
    ]
}

/// Frames of every shape, behind up to three tags, cut everywhere, and changed.
fn frames() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (link, frame) in shapes() {
        match link {
            LinkType::Ethernet => all.push(frame),
            // As a packet behind an Ethernet header, whatever it is.
            _ => all.extend([ethernet(0x800, &frame), ethernet(0x86dd, &frame)]),
        }
    }
    let mut four = vec![
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let mut six = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
    for last in [1, 2] {
        six.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    for count in 0..=3 {
        for (kind, packet) in [
            (0x800, &four),
            (0x86dd, &six),
            (0x86dd, &four),
            (0x800, &six),
        ] {
            let whole = match count {
                0 => ethernet(kind, packet),
                _ => tags(count, kind, packet),
            };
            all.extend((LEAST..=whole.len()).map(|end| whole[..end].to_vec()));
        }
    }
    let mut dice = 7;
    for _ in 0..2_000 {
        let packet = if splitmix64(&mut dice).is_multiple_of(2) {
            &mut four
        } else {
            &mut six
        };
        let kind = if packet[0] == 0x45 { 0x800 } else { 0x86dd };
        let at = usize::try_from(splitmix64(&mut dice) % packet.len() as u64).expect("small");
        let before = packet[at];
        packet[at] = splitmix64(&mut dice).to_le_bytes()[0];
        all.push(tags(1, kind, packet));
        packet[at] = before;
    }
    all.retain(|frame| frame.len() >= LEAST && frame.len() < 3_000);
    all
}

fn run(program: &Program, elements: &Elements, blocked: &Blocked, frames: &[Vec<u8>]) {
    let all: Vec<_> = blocked
        .iter()
        .map(|(net, is_live)| (*net, value(*is_live)))
        .collect();
    assert!(elements.add(&all).iter().all(Result::is_ok));
    let (mut packets, mut bytes) = (0, 0);
    for frame in frames {
        let wanted = expected(frame, blocked);
        let got = program.try_on(frame).expect("it runs");
        assert_eq!(got, wanted, "{blocked:?}: {frame:02x?}");
        if wanted == DROP {
            packets += 1;
            bytes += frame.len() as u64;
        }
    }
    let listed = elements.list().expect("listed");
    let counted: Vec<_> = listed
        .iter()
        .filter_map(|(_, value)| Some(value.as_ref()?.dropped))
        .collect();
    let sum = counted
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!(sum, (packets, bytes), "counted at {blocked:?}");
    let nets: Vec<IpNet> = listed.iter().map(|(net, _)| *net).collect();
    assert!(elements.remove(&nets).iter().all(Result::is_ok));
    eprintln!(
        "{} elements: {} frames, {packets} dropped",
        blocked.len(),
        frames.len()
    );
}

#[test]
fn frames_of_every_shape_are_dropped_exactly_where_their_source_is_blocked() {
    let Some(elements) = maps(300) else { return };
    let descriptors = elements.maps().each_ref().map(Map::descriptor);
    let frames = frames();
    let sources = frames
        .iter()
        .filter(|frame| source(frame).is_some())
        .count();
    assert!(
        sources > 1_000 && frames.len() - sources > 200,
        "{sources} of {}",
        frames.len()
    );
    for (name, loaded) in [
        ("parts", load(elements.maps())),
        ("whole", load_whole(descriptors)),
    ] {
        let program = loaded.unwrap_or_else(|why| panic!("{name}: {}: {}", why.error, why.log));
        for blocked in sets() {
            run(&program, &elements, &blocked, &frames);
        }
    }
}

#[test]
fn a_program_that_the_verifier_refuses_comes_back_with_its_log() {
    use crate::sys::bpf::Kind;
    use crate::sys::bpf::asm::{Asm, Reg, Size};
    if maps(1).is_none() {
        return;
    }
    let mut a = Asm::default();
    // No bytes of the frame may be read before a look at its end.
    a.load(Size::Word, Reg::R2, Reg::R1, 0);
    a.load(Size::Word, Reg::R0, Reg::R2, 0);
    a.exit();
    let xdp = Kind {
        number: 6,
        attach: 37,
        flags: 0,
    };
    let refused = Program::load(xdp, &a.finish(), "wrong").expect_err("refused");
    assert_eq!(refused.error.raw_os_error(), Some(libc::EACCES));
    assert!(
        refused.log.contains("invalid access to packet"),
        "{}",
        refused.log
    );
}
