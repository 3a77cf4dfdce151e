//! Links that flap.

use super::sensor::{Sensor, of_type, scans};
use super::traffic::{Sender, with_trickle};
use crate::common::netns::{SENSOR, ip, wait_for_link, with_veth};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::thread;
use std::time::Duration;

fn flaps(mode: &'static str) {
    for workers in ["1", "2", "3", "4"] {
        with_veth(move |veth| {
            let sensor = Sensor::start(&["--workers", workers, "--fanout", mode]);
            let sender = Sender::new(veth);
            with_trickle(veth, Duration::from_millis(2), || {
                wait_for_link();
                (0..5).for_each(|from| sender.scan(from));
                for _ in 0..20 {
                    ip(&format!("link set {SENSOR} down"));
                    thread::sleep(Duration::from_millis(5));
                    ip(&format!("link set {SENSOR} up"));
                    thread::sleep(Duration::from_millis(5));
                }
                wait_for_link();
                (5..10).for_each(|from| sender.scan(from));
            });
            let ended = sensor.stop(Signal::SIGINT);
            let of = format!("--fanout {mode} --workers {workers}: {}", ended.stderr);
            assert_eq!(ended.code, Some(0), "{of}");
            assert!(ended.stderr.contains("the books close"), "{of}");
            assert_eq!(scans(&ended.eve).len(), 10, "{of}");
            // Every frame is a distinct SYN, so frames offered equal connections logged.
            let logged = of_type(&ended.eve, "new_connection").count() as u64;
            assert_eq!(ended.offered(), logged, "{of}");
            let down = |record: &&Value| record["synledger"]["event"] == "link_down";
            let downs = of_type(&ended.eve, "lifecycle").filter(down).count();
            assert_eq!(downs, 20, "{of}");
            // Standard error has a few changes, the number of the others, and the last state.
            let about = |line: &&str| line.starts_with(&format!("synledger: {SENSOR} is "));
            let lines: Vec<&str> = ended.stderr.lines().filter(about).collect();
            assert!((5..10).contains(&lines.len()), "{of}");
            assert!(lines[0].contains(" is down: nothing is seen there"), "{of}");
            let last = lines[lines.len() - 1];
            assert!(
                last.contains(" is up (") && last.contains(" more changes"),
                "{of}"
            );
        });
    }
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_class() {
    flaps("class");
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_hash() {
    flaps("hash");
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_cpu() {
    flaps("cpu");
}

#[test]
fn a_link_that_flaps_costs_no_scan_with_fanout_qm() {
    flaps("qm");
}
