//! Which counters become series, and with which labels.
//!
//! Statistics in EVE have every counter. Series cost whoever stores them, times every host: so a scrape has at most
//! [`SERIES_MAX`], and sums what an operator looks up in EVE once a sum has moved.

use crate::books::Books;
use crate::books::ring::RingId;
use crate::counters::{Counter, Counters as _, Kind, Label};
use crate::inspect;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Most series of a run with 16 workers, all detectors and four outputs on two interfaces.
pub const SERIES_MAX: usize = 300;

/// What identities and authors need: EVE's alone.
const LEFT_OUT: [&str; 54] = [
    "block_compared_kernel",
    "block_compared_ours",
    "block_detections",
    "block_in_flight",
    "block_records_unsaid",
    "block_renewed",
    "block_restored",
    "block_unwished",
    "checksums",
    "connections_folding",
    "connections_not_asked",
    "contacts_merged",
    "contacts_sent",
    "datagram_marks",
    "flow_packets",
    "flow_parts",
    "flows_merged",
    "flows_reopened",
    "flows_untold",
    "folded_by_logger",
    "folded_by_shards",
    "folded_log_gone",
    "fragment_bytes",
    "headers_joined",
    "late_packets",
    "late_records",
    "packets_accounted",
    "packets_after_end",
    "packets_early",
    "packets_other_interface",
    "packets_pushed_out",
    "packets_waiting",
    "preexisting_dropped",
    "preexisting_flows",
    "sources_forgotten",
    "sources_held_back",
    "sources_networks_held_back",
    "sources_networks_passed",
    "sources_passed",
    "stray_answers",
    "syn_joined",
    "syn_joined_elsewhere",
    "withheld_detections",
    "withheld_log_gone",
    "withheld_queue_full",
    "witness_beyond",
    "witness_dropped",
    "witness_frames",
    "witness_packets",
    "witness_reports_dropped",
    "witness_retransmitted",
    "witness_told",
    "witness_told_waiting",
    "witness_waiting",
];

/// Sums over their labels.
const SUMMED: [&str; 11] = [
    "block_refused",
    "block_removed",
    "shed_down",
    "shed_up",
    "syn_outside_class",
    "tunnels_opened",
    "tunnels_unopened",
    "unread_frames",
    "witness_agreed",
    "witness_excused",
    "witness_extra_excused",
];

/// Of rings, by interface and class: workers are summed.
const OF_RINGS: [&str; 3] = ["ring_tp_packets", "ring_tp_drops", "ring_shed_data"];
/// Of outputs, and the label that stays beside the output.
const OF_OUTPUTS: [(&str, Option<&str>); 3] = [
    ("records_written", None),
    ("records_dropped", Some("cause")),
    ("records_pending", None),
];
/// Of block lists.
const OF_RESPONDERS: [&str; 4] = [
    "responder_added",
    "responder_listed",
    "responder_refused",
    "responder_write_failures",
];

/// What becomes of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A series, or one for each value of its labels.
    Own,
    /// One series for all values of its labels.
    Summed,
    /// A cause of `missed`.
    Missed,
    /// EVE's alone.
    LeftOut,
}

/// What becomes of a counter of this name, beside those of rings, outputs and block lists.
pub fn fate(kind: Kind, name: &str) -> Fate {
    match name {
        _ if kind == Kind::Loss => Fate::Missed,
        _ if of_detector(name).is_some() || LEFT_OUT.contains(&name) => Fate::LeftOut,
        _ if SUMMED.contains(&name) => Fate::Summed,
        _ => Fate::Own,
    }
}

/// The name of a detector's counter without the detector's.
fn of_detector(name: &str) -> Option<&str> {
    inspect::Kind::ALL
        .into_iter()
        .find_map(|kind| name.strip_prefix(kind.word())?.strip_prefix('_'))
}

/// Families of series, by name. Those of one name differ in their labels.
#[derive(Debug, Default)]
pub(super) struct Families(BTreeMap<String, Vec<Counter>>);

impl Families {
    /// Adds a counter with these labels and of its own those that `keeps` names. Equal ones are summed.
    fn add(&mut self, mut counter: Counter, places: &[Label], keeps: impl Fn(&str) -> bool) {
        counter.labels.retain(|(label, _)| keeps(label));
        let counter = counter.among(places);
        let family = self.0.entry(counter.name()).or_default();
        match family.iter_mut().find(|one| one.labels == counter.labels) {
            Some(sum) => sum.count += counter.count,
            None => family.push(counter),
        }
    }

    /// All of the books but `missed`.
    pub(super) fn of(books: &Books) -> BTreeMap<String, Vec<Counter>> {
        let mut all = Self::default();
        books.each(&mut |counter| match fate(counter.kind, &counter.name()) {
            Fate::LeftOut | Fate::Missed => {}
            Fate::Summed => all.add(counter, &[], |_| false),
            Fate::Own if counter.field == "scans" => all.scans(counter),
            Fate::Own => all.add(counter, &[], |_| true),
        });
        for ring in &books.rings {
            let places = labels(&ring.id);
            ring.each(&mut |counter| {
                if OF_RINGS.contains(&counter.name().as_str()) {
                    all.add(counter, &places, |_| true);
                }
            });
            all.add(of_worker(&ring.id, ring.tp_packets), &[], |_| true);
        }
        for output in &books.outputs {
            let place = [("output", output.name.clone().into())];
            output
                .counts
                .each(&mut |counter| all.output(counter, &place));
        }
        for responder in &books.responders {
            let place = [("responder", responder.name.clone().into())];
            responder.counts.each(&mut |counter| {
                if OF_RESPONDERS.contains(&counter.name().as_str()) {
                    all.add(counter, &place, |_| false);
                }
            });
        }
        all.0
    }

    /// By kind, and again by direction.
    fn scans(&mut self, counter: Counter) {
        let by_direction = Counter {
            field: "scans_by_direction",
            help: "Scans of all kinds that began, alerts or not",
            ..counter.clone()
        };
        self.add(counter, &[], |label| label == "kind");
        self.add(by_direction, &[], |label| label == "direction");
    }

    fn output(&mut self, counter: Counter, place: &[Label]) {
        let name = counter.name();
        if name == "records_dropped" {
            let by_kind = Counter {
                field: "dropped_by_kind",
                help: "Records that could not be written, of all outputs",
                ..counter.clone()
            };
            self.add(by_kind, &[], |label| label == "kind");
        }
        if let Some((_, kept)) = OF_OUTPUTS.iter().find(|(one, _)| *one == name) {
            self.add(counter, place, |label| *kept == Some(label));
        }
    }
}

/// Everything lost, by the name of its counter; the same of all detectors is one cause.
pub(super) fn missed(books: &Books) -> BTreeMap<String, u64> {
    let mut causes = BTreeMap::new();
    for (name, count) in books.losses() {
        let cause = of_detector(&name).unwrap_or(&name).to_owned();
        *causes.entry(cause).or_default() += count;
    }
    causes
}

/// The labels of a ring, without its worker.
pub(super) fn labels(id: &RingId) -> [Label; 2] {
    [
        ("interface", id.interface.clone().into()),
        ("class", Cow::Borrowed(id.class)),
    ]
}

fn of_worker(id: &RingId, frames: u64) -> Counter {
    let help = "Frames that reached the rings of a worker, drops included";
    Counter {
        labels: vec![("worker", id.worker.to_string().into())],
        ..Counter::single("worker_frames", help, Kind::Count, frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::books::blocks::BlockBooks;
    use crate::books::output::OutputCounts;
    use crate::books::responder::ResponderCounts;
    use crate::books::ring::RingCounts;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_in_the_lists_is_a_counter() {
        let books = Books {
            witness: Some(Default::default()),
            blocks: Some(BlockBooks::default()),
            ..Books::default()
        };
        let mut known = BTreeSet::new();
        let mut note = |counter: Counter| {
            known.insert(counter.name());
        };
        books.each(&mut note);
        RingCounts::default().each(&mut note);
        OutputCounts::default().each(&mut note);
        ResponderCounts::default().each(&mut note);
        let outputs = OF_OUTPUTS.iter().map(|(name, _)| name);
        let lists = [&LEFT_OUT[..], &SUMMED, &OF_RINGS, &OF_RESPONDERS];
        let named = lists.into_iter().flatten().chain(outputs);
        let unknown: Vec<_> = named.filter(|name| !known.contains(**name)).collect();
        assert!(unknown.is_empty(), "no counter: {unknown:?}");
    }
}
