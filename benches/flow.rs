//! Times the flow stage: a spoofed SYN flood, data of established connections, the sweep.
//!
//! Each figure asserts its result before it is printed.

use std::net::IpAddr;
use std::time::Instant;
use synledger::decode::Headers;
use synledger::decode::key::Key;
use synledger::decode::packet::tcp_flags;
use synledger::flow::{Flows, Limits, Lookup};

const SYN: u8 = tcp_flags::SYN;
const ACK: u8 = tcp_flags::ACK;
const FRAMES: u32 = 600_000;
const CONNECTIONS: u32 = 200_000;

/// A segment between host number `client` and one server; `back` is from the server.
fn segment(ts_ns: i64, client: u32, back: bool, flags: u8, seq: u32, ack: u32) -> Headers {
    let client = IpAddr::from(client.wrapping_mul(0x9e37_79b1).to_be_bytes());
    let server = IpAddr::from([10, 0, 0, 5]);
    let (src, dst) = if back {
        (server, client)
    } else {
        (client, server)
    };
    let (src_port, dst_port) = if back { (80, 1024) } else { (1024, 80) };
    Headers {
        key: Key::new(src, dst, src_port, dst_port, 6),
        ts_ns,
        wire_len: 60,
        seq,
        ack,
        flags,
        ..Headers::default()
    }
}

/// Feeds packets; gives nanoseconds for each.
fn feed(flows: &mut Flows, packets: &[Headers]) -> u128 {
    let begin = Instant::now();
    for packet in packets {
        let mut packet = *packet;
        let mut lookup = Lookup::default();
        flows.prefetch(&mut packet, &mut lookup);
        flows.on_headers(&packet, &lookup, packet.ts_ns, &mut |_, _| ());
    }
    begin.elapsed().as_nanos() / packets.len() as u128
}

fn flood(flows: &mut Flows, from_ns: i64) {
    let frames: Vec<_> = (0..FRAMES)
        .map(|i| segment(from_ns + i64::from(i) * 67, i, false, SYN, 1, 0))
        .collect();
    let before = flows.counts().new_connections;
    let each = feed(flows, &frames);
    assert_eq!(flows.counts().new_connections - before, u64::from(FRAMES));
    assert_eq!(flows.counts().evicted_attempts, 0);
    eprintln!("spoofed SYN: {each} ns, {:?} held", flows.held());
}

fn sweep(flows: &mut Flows, until_ns: i64) {
    let begin = Instant::now();
    let mut ended = 0_u64;
    flows.expire(until_ns, &mut |_, _| ended += 1);
    assert_eq!(flows.held()[0], 0);
    let each = begin.elapsed().as_nanos() / u128::from(ended.max(1));
    eprintln!("sweep: {each} ns an attempt, {ended} ended");
}

fn connections(flows: &mut Flows, from_ns: i64) {
    let steps = [
        (false, SYN, 1, 0),
        (true, SYN | ACK, 5, 2),
        (false, ACK, 2, 6),
    ];
    for (back, flags, seq, ack) in steps {
        let frames: Vec<_> = (0..CONNECTIONS)
            .map(|i| segment(from_ns, i, back, flags, seq, ack))
            .collect();
        let each = feed(flows, &frames);
        eprintln!("handshake, flags {flags:#04x}: {each} ns");
    }
    assert_eq!(
        flows.counts().established_connections,
        u64::from(CONNECTIONS)
    );
    let frames: Vec<_> = (0..FRAMES)
        .map(|i| {
            let client = i.wrapping_mul(7919) % CONNECTIONS;
            let back = i % 2 == 0;
            let (seq, ack) = if back { (6, 2) } else { (2, 6) };
            segment(from_ns + i64::from(i), client, back, ACK, seq, ack)
        })
        .collect();
    let before = flows.counts().packets_accounted;
    let each = feed(flows, &frames);
    assert_eq!(flows.counts().packets_accounted - before, u64::from(FRAMES));
    eprintln!("established data over {CONNECTIONS}: {each} ns");
}

fn main() {
    let mut flows = Flows::new(
        Limits {
            attempts: 1 << 20,
            established: 1 << 18,
            others: 1 << 10,
            fragments: 4,
            parts: false,
        },
        [1, 2],
    );
    flows.prefault();
    flood(&mut flows, 0);
    sweep(&mut flows, 200_000_000_000);
    flood(&mut flows, 201_000_000_000);
    sweep(&mut flows, 500_000_000_000);
    connections(&mut flows, 501_000_000_000);
    for (name, left, right) in flows.counts().identities() {
        assert_eq!(left, right, "{name}");
    }
}
