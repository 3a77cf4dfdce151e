//! `--state`: kill -9 at any moment under load. The log has whole lines, and the next start names the gap.
//!
//! `SYNLEDGER_FUZZ=full` kills 50 times instead of 4.

use super::disk::SmallDisk;
use super::rotation::{opened, text};
use super::sensor::{METRICS, Sensor, metrics, of_type, records};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{Veth, ip, with_veth};
use crate::common::{RUN, fails, synledger};
use craft::Rng;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The sensor writes its state ten times a second, and its log twice a second at least.
const LATE_S: f64 = 1.0;

fn rounds() -> usize {
    match std::env::var("SYNLEDGER_FUZZ").as_deref() {
        Ok("full") => 50,
        _ => 4,
    }
}

fn now_s() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs_f64()
}

/// Seconds since the Unix epoch of `2021-04-28T15:28:05.123456+0000`.
fn seconds(stamp: &Value) -> f64 {
    let stamp = stamp.as_str().expect("a time").replace("+0000", "Z");
    let moment: jiff::Timestamp = stamp.parse().expect("RFC 3339");
    moment.as_nanosecond() as f64 / 1e9
}

/// The record about the time before this run.
fn not_watched(eve: &[Value]) -> &Value {
    let own = |record: &&Value| record["synledger"]["event"] == "not_watched";
    let mut all = of_type(eve, "lifecycle").filter(own);
    let record = all.next().expect("a gap is named");
    assert_eq!(all.next(), None, "once");
    &record["synledger"]
}

/// Sends SYNs of new connections, some thousand a second, until `stop`. Returns when each was out.
fn load(veth: Veth, stop: &AtomicBool) -> Vec<f64> {
    let sender = Sender::new(veth);
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let number = u32::try_from(sent.len()).expect("few");
            sender.send(&frame(flow(number, 1024, 1, 443), number));
            sent.push(now_s());
        }
        thread::sleep(Duration::from_millis(2));
    }
    sent
}

/// Outputs that all runs go on with: lines, and Zeek's files.
fn kept_outputs(state: &Path) -> [String; 3] {
    let above = state.parent().expect("a folder").display();
    [
        format!("eve:{above}/kept.json,events=connection+flow+lifecycle,rotate=1MiB,keep=99"),
        format!("text:{above}/kept.txt,events=connection"),
        format!("zeek:{above}/zeek,rotate=1MiB,keep=99"),
    ]
}

/// Asserts that each line of those outputs is whole, in open and closed files; returns lines and records that were cut.
fn assert_whole(folder: &Path) -> (usize, usize) {
    let (mut lines, mut cut) = (0, 0);
    let all = opened(folder)
        .into_iter()
        .chain(opened(&folder.join("zeek")));
    for (path, file) in all {
        let text = text(&path, file);
        let shown = path.display().to_string();
        assert!(text.is_empty() || text.ends_with('\n'), "{shown}");
        lines += text.lines().count();
        if shown.contains("kept.json") {
            let eve = records(&text);
            let torn = |one: &&Value| one["synledger"]["event"] == "torn_record";
            cut += of_type(&eve, "lifecycle").filter(torn).count();
        } else if shown.contains("kept.txt") {
            let odd = text.lines().find(|line| !line.contains("New connection: "));
            assert_eq!(odd, None, "{shown}");
        } else {
            let fields = text.lines().filter(|line| !line.starts_with('#'));
            let counts: BTreeSet<usize> = fields.map(|line| line.matches('\t').count()).collect();
            assert!(counts.len() < 2, "{shown}: {counts:?}");
        }
    }
    (lines, cut)
}

/// Lets a sensor run for a while under load and kills it. Returns when, and whether all that was sent before
/// `watched` is in its log, and each line whole.
fn killed(veth: Veth, state: &Path, after: Duration) -> (f64, Vec<f64>, BTreeSet<u64>, Vec<Value>) {
    let place = state.display().to_string();
    let kept = kept_outputs(state);
    let kept = kept.iter().flat_map(|output| ["--output", output]);
    let args: Vec<&str> = ["--workers", "2", "--state", &place]
        .into_iter()
        .chain(kept)
        .collect();
    let sensor = Sensor::start(&args);
    let stop = AtomicBool::new(false);
    let (killed_s, sent) = thread::scope(|scope| {
        let load = scope.spawn(|| load(veth, &stop));
        thread::sleep(after);
        let killed_s = now_s();
        sensor.signal(Signal::SIGKILL);
        stop.store(true, Ordering::Relaxed);
        (killed_s, load.join().expect("no panic"))
    });
    let mut sensor = sensor;
    assert_eq!(sensor.exit(), None, "by a signal");
    let log = sensor.content("log.json");
    // The kernel may have taken a part of a line: the next run cuts it off.
    let whole = log.rfind('\n').map_or(0, |newline| newline + 1);
    let eve = records(&log[..whole]);
    let isn = |record: &Value| record["synledger"]["isn"].as_u64().expect("a number");
    let logged = of_type(&eve, "new_connection").map(isn).collect();
    (killed_s, sent, logged, eve)
}

#[test]
fn after_each_kill_the_log_is_whole_and_the_next_start_names_the_gap() {
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state");
        std::fs::create_dir(dir.path().join("zeek")).expect("a folder");
        let mut rng = Rng::new(15);
        let mut last: Option<(f64, Vec<f64>, BTreeSet<u64>)> = None;
        let (mut longest_s, mut logged_all) = (0.0_f64, 0);
        for round in 0..=rounds() {
            let after = Duration::from_millis(50 + rng.below(2_500));
            let started_s = now_s();
            let (killed_s, sent, logged, eve) = killed(veth, &state, after);
            if let Some((killed_s, sent, logged)) = last {
                let gap = not_watched(&eve);
                assert_eq!(gap["cause"], "killed");
                let (from_s, until_s) = (seconds(&gap["from"]), seconds(&gap["until"]));
                let early_s = killed_s - from_s;
                assert!((-0.01..LATE_S).contains(&early_s), "{round}: {early_s}");
                assert!(until_s >= started_s && until_s <= now_s(), "{round}");
                let length_s = gap["not_watched_s"].as_f64().expect("known");
                assert!((length_s - (until_s - from_s)).abs() < 0.001);
                longest_s = longest_s.max(early_s);
                let before = sent.iter().take_while(|&&at_s| at_s < from_s).count();
                let missing = (0..before as u64).filter(|number| !logged.contains(number));
                assert_eq!(missing.count(), 0, "{round}: of {before} called watched");
                logged_all += before;
            } else {
                assert!(
                    !eve.iter()
                        .any(|one| one["synledger"]["event"] == "not_watched")
                );
            }
            last = Some((killed_s, sent, logged));
        }
        let kills = rounds();
        let kept = kept_outputs(&state);
        let kept: Vec<&str> = (kept.iter().flat_map(|output| ["--output", output])).collect();
        Sensor::start(&kept).stop(Signal::SIGTERM).assert_exact();
        let (lines, cut) = assert_whole(dir.path());
        assert!(lines > logged_all);
        eprintln!(
            "{lines} lines in files that all runs went on with, each whole; {cut} parts were cut off"
        );
        eprintln!(
            "{kills} kills: gaps begin at most {longest_s:.3} s before the kill; {logged_all} connections called watched, all logged"
        );
    });
}

#[test]
fn a_clean_stop_is_no_kill_and_the_gap_is_a_metric() {
    with_veth(|_| {
        ip("link set lo up");
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().display().to_string();
        let args = ["--workers", "1", "--state", &state, "--metrics", METRICS];
        let first = Sensor::start(&args);
        assert!(!metrics().contains("not_watched_before_start"));
        let before_s = now_s();
        first.stop(Signal::SIGTERM).assert_exact();
        let stopped_s = now_s();
        thread::sleep(Duration::from_millis(700));
        let second = Sensor::start(&args);
        let name = "\nsynledger_not_watched_before_start_seconds ";
        second.wait_for("the metric", || metrics().contains(name));
        let told = metrics();
        let value = told.split(name).nth(1).and_then(|rest| rest.lines().next());
        let value_s: f64 = value.expect("a value").parse().expect("a number");
        let ended = second.stop(Signal::SIGTERM);
        ended.assert_exact();
        let gap = not_watched(&ended.eve);
        assert_eq!(gap["cause"], "clean_stop");
        let from_s = seconds(&gap["from"]);
        assert!(from_s >= before_s - 0.001 && from_s <= stopped_s, "{gap}");
        assert!(value_s >= 0.7, "{value_s}");
        let line = ended.lines("Sensor not_watched: not watched from 20");
        assert_eq!(line.len(), 1, "{}", ended.text);
        assert!(ended.stderr.contains("synledger: not watched from 20"));
    });
}

#[test]
fn a_folder_that_cannot_be_written_or_is_in_use_refuses_the_run() {
    with_veth(|_| {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().display().to_string();
        let _first = Sensor::start(&["--workers", "1", "--state", &state]);
        let run = |state: &str| {
            let mut command = synledger();
            command.args(RUN).args(["-i", "sensor", "--ring-mib", "8"]);
            command.args(["--memory-mib", "32", "--workers", "1", "--state", state]);
            command
        };
        fails(
            run(&state),
            1,
            &["--state", "in use by another sensor (process"],
        );
        let file = dir.path().join("last-watched").display().to_string();
        fails(run(&file), 1, &["--state", "Not a directory"]);
        let mut dry = run(&file);
        dry.arg("--dry-run");
        fails(dry, 1, &["--state", "Not a directory"]);
        let Some(disk) = SmallDisk::mount() else {
            return;
        };
        let place = disk.place.display().to_string();
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", "remount,ro", &place]).status();
        assert!(status.expect("mount starts").success());
        fails(run(&place), 1, &["--state", "Read-only file system"]);
    });
}
