//! Hints while a run sees no frames, or cannot see some connections.

use super::sensor::{METRICS, Sensor, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{SENSOR, ip, with_veth};
use craft::Flow;
use nix::sys::signal::Signal;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

#[test]
fn unwatched_connections_of_the_host_to_itself_give_a_hint() {
    with_veth(|_| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "1"]);
        let listener = TcpListener::bind(METRICS).expect("a namespace has all ports to itself");
        drop(TcpStream::connect(METRICS).expect("it listens"));
        drop(listener.accept().expect("a client"));
        sensor.wait_for_stderr("connections of this host to itself go over lo");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let way_out = format!("-i lo,{SENSOR} watches them");
        assert!(ended.stderr.contains(&way_out), "{}", ended.stderr);
        assert_eq!(
            ended.stderr.matches("hint: ").count(),
            1,
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn a_run_that_sees_connections_gives_no_hint() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "1"]);
        Sender::new(veth).send(&frame(flow(1, 1024, 1, 443), 1));
        let _ = TcpStream::connect(METRICS);
        thread::sleep(Duration::from_millis(6_500));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert!(!ended.stderr.contains("hint: "), "{}", ended.stderr);
    });
}

#[test]
fn scans_by_this_host_are_reported_while_they_happen() {
    with_veth(|veth| {
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        let scan = |to: u8| {
            for port in 80..84 {
                let flow = Flow::v4([10, 9, 0, 2], 40_000 + port, [198, 51, 100, to], port);
                sender.send(&frame(flow, u32::from(port)));
            }
        };
        scan(1);
        sensor.wait_for_event("scans_out_of_scope");
        scan(2);
        // Long enough for a second line, if one came.
        thread::sleep(Duration::from_millis(2_500));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        let line = "synledger: 1 scan by this host is not shown: 10.9.0.2 -> 198.51.100.1; \
                    --scan-scope all shows them\n";
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("by this host is not shown").count(), 1);
        let is_scan =
            |record: &&serde_json::Value| record["synledger"]["event"] == "scans_out_of_scope";
        let records: Vec<_> = of_type(&ended.eve, "lifecycle").filter(is_scan).collect();
        assert_eq!(records.len(), 1, "{records:?}");
        let members = &records[0]["synledger"];
        assert_eq!(members["scans"], 1, "{members}");
        assert_eq!(members["src_ip"], "10.9.0.2", "{members}");
        assert_eq!(members["dest_ip"], "198.51.100.1", "{members}");
        // The second scan is in the books.
        assert!(ended.stderr.contains("2 port scans, "), "{}", ended.stderr);
    });
}
