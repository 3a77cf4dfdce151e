//! What several benches feed to the stages: the same bytes on every run.

use std::sync::Arc;

use synledger::capture::fanout::Keys;
use synledger::capture::frame::{Frame, LinkType};
use synledger::flow::Limits;
use synledger::flow::record::{Attempt, FiveTuple};
use synledger::inspect::port_scan::Rule;
use synledger::locality::Localities;
use synledger::log::event::{Body, Event, Step};
use synledger::log::fold::Folds;
use synledger::log::merge::Merge;
use synledger::log::queue;
use synledger::mesh::Mesh;
use synledger::policy::Policy;
use synledger::shard::{Parts, Shard};

const QUEUE_EVENTS: usize = 16_384;

/// Frames of one kind of traffic, as bytes one after the other.
#[derive(Default)]
pub struct Load {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Load {
    /// Adds a packet, in Ethernet.
    pub fn push(&mut self, ip: &[u8]) {
        self.bytes.extend(craft::Link::ethernet().frame(ip));
        self.ends.push(self.bytes.len());
    }

    /// The frames, 67 ns apart.
    pub fn frames(&self) -> Vec<Frame<'_>> {
        let mut from = 0;
        let cut = |(ts_ns, &end): (i64, &usize)| {
            let bytes = &self.bytes[from..end];
            from = end;
            Frame {
                bytes,
                wire_len: u32::try_from(bytes.len()).expect("a frame"),
                ts_ns: ts_ns * 67,
                interface: 0,
                link: LinkType::Ethernet,
                vlan: None,
                gso: false,
            }
        };
        (1_i64..).zip(&self.ends).map(cut).collect()
    }
}

/// A client of this number, each with an address of its own.
pub fn client(number: u32) -> craft::Flow {
    let source = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
    craft::Flow::v4(source, 1024, [10, 0, 0, 5], 80)
}

/// Adds a segment with so many bytes of data.
pub fn tcp(load: &mut Load, flow: craft::Flow, flags: u8, (seq, ack): (u32, u32), data: usize) {
    let segment = craft::Tcp::new(flow, flags, seq)
        .ack(ack)
        .data(&vec![0; data]);
    load.push(&craft::Ip::new(flow.src, flow.dst, 6).bytes(&segment.bytes()));
}

/// Connections of nine segments and two datagrams each, 1,000 at a time.
pub fn mixed(connections: u32) -> Load {
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
    let mut load = Load::default();
    for group in 0..connections / 1000 {
        let clients = || (group * 1000..(group + 1) * 1000).map(client);
        for (back, flags, numbers, data) in steps {
            for flow in clients() {
                let flow = if back { flow.reversed() } else { flow };
                tcp(&mut load, flow, flags, numbers, data);
            }
        }
        for flow in clients().flat_map(|flow| [flow, flow.reversed()]) {
            let datagram = craft::Udp::new(flow, &[0; 60]).bytes();
            load.push(&craft::Ip::new(flow.src, flow.dst, 17).bytes(&datagram));
        }
    }
    load
}

/// So many SYNs, every source new.
pub fn flood(syns: u32) -> Load {
    let mut load = Load::default();
    for number in 0..syns {
        tcp(&mut load, client(number), craft::SYN, (number, 0), 0);
    }
    load
}

/// A new connection for the log.
pub fn event(number: u32) -> Event {
    let flow = client(number);
    let tuple = FiveTuple {
        src: flow.src,
        dst: flow.dst,
        src_port: flow.src_port,
        dst_port: flow.dst_port,
        proto: 6,
    };
    let body = Body::NewConnection(Attempt {
        ts_ns: 1_619_623_685_000_000_000 + i64::from(number) * 67,
        tuple,
        isn: number,
        odd: false,
        interface: 0,
        vlan: [0; 2],
        vlan_count: 0,
    });
    Event {
        position: u64::from(number),
        step: Step::Frame(1),
        body,
    }
}

/// A shard with fixed keys, its memory touched, and the end of its log queue.
pub fn shard(flows: Limits, rule: Rule, folds: Option<Folds>) -> (Shard, Merge) {
    let (log, consumer) = queue::queue(QUEUE_EVENTS);
    let mut shard = Shard::new(Parts {
        id: 0,
        keys: Keys::from_seed(1),
        table_keys: [1, 2],
        flows,
        rule,
        policy: Policy {
            localities: Arc::new(Localities::offline(&[])),
            directions: Arc::new([]),
            all_scans: true,
            host: false,
            allow: Arc::new([]),
        },
        mesh: Mesh::new(1).pop().expect("one worker"),
        flow_records: false,
        log,
        folds,
        live: true,
    });
    shard.prefault();
    (shard, Merge::new(vec![consumer], None))
}
