//! A reader that stops reading costs only lines of its own output, and cannot keep the program from ending.

mod common;

use common::netns::{SENSOR, with_veth};
use common::{NANOS, RUN, syn, synledger};
use craft::{Capture, Flow, Link, LinkType};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use packet::TxSocket;
use serde_json::{Value, json};
use std::io::{Read, pipe};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// More lines than a pipe and the sink's own buffer hold.
const LINES: u32 = 30_000;

fn frame(from: u32) -> Vec<u8> {
    let [_, b, c, d] = from.to_be_bytes();
    let flow = Flow::v4([10, b, c, d], 1024, [198, 51, 100, 7], 80);
    Link::ethernet().frame(&syn(flow, from))
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

fn content(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < give_up, "no {what} in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends the program with `signal`; returns its exit code and how long it took.
fn end(child: &mut Child, signal: Signal) -> (Option<i32>, Duration) {
    let asked = Instant::now();
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("it runs");
    let mut status = None;
    wait_for("end", || {
        status = child.try_wait().expect("a child");
        status.is_some()
    });
    (status.expect("ended").code(), asked.elapsed())
}

/// By device and inode, also where the file is not there yet.
#[test]
fn two_outputs_in_one_file_are_refused_under_any_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = Capture::new("none", LinkType::Ethernet).to_pcap(NANOS);
    std::fs::write(dir.path().join("capture"), capture).expect("a file");
    let refused = |script: &str, names: &[&str]| {
        let mut shell = std::process::Command::new("unshare");
        shell.args(["--mount", "sh", "-ec", script]);
        shell.arg(env!("CARGO_BIN_EXE_synledger")).args(names);
        let output = shell.current_dir(dir.path()).output().expect("sh starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{script} {names:?}: {error}");
        assert!(
            error.contains("; two outputs in one file would mix their lines"),
            "{script} {names:?}: {error}"
        );
        error
    };
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root for a mount namespace");
    }
    let run = r#"exec "$0" read -q --output "text:$1" --output "eve:$2" capture"#;
    let with = |before: &str, after: &str| format!("{before}{run}{after}");
    refused(
        &with("mkdir -p d e; mount --bind d e; ", ""),
        &["d/new", "e/new"],
    );
    let error = refused(&with("touch g m; mount --bind g m; ", ""), &["g", "m"]);
    assert!(
        error.contains("--output: g and m are one file; "),
        "{error}"
    );
    for name in [
        "-",
        "/dev/stdout",
        "/dev/./stdout",
        "/dev/fd/1",
        "/proc/self/fd/1",
        "/proc/thread-self/fd/1",
    ] {
        refused(&with("", " >new"), &["new", name]);
    }
}

#[test]
fn read_waits_for_a_slow_reader_and_sigint_ends_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut capture = Capture::new("many", LinkType::Ethernet);
    for from in 0..LINES {
        capture.push(i64::from(from), frame(from));
    }
    let file = dir.path().join("many.pcap");
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture");
    let start = || {
        let (reader, writer) = pipe().expect("a pipe");
        let child = synledger()
            .args(["read", "-q"])
            .arg(&file)
            .stdout(writer)
            .spawn()
            .expect("the program starts");
        (reader, child)
    };
    let (mut reader, mut child) = start();
    thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().expect("a child").is_none(), "read waits");
    let mut all = String::new();
    reader.read_to_string(&mut all).expect("UTF-8");
    assert!(child.wait().expect("a child").success());
    let of = |words: &str| all.lines().filter(|line| line.contains(words)).count();
    assert_eq!(
        of(": New connection: "),
        LINES as usize,
        "a pipe gets everything"
    );
    assert_eq!(of(": SYN flood detected: "), 1);

    let (_nobody_reads, mut child) = start();
    thread::sleep(Duration::from_secs(1));
    let (_, took) = end(&mut child, Signal::SIGINT);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn read_ends_with_its_books_and_writes_the_same_bytes_with_every_number_of_workers() {
    let dir = tempfile::tempdir().expect("a folder");
    let capture = &craft::scenarios(3)[0];
    let file = dir.path().join("one.pcap");
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture");
    let logs = ["1", "2", "8"].map(|workers| {
        let log = dir.path().join(workers);
        let status = synledger()
            .args(["read", "-q", "--sensor", "test", "--workers", workers])
            .args(["--output", &format!("eve:{}", log.display())])
            .arg(&file)
            .status()
            .expect("the program starts");
        assert!(status.success());
        content(&log)
    });
    assert!(logs[0] == logs[1] && logs[0] == logs[2], "{logs:#?}");
    let records: Vec<Value> = logs[0].lines().map(parsed).collect();
    let (last, events) = records.split_last().expect("a last record");
    assert_eq!(last["event_type"], "stats");
    let ours = &last["synledger"];
    assert_eq!(
        (&ours["final"], &ours["complete"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&ours["closed"], &ours["missed"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(ours["books"]["frames"], capture.frames.len());
    assert_eq!(last["stats"]["capture"]["kernel_packets"], 0);
    for (kind, word) in [
        ("new_connection", "connection"),
        ("flow", "flow"),
        ("alert", "alert"),
    ] {
        let count = events
            .iter()
            .filter(|one| one["event_type"] == kind)
            .count();
        let books = &ours["totals"]["books"];
        assert_eq!(books["outputs"][0]["written"][word], count, "{kind}");
    }
}

#[test]
fn a_pager_that_stops_reading_stops_neither_other_outputs_nor_the_run() {
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let [log, stderr_file, eve] = ["log", "stderr", "eve"].map(|name| dir.path().join(name));
        let (nobody_reads, writer) = pipe().expect("a pipe");
        let errors = std::fs::File::create(&stderr_file).expect("a file");
        let mut child = synledger()
            .args(RUN)
            .args(["-i", SENSOR, "--ring-mib", "8", "--fold", "0"])
            .args(["--workers", "1", "--output", "text:-,events=connection"])
            .args([
                "--output",
                &format!("text:{},events=connection+flow+lifecycle", log.display()),
            ])
            .args([
                "--output",
                &format!("eve:{},events=lifecycle+stats", eve.display()),
            ])
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(errors)
            .spawn()
            .expect("the program starts");
        wait_for("start", || content(&log).contains("Sensor start: "));
        let sender = TxSocket::open(veth.sender).expect("a sender opens");
        for from in 0..LINES {
            sender.send(&frame(from)).expect("a frame is sent");
            if from.is_multiple_of(1000) {
                // No faster than one core reads them, so that rings drop nothing.
                thread::sleep(Duration::from_millis(20));
            }
        }
        wait_for("line of the last connection", || {
            content(&log).matches(": New connection: ").count() == LINES as usize
        });
        let (code, took) = end(&mut child, Signal::SIGTERM);
        let stderr = content(&stderr_file);
        assert!(took < Duration::from_secs(10), "{took:?}: {stderr}");
        assert_eq!(code, Some(1), "lines were asked for and lost: {stderr}");
        assert!(stderr.contains("the books close"), "{stderr}");
        assert_loss_is_reported(&stderr);
        // All flows end at once with the run: many more than a queue holds.
        let ended = content(&log).matches(": Flow ended: ").count();
        assert_eq!(ended, LINES as usize, "{stderr}");
        drop(nobody_reads);
        assert_books_of_a_slow_reader(&content(&eve));
    });
}

/// Standard error reports the loss while it lasts.
fn assert_loss_is_reported(stderr: &str) {
    for part in [
        "synledger: losing: ",
        "records of text:- (",
        "its reader is slow; read it faster",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
}

fn assert_books_of_a_slow_reader(eve: &str) {
    let records: Vec<Value> = eve.lines().map(parsed).collect();
    let (last, before) = records.split_last().expect("a last record");
    let open = |record: &&Value| record["synledger"]["event"] == "books_open";
    assert_eq!(before.iter().find(open), None);
    assert_eq!(before.last().expect("a stop")["synledger"]["event"], "stop");
    let kernel = json!({"kernel_packets": LINES, "kernel_drops": 0});
    assert_eq!(last["stats"]["capture"], kernel);
    let ours = &last["synledger"];
    assert_eq!(
        (&ours["final"], &ours["closed"]),
        (&json!(true), &json!(true))
    );
    let books = &ours["totals"]["books"];
    assert_eq!(books["new_connections"], LINES);
    assert_eq!(books["outputs"][1]["written"]["flow"], LINES);
    let waits = &books["outputs"][0];
    let lost = waits["dropped"]["slow"]["connection"]
        .as_u64()
        .expect("some");
    let written = waits["written"]["connection"].as_u64().expect("some");
    assert!(lost > 0, "{waits}");
    assert_eq!(written + lost, u64::from(LINES));
    assert_eq!(ours["totals"]["complete"], false);
}
