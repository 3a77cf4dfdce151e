//! Events for tests.

use crate::books::Books;
use crate::books::output::OutputBooks;
use crate::books::ring::{RingCounts, RingId};
use crate::capture::tunnels::Inside;
use crate::flow::record::{
    Attempt, Basis, ConnState, EndReason, FiveTuple, FlowRecord, History, Volume,
};
use crate::inspect::detection::{
    AlertStatus, Detection, Evidence, Extent, Kind, Phase, Proof, SourceEvidence, Subject, Verdict,
};
use crate::log::block_record::{BlockRecord, Cause, Outcome, Why};
use crate::log::event::{Body, Event, Step};
use crate::log::notice::{Notice, Stats};
use serde_json::json;
use std::net::IpAddr;

/// 2021-04-28 15:28:05.123456789
pub const TS_NS: i64 = 1_619_623_685_123_456_789;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn event(body: Body) -> Event {
    Event {
        position: 1,
        step: Step::Frame(0, TS_NS),
        body,
    }
}

pub fn attempt() -> Attempt {
    Attempt {
        ts_ns: TS_NS,
        tuple: FiveTuple {
            src: ip("192.0.2.56"),
            dst: ip("10.0.0.5"),
            src_port: 5973,
            dst_port: 80,
            proto: 6,
        },
        isn: 7,
        odd: false,
        interface: 0,
        vlan: [10, 0],
        vlan_count: 1,
    }
}

pub fn connection() -> Event {
    event(Body::NewConnection(attempt()))
}

pub fn connection6() -> Event {
    let mut attempt = attempt();
    attempt.tuple.src = ip("2001:db8::1");
    attempt.tuple.dst = ip("2001:db8::5");
    event(Body::NewConnection(attempt))
}

pub fn at(position: u64, isn: u32) -> Event {
    let attempt = Attempt { isn, ..attempt() };
    Event {
        position,
        ..event(Body::NewConnection(attempt))
    }
}

pub fn flow_record() -> FlowRecord {
    let attempt = attempt();
    let volume = |packets, bytes| Volume {
        packets,
        bytes,
        payload_bytes: bytes - 60 * packets / 2,
        ip_bytes: bytes - 14 * packets,
        tcp_flags: 0x1b,
        ..Volume::default()
    };
    FlowRecord {
        tuple: attempt.tuple,
        isn: attempt.isn,
        start_ns: TS_NS,
        end_ns: TS_NS + 2_000_001_000,
        orig: volume(10, 1234),
        resp: volume(8, 4321),
        conn_state: ConnState::Sf,
        history: History {
            letters: *b"ShADadFf\0\0\0\0\0\0\0\0",
        },
        reason: EndReason::Fin,
        basis: Basis::Handshake,
        midstream: false,
        preexisting: false,
        gso: true,
        fragmented: false,
        id: 0,
        joined: false,
        saturated: false,
        reopened: false,
        shed: false,
        inside: Inside::NONE,
        interim: false,
        part: 0,
        since_ns: TS_NS,
        total: false,
        interface: 0,
        interface_resp: 0,
        vlan: [10, 0],
        vlan_count: 0,
    }
}

pub fn flow() -> Event {
    event(Body::Flow(flow_record()))
}

pub fn scan(phase: Phase, ranges: Vec<(u16, u16)>, ports: u32) -> Detection {
    Detection {
        kind: Kind::PortScan,
        phase,
        ts_ns: TS_NS,
        subject: Subject::Pair {
            src: ip("192.0.2.56"),
            dst: ip("10.0.0.5"),
        },
        extent: Extent::Ports {
            count: ports,
            ranges,
        },
        proof: Proof::None,
        first_ns: TS_NS - 1_000_000_000,
        last_ns: TS_NS,
        window_ns: 60_000_000_000,
        exact: true,
        complete: true,
        evidence: Evidence::default(),
        source: SourceEvidence::default(),
        verdict: Some(Verdict::Unproven),
        crowd: None,
        interface: 0,
        src_prefix: None,
        vlan: [0; 2],
        vlan_count: 0,
        status: AlertStatus::Alert,
    }
}

/// A sweep of port 22.
pub fn sweep(phase: Phase, hosts: u32) -> Detection {
    let scan = scan(phase, Vec::new(), 0);
    Detection {
        kind: Kind::HostSweep,
        subject: Subject::SourcePort {
            src: scan.subject.src().expect("of a pair"),
            port: 22,
            dst: scan.subject.dst(),
        },
        extent: Extent::Hosts { count: hosts },
        ..scan
    }
}

pub fn alert(detection: &Detection) -> Event {
    event(Body::Alert(Box::new(detection.clone())))
}

pub fn lifecycle() -> Notice {
    Notice::Lifecycle {
        ts_ns: TS_NS,
        word: "start",
        text: "listening on\n eth0".into(),
        details: vec![
            ("workers".into(), json!(2)),
            ("a\"b".into(), json!(["x\n"])),
        ],
    }
}

pub fn stats() -> Notice {
    let stats = Stats {
        now: books(),
        before: Books::default(),
        interval_s: 2.5,
        run_s: 2.5,
        last: true,
    };
    stats.notice(TS_NS)
}

/// A block, a refusal and an end.
pub fn block() -> [BlockRecord; 3] {
    let cause = Cause {
        src: None,
        kind: Kind::PortScan,
        verdict: Some(Verdict::Scan),
        proof: Proof::Handshake,
        dst: ip("198.51.100.7"),
        count: 12,
        evidence: Evidence {
            refused: 9,
            unanswered: 2,
            answered: 1,
            ..Evidence::default()
        },
    };
    let blocked = BlockRecord {
        ts_ns: TS_NS,
        net: ip("192.0.2.9").into(),
        why: Why::Detection(cause),
        outcome: Outcome::Blocked {
            for_s: 3600,
            until_ns: TS_NS + 3_600_000_000_000,
            nth: 2,
            delay_us: Some(1200),
            renewed: false,
        },
        mode: "nft",
        dry_run: false,
    };
    let refused = BlockRecord {
        net: "2001:db8::/64".parse().expect("a network"),
        outcome: Outcome::Refused {
            reason: "gateway",
            errno: None,
        },
        mode: "dry-run",
        dry_run: true,
        why: Why::Detection(Cause {
            src: Some(ip("2001:db8::9")),
            ..cause
        }),
        ..blocked.clone()
    };
    let ended = BlockRecord {
        why: Why::Hand("noisy".into()),
        outcome: Outcome::Ended {
            cause: "expired",
            since_ns: TS_NS - 1_000_000_000,
            dropped: Some((3, 180)),
        },
        ..blocked.clone()
    };
    [blocked, refused, ended]
}

/// A run with rings, outputs and a few losses.
pub fn books() -> Books {
    let ring = |class: &'static str, tp_packets: u64, tp_drops: u64| RingCounts {
        id: RingId {
            interface: "eth0".into(),
            class,
            worker: 0,
        },
        tp_packets,
        tp_drops,
        frames_read: tp_packets - tp_drops,
        ..RingCounts::default()
    };
    let output = |name: &str| OutputBooks {
        name: name.into(),
        ..OutputBooks::default()
    };
    let mut books = Books {
        rings: vec![ring("open", 100, 7), ring("data", 50, 0)],
        outputs: vec![output("text:-"), output("eve:/var/log/eve.json")],
        filtered: Some(0),
        at_exit: true,
        ..Books::default()
    };
    let shards = &mut books.shards;
    (shards.frames, shards.packets) = (143, 143);
    (shards.flow.flow_packets, shards.flow.packets_accounted) = (143, 143);
    (shards.flow.syn_packets, shards.flow.new_connections) = (93, 93);
    (shards.contacts_sent[0], shards.contacts_merged[0]) = (93, 93);
    shards.detectors.sources.held_back = 93;
    books
        .outputs
        .iter_mut()
        .for_each(|one| one.counts.written[0] = 93);
    books
}
