//! Random traces, and the packets that they are made of.

use super::SECOND;
use crate::capture::tunnels::Inside;
use crate::decode::packet::*;
use std::net::IpAddr;

/// A small generator of random numbers, seeded.
pub(super) struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }
}

pub(super) fn packet(ts_ns: i64, src: IpAddr, dst: IpAddr, transport: Transport) -> Packet {
    Packet {
        ts_ns,
        wire_len: 60,
        ip_len: 40,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
        src,
        dst,
        fragment: Fragment::Whole,
        reach: Reach::Plain,
        inside: Inside::NONE,
        gso: false,
        transport,
    }
}

pub(super) fn host(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

pub(super) fn segment(
    ts_ns: i64,
    from: (u8, u16),
    to: (u8, u16),
    flags: u8,
    seq: u32,
    ack: u32,
) -> Packet {
    let tcp = Tcp {
        src_port: from.1,
        dst_port: to.1,
        seq,
        ack,
        flags,
        payload_len: 0,
    };
    packet(ts_ns, host(from.0), host(to.0), Transport::Tcp(tcp))
}

/// A router's answer to a SYN of [`C`] with this number.
pub(super) fn unreachable(ts_ns: i64, to: (u8, u16), seq: u32) -> Packet {
    let quoted = Quoted {
        src: host(C.0),
        dst: host(to.0),
        proto: 6,
        src_port: C.1,
        dst_port: to.1,
        seq: Some(seq),
    };
    let icmp = Icmp {
        v6: false,
        kind: 3,
        code: 1,
        id: 0,
        payload_len: 0,
        quoted: Some(quoted),
    };
    packet(ts_ns, host(9), host(C.0), Transport::Icmp(icmp))
}

pub(super) const S: u8 = tcp_flags::SYN;
pub(super) const A: u8 = tcp_flags::ACK;
pub(super) const R: u8 = tcp_flags::RST;
pub(super) const F: u8 = tcp_flags::FIN;
pub(super) const C: (u8, u16) = (1, 1000);
pub(super) const D: (u8, u16) = (2, 80);

/// A step of a handshake and its end, with some liberties.
pub(super) fn step_of(dice: &mut Dice, step: u32, ts: i64, client: u32, server: u32) -> Packet {
    let (c, s) = (client.wrapping_add(1), server.wrapping_add(1));
    match step {
        0 => segment(ts, C, D, S, client, 0),
        1 if dice.below(4) == 0 => segment(ts, D, C, S, server, 0),
        1 | 2 => segment(ts, D, C, S | A, server, c),
        3 if dice.below(4) == 0 => segment(ts, C, D, R, c, 0),
        3 => segment(ts, C, D, A, c, s),
        4 => segment(ts, D, C, A | dice.pick(&[F, R, 0]), s, c),
        _ => segment(ts, C, D, A | dice.pick(&[F, F, R, 0]), c, s),
    }
}

/// A probe or what answers it, on ports where hardly anything else happens. `asked`: port and number of a probe that is
/// answered next.
fn probe_of(dice: &mut Dice, ts: i64, asked: &mut Option<(u16, u32)>) -> Packet {
    if let Some((port, number)) = asked.take() {
        return segment(ts, D, (1, port), R | dice.pick(&[0, 0, 0, A]), number, 5);
    }
    let (port, number) = (dice.pick(&[2000, 2001, 2002]), dice.pick(&[1, 100]));
    match dice.below(20) {
        0 => segment(ts, (1, port), D, S, number, 0),
        1..=4 => segment(ts, D, (1, port), R | dice.pick(&[0, A]), number, 5),
        _ => {
            *asked = (dice.below(2) == 0).then_some((port, number));
            segment(ts, (1, port), D, dice.pick(&PROBES), 5, number)
        }
    }
}

pub(super) const NUMBERS: [u32; 9] = [0, 1, 2, 3, 100, 101, 102, u32::MAX, u32::MAX - 1];
pub(super) const PSH: u8 = tcp_flags::PSH;
/// Flags of segments that follow no script.
pub(super) const FLAGS: [u8; 14] = [
    S,
    S,
    S | A,
    S | A,
    A,
    A,
    A | F,
    R,
    R | A,
    F,
    S | F,
    A | PSH,
    S | R,
    R | F | A,
];
const URG: u8 = tcp_flags::URG;
const PROBES: [u8; 8] = [A, A, A | F, A | F, 0, F, F | PSH | URG, PSH];
pub(super) const MILLI: i64 = 1_000_000;
pub(super) const STEPS: [i64; 9] = [
    0,
    0,
    0,
    1,
    MILLI,
    140 * MILLI,
    SECOND,
    5 * SECOND,
    5 * SECOND - 1,
];
pub(super) const LONG: [i64; 5] = [
    60 * SECOND,
    65 * SECOND,
    130 * SECOND,
    300 * SECOND - 1,
    2_000 * SECOND,
];

/// Segments over so few addresses, ports and numbers that every meaning collides with every other.
pub(super) fn random_segments(seed: u64, count: usize) -> Vec<(Packet, i64)> {
    let mut dice = Dice(seed);
    let mut now = 1_000 * SECOND;
    let busy = dice.below(3);
    let (mut step, mut client, mut server) = (5, 0_u32, 0_u32);
    let mut asked = None;
    (0..count)
        .map(|_| {
            now += if dice.below(40 + 100 * busy) == 0 {
                dice.pick(&LONG)
            } else {
                dice.pick(&STEPS)
            };
            let mut from = (1, 1000 + u16::from(dice.below(2) == 0));
            let mut to = (2, 80);
            if dice.below(2) == 0 {
                std::mem::swap(&mut from, &mut to);
            }
            let ts = now - dice.pick(&[0, 0, 0, 1, 5 * SECOND]);
            let (seq, ack) = (dice.pick(&NUMBERS), dice.pick(&NUMBERS));
            let mut packet = segment(ts, from, to, dice.pick(&FLAGS), seq, ack);
            if dice.below(2) == 0 {
                // The next step of a handshake between the two, so that many are proven.
                step = (step + 1) % 6;
                if step == 0 {
                    client = dice.pick(&NUMBERS);
                    server = dice.pick(&NUMBERS);
                }
                packet = step_of(&mut dice, step, ts, client, server);
            }
            if asked.is_some() || dice.below(6) == 0 {
                packet = probe_of(&mut dice, ts, &mut asked);
            }
            packet.interface = u16::from(dice.below(30) == 0);
            if let Transport::Tcp(tcp) = &mut packet.transport {
                tcp.payload_len = u32::from(dice.below(6) == 0) * 2;
            }
            (packet, now)
        })
        .collect()
}

/// The same trace between IPv6 hosts whose addresses end alike, and between few ports that are often the same: only
/// whole addresses tell the sides apart.
pub(super) fn alike(mut trace: Vec<(Packet, i64)>) -> Vec<(Packet, i64)> {
    let host = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::from([0x2001, 0xdb8, u16::from(v4.octets()[3]), 0, 0, 0, 0, 1]),
        IpAddr::V6(v6) => IpAddr::V6(v6),
    };
    for (packet, _) in &mut trace {
        (packet.src, packet.dst) = (host(packet.src), host(packet.dst));
        if let Transport::Tcp(tcp) = &mut packet.transport {
            (tcp.src_port, tcp.dst_port) = (tcp.src_port & 1, tcp.dst_port & 1);
        }
    }
    trace
}

/// Segments with datagrams, ICMP, other protocols and fragments between them.
pub(super) fn random_mix(seed: u64, count: usize) -> Vec<(Packet, i64)> {
    let mut dice = Dice(!seed);
    let mut trace = random_segments(seed, count);
    for (packet, _) in &mut trace {
        let tcp = *packet.tcp().expect("segments only");
        let id = u32::try_from(dice.below(3)).expect("small");
        let quoted = Quoted {
            src: packet.dst,
            dst: packet.src,
            proto: dice.pick(&[6, 6, 17]),
            src_port: tcp.dst_port,
            dst_port: tcp.src_port,
            seq: (dice.below(2) == 0).then_some(tcp.seq),
        };
        let kind = dice.pick(&[0, 8, 3, 3, 11, 200]);
        let icmp = Icmp {
            v6: false,
            kind,
            code: 0,
            id: u16::from(dice.below(2) == 0),
            payload_len: 9,
            quoted: (kind == 3).then_some(quoted),
        };
        let udp = Udp {
            src_port: tcp.src_port,
            dst_port: tcp.dst_port,
            payload_len: 3,
        };
        packet.transport = match dice.below(12) {
            0 => Transport::Udp(udp),
            1 => Transport::Icmp(icmp),
            2 => Transport::Other { proto: 47 },
            3 => Transport::TinyFragment {
                id,
                head: [0, 9, 0, 8, 0, 0, 0, tcp.flags],
            },
            4 => Transport::SecondFragment {
                id,
                tail: [0, 0, 0, 1, 0x50, S],
                payload_len: 12,
            },
            5 => Transport::LaterFragment {
                proto: 6,
                payload_len: 8,
            },
            _ => packet.transport,
        };
    }
    with_datagrams(seed, &trace)
}

/// The same with datagrams and ICMP messages between it, some of them many times.
pub(super) fn with_datagrams(seed: u64, trace: &[(Packet, i64)]) -> Vec<(Packet, i64)> {
    let mut dice = Dice(seed.rotate_left(32));
    let mut all = Vec::new();
    for one in trace {
        all.push(*one);
        let copies = match dice.below(60) {
            0 => dice.below(150),
            1..30 => 1,
            _ => 0,
        };
        let mut packet = match dice.below(4) {
            0 => random_message(&mut dice),
            _ => random_datagram(&mut dice),
        };
        packet.ts_ns = one.0.ts_ns;
        for _ in 0..copies {
            packet.interface = u16::from(dice.below(30) == 0);
            all.push((packet, one.1));
        }
    }
    all
}

/// Two of few hosts of one family, or a group of hosts as the second; and whether they have IPv6.
fn random_ends(dice: &mut Dice) -> (IpAddr, IpAddr, bool) {
    let v6 = dice.below(3) == 0;
    let host = |n: u8| match v6 {
        true => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]),
        false => host(n),
    };
    let groups = match v6 {
        true => [IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0xfb]); 3],
        false => [[224, 0, 0, 251], [239, 255, 255, 250], [255; 4]].map(IpAddr::from),
    };
    let src = dice.pick(&[1, 2, 3]);
    let dst = match dice.below(8) {
        0 => dice.pick(&groups),
        _ => host(1 + (src + dice.pick(&[0, 1])) % 3),
    };
    (host(src), dst, v6)
}

const UDP_PORTS: [u16; 4] = [53, 1023, 1024, 5353];

fn random_datagram(dice: &mut Dice) -> Packet {
    let (src, dst, _) = random_ends(dice);
    let udp = Udp {
        src_port: dice.pick(&UDP_PORTS),
        dst_port: dice.pick(&UDP_PORTS),
        payload_len: dice.pick(&[0, 3, 3]),
    };
    let fragment = dice.pick(&[Fragment::Whole, Fragment::Whole, Fragment::First]);
    Packet {
        fragment,
        ..packet(0, src, dst, Transport::Udp(udp))
    }
}

/// An ICMP message, of which many quote a datagram.
fn random_message(dice: &mut Dice) -> Packet {
    let (src, dst, v6) = random_ends(dice);
    let datagram = random_datagram(dice);
    let Transport::Udp(udp) = datagram.transport else {
        unreachable!("a datagram is UDP");
    };
    let quoted = Quoted {
        src: datagram.src,
        dst: datagram.dst,
        proto: dice.pick(&[17, 17, 17, 132]),
        src_port: udp.src_port,
        dst_port: udp.dst_port,
        seq: None,
    };
    let kinds = match v6 {
        true => [1, 1, 1, 3, 128, 135, 143],
        false => [3, 3, 3, 11, 8, 0, 5],
    };
    let kind = dice.pick(&kinds);
    let quotes = matches!((v6, kind), (true, 1 | 3) | (false, 3 | 11 | 5));
    let icmp = Icmp {
        v6,
        kind,
        code: dice.pick(&[0, 1, 3, 4]),
        id: 0,
        payload_len: 9,
        quoted: quotes.then_some(quoted),
    };
    packet(0, src, dst, Transport::Icmp(icmp))
}
