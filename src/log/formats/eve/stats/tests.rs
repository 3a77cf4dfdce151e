use super::*;
use crate::inspect::contact::Owner;
use crate::log::formats::Format as _;
use crate::log::formats::context::Context;
use crate::log::formats::eve::Eve;
use crate::log::formats::interfaces::Interfaces;
use crate::log::formats::samples::books;
use crate::log::notice::{Notice, Stats};
use std::sync::Arc;

fn eve() -> Eve {
    Eve::new(Context {
        host: "edge".into(),
        interfaces: Interfaces::default(),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: false,
    })
}

/// The record as it is in the log.
fn record(stats: &Stats) -> Value {
    let mut line = Vec::new();
    eve().notice(&mut line, &stats.clone().notice(0), 0);
    serde_json::from_slice(&line).expect("JSON")
}

#[test]
fn a_stats_record_has_suricatas_totals_and_our_interval() {
    let before = books();
    let mut now = books();
    assert!(now.closed(), "{:#?}", now.identities());
    (now.rings[1].tp_packets, now.rings[1].frames_read) = (60, 60);
    now.shards.frames += 10;
    now.shards.packets += 10;
    (
        now.shards.flow.flow_packets,
        now.shards.flow.packets_accounted,
    ) = (153, 153);
    now.shards.connections_not_asked = 5;
    let stats = Stats {
        now: now.clone(),
        before: before.clone(),
        interval_s: 8.000_4,
        run_s: 75.9,
        last: false,
    };
    let record = record(&stats);
    assert_eq!(record["event_type"], "stats");
    assert_eq!(
        record["stats"],
        json!({"uptime": 75, "capture": {"kernel_packets": 160, "kernel_drops": 7}})
    );
    assert_eq!(record.get("capture"), None);
    let ours = &record["synledger"];
    assert_eq!(
        (&ours["final"], &ours["interval_s"]),
        (&json!(false), &json!(8.0))
    );
    assert_eq!(
        (&ours["complete"], &ours["missed"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(ours["books"]["frames"], 10);
    assert_eq!(ours["books"]["connections_not_asked"], 5);
    let ring = json!({
        "interface": "eth0", "class": "data", "worker": 0, "tp_packets": 10, "frames_read": 10,
    });
    assert_eq!(ours["books"]["rings"], json!([ring]));
    for zero in ["new_connections", "outputs", "missed", "filtered_frames"] {
        assert_eq!(ours["books"].get(zero), None, "absent means 0: {ours}");
    }
    let totals = &ours["totals"];
    assert_eq!(totals["books"].get("rings"), None, "{totals}");
    assert_eq!(
        (&totals["complete"], &totals["missed"]),
        (&json!(false), &json!(7))
    );
    assert_eq!(totals["missed_bound"]["attempts"], 7);
    assert_eq!(totals["books"]["missed"]["ring_tp_drops"], 7);
    assert_eq!(totals["books"]["outputs"][1]["written"]["connection"], 93);
    assert_eq!(ours["closed"], false, "attempts that nobody wrote");
    let open = ours["open_identities"].as_array().expect("a list");
    assert_eq!(open.len(), 2, "{open:?}");
    assert_eq!(
        (&open[0]["left"], &open[0]["right"]),
        (&json!(93), &json!(98))
    );
}

#[test]
fn the_last_record_says_so_and_has_the_whole_run() {
    let now = books();
    let stats = Stats {
        now: now.clone(),
        before: Books::default(),
        interval_s: 2.5,
        run_s: 2.5,
        last: true,
    };
    let record = record(&stats);
    assert_eq!(record["synledger"]["final"], true);
    assert_eq!(
        record["synledger"]["books"],
        record["synledger"]["totals"]["books"]
    );
}

#[test]
fn what_the_filter_rejects_uncounted_is_null_and_not_nothing() {
    let mut now = books();
    let value = |now: &Books| books_json(now).get("filtered_frames").cloned();
    assert_eq!(value(&now), Some(json!(0)));
    now.filtered = None;
    assert_eq!(value(&now), Some(Value::Null));
    now.rings.clear();
    assert_eq!(value(&now), None, "there is no filter in read");
}

/// An idle host, after a day: a few frames a minute in each data ring, nothing else.
fn idle(workers: usize, interfaces: usize) -> (Books, Books) {
    let mut before = books();
    before.rings.clear();
    for interface in 0..interfaces {
        for class in ["data", "control", "open"] {
            before.rings.extend((0..workers).map(|worker| RingCounts {
                id: RingId {
                    interface: format!("enp{interface}s0f0np0"),
                    class,
                    worker,
                },
                tp_packets: 123_456,
                frames_read: 123_456,
                ..RingCounts::default()
            }));
        }
    }
    before.outputs.truncate(1);
    before.outputs[0].counts.written = [12_345, 1234, 12_345, 1440, 12, 0];
    before.shed_in_kernel = Some(0);
    let shards = &mut before.shards;
    shards.shed.spent_us = [86_400_000_000, 0, 0, 0];
    shards.shed.workers = [0; 4];
    shards.unread_frames[0] = 123_456;
    shards.flow.syn_packets = 12_345;
    shards.flow.new_connections = 12_345;
    shards.flow.syn_retransmitted = 123;
    shards.flow.answered_connections = 12_345;
    shards.flow.established_connections = 12_345;
    shards.flow.refused_connections = 123;
    shards.flow.flows_opened = 123_456;
    shards.detectors.port_scan.ended = 12;
    shards.scans[0] = [12; 5];
    shards.contacts_sent[0] = shards.contacts_made(Owner::Source).0;
    shards.contacts_merged[0] = shards.contacts_sent[0];
    shards.detectors.sources.held_back = shards.contacts_sent[0];
    shards.horizons.scan_gaps_ns[..5].fill(60_000_000_000);
    let mut now = before.clone();
    for ring in now.rings.iter_mut().filter(|ring| ring.id.class == "data") {
        (ring.tp_packets, ring.frames_read) = (123_466, 123_466);
    }
    now.shards.frames += 20;
    now.shards.packets += 10;
    now.shards.unread_frames[0] += 10;
    now.shards.flow.flows_opened += 1;
    now.outputs[0].counts.written[3] += 1;
    (now, before)
}

fn line_bytes(notice: &Notice) -> usize {
    let mut line = Vec::new();
    eve().notice(&mut line, notice, 0);
    line.len()
}

#[test]
fn an_idle_host_writes_at_most_five_megabytes_of_eve_a_day() {
    const A_DAY: usize = 86_400 / 60;
    let bytes = |workers, interfaces, last| {
        let (now, before) = idle(workers, interfaces);
        let stats = Stats {
            now: now.clone(),
            before: before.clone(),
            interval_s: 60.003,
            run_s: 86_399.123,
            last,
        };
        line_bytes(&stats.notice(1_619_623_685_123_456_789))
    };
    let turn = |word| Notice::Lifecycle {
        ts_ns: 0,
        word,
        text: "x".repeat(1000),
        details: Vec::new(),
    };
    let around = line_bytes(&turn("start")) + line_bytes(&turn("stop"));
    for (workers, interfaces) in [(1, 1), (4, 3)] {
        let (one, last) = (
            bytes(workers, interfaces, false),
            bytes(workers, interfaces, true),
        );
        let day = A_DAY * one + around + last;
        eprintln!(
            "{workers} workers, {interfaces} interfaces: {one} bytes a record, {last} the last, {day} a day"
        );
        assert!(one <= 3450 && day <= 5_000_000, "{one} bytes, {day} a day");
    }
}
