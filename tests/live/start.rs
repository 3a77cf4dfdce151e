//! What a start needs, and what it can do without.

use super::sensor::{METRICS, Sensor, attempts, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use crate::common::{fails, synledger};
use nix::sys::signal::Signal;
use std::net::TcpListener;
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
        assert_eq!(attempts(&ended.eve).len(), 100, "{}", ended.says);
        let passing = |record: &&serde_json::Value| record["synledger"]["direction"] == "transit";
        let passing = of_type(&ended.eve, "new_connection").filter(passing);
        assert_eq!(passing.count(), 100, "nobody here has an address");
    });
}

#[test]
fn an_interface_that_is_not_there_is_answered_with_those_that_are() {
    with_veth(|_| {
        let mut command = synledger();
        command.args(["run", "-i", "no-such-nic0"]);
        let says = [
            "-i no-such-nic0: no such interface; there are",
            " lo",
            SENDER,
            SENSOR,
        ];
        fails(command, 2, &says);
        let mut command = synledger();
        command.args(["run", "-i", "auto"]);
        fails(command, 1, &["default route", "-i"]);
    });
}

#[test]
fn a_metrics_port_in_use_is_named_with_the_way_out() {
    with_veth(|_| {
        ip("link set lo up");
        let taken = TcpListener::bind(METRICS).expect("a namespace has all ports to itself");
        let mut command = synledger();
        command.args(["run", "-i", SENSOR, "--ring-mib", "8", "--memory-mib", "8"]);
        command.args(["--metrics", METRICS]);
        let flag = format!("--metrics {METRICS}");
        fails(command, 1, &[&flag, "in use", "choose another"]);
        drop(taken);
    });
}
