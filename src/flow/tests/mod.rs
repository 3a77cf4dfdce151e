//! Random traces against the model, and the promises of the module one by one.

use super::naive::Naive;
use super::record::{FlowEvent, FlowRecord, When};
use super::{FlowCounts, Flows, Limits};
use crate::decode::Headers;
use crate::decode::packet::*;
use std::net::IpAddr;

mod early;
mod handshakes;
mod lasting;
mod rivals;
mod rules;
mod tenants;
mod waits;

const SECOND: i64 = 1_000_000_000;
/// Packets that are looked up at once.
const BATCH: usize = 32;
const ROOMY: Limits = Limits {
    attempts: 8192,
    established: 1024,
    others: 4096,
    fragments: 1024,
};

/// A small generator of random numbers, seeded.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).expect("an index")]
    }
}

fn packet(ts_ns: i64, src: IpAddr, dst: IpAddr, transport: Transport) -> Packet {
    Packet {
        ts_ns,
        wire_len: 60,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
        src,
        dst,
        fragment: Fragment::Whole,
        reach: Reach::Plain,
        gso: false,
        transport,
    }
}

fn host(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn segment(ts_ns: i64, from: (u8, u16), to: (u8, u16), flags: u8, seq: u32, ack: u32) -> Packet {
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
fn unreachable(ts_ns: i64, to: (u8, u16), seq: u32) -> Packet {
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

const S: u8 = tcp_flags::SYN;
const A: u8 = tcp_flags::ACK;
const R: u8 = tcp_flags::RST;
const F: u8 = tcp_flags::FIN;
const C: (u8, u16) = (1, 1000);
const D: (u8, u16) = (2, 80);

/// A step of a handshake and its end, with some liberties.
fn step_of(dice: &mut Dice, step: u32, ts: i64, client: u32, server: u32) -> Packet {
    let (c, s) = (client.wrapping_add(1), server.wrapping_add(1));
    match step {
        0 => segment(ts, C, D, S, client, 0),
        1 if dice.below(4) == 0 => segment(ts, D, C, S, server, 0),
        1 | 2 => segment(ts, D, C, S | A, server, c),
        3 => segment(ts, C, D, A, c, s),
        4 => segment(ts, D, C, A | dice.pick(&[F, R, 0]), s, c),
        _ => segment(ts, C, D, A | dice.pick(&[F, F, R, 0]), c, s),
    }
}

const NUMBERS: [u32; 9] = [0, 1, 2, 3, 100, 101, 102, u32::MAX, u32::MAX - 1];
const PSH: u8 = tcp_flags::PSH;
/// Flags of segments that follow no script.
const FLAGS: [u8; 14] = [
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
const MILLI: i64 = 1_000_000;
const STEPS: [i64; 9] = [
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
const LONG: [i64; 5] = [
    60 * SECOND,
    65 * SECOND,
    130 * SECOND,
    300 * SECOND - 1,
    2_000 * SECOND,
];

/// Segments over so few addresses, ports and numbers that every meaning collides with every other.
fn random_segments(seed: u64, count: usize) -> Vec<(Packet, i64)> {
    let mut dice = Dice(seed);
    let mut now = 1_000 * SECOND;
    let busy = dice.below(3);
    let (mut step, mut client, mut server) = (5, 0_u32, 0_u32);
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
            packet.interface = u16::from(dice.below(30) == 0);
            if let Transport::Tcp(tcp) = &mut packet.transport {
                tcp.payload_len = u32::from(dice.below(6) == 0) * 2;
            }
            (packet, now)
        })
        .collect()
}

type Said = Vec<(When, FlowEvent)>;

fn assert_same(one: &Said, other: &Said, seed: u64) {
    let (one, other) = (sorted(one), sorted(other));
    if let Some(at) = (0..one.len().max(other.len())).find(|&i| one.get(i) != other.get(i)) {
        panic!("seed {seed}:\n{:?}\n{:?}", one.get(at), other.get(at));
    }
}

fn sorted(said: &Said) -> Vec<String> {
    let mut lines: Vec<_> = said.iter().map(|event| format!("{event:?}")).collect();
    lines.sort();
    lines
}

/// Hands packets to the tables as a shard does: looked up in batches, then one by one.
fn feed_batch(
    flows: &mut Flows,
    batch: &[(Packet, i64)],
    mut after_each: impl FnMut(&mut Flows, usize, &mut Said),
    said: &mut Said,
) {
    let mut pending: Vec<_> = batch
        .iter()
        .map(|(packet, _)| {
            let mut headers = Headers::of(packet)?;
            let lookup = flows.prefetch(&mut headers);
            Some((headers, lookup))
        })
        .collect();
    for (headers, lookup) in pending.iter_mut().flatten() {
        flows.prefetch_entries(headers, lookup);
    }
    for (headers, lookup) in pending.iter().flatten() {
        flows.prefetch_elsewhere(headers, lookup);
    }
    for (i, ((packet, now), looked_up)) in batch.iter().zip(&pending).enumerate() {
        let mut out = |when, event| said.push((when, event));
        match looked_up {
            Some((headers, lookup)) if flows.add_to_open(headers, lookup, *now) => {}
            Some((syn, lookup)) if syn.is_touch() && flows.open_attempt(syn, lookup, *now) => {
                out(When::Packet, FlowEvent::Attempt(syn.into()));
            }
            Some((headers, lookup)) => flows.on_headers(headers, lookup, *now, &mut out),
            None => drop(flows.on_packet(packet, *now, &mut out)),
        }
        after_each(flows, i, said);
        flows.counts().check().expect("the books close");
    }
}

/// Runs a trace in batches; `sweep` says after which packets `expire` is called.
fn run(
    trace: &[(Packet, i64)],
    limits: Limits,
    keys: [u64; 2],
    mut sweep: impl FnMut(usize) -> bool,
) -> (Said, FlowCounts) {
    let mut flows = Flows::new(limits, keys);
    let mut said = Vec::new();
    for (number, batch) in trace.chunks(BATCH).enumerate() {
        let after_each = |flows: &mut Flows, i: usize, said: &mut Said| {
            if sweep(number * BATCH + i) {
                flows.expire(batch[i].1, &mut |when, event| said.push((when, event)));
            }
        };
        feed_batch(&mut flows, batch, after_each, &mut said);
    }
    flows.finish(&mut |when, event| said.push((when, event)));
    flows.counts().check().expect("the books close at the end");
    assert_eq!(flows.counts().flows_open, 0);
    assert_eq!(flows.held(), [0; 3], "finish leaves nothing");
    (said, *flows.counts())
}

fn play(segments: &[Packet]) -> (Said, FlowCounts) {
    let trace: Vec<_> = segments.iter().map(|p| (*p, p.ts_ns)).collect();
    run(&trace, ROOMY, [1, 1], |_| true)
}

fn records(said: &Said) -> Vec<FlowRecord> {
    let ends = said.iter().filter_map(|(_, event)| match event {
        FlowEvent::Ended(record) => Some(*record),
        _ => None,
    });
    ends.collect()
}

/// The same trace between IPv6 hosts whose addresses end alike, and between few ports that are often the same: only
/// whole addresses tell the sides apart.
fn alike(mut trace: Vec<(Packet, i64)>) -> Vec<(Packet, i64)> {
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

#[test]
fn tables_say_what_the_model_says() {
    let (mut established, mut reopened, mut merged, mut far) = (0, 0, 0, 0);
    for seed in 0..400 {
        let mut trace = random_segments(seed, 600);
        if seed % 4 == 0 {
            trace = alike(trace);
        }
        let mut naive = Naive::default();
        for (packet, now) in &trace {
            naive.on_packet(packet, *now);
            far += naive.far();
        }
        naive.finish(trace.last().expect("not empty").1);
        let (said, counts) = run(&trace, ROOMY, [seed, 7], |i| i % 3 == 0);
        assert_same(&said, &naive.said, seed);
        established += counts.established_connections;
        reopened += counts.flows_reopened;
        merged += counts.flows_merged;
    }
    assert!(established > 1000, "only {established} established");
    assert!(reopened > 1000, "only {reopened} reopened");
    assert!(merged > 10, "only {merged} simultaneous opens");
    assert!(far > 1000, "only {far} beyond the fourth");
}

#[test]
fn neither_keys_nor_table_size_nor_sweeps_change_what_is_said() {
    for seed in 1000..1100 {
        let trace = random_mix(seed, 500);
        let (said, counts) = run(&trace, ROOMY, [1, 2], |_| true);
        let mut dice = Dice(seed);
        let smaller = Limits {
            attempts: 2048,
            ..ROOMY
        };
        for (other, other_counts) in [
            run(&trace, ROOMY, [1, 2], |_| false),
            run(&trace, ROOMY, [3, 4], |_| dice.below(20) == 0),
            run(&trace, smaller, [5, 6], |i| i == 250),
        ] {
            assert_same(&said, &other, seed);
            assert_eq!(counts, other_counts, "seed {seed}");
        }
    }
}

/// Segments with UDP, ICMP, other protocols and fragments between them.
fn random_mix(seed: u64, count: usize) -> Vec<(Packet, i64)> {
    let mut dice = Dice(!seed);
    let mut trace = random_segments(seed, count);
    for (packet, _) in &mut trace {
        let tcp = *packet.tcp().expect("segments only");
        let id = u32::try_from(dice.below(3)).expect("small");
        let quoted = Quoted {
            src: packet.dst,
            dst: packet.src,
            proto: 6,
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
    trace
}

#[test]
fn shards_say_together_what_one_says() {
    for seed in 2000..2100 {
        let trace = random_mix(seed, 500);
        let (mut whole, _) = run(&trace, ROOMY, [1, 2], |_| true);
        let mut parts = Vec::new();
        for shard in 0..2 {
            let part: Vec<_> = trace
                .iter()
                .filter(|(p, _)| shard_of(p) == shard)
                .copied()
                .collect();
            let mut flows = Flows::new(ROOMY, [shard, 9]);
            let mut part = part.into_iter().peekable();
            for (packet, now) in &trace {
                if part
                    .next_if(|(mine, at)| mine == packet && at == now)
                    .is_some()
                {
                    flows.on_packet(packet, *now, &mut |when, event| parts.push((when, event)));
                } else {
                    flows.expire(*now, &mut |when, event| parts.push((when, event)));
                }
            }
            flows.finish(&mut |when, event| parts.push((when, event)));
        }
        whole.sort_by_key(|event| format!("{event:?}"));
        assert_eq!(sorted(&whole), sorted(&parts), "seed {seed}");
    }
}

/// By the client's port; fragments and what has no port by one shard, as the address pair decides.
fn shard_of(packet: &Packet) -> u64 {
    let odd = |a: u16, b: u16| u64::from((a ^ b) & 1);
    match packet.transport {
        Transport::Tcp(tcp) => odd(tcp.src_port, tcp.dst_port),
        Transport::Udp(udp) => odd(udp.src_port, udp.dst_port),
        Transport::Icmp(Icmp {
            quoted: Some(q), ..
        }) => odd(q.src_port, q.dst_port),
        _ => 1,
    }
}

#[test]
fn expiry_comes_in_exact_order() {
    for seed in 3000..3040 {
        let mut flows = Flows::new(ROOMY, [seed, 1]);
        let mut said: Said = Vec::new();
        let trace = random_mix(seed, 500);
        for (packet, now) in &trace {
            let before = said.len();
            flows.expire(*now, &mut |when, event| said.push((when, event)));
            let order = |(when, event): &(When, FlowEvent)| match (when, event) {
                (When::Deadline(due), FlowEvent::Ended(r)) => {
                    assert!(due <= now);
                    (*due, r.start_ns, r.tuple, r.isn, r.midstream, r.reason)
                }
                other => panic!("{other:?} from a sweep"),
            };
            assert!(said[before..].is_sorted_by_key(order), "seed {seed}");
            flows.on_packet(packet, *now, &mut |when, event| {
                assert!(
                    !matches!(when, When::Deadline(_)),
                    "nothing due is left: {event:?}"
                );
                said.push((when, event));
            });
        }
        let before = said.len();
        flows.finish(&mut |when, event| said.push((when, event)));
        let ends = records(&said[before..].to_vec());
        assert!(ends.is_sorted_by_key(|r| (r.start_ns, r.tuple, r.isn)));
    }
}
