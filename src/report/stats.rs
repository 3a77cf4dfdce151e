//! The books for a machine: EVE `stats`.

use crate::books::{Books, OutputBooks, RingCounts, RingId};
use crate::check::many;
use crate::log::notice::{EventKind, KINDS, Notice};
use crate::log::sink::Cause;
use crate::observe::names::{Family, families};
use crate::shedding::Level;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A record of statistics: what an interval came to, beside what the run has come to.
#[derive(Clone, Copy, Debug)]
pub struct Stats<'a> {
    /// The books now.
    pub now: &'a Books,
    /// The books when the last record was made.
    pub before: &'a Books,
    /// Seconds since then; in `read` of packet time.
    pub interval_s: f64,
    /// Seconds since the start.
    pub run_s: f64,
    /// It is the last one of the run.
    pub last: bool,
}

impl Stats<'_> {
    /// The record, with the members that an EVE `stats` record has.
    ///
    /// `stats.capture` counts since the start, as Suricata's does. Under `synledger`, `books` are those of the
    /// interval and `totals.books` those since the start, both with the names that the metrics have. Of each,
    /// `missed` is everything lost with a cause, `complete` says that it is nothing, and `missed_bound` is what
    /// may have been lost uncounted. `closed` says that every identity holds; those that do not are listed.
    ///
    /// The last record has every counter. So that an idle host writes little, those before leave out what is 0, and
    /// the totals of single rings.
    pub fn notice(&self, ts_ns: i64) -> Notice {
        let sum = |count: fn(&RingCounts) -> u64| -> u64 { self.now.rings.iter().map(count).sum() };
        let identities = self.now.identities();
        let open: Vec<Value> = identities
            .iter()
            .filter(|one| !one.holds())
            .map(|one| json!({ "identity": one.name, "left": one.left, "right": one.right }))
            .collect();
        let interval = self.now.since(self.before);
        let mut ours = account(&interval, self.small(books_json(&interval)));
        let mut totals = books_json(self.now);
        if !self.last {
            totals.remove("rings");
        }
        let totals = account(self.now, self.small(totals));
        for (name, value) in [
            ("final", json!(self.last)),
            ("interval_s", seconds(self.interval_s)),
            ("run_s", seconds(self.run_s)),
            ("totals", Value::Object(totals)),
            ("closed", json!(open.is_empty())),
            ("identities", json!(identities.len())),
            ("open_identities", Value::Array(open)),
        ] {
            ours.insert(name.to_owned(), value);
        }
        for (name, _, value) in self.now.shards.horizons.seconds() {
            ours.insert(name.to_owned(), seconds(value));
        }
        let stats = json!({
            "uptime": Duration::from_secs_f64(self.run_s.max(0.0)).as_secs(),
            "capture": {
                "kernel_packets": sum(|ring| ring.tp_packets),
                "kernel_drops": sum(|ring| ring.tp_drops),
            },
        });
        Notice::Stats {
            ts_ns,
            value: json!({ "stats": stats, "synledger": ours }),
            text: self.text(),
        }
    }

    /// Without zeros, unless it is the last record.
    fn small(&self, counts: Map<String, Value>) -> Value {
        let counts = Value::Object(counts);
        if self.last {
            return counts;
        }
        without_zeros(counts).unwrap_or_else(|| json!({}))
    }

    /// One line for a person: the last record speaks of the whole run.
    fn text(&self) -> String {
        let interval = self.now.since(self.before);
        let (of, books, long_s) = if self.last {
            ("the whole run", self.now, self.run_s)
        } else {
            ("the last", &interval, self.interval_s)
        };
        let scans: u64 = books.shards.port_scans.iter().sum();
        format!(
            "{of} {long_s:.1} s: {}, {}, {}, {} missed; {}",
            many(books.shards.frames, "frame"),
            many(books.shards.flow.attempts, "new connection"),
            many(scans, "port scan"),
            books.missed(),
            if self.now.closed() {
                "the books close"
            } else {
                "THE BOOKS DO NOT CLOSE"
            }
        )
    }
}

fn seconds(seconds: f64) -> Value {
    json!((seconds * 1000.0).round() / 1000.0)
}

/// Books as the record has them, and whether they are complete.
fn account(books: &Books, counts: Value) -> Map<String, Value> {
    let (missed, bound) = (books.missed(), books.missed_bound());
    let members = [
        ("complete", json!(books.complete())),
        ("missed", json!(missed)),
        (
            "missed_bound",
            json!({ "attempts": bound.attempts, "frames_before_rings": bound.before_rings }),
        ),
        ("unwatched_s", seconds(books.unwatched_us as f64 / 1e6)),
        ("books", counts),
    ];
    let own = |(name, value): (&str, Value)| (name.to_owned(), value);
    members.into_iter().map(own).collect()
}

/// What tells rings and outputs apart: no counts.
const LABELS: [&str; 4] = ["interface", "class", "worker", "output"];

/// The same without counters that are 0, and without rings and outputs that have none left. What is not counted
/// (null) is not 0.
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

pub(super) fn books_json(books: &Books) -> Map<String, Value> {
    let value = |family: Family| {
        let counts = family.counts;
        let value = match family.label {
            None => json!(counts[0].1),
            Some(_) => counts
                .into_iter()
                .map(|(label, count)| (label.to_owned(), json!(count)))
                .collect(),
        };
        (family.name.to_owned(), value)
    };
    let mut all: Map<String, Value> = families(books).into_iter().map(value).collect();
    if books.filtered.is_none() && !books.rings.is_empty() {
        // --capture control without CAP_BPF: not counted.
        all.insert("filtered_frames".to_owned(), Value::Null);
    }
    all.insert("rings".to_owned(), books.rings.iter().map(ring).collect());
    if !books.rings.is_empty() {
        all.insert("shed".to_owned(), shed(books));
    }
    let outputs = books.outputs.iter().enumerate();
    let outputs = outputs.map(|(place, output)| records(place, output));
    all.insert("outputs".to_owned(), outputs.collect());
    all
}

/// Steps up to each level and down from it, workers there or above, seconds spent at each, frames that the
/// kernel refused meanwhile (null: not counted).
fn shed(books: &Books) -> Value {
    let counts = &books.shards.shed;
    let by_level = |from: usize, counts: &[Value]| -> Value {
        let levels = Level::ALL[from..]
            .iter()
            .map(|level| level.number().to_owned());
        levels.zip(counts.iter().cloned()).collect()
    };
    let whole = |counts: &[u64]| by_level(1, &counts.iter().map(|&n| json!(n)).collect::<Vec<_>>());
    let spent = counts.spent_us.map(|us| seconds(us as f64 / 1e6));
    json!({
        "up": whole(&counts.up), "down": whole(&counts.down), "workers": whole(&counts.held),
        "seconds": by_level(0, &spent), "refused_in_kernel": books.refused,
    })
}

fn ring(ring: &RingCounts) -> Value {
    let RingId {
        interface,
        class,
        worker,
    } = &ring.id;
    json!({
        "interface": interface, "class": class, "worker": worker,
        "tp_packets": ring.tp_packets, "tp_drops": ring.tp_drops, "tp_freezes": ring.tp_freezes,
        "frames_read": ring.frames_read, "shed_data": ring.shed_data,
    })
}

/// An output by its place on the command line, not by its path: `read` writes the same bytes wherever to.
fn records(place: usize, output: &OutputBooks) -> Value {
    let counts = &output.counts;
    let by_kind = |counts: &[u64; KINDS]| -> Value {
        let count = |kind: EventKind| (kind.word().to_owned(), json!(counts[kind as usize]));
        EventKind::ALL.into_iter().map(count).collect()
    };
    let lost = |cause: &Cause| {
        counts.dropped[*cause as usize]
            .iter()
            .any(|&count| count > 0)
    };
    let dropped: Map<String, Value> = Cause::ALL
        .into_iter()
        .filter(lost)
        .map(|cause| {
            let counts = by_kind(&counts.dropped[cause as usize]);
            (cause.word().to_owned(), counts)
        })
        .collect();
    json!({
        "output": place + 1,
        "written": by_kind(&counts.written), "folded": by_kind(&counts.folded),
        "not_asked": by_kind(&counts.not_asked), "dropped": dropped,
    })
}
