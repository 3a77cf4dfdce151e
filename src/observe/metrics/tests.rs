//! The exposition, read by a parser that takes nothing for granted.

use super::*;
use crate::books::horizons::Horizons;
use crate::books::output::{Cause, OutputBooks, OutputCounts};
use crate::books::record_kind::EventKind;
use crate::books::ring::RingCounts;
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
            .map(|ring| (ring.id.clone(), 0.25))
            .collect(),
        shed_levels: vec![0, 2],
        books,
        tables: vec![("attempts", 1, 4)],
        worker_behind: 2,
        log_lag: LogLag {
            within: [0, 1, 1, 2, 3, 3, 3, 3],
            count: 5,
            sum_s: 7.5,
        },
        degraded: vec![(Reason::Shed, "one sentence".to_owned())],
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
            assert_eq!(
                of("scans", &[("kind", "port_scan"), ("direction", way)]),
                count,
                "{way}"
            );
        }
        let open = [("interface", "eth0"), ("class", "open"), ("worker", "1")];
        assert_eq!(of("ring_tp_packets", &open), 4.0);
        assert_eq!(value(&all, "synledger_ring_occupancy_ratio", &open), 0.25);
        let slow = [
            ("output", "eve:/odd\"name\\with\nall"),
            ("kind", "flow"),
            ("cause", "slow"),
        ];
        assert_eq!(of("records_dropped", &slow), 4.0);
        assert_eq!(value(&all, "synledger_worker_behind", &[]), 2.0);
        assert_eq!(of("shed_up", &[("level", "1")]), 5.0);
        assert_eq!(of("shed_down", &[("level", "3")]), 1.0);
        assert_eq!(of("shed_spent_seconds", &[("level", "1")]), 1.5);
        assert_eq!(value(&all, "synledger_shed_level", &[("worker", "1")]), 2.0);
        assert_eq!(value(&all, "synledger_dedup_horizon_seconds", &[]), 1.5);
        let gap = "synledger_port_scan_min_detectable_gap_seconds";
        assert_eq!(value(&all, gap, &[]), 0.25);
        let build = if format == Format::Text {
            "synledger_build_info"
        } else {
            "synledger_build"
        };
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        assert_eq!(value(&all, build, &version), 1.0);
        assert!(value(&all, "process_start_time_seconds", &[]) > 1.6e9);
    }
}

#[test]
fn every_counter_has_the_name_that_eve_has_and_its_type_and_no_label_is_an_address() {
    let all = rendered(snapshot(), Format::Text);
    let books = snapshot().books;
    let mut counters: BTreeMap<String, Vec<Counter>> = BTreeMap::new();
    books.each(&mut |counter| {
        let total = if counter.kind == Kind::Gauge {
            ""
        } else {
            "_total"
        };
        let name = format!("synledger_{}{total}", counter.name());
        counters.entry(name).or_default().push(counter);
    });
    for (name, counters) in &counters {
        let read = all.get(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(read.help, counters[0].help);
        // One name is one counter, or its labels tell several apart.
        let labels: BTreeSet<_> = counters.iter().map(|one| &one.labels).collect();
        assert_eq!(
            (read.series.len(), labels.len()),
            (counters.len(), counters.len()),
            "{name}"
        );
        let declared: BTreeSet<_> = counters.iter().map(|one| one.field).collect();
        assert_eq!(declared.len(), 1, "{name}");
    }
    for (name, read) in &all {
        assert_eq!(read.kind == "counter", name.ends_with("_total"), "{name}");
        for (_, labels, _) in &read.series {
            for label in labels.keys() {
                let may = [
                    "interface",
                    "class",
                    "worker",
                    "output",
                    "kind",
                    "cause",
                    "reason",
                    "reach",
                    "direction",
                    "owner",
                    "table",
                    "level",
                    "fate",
                    "version",
                    "le",
                ];
                assert!(may.contains(&label.as_str()), "{name}: {label}");
            }
        }
    }
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
