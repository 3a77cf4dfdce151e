//! Each counter, changed by one, opens exactly the identities that it belongs to.

#[path = "books/blocks.rs"]
mod blocks;
#[path = "books/detectors.rs"]
mod detectors;
#[path = "books/rings.rs"]
mod rings;
#[path = "books/witness.rs"]
mod witness;

use synledger::books::output::OutputBooks;
use synledger::books::output::{LogCounts, OutputCounts};
use synledger::books::record_kind::{EventKind, KINDS};
use synledger::books::responder::{ResponderBooks, ResponderCounts};
use synledger::books::ring::{RingCounts, RingId};
use synledger::books::shard::ShardCounts;
use synledger::books::{Books, InFlight};
use synledger::counters::Counters;
use synledger::inspect::detection::Kind;

const FRAMES: &str = "frames of all shards";
const DECODE: &str = "frames = packets + unread_frames";
const STAGE: &str = "packets = flow_packets";
const PACKETS: &str = "flow_packets = packets_accounted + ";
const SYNS: &str = "syn_packets = new_connections + syn_retransmitted + syn_other_interface";
const FLOWS: &str = "flows_opened = flows_closed + flows_merged + flows_open";
const SENT: &str = " = syn_packets + answered_connections";
const SENT_TO_SOURCES: &str = "contacts_sent of the source = syn_packets + answered_connections";
const SENT_TO_TARGETS: &str = "contacts_sent of the target = syn_packets + answered_connections";
const CARRIED_TO_SOURCES: &str = "contacts_sent of the source = contacts_merged";
const CARRIED_TO_TARGETS: &str = "contacts_sent of the target = contacts_merged";
const PHASES: &str = "detections = started + continued + ended of all kinds";
const STEPS: &str = "shed steps up to ";
const CONNECTIONS: &str = ": connection raised = ";
const ALERTS: &str = ": alert raised = ";
const FOLDED: &str = "folded_by_shards + folded_by_logger = folded_connections + folded_log_gone";
const WITHHELD: &str =
    "detections_out_of_scope + detections_allowed + detections_below_verdict = withheld_detections";
const HEARD: &str = ": detections raised and not lost = detections of the responder";
const TAKEN: &str = "blocklist:x: detections = accepted + refused";
const LISTED: &str = "blocklist:x: added = listed + expired + displaced + withdrawn";
const RECORDS: &str = ": flow raised = ";

/// Every counter of a shard but the detectors', with its identities; without any it is part of another, or counted once.
const TABLE: &[(&str, &[&str])] = &[
    ("frames", &[FRAMES, DECODE]),
    ("packets", &[DECODE, STAGE]),
    ("unread_frames", &[DECODE]),
    ("misrouted_frames", &[]),
    ("late_packets", &[]),
    ("frames_cut_by_depth", &[]),
    ("syn_outside_class", &[]),
    ("decapsulated_frames", &[]),
    ("tunnels_opened", &[]),
    ("tunnels_unopened", &[]),
    ("checksums", &[]),
    ("connections_not_asked", &[CONNECTIONS]),
    ("folded_by_shards", &[FOLDED]),
    ("connections_folding", &[]),
    ("detections", &[PHASES, ALERTS, HEARD]),
    ("detections_out_of_scope", &[ALERTS, WITHHELD]),
    ("detections_allowed", &[ALERTS, WITHHELD]),
    ("detections_below_verdict", &[ALERTS, WITHHELD]),
    (
        "contacts_sent source",
        &[SENT_TO_SOURCES, CARRIED_TO_SOURCES],
    ),
    (
        "contacts_sent target",
        &[SENT_TO_TARGETS, CARRIED_TO_TARGETS],
    ),
    (
        "contacts_merged source",
        &[CARRIED_TO_SOURCES, detectors::GATE],
    ),
    (
        "contacts_merged target",
        &[CARRIED_TO_TARGETS, detectors::TO_TARGETS],
    ),
    ("contacts_dropped source", &[CARRIED_TO_SOURCES]),
    ("contacts_dropped target", &[CARRIED_TO_TARGETS]),
    ("connections_log_gone", &[CONNECTIONS]),
    ("folded_log_gone", &[FOLDED]),
    ("flows_log_gone", &[RECORDS]),
    ("detections_log_gone", &[ALERTS, HEARD]),
    ("withheld_log_gone", &[WITHHELD, HEARD]),
    ("shed_up", &[STEPS]),
    ("shed_down", &[STEPS]),
    ("shed_workers", &[STEPS]),
    ("shed_spent_seconds", &[]),
    ("flow_packets", &[STAGE, PACKETS]),
    ("packets_accounted", &[PACKETS]),
    ("syn_packets", &[SYNS, SENT]),
    ("new_connections", &[SYNS, CONNECTIONS]),
    ("syn_retransmitted", &[SYNS]),
    ("syn_other_interface", &[PACKETS, SYNS]),
    ("syn_joined", &[]),
    ("syn_joined_elsewhere", &[PACKETS]),
    ("packets_other_interface", &[PACKETS]),
    ("packets_martian", &[PACKETS]),
    ("packets_early", &[]),
    ("packets_waiting", &[PACKETS]),
    ("packets_pushed_out", &[]),
    ("packets_after_end", &[PACKETS]),
    ("icmp_errors", &[PACKETS]),
    ("icmp_refused", &[]),
    ("icmp_messages", &[SENT_TO_TARGETS]),
    ("fragments", &[PACKETS]),
    ("fragment_bytes", &[]),
    ("headers_joined", &[]),
    ("answered_connections", &[SENT]),
    ("refused_connections", &[SENT]),
    ("established_connections", &[SENT]),
    ("half_open_probes", &[SENT_TO_SOURCES]),
    ("stealth_probes", &[SENT_TO_SOURCES]),
    ("stray_resets", &[SENT_TO_TARGETS]),
    ("udp_opened", &[SENT]),
    ("udp_answered", &[SENT_TO_SOURCES]),
    ("udp_refused", &[SENT_TO_SOURCES]),
    ("datagram_marks", &[SENT_TO_TARGETS]),
    ("stray_answers", &[SENT_TO_TARGETS]),
    ("midstream_flows", &[]),
    ("preexisting_flows", &[]),
    ("preexisting_dropped", &[]),
    ("flows_opened", &[FLOWS]),
    ("flows_reopened", &[]),
    ("flows_closed", &[FLOWS, RECORDS]),
    ("flows_untold", &[RECORDS]),
    ("flow_parts", &[RECORDS]),
    ("flows_merged", &[FLOWS]),
    ("flows_open", &[FLOWS]),
    ("evicted_attempts", &[]),
    ("evicted_established", &[]),
    ("evicted_others", &[]),
    ("evicted_fragments", &[]),
    ("flows_without_volumes", &[]),
];

fn shards() -> ShardCounts {
    let mut shards = ShardCounts {
        frames: 1000,
        packets: 950,
        detections: 3 + 4 + 2 + 1,
        detections_out_of_scope: 3,
        detections_allowed: 1,
        detections_log_gone: 1,
        withheld_log_gone: 1,
        connections_not_asked: 5,
        folded_by_shards: 100,
        connections_log_gone: 1,
        folded_log_gone: 1,
        flows_log_gone: 2,
        contacts_sent: [300 + 40 + 30 + 25 + 7 + 4, 300 + 40 + 30 + 25 + 7 + 12],
        contacts_merged: [396, 399],
        contacts_dropped: [10, 15],
        ..ShardCounts::default()
    };
    (shards.unread_frames[0], shards.unread_frames[3]) = (20, 30);
    let shed = &mut shards.shed;
    shed.up = [0, 5, 3, 1];
    shed.down = [0, 3, 2, 1];
    shed.workers = [0, 2, 1, 0];
    let flow = &mut shards.flow;
    flow.flow_packets = 950;
    (
        flow.packets_accounted,
        flow.packets_other_interface,
        flow.packets_after_end,
    ) = (700, 60, 40);
    (flow.icmp_errors, flow.fragments) = (50, 82);
    (
        flow.syn_packets,
        flow.new_connections,
        flow.syn_retransmitted,
    ) = (300, 250, 30);
    (flow.syn_other_interface, flow.syn_joined_elsewhere) = (20, 2);
    (flow.answered_connections, flow.refused_connections) = (40, 30);
    (flow.flows_opened, flow.flows_merged, flow.flows_open) = (400, 3, 97);
    (flow.flows_closed[0], flow.flows_closed[6]) = (200, 100);
    flow.established_connections = 25;
    (flow.udp_opened, flow.udp_answered, flow.stray_resets) = (7, 4, 12);
    shards.scans[0] = [2, 0, 1, 0, 0];
    shards.scans[1] = [0, 0, 0, 0, 1];
    let detectors = &mut shards.detectors;
    (detectors.sources.held_back, detectors.sources.passed) = (296, 100);
    let scan = &mut detectors.port_scan;
    (scan.touches, scan.outcomes, scan.unheard) = (60, 30, 10);
    (scan.started, scan.continued, scan.ended) = (3, 4, 2);
    detectors.host_sweep.touches = 100;
    detectors.host_sweep.started = 1;
    detectors.stealth_scan.unheard = 100;
    detectors.udp_scan.unheard = 100;
    detectors.slow_scan.outcomes = 100;
    detectors.distributed_scan.touches = 399;
    detectors.syn_flood.touches = 399;
    detectors.rst_flood.unheard = 399;
    detectors.udp_flood.unheard = 399;
    detectors.icmp_flood.unheard = 399;
    shards
}

fn output(name: &str) -> OutputBooks {
    let mut counts = OutputCounts {
        written: [101, 4, 298, 3, 2, 5],
        ..OutputCounts::default()
    };
    counts.dropped[0] = [40, 0, 0, 0, 0, 0];
    counts.dropped[4] = [2, 0, 0, 0, 1, 0];
    counts.folded = [99, 1, 0, 0, 0, 0];
    counts.not_asked = [2, 0, 0, 0, 4, 0];
    OutputBooks {
        name: name.into(),
        counts,
    }
}

fn ring(class: &'static str, frames_read: u64) -> RingCounts {
    RingCounts {
        id: RingId {
            interface: "eth0".into(),
            class,
            worker: 0,
        },
        tp_packets: frames_read + 7,
        tp_drops: 4,
        shed_data: 3,
        frames_read,
        capacity: 100,
        ..RingCounts::default()
    }
}

/// Every counter of a responder, with the identities that it is a part of.
const RESPONDER: &[(&str, &[&str])] = &[
    ("responder_detections", &[HEARD, TAKEN]),
    ("responder_accepted", &[TAKEN]),
    ("responder_refused", &[TAKEN]),
    ("responder_added", &[LISTED]),
    ("responder_expired", &[LISTED]),
    ("responder_displaced", &[LISTED]),
    ("responder_withdrawn", &[LISTED]),
    ("responder_listed", &[LISTED]),
    ("responder_applied", &[]),
    ("responder_waiting", &[]),
    ("responder_writes", &[]),
    ("responder_write_failures", &[]),
];

fn responder() -> ResponderBooks {
    ResponderBooks {
        name: "blocklist:x".into(),
        counts: ResponderCounts {
            detections: 6,
            accepted: 3,
            refused: [1, 1, 1, 0, 0, 0],
            added: 6,
            expired: 2,
            displaced: 1,
            withdrawn: 1,
            listed: 2,
            ..ResponderCounts::default()
        },
    }
}

fn books() -> Books {
    Books {
        shards: shards(),
        rings: vec![ring("open", 300), ring("data", 700)],
        outputs: vec![output("text:-"), output("eve:-")],
        responders: vec![responder()],
        own_records: [0, 0, 0, 3, 7, 5],
        log: LogCounts {
            late_records: 0,
            torn_records: 0,
            folded_by_logger: 3,
            flood_records: 5,
            folded_connections: 102,
            withheld_detections: 2,
            withheld_queue_full: 1,
            alerts_queue_full: 1,
        },
        witness: Some(witness::counts()),
        blocks: Some(blocks::books()),
        at_exit: true,
        ..Books::default()
    }
}

fn open(books: &Books) -> Vec<String> {
    let open = books.identities().into_iter().filter(|one| !one.holds());
    open.map(|one| one.name).collect()
}

/// Changes a counter by 1 and by -1; both must open exactly these identities.
fn assert_opens(what: &str, parts: &[&str], mut change: impl FnMut(&mut Books, i64)) {
    for by in [1, -1] {
        let mut books = books();
        change(&mut books, by);
        let open = open(&books);
        let found = |part: &&str| open.iter().any(|name| name.contains(part));
        assert!(parts.iter().all(found), "{what} {by:+}: {open:#?}");
        let asked = |name: &String| parts.iter().any(|part| name.contains(part));
        assert!(open.iter().all(asked), "{what} {by:+}: {open:#?}");
    }
}

fn add(counter: &mut u64, by: i64) {
    *counter = counter.checked_add_signed(by).unwrap_or(0);
}

/// Changes each counter of the struct that `of` returns, and compares the identities with the table.
fn assert_each_opens<C: Counters>(table: &[(&str, &[&str])], of: fn(&mut Books) -> &mut C) {
    let mut names = Vec::new();
    // A counter with the label `kind`, `owner` or `origin` has identities for each value of it.
    of(&mut books()).each(&mut |counter| {
        let label = counter.labels.first();
        let label = label.filter(|(name, _)| ["kind", "owner", "origin"].contains(name));
        let value = label.map_or(String::new(), |(_, value)| format!(" {value}"));
        names.push(counter.name() + &value);
    });
    for (place, name) in names.iter().enumerate() {
        let row = table.iter().find(|(counter, _)| counter == name);
        let (_, parts) = row.unwrap_or_else(|| panic!("{name} has no place in the table"));
        assert_opens(name, parts, |books, by| {
            let mut at = 0;
            of(books).numbers(&mut |_, counter| {
                if at == place {
                    // A counter at 0 cannot go down: it goes up twice.
                    add(counter, if *counter == 0 { 1 } else { by });
                }
                at += 1;
            });
        });
    }
    for (counter, _) in table {
        assert!(
            names.iter().any(|name| name == counter),
            "{counter} is in the table only"
        );
    }
}

#[test]
fn every_counter_of_a_shard_opens_its_identities() {
    assert_eq!(open(&books()), [""; 0]);
    let of = |(name, parts): &(&str, &[&str])| {
        let parts = parts.iter().map(ToString::to_string);
        (name.to_string(), parts.collect())
    };
    let mut table: Vec<(String, Vec<String>)> = TABLE.iter().map(of).collect();
    table.extend(detectors::table());
    let table: Vec<(&str, Vec<&str>)> = table
        .iter()
        .map(|(name, parts)| (name.as_str(), parts.iter().map(String::as_str).collect()))
        .collect();
    let table: Vec<(&str, &[&str])> = table
        .iter()
        .map(|(name, parts)| (*name, parts.as_slice()))
        .collect();
    assert_each_opens(&table, |books| &mut books.shards);
    for kind in Kind::ALL {
        let (_, owner, _) = shards().detectors.all()[kind as usize];
        assert_eq!(owner, detectors::owner(kind), "{kind}");
    }
}

#[test]
fn every_counter_of_the_witness_opens_its_identities() {
    assert_each_opens(witness::TABLE, |books| books.witness.as_mut().expect("one"));
}

#[test]
fn every_counter_of_blocks_opens_its_identities() {
    assert_each_opens(blocks::TABLE, |books| {
        &mut books.blocks.as_mut().expect("one").counts
    });
}

#[test]
fn every_counter_of_a_responder_opens_its_identities() {
    assert_each_opens(RESPONDER, |books| &mut books.responders[0].counts);
    assert_opens("withheld_detections", &[WITHHELD], |books, by| {
        add(&mut books.log.withheld_detections, by);
    });
    assert_opens("withheld_queue_full", &[WITHHELD, HEARD], |books, by| {
        add(&mut books.log.withheld_queue_full, by);
    });
    assert_opens("alerts_queue_full", &[HEARD], |books, by| {
        add(&mut books.log.alerts_queue_full, by);
    });
}

#[test]
fn every_counter_of_rings_and_outputs_opens_its_identities() {
    let ring = "ring eth0/data/0: ";
    assert_opens("tp_packets", &[ring], |books, by| {
        add(&mut books.rings[1].tp_packets, by);
    });
    assert_opens("tp_drops", &[ring], |books, by| {
        add(&mut books.rings[1].tp_drops, by);
    });
    assert_opens("shed_data", &[ring], |books, by| {
        add(&mut books.rings[1].shed_data, by);
    });
    assert_opens("frames_read", &[ring, FRAMES], |books, by| {
        add(&mut books.rings[1].frames_read, by);
    });
    for kind in EventKind::ALL {
        let name = format!("eve:-: {} raised = ", kind.word());
        let at = kind as usize;
        let of = |what: &str, counter: fn(&mut OutputCounts) -> &mut [u64; KINDS]| {
            assert_opens(what, &[&name], |books, by| {
                let counter = &mut counter(&mut books.outputs[1].counts)[at];
                add(counter, if *counter == 0 { 1 } else { by });
            });
        };
        of("written", |counts| &mut counts.written);
        of("folded", |counts| &mut counts.folded);
        of("not_asked", |counts| &mut counts.not_asked);
        of("dropped", |counts| &mut counts.dropped[4]);
        of("pending", |counts| &mut counts.pending);
    }
    assert_opens("folds.here", &[FOLDED], |books, by| {
        add(&mut books.log.folded_by_logger, by);
    });
    assert_opens("folds.attempts", &[FOLDED], |books, by| {
        add(&mut books.log.folded_connections, by);
    });
    assert_opens("folds.records", &[], |books, by| {
        add(&mut books.log.flood_records, by);
    });
    for kind in [EventKind::Stats, EventKind::Lifecycle, EventKind::Block] {
        let name = format!(": {} raised = ", kind.word());
        assert_opens("own_records", &[&name], |books, by| {
            add(&mut books.own_records[kind as usize], by);
        });
    }
}

#[test]
fn during_a_run_the_sides_differ_at_most_by_what_is_in_flight() {
    let live = || Books {
        at_exit: false,
        in_flight: InFlight {
            frames: 10,
            contacts: 20,
            records: [30, 31, 32, 33, 34, 35],
        },
        ..books()
    };
    assert!(live().closed());
    let opens = |part: &str, slack: u64, change: &dyn Fn(&mut Books, u64)| {
        let mut books = live();
        change(&mut books, slack);
        assert_eq!(open(&books), [""; 0], "{part}: {slack} in flight");
        let mut books = live();
        change(&mut books, slack + 1);
        let open = open(&books);
        assert!(
            !open.is_empty() && open.iter().all(|name| name.contains(part)),
            "{part}: {open:?}"
        );
    };
    let ring = "ring eth0/open/0: ";
    opens(ring, 110, &|books, by| books.rings[0].tp_packets += by);
    opens(ring, 0, &|books, by| books.rings[0].tp_drops += by);
    opens(CARRIED_TO_SOURCES, 20, &|books, by| {
        books.shards.contacts_dropped[0] += by
    });
    for kind in EventKind::ALL {
        let (at, name) = (kind as usize, format!(": {} raised = ", kind.word()));
        opens(&name, 30 + at as u64, &|books, by| {
            books.outputs[0].counts.written[at] += by;
        });
    }
    opens(DECODE, 0, &|books, by| books.shards.unread_frames[1] += by);
}
