//! Packets and events of the benches, the same on every run.

use synledger::flow::record::{Attempt, FiveTuple};
use synledger::log::event::{Body, Event, Step};

/// Client `number` of 2^32, each with its own address.
pub fn client(number: u32) -> craft::Flow {
    let source = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    craft::Flow::v4(source, 1024, [10, 0, 0, 5], 80)
}

/// The same over IPv6.
#[allow(dead_code, reason = "not every bench sends IPv6")]
pub fn client_ipv6(number: u32) -> craft::Flow {
    let source = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    let [a, b] = [[source[0], source[1]], [source[2], source[3]]].map(u16::from_be_bytes);
    let server = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 5];
    craft::Flow::v6([0x2001, 0xdb8, a, b, 0, 0, 0, 1], 1024, server, 80)
}

/// A TCP segment with `data` bytes of payload, as an IP packet.
pub fn tcp(flow: craft::Flow, flags: u8, (seq, ack): (u32, u32), data: usize) -> Vec<u8> {
    let segment = craft::Tcp::new(flow, flags, seq)
        .ack(ack)
        .data(&vec![0; data]);
    craft::Ip::new(flow.src, flow.dst, 6).bytes(&segment.bytes())
}

/// Connections of nine segments, and two datagrams for each, 1,000 at a time.
pub fn mixed(connections: u32, mut push: impl FnMut(&[u8])) {
    use craft::{ACK, FIN, PSH, SYN};
    let steps: [(bool, u8, (u32, u32), usize); 9] = [
        (false, SYN, (1, 0), 0),
        (true, SYN | ACK, (5, 2), 0),
        (false, ACK, (2, 6), 0),
        (false, PSH | ACK, (2, 6), 300),
        (true, PSH | ACK, (6, 302), 1400),
        (true, ACK, (1406, 302), 1400),
        (false, ACK, (302, 2806), 0),
        (true, FIN | ACK, (2806, 302), 0),
        (false, FIN | ACK, (302, 2807), 0),
    ];
    for group in 0..connections / 1000 {
        let clients = || (group * 1000..(group + 1) * 1000).map(client);
        for (back, flags, numbers, data) in steps {
            for flow in clients() {
                let flow = if back { flow.reversed() } else { flow };
                push(&tcp(flow, flags, numbers, data));
            }
        }
        for flow in clients().flat_map(|flow| [flow, flow.reversed()]) {
            let datagram = craft::Udp::new(flow, &[0; 60]).bytes();
            push(&craft::Ip::new(flow.src, flow.dst, 17).bytes(&datagram));
        }
    }
}

/// SYNs, each from a new source.
pub fn flood(syns: u32, mut push: impl FnMut(&[u8])) {
    for number in 0..syns {
        push(&tcp(client(number), craft::SYN, (number, 0), 0));
    }
}

/// The log event of new connection `number`.
pub fn event(number: u32) -> Event {
    let ts_ns = time_ns(number);
    let body = Body::NewConnection(Attempt {
        ts_ns,
        tuple: tuple(number),
        isn: number,
        odd: false,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
    });
    Event {
        position: u64::from(number),
        step: Step::Frame(1, ts_ns),
        body,
    }
}

/// The time of the packet of log event `number`.
pub fn time_ns(number: u32) -> i64 {
    1_619_623_685_000_000_000 + i64::from(number) * 67
}

/// Addresses and ports of connection `number`.
pub fn tuple(number: u32) -> FiveTuple {
    let flow = client(number);
    FiveTuple {
        src: flow.src,
        dst: flow.dst,
        src_port: flow.src_port,
        dst_port: flow.dst_port,
        proto: 6,
    }
}
