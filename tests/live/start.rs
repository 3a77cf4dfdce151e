//! Conditions for a start, and its output.

use super::sensor::{Ended, METRICS, Sensor, attempts, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use crate::common::{RUN, fails, synledger};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;

#[test]
fn an_interface_without_an_address_is_watched() {
    with_veth(|veth| {
        let show = ["-o", "addr", "show", "dev", SENSOR];
        let output = Command::new("ip").args(show).output().expect("ip runs");
        assert!(output.stdout.is_empty(), "{output:?}");
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        (0..100).for_each(|from| sender.send(&frame(flow(from, 1024, 1, 443), from)));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(attempts(&ended.eve).len(), 100, "{}", ended.stderr);
        let passing = |record: &&serde_json::Value| record["synledger"]["direction"] == "transit";
        let passing = of_type(&ended.eve, "new_connection").filter(passing);
        assert_eq!(passing.count(), 100, "no interface here has an address");
    });
}

#[test]
fn a_missing_interface_is_an_error_that_lists_the_others() {
    with_veth(|_| {
        let mut command = synledger();
        command.args(RUN).args(["-i", "no-such-nic0"]);
        let expected = [
            "-i no-such-nic0: no such interface; there are",
            " lo",
            SENDER,
            SENSOR,
        ];
        fails(command, 2, &expected);
        let mut command = synledger();
        command.args(RUN).args(["-i", "auto"]);
        fails(command, 1, &["default route", "-i"]);
    });
}

#[test]
fn a_metrics_port_in_use_is_named_with_what_to_do() {
    with_veth(|_| {
        ip("link set lo up");
        let taken = TcpListener::bind(METRICS).expect("a namespace has all ports to itself");
        let mut command = synledger();
        command
            .args(RUN)
            .args(["-i", SENSOR, "--ring-mib", "8", "--memory-mib", "32"]);
        command.args(["--metrics", METRICS]);
        let flag = format!("--metrics {METRICS}");
        fails(command, 1, &[&flag, "in use", "choose another"]);
        drop(taken);
    });
}

/// A run with --memory-mib 1024, limited to 512 MiB.
fn confined(args: &[&str]) -> Command {
    let script =
        "ulimit -v 524288; exec \"$0\" run --workers 1 --memory-mib 1024 --ring-mib 8 \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_synledger"), "-i", SENSOR]);
    command.args(args);
    command
}

#[test]
fn a_socket_or_file_that_cannot_be_opened_is_reported_before_memory_is_taken() {
    with_veth(|_| {
        ip("link set lo up");
        let _taken = TcpListener::bind(METRICS).expect("a namespace has all ports to itself");
        fails(confined(&["--metrics", METRICS]), 1, &[METRICS, "in use"]);
        fails(
            confined(&["--output", "text:/nowhere/log"]),
            1,
            &["/nowhere/log"],
        );
        // Without another fault it fails for memory.
        let output = confined(&[]).output().expect("sh starts");
        assert!(!output.status.success(), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("Ctrl-C"), "{stderr}");
    });
}

/// Lines on standard error before the books.
fn first_screen(ended: &Ended) -> Vec<&str> {
    let ours = |line: &&str| line.starts_with("synledger: ");
    ended.stderr.lines().take_while(ours).collect()
}

#[test]
fn the_first_screen_has_plan_then_start_then_resources() {
    with_veth(|_| {
        let sensor = Sensor::begin(&["-i", SENSOR]);
        sensor.wait_for_stderr("MiB of rings");
        let pid = sensor.pid();
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let lines = first_screen(&ended);
        let expected = [
            format!("synledger: interfaces: {SENSOR} (up)"),
            "synledger: capture: headers (every packet, cut to its headers)".to_owned(),
            "synledger: outputs: text:/".to_owned(),
            format!("synledger: watching {SENSOR} (process {pid}); Ctrl-C ends it"),
            "synledger: 1 worker on CPU ".to_owned(),
            "synledger: sandbox: user ".to_owned(),
        ];
        assert_eq!(lines.len(), expected.len(), "{}", ended.stderr);
        for (line, start) in lines.iter().zip(&expected) {
            assert!(line.starts_with(start), "{line} is not {start}");
        }
    });
}

#[test]
fn verbose_adds_details_to_the_first_screen_and_quiet_prints_nothing() {
    with_veth(|_| {
        let sensor = Sensor::begin(&["-i", SENSOR, "-v"]);
        sensor.wait_for_stderr("MiB for attempts, flows, fragments\n");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let lines = first_screen(&ended);
        let place = |part: &str| lines.iter().position(|line| line.contains(part));
        let (rings, absorb) = (place("MiB of rings"), place("a worker's rings absorb: "));
        assert!(rings.is_some() && rings < absorb, "{lines:?}");
        let sensor = Sensor::begin(&["-i", SENSOR, "-q"]);
        sensor.wait_for_event("start");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    });
}

/// The first line of the answer to a health check at this address.
fn health(address: SocketAddr) -> String {
    let mut stream =
        TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn metrics_are_served_at_each_address_of_a_name() {
    with_veth(|_| {
        ip("link set lo up");
        // A host may be without IPv6.
        let here = |address: &SocketAddr| TcpListener::bind(address).is_ok();
        let every = ["127.0.0.1:9477", "[::1]:9477", "127.0.0.2:9477"];
        let every = every.map(|address| address.parse().expect("an address"));
        let every: Vec<SocketAddr> = every.into_iter().filter(here).collect();
        assert!(every.len() >= 2, "{every:?}");
        let localhost = ("localhost", 9477).to_socket_addrs().expect("it is known");
        for (value, addresses) in [
            ("localhost:9477", localhost.collect::<Vec<_>>()),
            (":9477", every.clone()),
            ("*:9477", every.clone()),
        ] {
            let sensor = Sensor::start(&["--metrics", value]);
            for address in addresses {
                assert_eq!(health(address), "HTTP/1.1 200 OK", "{value}");
            }
            let ended = sensor.stop(Signal::SIGINT);
            let expected = "http://localhost:9477/metrics";
            assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        }
    });
}
