//! `/healthz` and its metrics: a thread that stands still, the settings in force, the clock.

use super::sensor::{METRICS, Sensor, answer, metrics};
use super::service::{halt, thread_of};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENSOR, ip, with_veth};
use crate::common::synledger;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use std::io::Write;
use std::process::{Command, Stdio};

/// The value of a metric that has labels or none.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    lines.find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn a_worker_that_stands_still_is_found_by_name_and_health_fails_until_it_goes_on() {
    with_veth(|_| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "2", "--metrics", METRICS]);
        let since = |thread: &str| {
            let series = format!("synledger_seconds_since_progress{{thread=\"{thread}\"}} ");
            value(&metrics(), &series).unwrap_or(f64::MAX)
        };
        let threads = ["worker-0", "worker-1", "logger", "main"];
        sensor.wait_for("all threads", || threads.iter().all(|one| since(one) < 3.0));
        assert_eq!(value(&metrics(), "synledger_healthy "), Some(1.0));
        let worker = thread_of(sensor.pid(), "worker-1");
        halt(worker);
        let line = "\nstalled: worker-1 has made no progress for 1";
        sensor.wait_for(line, || answer("/healthz?live").contains(line));
        let health = answer("/healthz");
        assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
        assert!(answer("/healthz?live").starts_with("HTTP/1.1 503 "));
        assert!(since("worker-1") >= 10.0 && since("worker-0") < 3.0);
        assert_eq!(value(&metrics(), "synledger_healthy "), Some(0.0));
        ptrace::detach(worker, None).expect("detached");
        sensor.wait_for("health", || answer("/healthz").ends_with("\r\n\r\nok\n"));
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

/// Sends frames past every tap (PACKET_QDISC_BYPASS) until it is killed.
const BYPASS: &str = "
import socket, sys, time
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.setsockopt(263, 20, 1)
sender.bind((sys.argv[1], 0))
while True:
    sender.send(bytes(12) + b'\\x88\\xb5' + bytes(50))
    time.sleep(0.05)
";

#[test]
fn packets_that_no_capture_sees_make_health_fail_with_the_cause_until_frames_come() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "1", "--metrics", METRICS]);
        let mut python = Command::new("python3");
        let bypass = python.args(["-c", BYPASS, SENSOR]).spawn();
        let mut bypass = bypass.expect("python3 starts");
        let line = format!("failing\nno_frames: nothing has come on {SENSOR} for ");
        let mut health = String::new();
        sensor.wait_for(&line, || {
            health = answer("/healthz");
            health.contains(&line)
        });
        assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
        assert!(health.contains("past every capture"), "{health}");
        assert!(answer("/healthz?live").starts_with("HTTP/1.1 200 "));
        bypass.kill().expect("ours");
        bypass.wait().expect("ours");
        Sender::new(veth).send(&frame(flow(1, 1024, 1, 443), 1));
        sensor.wait_for("health", || answer("/healthz").ends_with("\r\n\r\nok\n"));
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

/// As an operator computes it: the lines of `--dry-run`, without comments, in the order of their keys.
fn hash_by_hand(command: &Command) -> String {
    let mut dry = synledger();
    dry.args(command.get_args()).arg("--dry-run");
    let output = dry.output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let settings = text.lines().filter_map(|line| line.strip_prefix("  "));
    let settings = settings.filter_map(|line| Some(line.rsplit_once("  # ")?.0));
    let mut lines: Vec<&str> = settings.collect();
    lines.sort_unstable();
    assert!(lines.len() >= 6, "{text}");
    let mut hash = Command::new("sha256sum");
    let hash = hash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut hash = hash.expect("coreutils");
    let mut input = hash.stdin.take().expect("a pipe");
    writeln!(input, "{}", lines.join("\n")).expect("written");
    drop(input);
    let output = hash.wait_with_output().expect("it ends");
    let text = String::from_utf8(output.stdout).expect("digits");
    text.split(' ').next().expect("a hash").to_owned()
}

#[test]
fn the_hash_is_of_the_settings_in_force_and_a_reload_changes_it() {
    with_veth(|_| {
        ip("link set lo up");
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("x.toml");
        let write = |text: &str| std::fs::write(&config, text).expect("a file");
        write("fold = 5\n");
        let mut command = synledger();
        command
            .args(["run", "-i", SENSOR, "--ring-mib", "8", "--memory-mib", "64"])
            .args(["--workers", "1", "--metrics", METRICS, "--config"])
            .arg(&config);
        let sensor = Sensor::start_command(&mut command);
        let hash = || {
            let metrics = metrics();
            let mut lines = metrics.lines();
            let line = lines.find(|line| line.starts_with("synledger_build_info{"))?;
            let (_, rest) = line.split_once("config_sha256=\"")?;
            Some(rest.split('"').next()?.to_owned())
        };
        let is = |expected: &str| hash().is_some_and(|hash| hash == expected);
        let first = hash_by_hand(&command);
        sensor.wait_for("the hash", || is(&first));
        let clock = value(&metrics(), "synledger_clock_synchronized ");
        assert!(clock == Some(0.0) || clock == Some(1.0), "{clock:?}");
        write("fold = 5\nallow = \"192.0.2.1\"\n");
        let second = hash_by_hand(&command);
        assert_ne!(first, second);
        sensor.signal(Signal::SIGHUP);
        sensor.wait_for("the new hash", || is(&second));
        // In force only after a restart; and a comment is no setting.
        write("# A comment.\nfold = 6\n");
        assert_ne!(hash_by_hand(&command), first);
        sensor.signal(Signal::SIGHUP);
        sensor.wait_for("the first hash", || is(&first));
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}
