//! A slow output never slows another, though one thread writes them all.
//!
//! Beside a file: a pipe whose reader takes 1 KiB a second, and a TCP collector that never reads. The delay of the file's
//! records, from packet to line, is measured without and with them; it decides nothing.

use super::sensor::{EVENTS, Ended, METRICS, Sensor, metrics};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{Veth, ip, with_veth};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const COLLECTOR: &str = "127.0.0.1:5514";
/// More than a pipe, the buffers of a TCP connection, and the sink's own buffer hold.
const CONNECTIONS: u32 = 60_000;

/// What the delays of a run were, by the metrics: how many, their mean, and the bound below which 99 % are, in seconds.
fn delays() -> (f64, f64, String) {
    let text = metrics();
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let line = line.unwrap_or_else(|| panic!("no {name}: {text}"));
        line.trim().parse().expect("a number")
    };
    let count = value("synledger_log_lag_seconds_count ");
    let mean = value("synledger_log_lag_seconds_sum ") / count;
    let mut buckets = text
        .lines()
        .filter_map(|line| line.strip_prefix("synledger_log_lag_seconds_bucket{le=\""));
    let bound = buckets.find_map(|line| {
        let (bound, below) = line.split_once("\"} ")?;
        let below: f64 = below.trim().parse().ok()?;
        (below >= 0.99 * count).then(|| bound.to_owned())
    });
    (count, mean, bound.expect("a bucket of all"))
}

/// Sends all connections, and waits until the file has them; prints the delays, ends the sensor.
fn watch(veth: Veth, sensor: Sensor, what: &str) -> Ended {
    let sender = Sender::new(veth);
    for from in 0..CONNECTIONS {
        sender.send(&frame(flow(from, 1024, 1, 443), from));
        if from.is_multiple_of(1000) {
            // No faster than one core reads them, so that rings drop nothing.
            thread::sleep(Duration::from_millis(20));
        }
    }
    sensor.wait_for("line of the last connection", || {
        let log = sensor.content("log.txt");
        log.matches(": New connection: ").count() == CONNECTIONS as usize
    });
    let (count, mean, bound) = delays();
    eprintln!("{what}: {count} records, mean delay {mean:.4} s, 99 % below {bound} s");
    sensor.stop(Signal::SIGTERM)
}

/// A sensor with a file and these outputs.
fn start(dir: tempfile::TempDir, more: &[String]) -> Sensor {
    let text = format!("text:{},{EVENTS}", dir.path().join("log.txt").display());
    let mut outputs = vec!["--output", text.as_str()];
    for output in more {
        outputs.extend(["--output", output.as_str()]);
    }
    Sensor::start_in(dir, &outputs, &["--metrics", METRICS], Stdio::null())
}

/// Reads 1 KiB a second until `over`; returns how much it was.
fn sip(mut pipe: impl Read, over: &AtomicBool) -> usize {
    let (mut sum, mut bytes) = (0, [0; 1024]);
    while !over.load(Ordering::Relaxed) {
        // Nothing there, or nobody there yet: no error.
        sum += pipe.read(&mut bytes).unwrap_or(0);
        thread::sleep(Duration::from_secs(1));
    }
    sum
}

#[test]
fn a_slow_output_never_slows_another() {
    with_veth(|veth| {
        ip("link set lo up");
        let alone = start(tempfile::tempdir().expect("a folder"), &[]);
        watch(veth, alone, "a file alone").assert_exact();

        let dir = tempfile::tempdir().expect("a folder");
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, Mode::from_bits_truncate(0o666)).expect("a pipe");
        let mut reader = OpenOptions::new();
        let reader = reader.read(true).custom_flags(libc::O_NONBLOCK).open(&pipe);
        let reader = reader.expect("it is there");
        let over = Arc::new(AtomicBool::new(false));
        let seen = over.clone();
        let slow = thread::spawn(move || sip(reader, &seen));
        let _never_accepts = TcpListener::bind(COLLECTOR).expect("the port is free");
        let outputs = [
            format!("eve:{},events=connection", pipe.display()),
            format!("syslog:tcp://{COLLECTOR},events=connection"),
        ];
        let ended = watch(veth, start(dir, &outputs), "beside two slow outputs");
        over.store(true, Ordering::Relaxed);
        let taken = slow.join().expect("the reader ends");
        assert_eq!(ended.code, Some(1), "records were lost: {}", ended.stderr);
        assert!(ended.stderr.contains("the books close"), "{}", ended.stderr);
        let lines = ended.lines(": New connection: ").len();
        assert_eq!(lines, CONNECTIONS as usize);
        let stats = ended.eve.last().expect("a last record");
        let outputs = &stats["synledger"]["totals"]["books"]["outputs"];
        // EVE and text to files have all; the slow ones have or have lost all.
        for (at, is_slow) in [(0, false), (1, false), (2, true), (3, true)] {
            let (written, lost) = books(&outputs[at]);
            assert_eq!(written + lost, u64::from(CONNECTIONS), "output {at}");
            assert_eq!(lost > 0, is_slow, "output {at}: {}", outputs[at]);
        }
        eprintln!("the slow reader took {taken} bytes");
    });
}

/// Connections that an output has written, and lost.
fn books(output: &Value) -> (u64, u64) {
    let of = |counts: &Value| counts["connection"].as_u64().expect("a count");
    let causes = output["dropped"].as_object().expect("causes");
    (of(&output["written"]), causes.values().map(of).sum())
}
