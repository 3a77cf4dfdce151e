//! Records of statistics.

use crate::books::Books;
use crate::books::blocks::Delays;
use crate::books::ring::{RingCounts, RingId};
use crate::counters::{Counter, Counters, Kind};
use crate::log::notice::Stats;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The members of an EVE `stats` record.
///
/// `stats.capture` counts since the start, as Suricata's does. Under `synledger`, `books` are those of the
/// interval and `totals.books` those since the start, both with the names that the metrics have. Of each,
/// `missed` is the sum of all losses, `complete` is true if it is 0, and `missed_bound` bounds the losses that are
/// not counted. `closed` is true if every identity holds; the others are listed.
///
/// The last record has every counter. Earlier ones omit zeros and the totals of single rings, so that an idle host
/// writes little.
pub(super) fn members(stats: &Stats) -> [(&'static str, Value); 2] {
    let sum = |count: fn(&RingCounts) -> u64| -> u64 { stats.now.rings.iter().map(count).sum() };
    let identities = stats.now.identities();
    let open: Vec<Value> = identities
        .iter()
        .filter(|one| !one.holds())
        .map(|one| json!({ "identity": one.name, "left": one.left, "right": one.right }))
        .collect();
    let interval = stats.now.since(&stats.before);
    let mut ours = account(&interval, small(stats, books_json(&interval)));
    let mut totals = books_json(&stats.now);
    if !stats.last {
        totals.remove("rings");
    }
    let totals = account(&stats.now, small(stats, totals));
    if let Some(blocks) = &stats.now.blocks {
        ours.insert("block_delay".to_owned(), delays(&blocks.counts.delays));
    }
    for (name, value) in [
        ("final", json!(stats.last)),
        ("interval_s", seconds(stats.interval_s)),
        ("run_s", seconds(stats.run_s)),
        ("totals", Value::Object(totals)),
        ("closed", json!(open.is_empty())),
        ("identities", json!(identities.len())),
        ("open_identities", Value::Array(open)),
    ] {
        ours.insert(name.to_owned(), value);
    }
    let before: Vec<_> = stats.before.shards.horizons.seconds().collect();
    let unchanged = |one: &(String, &str, f64)| !stats.last && before.contains(one);
    let reach = stats.now.shards.horizons.seconds();
    for (name, _, value) in reach.filter(|one| !unchanged(one)) {
        ours.insert(name, seconds(value));
    }
    let totals_of_suricata = json!({
        "uptime": Duration::from_secs_f64(stats.run_s.max(0.0)).as_secs(),
        "capture": {
            "kernel_packets": sum(|ring| ring.tp_packets),
            "kernel_drops": sum(|ring| ring.tp_drops),
        },
    });
    [
        ("stats", totals_of_suricata),
        ("synledger", Value::Object(ours)),
    ]
}

/// Omits zeros, except in the last record.
fn small(stats: &Stats, counts: Map<String, Value>) -> Value {
    let counts = Value::Object(counts);
    if stats.last {
        return counts;
    }
    without_zeros(counts).unwrap_or_else(|| json!({}))
}

/// From the moment when a detection was due to the kernel's answer, since the start: how many, and the longest.
fn delays(delays: &Delays) -> Value {
    let seconds = |us: u64| seconds(us as f64 / 1e6);
    json!({
        "count": delays.count,
        "sum_seconds": seconds(delays.sum_us),
        "max_seconds": seconds(delays.max_us),
    })
}

fn seconds(seconds: f64) -> Value {
    json!((seconds * 1000.0).round() / 1000.0)
}

/// The members `complete`, `missed`, `missed_bound` and `books`.
fn account(books: &Books, counts: Value) -> Map<String, Value> {
    let (missed, bound) = (books.missed(), books.missed_bound());
    let members = [
        ("complete", json!(books.complete())),
        ("missed", json!(missed)),
        (
            "missed_bound",
            json!({ "attempts": bound.attempts, "frames_before_rings": bound.before_rings }),
        ),
        ("books", counts),
    ];
    let own = |(name, value): (&str, Value)| (name.to_owned(), value);
    members.into_iter().map(own).collect()
}

/// Labels of rings, outputs and responders, which are no counts.
const LABELS: [&str; 5] = ["interface", "class", "worker", "output", "responder"];

/// Omits counters that are 0, and rings and outputs without any other counter. Keeps null: not counted is not 0.
fn without_zeros(value: Value) -> Option<Value> {
    let is_label = |name: &String| LABELS.contains(&name.as_str());
    match value {
        Value::Number(count) if count.as_f64() == Some(0.0) => None,
        Value::Array(values) => {
            let values: Vec<Value> = values.into_iter().filter_map(without_zeros).collect();
            (!values.is_empty()).then_some(Value::Array(values))
        }
        Value::Object(members) => {
            let member = |(name, value): (String, Value)| {
                let label = is_label(&name);
                let value = if label {
                    Some(value)
                } else {
                    without_zeros(value)
                };
                value.map(|value| (name, value))
            };
            let members: Map<String, Value> = members.into_iter().filter_map(member).collect();
            let counts = members.keys().any(|name| !is_label(name));
            counts.then_some(Value::Object(members))
        }
        other => Some(other),
    }
}

pub(crate) fn books_json(books: &Books) -> Map<String, Value> {
    let mut all = Map::new();
    books.each(&mut |counter| insert(&mut all, counter.name(), &counter));
    all.insert("missed".to_owned(), json!(books.losses()));
    if books.filtered.is_none() && !books.rings.is_empty() {
        // --capture control without CAP_BPF: not counted.
        all.insert("filtered_frames".to_owned(), Value::Null);
    }
    if books.shed_in_kernel.is_none() && !books.rings.is_empty() {
        all.insert("shed_in_kernel".to_owned(), Value::Null);
    }
    all.insert("rings".to_owned(), books.rings.iter().map(ring).collect());
    // By the place on the command line, not by the path: `read` writes the same bytes to any path.
    let outputs = books.outputs.iter().enumerate();
    let outputs = outputs.map(|(i, one)| labelled(&one.counts, [("output", json!(i + 1))]));
    all.insert("outputs".to_owned(), outputs.collect());
    if !books.responders.is_empty() {
        let responders = books.responders.iter().enumerate();
        let responders =
            responders.map(|(i, one)| labelled(&one.counts, [("responder", json!(i + 1))]));
        all.insert("responders".to_owned(), responders.collect());
    }
    all
}

/// Inserts a counter; each of its labels is a nested object.
fn insert(all: &mut Map<String, Value>, name: String, counter: &Counter) {
    let mut place = all.entry(name).or_insert_with(|| json!({}));
    for (_, value) in &counter.labels {
        place = &mut place[value.as_ref()];
    }
    *place = match counter.kind {
        Kind::Micros => seconds(counter.count as f64 / 1e6),
        Kind::Count | Kind::Loss | Kind::Gauge => json!(counter.count),
    };
}

/// Counters and labels of a ring, output or responder.
fn labelled<const LABELS: usize>(counts: &impl Counters, labels: [(&str, Value); LABELS]) -> Value {
    let mut all = Map::new();
    counts.each(&mut |counter| insert(&mut all, counter.short_name().into(), &counter));
    all.extend(labels.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(all)
}

fn ring(ring: &RingCounts) -> Value {
    let RingId {
        interface,
        class,
        worker,
    } = &ring.id;
    let labels = [
        ("interface", json!(interface)),
        ("class", json!(class)),
        ("worker", json!(worker)),
    ];
    labelled(ring, labels)
}

#[cfg(test)]
mod tests;
