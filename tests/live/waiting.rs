//! A run whose interfaces do not exist yet.

use super::sensor::{Sensor, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENSOR, ip, wait_for_end, with_veth};
use crate::common::{RUN, fails, synledger};
use nix::net::if_::if_nametoindex;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use packet::TxSocket;

/// Creates a pair with both ends up.
fn create(name: &str, peer: &str) {
    ip(&format!("link add {name} type veth peer name {peer}"));
    for end in [name, peer] {
        ip(&format!("link set {end} up"));
    }
    for end in [name, peer] {
        wait_for_end(end);
    }
}

/// Sends a connection from `peer`, waits for its line in the log, and stops the sensor.
fn assert_logs_connection_from(peer: &str, sensor: Sensor) {
    let index = if_nametoindex(peer).expect("it is there");
    let sender = Sender(TxSocket::open(index).expect("a sender opens"));
    sender.send(&frame(flow(1, 1024, 1, 443), 1));
    sensor.wait_for("line", || {
        sensor
            .content("log.txt")
            .contains(": New connection: 10.0.0.1:")
    });
    sensor.stop(Signal::SIGINT).assert_exact();
}

#[test]
fn a_glob_waits_for_interfaces_and_watches_all_that_appear_together() {
    with_veth(|_| {
        let sensor = Sensor::begin(&["-i", "late*"]);
        sensor.wait_for_stderr("waiting for an interface that late* means; Ctrl-C ends it\n");
        assert!(!sensor.path("log.json").exists(), "nothing is opened yet");
        let pid = Pid::from_raw(sensor.pid().try_into().expect("a process"));
        kill(pid, Signal::SIGUSR1).expect("it runs");
        sensor
            .wait_for_stderr("nothing is watched yet: waiting for an interface that late* means\n");
        create("late0", "far0");
        create("late1", "far1");
        sensor.wait_for_event("start");
        sensor.wait_for_stderr("synledger: watching late0, late1 (process ");
        assert_logs_connection_from("far1", sensor);
    });
}

#[test]
fn negations_alone_wait_for_any_other_interface() {
    with_veth(|_| {
        let sensor = Sensor::begin(&["-i", "!lo,!sen*,!far*"]);
        sensor.wait_for_stderr("waiting for an interface that !lo,!sen*,!far* means");
        create("late0", "far0");
        sensor.wait_for_stderr("synledger: watching late0 (process ");
        sensor.stop(Signal::SIGINT).assert_exact();
    });
}

#[test]
fn with_wait_a_name_waits_for_its_interface() {
    with_veth(|_| {
        let sensor = Sensor::begin(&["-i", "late0", "--wait"]);
        sensor.wait_for_stderr("waiting for interface late0; Ctrl-C ends it\n");
        create("other0", "far0");
        create("late0", "far1");
        sensor.wait_for_event("start");
        assert_logs_connection_from("far1", sensor);
    });
}

#[test]
fn with_wait_auto_waits_for_a_default_route() {
    with_veth(|veth| {
        let sensor = Sensor::begin(&["--wait"]);
        sensor.wait_for_stderr("waiting for a default route (-i auto); Ctrl-C ends it\n");
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        ip("route add default via 10.9.0.1");
        sensor.wait_for_event("start");
        Sender::new(veth).send(&frame(flow(1, 1024, 1, 443), 1));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.1:")
        });
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert!(
            ended
                .stderr
                .contains(&format!("watching {SENSOR} (process"))
        );
    });
}

#[test]
fn a_signal_ends_the_wait_with_0() {
    with_veth(|_| {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let sensor = Sensor::begin(&["-i", "late*"]);
            sensor.wait_for_stderr("waiting for an interface");
            let ended = sensor.stop(signal);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let last = ended.stderr.lines().last();
            let expected = "synledger: asked to stop while waiting: nothing was watched";
            assert_eq!(last, Some(expected), "{}", ended.stderr);
            assert_eq!(of_type(&ended.eve, "lifecycle").count(), 0);
        }
    });
}

#[test]
fn a_quiet_wait_prints_nothing() {
    with_veth(|_| {
        let sensor = Sensor::begin(&["-i", "late*", "-q"]);
        create("late0", "far0");
        sensor.wait_for_event("start");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    });
}

#[test]
fn without_wait_a_missing_default_route_fails_and_names_the_flag() {
    with_veth(|_| {
        let mut command = synledger();
        command.args(RUN).args(["-i", "auto,late*"]);
        let expected = ["-i auto: no device carries a default route", "--wait"];
        fails(command, 1, &expected);
    });
}

#[test]
fn faults_that_keep_a_run_from_starting_are_reported_before_it_waits() {
    with_veth(|_| {
        let mut command = synledger();
        command
            .args(RUN)
            .args(["-i", "late*", "--output", "text:/nowhere/log"]);
        fails(command, 1, &["/nowhere/log"]);
    });
}

#[test]
fn a_dry_run_reports_that_a_run_would_wait_and_does_not_wait() {
    with_veth(|_| {
        for (args, expected) in [
            (&["-i", "late*"][..], "an interface that late* means"),
            (&["-i", "late0", "--wait"], "interface late0"),
            (&["--wait"], "a default route (-i auto)"),
        ] {
            let mut command = synledger();
            command
                .args(RUN)
                .args(["--dry-run", "--workers", "1", "--memory-mib", "32"]);
            let output = command.args(args).output().expect("it starts");
            let error = String::from_utf8_lossy(&output.stderr);
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{args:?}: {error}");
            let expected = format!("synledger: a run would wait for {expected}\n");
            assert!(error.contains(&expected), "{args:?}: {error}");
            let last = "this would wait for its interfaces, then start\n";
            assert!(text.ends_with(last), "{args:?}: {text}");
        }
    });
}
