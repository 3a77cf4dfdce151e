//! Frames and shards that several benches use, the same on every run.

pub mod traffic;

use std::sync::Arc;

use synledger::capture::bpf::fanout::Keys;
use synledger::capture::frame::{Frame, LinkType};
use synledger::flow::Limits;
use synledger::host::addresses::Localities;
use synledger::inspect::Rules;
use synledger::inspect::detection::Verdict;
use synledger::log::fold::Folds;
use synledger::log::merge::{self, Merge};
use synledger::shard::contacts::Mesh;
use synledger::shard::opening::Opening;
use synledger::shard::policy::Policy;
use synledger::shard::{Parts, Shard};

const QUEUE_EVENTS: usize = 16_384;

/// Frames in one buffer.
#[derive(Default)]
pub struct Load {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Load {
    /// Adds an IP packet in an Ethernet frame.
    pub fn push(&mut self, ip: &[u8]) {
        self.bytes.extend(craft::Link::ethernet().frame(ip));
        self.ends.push(self.bytes.len());
    }

    /// The frames, 67 ns apart.
    pub fn frames(&self) -> Vec<Frame<'_>> {
        self.frames_every(67)
    }

    /// The frames, so many nanoseconds apart.
    pub fn frames_every(&self, gap_ns: i64) -> Vec<Frame<'_>> {
        let mut from = 0;
        let cut = |(ts_ns, &end): (i64, &usize)| {
            let bytes = &self.bytes[from..end];
            from = end;
            Frame {
                bytes,
                wire_len: u32::try_from(bytes.len()).expect("a frame"),
                ts_ns: ts_ns * gap_ns,
                interface: 0,
                link: LinkType::Ethernet,
                vlan: None,
                gso: false,
                incoming: false,
            }
        };
        (1_i64..).zip(&self.ends).map(cut).collect()
    }
}

/// [`traffic::mixed`] in memory.
pub fn mixed(connections: u32) -> Load {
    let mut load = Load::default();
    traffic::mixed(connections, |ip| load.push(ip));
    load
}

/// [`traffic::flood`] in memory.
pub fn flood(syns: u32) -> Load {
    let mut load = Load::default();
    traffic::flood(syns, |ip| load.push(ip));
    load
}

/// A shard with fixed keys and its memory prefaulted, and the consumer of its log queue.
pub fn shard(flows: Limits, rules: Rules, folds: Option<Folds>) -> (Shard, Merge) {
    let (log, consumer) = merge::queue(QUEUE_EVENTS);
    let mut shard = Shard::new(Parts {
        id: 0,
        keys: Keys::from_seed(1),
        table_keys: [1, 2],
        flows,
        rules,
        policy: Policy {
            localities: Arc::new(Localities::offline(&[])),
            directions: Arc::new([]),
            all_scans: true,
            host: false,
            allow: Arc::new([]),
            dark: Arc::new([]),
            alert: Verdict::Unproven,
        },
        mesh: Mesh::new(1).pop().expect("one worker"),
        flow_records: false,
        active_ns: None,
        log,
        folds,
        live: true,
        by_vlan: false,
        opening: Opening::NONE,
    });
    shard.prefault();
    (shard, Merge::new(vec![consumer], None))
}
