//! Correct books close; after a counter is changed, its line does not close.

use super::*;
use crate::traffic::{Class, Name, Tally};
use serde_json::{Value, json};
use std::fmt::Write as _;

const FRAMES: u64 = 3000;

/// Correct books of a run in which the sensor read every frame.
struct Case {
    load: Load,
    sent: Transmission,
    kernel: Counters,
    books: Value,
    log: String,
}

fn line(attempt: &Attempt) -> String {
    let ends = attempt.ends;
    format!(
        "{{\"timestamp\":\"2026-01-01T00:00:00.000000+0000\",\"event_type\":\"new_connection\",\
         \"src_ip\":\"{}\",\"src_port\":{},\"dest_ip\":\"{}\",\"dest_port\":{},\
         \"synledger\":{{\"isn\":{}}}}}",
        ends.address(ends.src),
        ends.src_port,
        ends.address(ends.dst),
        ends.dst_port,
        attempt.isn
    )
}

impl Case {
    fn new(name: Name) -> Self {
        let (load, mut tally, mut log) = (Load::new(name, 9), Tally::default(), String::new());
        for frame in (0..FRAMES).map(|index| load.frame(index)) {
            tally.add(&frame, 60);
            if let Some(number) = frame.opens {
                writeln!(log, "{}", line(&load.attempt(number))).expect("a string");
            }
        }
        let ring = |class: &str, frames: u64| {
            json!({ "class": class, "tp_packets": frames, "tp_drops": 0, "frames_read": frames,
                    "shed_data": 0 })
        };
        let unreadable = tally.class(Class::Unreadable);
        let books = json!({
            "packets": FRAMES - unreadable, "unread_frames": { "llc": unreadable },
            "new_connections": tally.attempts,
            "rings": [
                ring("data", tally.class(Class::Data) + unreadable),
                ring("control", tally.class(Class::Control)),
                ring("open", tally.class(Class::Open)),
            ],
            "outputs": [{ "written": { "connection": tally.attempts } }],
        });
        let kernel = Counters {
            tx_packets: FRAMES,
            rx_packets: FRAMES,
            ..Counters::default()
        };
        let sent = Transmission {
            tally,
            ..Transmission::default()
        };
        Self {
            load,
            sent,
            kernel,
            books,
            log,
        }
    }

    /// Entries that do not close; frames and attempts unaccounted for.
    fn judge(&self) -> (Vec<String>, u64, u64) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.json");
        let last = json!({ "event_type": "stats", "synledger": { "final": true, "totals": { "books": self.books } } });
        let last = format!("{{\"timestamp\":\"x\",{}", &last.to_string()[1..]);
        std::fs::write(&path, format!("{}{last}\n", self.log)).expect("written");
        let truth = Truth::new(&self.load, self.sent.tally.frames);
        let log = LogSummary::read(&path, &self.load, &truth).expect("a log");
        let books = log.books.clone().expect("books");
        let ledger = Ledger {
            sent: &self.sent,
            kernel: self.kernel,
            books: &books,
            log: &log,
            truth: &truth,
        };
        let entries = ledger.entries();
        let open = entries.iter().filter(|entry| !entry.closes());
        let open = open.map(ToString::to_string).collect();
        (
            open,
            ledger.unaccounted_frames(),
            ledger.unaccounted_attempts(),
        )
    }

    fn assert_closes(&self) {
        assert_eq!(self.judge(), (Vec::new(), 0, 0));
    }

    /// The first entry that does not close contains `words`.
    fn assert_first_open(&self, words: &str) {
        let (open, ..) = self.judge();
        let first = open.first().map_or("", String::as_str);
        assert!(first.contains(words), "{words}: {open:#?}");
    }

    fn change(&mut self, pointer: &str, change: impl FnOnce(u64) -> u64) {
        let value = self.books.pointer_mut(pointer).expect("a counter");
        *value = json!(change(value.as_u64().expect("a number")));
    }
}

#[test]
fn correct_books_of_every_load_close() {
    for name in Name::ALL {
        Case::new(name).assert_closes();
    }
}

#[test]
fn a_changed_counter_is_named() {
    for (pointer, words) in [
        ("/rings/0/frames_read", "ring data"),
        ("/rings/2/tp_drops", "ring open"),
        ("/packets", "frames read = packets"),
        ("/new_connections", "attempts sent"),
        ("/outputs/0/written/connection", "new connections = written"),
    ] {
        let mut case = Case::new(Name::Mix);
        case.change(pointer, |count| count + 1);
        case.assert_first_open(words);
    }
    let mut case = Case::new(Name::Mix);
    case.kernel.tx_packets -= 1;
    case.assert_first_open("frames sent");
    let mut case = Case::new(Name::Mix);
    case.kernel.rx_packets -= 1;
    case.assert_first_open("frames passed on");
    let mut case = Case::new(Name::Mix);
    case.change("/rings/1/tp_packets", |count| count - 1);
    case.change("/rings/1/frames_read", |count| count - 1);
    case.assert_first_open("frames received");
}

#[test]
fn a_frame_in_another_ring_is_named() {
    let mut case = Case::new(Name::Mix);
    for (ring, more) in [(0, true), (2, false)] {
        for count in ["tp_packets", "frames_read"] {
            let pointer = format!("/rings/{ring}/{count}");
            case.change(&pointer, |count| if more { count + 1 } else { count - 1 });
        }
    }
    case.assert_first_open("class data");
}

#[test]
fn log_lines_are_compared_with_the_attempts_sent() {
    let mut case = Case::new(Name::Mix);
    let first = case.log.lines().next().expect("a line").to_owned();
    // Another port: that attempt was not sent.
    let unsent = first.replacen("\"dest_port\":", "\"dest_port\":1", 1);
    case.log = case.log.replacen(&first, &unsent, 1);
    let (open, _, attempts) = case.judge();
    assert!(open[0].contains("was not sent"), "{open:#?}");
    assert!(attempts > 0);

    let mut case = Case::new(Name::Mix);
    let mut lines: Vec<String> = case.log.lines().map(str::to_owned).collect();
    lines[1] = lines[0].clone();
    case.log = lines.join("\n") + "\n";
    let (open, _, attempts) = case.judge();
    assert!(open[0].contains("has two lines"), "{open:#?}");
    assert!(attempts > 0);

    let mut case = Case::new(Name::Mix);
    case.log = case
        .log
        .lines()
        .skip(1)
        .fold(String::new(), |all, line| all + line + "\n");
    case.assert_first_open("attempts written = lines");
}

#[test]
fn lost_and_folded_attempts_are_accounted_for() {
    let mut case = Case::new(Name::Syn);
    let (lost, before, folded) = (100, 50, 200);
    let attempts = case.sent.tally.attempts;
    let kept = attempts - lost - before - folded;
    let mut lines: Vec<String> = case.log.lines().map(str::to_owned).collect();
    lines.truncate(usize::try_from(kept).expect("few"));
    let ends = case.load.attempt(0).ends;
    let (to, port) = (ends.address(ends.dst), ends.dst_port);
    lines.push(format!(
        "{{\"timestamp\":\"x\",\"event_type\":\"new_connections\",\"dest_ip\":\"{to}\",\"dest_port\":{port},\
         \"synledger\":{{\"fold\":{{\"count\":{folded}}}}}}}"
    ));
    case.log = lines.join("\n") + "\n";
    case.kernel.tx_dropped = before;
    case.kernel.tx_packets -= before;
    case.kernel.rx_packets -= before;
    case.change("/rings/2/tp_packets", |count| count - before);
    case.change("/rings/2/tp_drops", |_| lost);
    case.change("/rings/2/frames_read", |count| count - before - lost);
    case.change("/packets", |count| count - before - lost);
    case.change("/new_connections", |count| count - before - lost);
    case.change("/outputs/0/written/connection", |_| kept);
    case.books["outputs"][0]["folded"] = json!({ "connection": folded });
    case.assert_closes();
    case.log = case.log.replace("\"count\":200", "\"count\":201");
    case.assert_first_open("attempts folded");
}

#[test]
fn uncounted_filtered_frames_are_those_offered_to_no_ring() {
    let mut case = Case::new(Name::Mix);
    let data = case.sent.tally.class(Class::Data);
    case.books["rings"].as_array_mut().expect("rings").remove(0);
    case.books["filtered_frames"] = Value::Null;
    case.change("/packets", |count| count - data);
    case.assert_closes();
    case.books["filtered_frames"] = json!(data - 1);
    case.assert_first_open("frames received");
}

#[test]
fn frames_shed_in_the_kernel_count_as_filtered() {
    for counted in [true, false] {
        let mut case = Case::new(Name::Mix);
        let data = case.sent.tally.class(Class::Data);
        let shed = data / 2;
        case.change("/rings/0/tp_packets", |count| count - shed);
        case.change("/rings/0/frames_read", |count| count - shed);
        case.change("/packets", |count| count - shed);
        case.books["shed_spent_seconds"] = json!({ "0": 1.0, "1": 0.5 });
        case.books["shed_in_kernel"] = if counted { json!(shed) } else { Value::Null };
        case.assert_closes();
        case.books["shed_spent_seconds"] = json!({ "0": 1.5 });
        case.books["shed_in_kernel"] = Value::Null;
        case.assert_first_open("frames received");
    }
}
