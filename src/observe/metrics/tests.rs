//! The exposition, read by a parser that takes nothing for granted.

use super::*;
use crate::books::blocks::{BlockBooks, BlockCounts, Origin};
use crate::books::horizons::Horizons;
use crate::books::output::{Cause, OutputBooks, OutputCounts};
use crate::books::record_kind::EventKind;
use crate::books::responder::ResponderBooks;
use crate::books::ring::RingCounts;
use crate::books::witness::WitnessCounts;
use crate::counters::Counters as _;
use crate::inspect;
use series::Fate;
use std::collections::{BTreeMap, BTreeSet};

/// One family: type and help, and its series with their labels.
#[derive(Debug, Default)]
struct Read {
    kind: String,
    help: String,
    series: Vec<(String, BTreeMap<String, String>, f64)>,
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// `name="value",…` up to the closing brace; gives what follows it.
fn labels(mut text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    while !text.starts_with('}') {
        let (name, rest) = text.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        text = loop {
            match chars.next().expect("the value ends") {
                (at, '"') => break &rest[at + 1..],
                (_, '\\') => match chars.next().expect("an escape").1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    c => panic!("unknown escape {c}"),
                },
                (_, c) => value.push(c),
            }
        };
        assert!(
            labels.insert(name.to_owned(), value).is_none(),
            "{name} twice"
        );
        text = text.strip_prefix(',').unwrap_or_else(|| {
            assert!(text.starts_with('}'), "{text}");
            text
        });
    }
    (labels, &text[1..])
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        _ => text.parse().expect(text),
    }
}

/// The name of the family that a series belongs to, where it has one of its type's suffixes.
fn family_of<'a>(series: &'a str, name: &str, kind: &str, format: Format) -> Option<&'a str> {
    let suffixes: &[&str] = match (kind, format) {
        ("counter", Format::OpenMetrics) => &["_total"],
        ("info", Format::OpenMetrics) => &["_info"],
        ("histogram", _) => &["_bucket", "_sum", "_count"],
        _ => &[""],
    };
    let stems = suffixes.iter().filter_map(|end| series.strip_suffix(end));
    stems.into_iter().find(|stem| *stem == name)
}

/// Reads an exposition: each family once, its help and type before its series, no series twice.
fn read(text: &str, format: Format) -> BTreeMap<String, Read> {
    let (mut families, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let mut now = String::new();
    assert!(text.ends_with('\n'));
    let mut lines = text.lines();
    if format == Format::OpenMetrics {
        assert_eq!(lines.next_back(), Some("# EOF"));
    }
    for line in lines {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(is_name(name) && !help.is_empty(), "{line}");
            let read = Read {
                help: help.to_owned(),
                ..Read::default()
            };
            assert!(
                families.insert(name.to_owned(), read).is_none(),
                "{name} twice"
            );
            now = name.to_owned();
            continue;
        }
        let family = families.get_mut(&now).expect("a help comes first");
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!((name, family.kind.as_str()), (now.as_str(), ""), "{line}");
            let known = ["counter", "gauge", "histogram"];
            let more = format == Format::OpenMetrics && kind == "info";
            assert!(known.contains(&kind) || more, "{line}");
            assert!(family.series.is_empty());
            family.kind = kind.to_owned();
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        assert!(!family.kind.is_empty(), "{line} before its type");
        let end = line.find(['{', ' ']).expect("a value");
        let (name, rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        assert_eq!(
            family_of(name, &now, &family.kind, format),
            Some(now.as_str()),
            "{line} under {now}"
        );
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (BTreeMap::new(), rest),
        };
        let value = number(rest.strip_prefix(' ').expect("one space"));
        assert!(
            seen.insert((name.to_owned(), labels.clone())),
            "{line} twice"
        );
        family.series.push((name.to_owned(), labels, value));
    }
    families
}

fn ring(class: &'static str, worker: usize, tp_packets: u64) -> RingCounts {
    let interface = "eth0".to_owned();
    RingCounts {
        id: RingId {
            interface,
            class,
            worker,
        },
        tp_packets,
        frames_read: tp_packets,
        ..RingCounts::default()
    }
}

fn snapshot() -> Snapshot {
    let mut counts = OutputCounts::default();
    counts.dropped[Cause::Slow as usize][EventKind::Flow as usize] = 4;
    let output = |name: &str| OutputBooks {
        name: name.to_owned(),
        counts,
    };
    let mut books = Books {
        rings: vec![ring("open", 0, 3), ring("open", 1, 4), ring("data", 0, 5)],
        outputs: vec![output("text:-"), output("eve:/odd\"name\\with\nall")],
        filtered: Some(7),
        ..Books::default()
    };
    books.shards.flow.new_connections = 12;
    books.shards.scans[0] = [1, 2, 3, 4, 5];
    books.shards.horizons = Horizons {
        dedup_ns: 1_500_000_000,
        scan_gaps_ns: std::array::from_fn(|kind| match kind {
            0 => 250_000_000,
            _ => i64::MAX,
        }),
    };
    let shed = &mut books.shards.shed;
    (shed.up, shed.down, shed.spent_us) = ([0, 5, 3, 1], [0, 4, 2, 1], [9, 1_500_000, 2, 3]);
    Snapshot {
        ring_occupancy: books
            .rings
            .iter()
            .map(|ring| (ring.id.clone(), 0.25 * (1 + ring.id.worker) as f64))
            .collect(),
        books,
        tables: vec![("attempts", 1, 4)],
        worker_behind: 2,
        log_lag: LogLag {
            within: [0, 1, 1, 2, 3, 3, 3, 3],
            count: 5,
            sum_s: 7.5,
        },
        degraded: vec![(Reason::Shed, "one sentence".to_owned())],
        gap_s: Some(12.5),
        retention_s: vec![("eve:/x".to_owned(), 86_400.0)],
        since_frame_s: vec![("eth0".to_owned(), 3.5)],
        since_progress_s: vec![("worker-1".to_owned(), 12.0)],
        blind: Vec::new(),
        clock_synchronized: Some(false),
        config_sha256: "ab12".to_owned(),
    }
}

fn rendered(snapshot: Snapshot, format: Format) -> BTreeMap<String, Read> {
    let exposition = Exposition::starting_now(Arc::new(move || snapshot.clone()));
    read(&render(exposition, format).expect("text"), format)
}

fn value(all: &BTreeMap<String, Read>, family: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |found: &BTreeMap<String, String>| {
        found.len() == labels.len()
            && labels
                .iter()
                .all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
    };
    let series = &all
        .get(family)
        .unwrap_or_else(|| panic!("no {family}"))
        .series;
    let mut values = series.iter().filter(|(_, found, _)| has(found));
    let value = values
        .next()
        .unwrap_or_else(|| panic!("no {family}{labels:?}"));
    value.2
}

#[test]
fn both_formats_hold_what_the_snapshot_does() {
    for format in [Format::Text, Format::OpenMetrics] {
        let all = rendered(snapshot(), format);
        let of = |name: &str, labels: &[(&str, &str)]| {
            let total = if format == Format::Text { "_total" } else { "" };
            value(&all, &format!("synledger_{name}{total}"), labels)
        };
        assert_eq!(of("new_connections", &[]), 12.0);
        assert_eq!(of("filtered_frames", &[]), 7.0);
        for (way, count) in [("in", 1.0), ("out", 2.0), ("local", 3.0), ("transit", 4.0)] {
            let labels = [("direction", way)];
            assert_eq!(of("scans_by_direction", &labels), count, "{way}");
        }
        assert_eq!(of("scans", &[("kind", "port_scan")]), 15.0);
        let open = [("interface", "eth0"), ("class", "open")];
        assert_eq!(of("ring_tp_packets", &open), 7.0);
        assert_eq!(value(&all, "synledger_ring_occupancy_ratio", &open), 0.5);
        assert_eq!(of("worker_frames", &[("worker", "0")]), 8.0);
        let thread = [("thread", "worker-1")];
        let since = value(&all, "synledger_seconds_since_progress", &thread);
        assert_eq!(since, 12.0);
        let output = ("output", "eve:/odd\"name\\with\nall");
        assert_eq!(of("records_dropped", &[output, ("cause", "slow")]), 4.0);
        assert_eq!(of("records_dropped_by_kind", &[("kind", "flow")]), 8.0);
        assert_eq!(value(&all, "synledger_worker_behind", &[]), 2.0);
        let gap = "synledger_not_watched_before_start_seconds";
        assert_eq!(value(&all, gap, &[]), 12.5);
        let (silence, eth0) = (
            "synledger_seconds_since_last_frame",
            [("interface", "eth0")],
        );
        assert_eq!(value(&all, silence, &eth0), 3.5);
        let eve = [("output", "eve:/x")];
        let retention = "synledger_log_retention_seconds";
        assert_eq!(value(&all, retention, &eve), 86_400.0);
        assert_eq!(of("shed_up", &[]), 9.0);
        assert_eq!(of("shed_down", &[]), 7.0);
        assert_eq!(of("shed_spent_seconds", &[("level", "1")]), 1.5);
        assert_eq!(value(&all, "synledger_dedup_horizon_seconds", &[]), 1.5);
        let gap = "synledger_port_scan_min_detectable_gap_seconds";
        assert_eq!(value(&all, gap, &[]), 0.25);
        let build = if format == Format::Text {
            "synledger_build_info"
        } else {
            "synledger_build"
        };
        let version = ("version", env!("CARGO_PKG_VERSION"));
        let labels = [version, ("config_sha256", "ab12")];
        assert_eq!(value(&all, build, &labels), 1.0);
        assert_eq!(value(&all, "synledger_clock_synchronized", &[]), 0.0);
        assert_eq!(value(&all, "synledger_healthy", &[]), 0.0);
        for start in ["process_start_time_seconds", "synledger_start_time_seconds"] {
            assert!(value(&all, start, &[]) > 1.6e9);
        }
    }
}

#[test]
fn every_series_has_the_name_help_and_sum_of_eves_counter_and_every_loss_is_a_cause() {
    let mut snapshot = full();
    let shards = &mut snapshot.books.shards;
    // Each counter has a number of its own.
    let mut next = 1;
    let mut number = |_: Kind, count: &mut u64| {
        next += 1;
        *count = next;
    };
    shards.numbers(&mut number);
    // Of the SYNs at another interface, which have a smaller number.
    shards.flow.syn_joined_elsewhere = 0;
    let books = snapshot.books.clone();
    let all = rendered(snapshot, Format::Text);
    let mut sums: BTreeMap<String, (Kind, &str, f64)> = BTreeMap::new();
    books.each(&mut |counter| {
        let count = match counter.kind {
            Kind::Micros => counter.count as f64 / 1e6,
            _ => counter.count as f64,
        };
        let new = (counter.kind, counter.help, 0.0);
        sums.entry(counter.name()).or_insert(new).2 += count;
    });
    let mut served = 0;
    for (name, (kind, help, sum)) in &sums {
        let total = if *kind == Kind::Gauge { "" } else { "_total" };
        match series::fate(*kind, name) {
            Fate::Own | Fate::Summed => {
                let read = &all[&format!("synledger_{name}{total}")];
                let found: f64 = read.series.iter().map(|one| one.2).sum();
                assert_eq!(read.help, *help, "{name}");
                assert!((found - sum).abs() < 1e-9, "{name}: {found} is not {sum}");
                served += 1;
            }
            Fate::Missed | Fate::LeftOut => {
                let own = format!("synledger_{name}{total}");
                assert!(!all.contains_key(&own), "{name}");
            }
        }
    }
    assert!(served > 40, "{served} of {} counters", sums.len());
    let missed = &all["synledger_missed_total"].series;
    let missed: f64 = missed.iter().map(|one| one.2).sum();
    assert_eq!(missed, books.missed() as f64);
}

#[test]
fn no_label_is_an_address() {
    for (name, read) in &rendered(full(), Format::Text) {
        assert_eq!(read.kind == "counter", name.ends_with("_total"), "{name}");
        for (_, labels, _) in &read.series {
            for label in labels.keys() {
                let may = [
                    "interface",
                    "class",
                    "worker",
                    "thread",
                    "output",
                    "responder",
                    "kind",
                    "cause",
                    "reason",
                    "reach",
                    "direction",
                    "owner",
                    "table",
                    "level",
                    "fate",
                    "origin",
                    "tunnel",
                    "outcome",
                    "version",
                    "config_sha256",
                    "le",
                ];
                assert!(may.contains(&label.as_str()), "{name}: {label}");
            }
        }
    }
}

/// A run with 16 workers, all detectors, and everything that has series, on two interfaces.
fn full() -> Snapshot {
    let rings = |interface: &'static str| {
        let classes = ["open", "control", "data"].into_iter();
        classes.flat_map(move |class| {
            (0..16).map(move |worker| {
                let mut counts = ring(class, worker, 3);
                counts.id.interface = interface.to_owned();
                counts
            })
        })
    };
    let mut snapshot = snapshot();
    let books = &mut snapshot.books;
    books.rings = rings("eth0").chain(rings("eth1")).collect();
    let outputs = ["text:-", "eve:/a", "zeek:/b", "eve:/c"].into_iter();
    let outputs = outputs.map(|name| OutputBooks {
        name: name.to_owned(),
        ..books.outputs[0].clone()
    });
    books.outputs = outputs.collect();
    snapshot.retention_s = books
        .outputs
        .iter()
        .map(|output| (output.name.clone(), 86_400.0))
        .collect();
    books.responders = vec![ResponderBooks {
        name: "blocklist:/d".to_owned(),
        ..ResponderBooks::default()
    }];
    books.witness = Some(WitnessCounts::default());
    books.blocks = Some(BlockBooks::default());
    books.shed_in_kernel = Some(3);
    books.shards.horizons.scan_gaps_ns = [1; inspect::Kind::COUNT];
    let names = (0..16).map(|worker| format!("worker-{worker}"));
    let threads = names.chain(["logger", "main"].map(str::to_owned));
    Snapshot {
        ring_occupancy: books
            .rings
            .iter()
            .map(|ring| (ring.id.clone(), 0.25))
            .collect(),
        // Three tables of flows, one of each detector, the witness's.
        tables: "abcdefghijklmn"
            .split_inclusive(char::is_alphabetic)
            .map(|name| (name, 1, 4))
            .collect(),
        since_frame_s: ["eth0", "eth1"].map(|name| (name.to_owned(), 0.5)).into(),
        since_progress_s: threads.map(|name| (name, 0.5)).collect(),
        ..snapshot
    }
}

#[test]
fn sixteen_workers_all_detectors_and_four_outputs_are_at_most_300_series() {
    let all = rendered(full(), Format::Text);
    let each = all.iter().map(|(name, read)| (read.series.len(), name));
    let count: usize = each.clone().map(|(count, _)| count).sum();
    let mut largest: Vec<_> = each.collect();
    largest.sort_unstable();
    let largest = &largest[largest.len() - 12..];
    eprintln!("{count} series; the largest families: {largest:?}");
    assert!(count <= series::SERIES_MAX, "{count} series: {largest:?}");
    // Each further worker has two of its own.
    let mut more = full();
    let seventeenth = ring("open", 16, 3);
    more.since_progress_s.push(("worker-16".to_owned(), 0.5));
    more.ring_occupancy.push((seventeenth.id.clone(), 0.25));
    more.books.rings.push(seventeenth);
    let more = rendered(more, Format::Text);
    let more: usize = more.values().map(|read| read.series.len()).sum();
    assert_eq!(more, count + 2);
}

#[test]
fn the_histogram_is_whole_before_the_first_event_and_after() {
    for (lag, counts) in [
        (LogLag::default(), [0.0; 9]),
        (
            snapshot().log_lag,
            [0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 5.0],
        ),
    ] {
        let all = rendered(
            Snapshot {
                log_lag: lag,
                ..Snapshot::default()
            },
            Format::Text,
        );
        let series = &all["synledger_log_lag_seconds"].series;
        let of = |suffix: &str| {
            let name = format!("synledger_log_lag_seconds_{suffix}");
            series.iter().filter(move |(found, _, _)| *found == name)
        };
        let buckets: Vec<(f64, f64)> = of("bucket")
            .map(|(_, labels, count)| (number(&labels["le"]), *count))
            .collect();
        let bounds = LAG_BOUNDS_S.into_iter().chain([f64::INFINITY]);
        assert_eq!(buckets, bounds.zip(counts).collect::<Vec<_>>());
        assert_eq!(of("count").map(|one| one.2).sum::<f64>(), counts[8]);
        assert_eq!(of("sum").map(|one| one.2).sum::<f64>(), lag.sum_s);
    }
}

#[test]
fn blocks_have_counters_and_the_time_that_they_took() {
    let mut counts = BlockCounts::default();
    counts.wanted[Origin::Hand as usize] = 3;
    counts.delays.record(4_000);
    counts.delays.record(2_000_000);
    let name = "dry-run".to_owned();
    let mut snapshot = snapshot();
    snapshot.books.blocks = Some(BlockBooks { name, counts });
    for format in [Format::Text, Format::OpenMetrics] {
        let all = rendered(snapshot.clone(), format);
        let total = if format == Format::Text { "_total" } else { "" };
        let wanted = format!("synledger_block_wanted{total}");
        assert_eq!(value(&all, &wanted, &[("origin", "hand")]), 3.0);
        assert_eq!(value(&all, "synledger_block_in_kernel", &[]), 0.0);
        let longest = "synledger_block_delay_max_seconds";
        assert_eq!(value(&all, longest, &[]), 2.0);
        let series = &all["synledger_block_delay_seconds"].series;
        let buckets = series.iter().filter(|(name, ..)| name.ends_with("_bucket"));
        let counts: Vec<f64> = buckets.map(|one| one.2).collect();
        assert_eq!(counts, [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0]);
    }
}
