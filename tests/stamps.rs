//! Time stamps of captures: files that were cut, frames in the wrong order, outliers, clocks that start again.

mod common;

use common::said::{
    MS, SECOND, START_NS, Said, WHOLE, both_orders, conversation, read, read_once, write,
};
use craft::{Capture, Flow, Link, LinkType};
use serde_json::Value;
use std::path::Path;

/// No stamp of a crafted capture comes near: 2106.
const OUTLYING_NS: i64 = 4_294_967_000 * SECOND;

/// Runs `read` on one capture.
fn read_capture(dir: &Path, capture: &Capture) -> Said {
    let file = write(dir, "capture.pcap", capture, |_| true);
    read_once(&["--seed", "1"], &[file])
}

/// Random captures, in the order of time.
fn sorted_captures(seed: u64) -> Vec<Capture> {
    let mut all = craft::scenarios(seed);
    for capture in &mut all {
        capture.sort();
    }
    all.retain(|capture| capture.frames.len() > 2);
    all
}

/// The books without what `read` counts before the shards.
fn shard_books(said: &Said) -> Value {
    let mut books = said.last["books"].clone();
    for name in ["frames_reordered", "stamps_outlying"] {
        books[name] = Value::Null;
    }
    books
}

fn assert_same(one: &Said, other: &Said, what: &str) {
    assert_eq!(one.log, other.log, "{what}");
    assert_eq!(shard_books(one), shard_books(other), "{what}");
}

#[test]
fn a_cut_at_any_frame_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rng = craft::Rng::new(11);
    for capture in sorted_captures(4) {
        let whole = read_capture(dir.path(), &capture);
        let cut = rng.index(capture.frames.len() + 1);
        let mut files = [
            write(dir.path(), "head", &capture, |at| at < cut),
            write(dir.path(), "tail", &capture, |at| at >= cut),
        ];
        // Files with the same first stamp keep the order in which they are named.
        let frames = &capture.frames;
        if cut < frames.len() && frames[cut].ts_ns > frames[0].ts_ns {
            files.reverse();
        }
        let said = read_once(&["--seed", "1"], &files);
        assert_same(&said, &whole, &format!("{} cut at {cut}", capture.name));
    }
}

#[test]
fn neighbours_swapped_inside_the_window_change_nothing_but_one_counter() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rng = craft::Rng::new(12);
    let mut all = 0;
    for capture in sorted_captures(5) {
        let whole = read_capture(dir.path(), &capture);
        let mut other = capture.clone();
        let (mut at, mut swapped) = (rng.index(2), 0);
        while at + 1 < other.frames.len() {
            let apart = other.frames[at + 1].ts_ns - other.frames[at].ts_ns;
            if apart > 0 && apart < 10 * MS {
                other.frames.swap(at, at + 1);
                swapped += 1;
            }
            at += 2 + rng.index(3);
        }
        let said = read_capture(dir.path(), &other);
        assert_same(&said, &whole, &capture.name);
        assert_eq!(said.count("frames_reordered"), swapped, "{}", capture.name);
        all += swapped;
    }
    eprintln!("{all} swaps");
    assert!(all > 100);
}

/// It is handled at the time of the frame before it, or of the one behind the first.
#[test]
fn one_outlier_changes_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rng = craft::Rng::new(13);
    for capture in sorted_captures(6) {
        // Behind the last nothing follows: it would stand.
        let at = rng.index(capture.frames.len() - 1);
        let neighbour = at.checked_sub(1).unwrap_or(1);
        let (mut right, mut wrong) = (capture.clone(), capture.clone());
        right.frames[at].ts_ns = right.frames[neighbour].ts_ns;
        wrong.frames[at].ts_ns = OUTLYING_NS;
        let right = read_capture(dir.path(), &right);
        let wrong = read_capture(dir.path(), &wrong);
        let what = format!("{}: frame {at}", capture.name);
        assert_same(&wrong, &right, &what);
        assert_eq!(wrong.count("stamps_outlying"), 1, "{what}");
    }
}

#[test]
fn a_first_frame_whose_clock_was_not_set_opens_its_connection_all_the_same() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = conversation(false, START_NS);
    capture.frames[0].ts_ns = 0;
    let files = [
        write(dir.path(), "1", &capture, |at| at < 6),
        write(dir.path(), "2", &capture, |at| at >= 6),
    ];
    let said = read(&[], &files);
    assert_eq!(said.flows(), [WHOLE], "{}", said.stderr);
    assert_eq!(said.count("stamps_outlying"), 1, "{}", said.stderr);
}

#[test]
fn a_wrong_stamp_of_one_file_does_not_move_it_among_the_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = conversation(false, START_NS);
    // In the first of two files, or in the second; in either direction.
    for wrong in [0, 1, 3, 5, 6] {
        let mut damaged = capture.clone();
        damaged.frames[wrong].ts_ns = OUTLYING_NS;
        let files = [
            write(dir.path(), "1", &damaged, |at| at < 3),
            write(dir.path(), "2", &damaged, |at| at >= 3),
        ];
        for order in both_orders(files) {
            let said = read(&[], &order);
            assert_eq!(said.flows(), [WHOLE], "{wrong}: {}", said.stderr);
            assert_eq!(said.count("stamps_outlying"), 1, "{wrong}: {}", said.stderr);
        }
        // At either end of a file, its neighbours say less of where it belongs.
        if ![3, 5].contains(&wrong) {
            continue;
        }
        let is_up = |at: usize| [0, 2, 3, 5, 7].contains(&at);
        let files = [
            write(dir.path(), "up", &damaged, is_up),
            write(dir.path(), "down", &damaged, |at| !is_up(at)),
        ];
        let said = read(&[], &files);
        assert_eq!(said.flows(), [WHOLE], "{wrong}: {}", said.stderr);
    }
}

#[test]
fn a_clock_that_starts_again_is_another_epoch_with_its_own_stamps() {
    let dir = tempfile::tempdir().expect("a folder");
    for v6 in [false, true] {
        let mut capture = conversation(v6, START_NS);
        // Open when the clock starts again.
        capture.frames.truncate(3);
        let again = conversation(v6, START_NS - 3_600 * SECOND);
        capture.frames.extend(again.frames);
        let file = write(dir.path(), "again", &capture, |_| true);
        let said = read(&[], &[file]);
        assert_eq!(said.flows(), ["S1 2 0 1 0", WHOLE], "{}", said.stderr);
        let names = ["new_connections", "clock_restarts", "late_packets"];
        assert_eq!(names.map(|name| said.count(name)), [2, 1, 0]);
        let told = "the clock of the capture starts again at frame 4, 3600.020 s back";
        assert_eq!(said.stderr.matches(told).count(), 1, "{}", said.stderr);
        let starts = said.records("new_connection");
        let starts: Vec<_> = starts.map(|one| one["timestamp"].to_string()).collect();
        assert!(starts[0].contains("22:13:20.000000"), "{starts:?}");
        assert!(starts[1].contains("21:13:20.000000"), "{starts:?}");
        let run_s = said.last["run_s"].as_f64().expect("the run's length");
        assert!(run_s < 1.0, "{run_s}: {}", said.last);
    }
}

#[test]
fn one_frame_far_behind_is_late_and_a_silent_hour_is_no_outlier() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = conversation(false, START_NS);
    capture.frames[4].ts_ns -= 3_600 * SECOND;
    let said = read(&[], &[write(dir.path(), "late", &capture, |_| true)]);
    let counts = ["late_packets", "stamps_outlying", "clock_restarts"];
    assert_eq!(counts.map(|name| said.count(name)), [1, 0, 0]);
    assert_eq!(said.flows(), [WHOLE]);
    // A SYN an hour: each of them is a jump, and the last has nothing behind it.
    let mut capture = Capture::new("hours", LinkType::Ethernet);
    for hour in 0..5_u8 {
        let flow = Flow::v4([192, 0, 2, hour], 1000, [198, 51, 100, 7], 80);
        let frame = Link::ethernet().frame(&common::syn(flow, 7));
        capture.push(START_NS + i64::from(hour) * 3_600 * SECOND, frame);
    }
    let said = read(&[], &[write(dir.path(), "hours", &capture, |_| true)]);
    assert_eq!(counts.map(|name| said.count(name)), [0, 0, 0]);
    let outcomes = ", 4 unanswered, 1 without outcome";
    assert!(said.stderr.contains(outcomes), "{}", said.stderr);
}
