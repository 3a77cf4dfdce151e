//! Loads against the sensor: the log of `read` is correct, and the outer books of live runs close.

use std::path::PathBuf;
use std::process::Command;

use loadtest::experiments::reconcile::{Flood, reconcile};
use loadtest::lab::{Lab, SetUp};
use loadtest::receivers::sensor::Sensor;
use loadtest::send::{Schedule, Sender, write_capture};
use loadtest::traffic::{Class, Load, Name};
use loadtest::truth::books::Books;
use loadtest::truth::eve::{self, LogLine};

/// The sensor as `cargo test --workspace` builds it.
fn synledger() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_loadtest")).with_file_name("synledger");
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "skipped: no {}: cargo test --workspace builds it",
        path.display()
    );
    None
}

#[test]
fn read_logs_every_attempt_of_every_load() {
    const FRAMES: u64 = 4000;
    let Some(synledger) = synledger() else { return };
    for name in Name::ALL {
        let folder = tempfile::tempdir().expect("a folder");
        let (capture, log) = (
            folder.path().join("load.pcap"),
            folder.path().join("log.json"),
        );
        let load = Load::new(name, 11);
        let sent = write_capture(&capture, &load, FRAMES, 100_000).expect("written");
        let output = format!("eve:{},events=connection+stats", log.display());
        let mut read = Command::new(&synledger);
        read.args(["read", "--output", &output, "--memory-mib", "64", "-q"]);
        let status = read.arg(&capture).status().expect("synledger runs");
        assert_eq!(status.code(), Some(0), "{name}");
        let (mut logged, mut books) = (Vec::new(), None);
        eve::read(&log, |line| match line {
            LogLine::Connection(attempt) => logged.push((load.number(attempt.isn), attempt)),
            LogLine::Books(value) => books = Some(Books::from_record(&value).expect("books")),
            _ => {}
        })
        .expect("a log");
        let books = books.expect("books");
        let mut opened: Vec<_> = (0..FRAMES)
            .filter_map(|index| load.frame(index).opens)
            .map(|number| (number, load.attempt(number)))
            .collect();
        for attempts in [&mut logged, &mut opened] {
            attempts.sort_by_key(|(number, _)| *number);
        }
        assert_eq!(logged, opened, "{name}");
        assert_eq!(
            books.count("new_connections"),
            sent.tally.attempts,
            "{name}"
        );
        assert_eq!(books.count("syn_retransmitted"), 0, "{name}");
        let unreadable = sent.tally.class(Class::Unreadable);
        assert_eq!(books.count("unread_frames"), unreadable, "{name}");
        assert_eq!(books.count("packets"), FRAMES - unreadable, "{name}");
    }
}

#[test]
fn the_outer_books_of_a_live_run_close_at_every_depth() {
    let Some(synledger) = synledger() else { return };
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for network namespaces");
        return;
    }
    let lab = match Lab::new(SetUp::Fair) {
        Ok(lab) => lab,
        Err(error) => {
            eprintln!("skipped: {error:#}");
            return;
        }
    };
    let small = ["--ring-mib", "32", "--memory-mib", "48"];
    for (depth, name) in [
        ("headers", Name::Mix),
        ("control", Name::Busy),
        ("full", Name::Malformed),
    ] {
        let sensor = Sensor::new(synledger.clone(), depth).with(&small);
        let flood = Flood {
            load: Load::new(name, 3),
            sender: Sender::Sendmmsg,
            schedule: Schedule::for_seconds(Some(20_000.0), 0.3),
        };
        let outcome = reconcile(&lab, &sensor, &flood).expect("it runs");
        let open = outcome.first_open().map(ToString::to_string);
        assert_eq!(open, None, "{depth} {name}");
        assert_eq!(outcome.unaccounted_frames + outcome.unaccounted_attempts, 0);
        assert_eq!(outcome.sent.tally.frames, 6000, "{depth} {name}");
    }
}
