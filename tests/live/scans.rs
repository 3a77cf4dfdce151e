//! Scans are detected: those of nmap, those spread over workers, those behind extension headers.

use super::peer::Peer;
use super::programs::{installed, text_of};
use super::sensor::{METRICS, Sensor, metrics, of_type};
use super::traffic::Sender;
use crate::common::netns::{SENDER, SENSOR, ip, with_veth};
use nix::sys::signal::Signal;
use std::process::Command;

fn nmap_finds_a_thousand(workers: &'static str) {
    if !installed("nmap") {
        return;
    }
    with_veth(move |_| {
        ip(&format!("addr add 10.9.0.2/24 dev {SENSOR}"));
        let sensor = Sensor::start(&["--workers", workers]);
        let peer = Peer::new();
        let output = peer.run(|| {
            ip(&format!("addr add 10.9.0.1/24 dev {SENDER}"));
            let args = "-n -Pn -sS -p 1-1000 --max-retries 0 10.9.0.2";
            let output = Command::new("nmap").args(args.split(' ')).output();
            output.expect("nmap starts")
        });
        assert!(output.status.success(), "{}", text_of(&output));
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.lines(": New connection: 10.9.0.1:").len(), 1000);
        let mut ports: Vec<u64> = of_type(&ended.eve, "new_connection")
            .map(|record| record["dest_port"].as_u64().expect("a port"))
            .collect();
        ports.sort_unstable();
        assert!(ports.into_iter().eq(1..=1000));
        assert_eq!(
            ended
                .lines(": Port scan detected: 10.9.0.1 -> 10.9.0.2 on ports ")
                .len(),
            1
        );
        let end = ended.lines(": Port scan ended: ");
        assert_eq!(end.len(), 1, "{}", ended.text);
        assert!(end[0].contains("1-1000"), "{end:?}");
    });
}

#[test]
fn nmap_gives_a_thousand_connections_and_one_scan_with_one_worker() {
    nmap_finds_a_thousand("1");
}

#[test]
fn nmap_gives_a_thousand_connections_and_one_scan_with_four_workers() {
    nmap_finds_a_thousand("4");
}

/// Frames that the kernel offered to the rings of each worker.
fn frames_of_workers(metrics: &str) -> Vec<u64> {
    let of_worker = |line: &&str| line.starts_with("synledger_worker_frames_total{");
    let value = |line: &str| line.rsplit(' ').next()?.parse().ok();
    metrics
        .lines()
        .filter(of_worker)
        .filter_map(value)
        .collect()
}

#[test]
fn a_scan_spread_over_eight_workers_is_detected_at_its_fourth_port() {
    with_veth(|veth| {
        // The hash has a new key at each start, so a test cannot choose flows for workers. Of scans of
        // four flows 41 % go to four workers; that none of 64 does has a probability of 2 in 10^15.
        const SCANS: u32 = 64;
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "8", "--metrics", METRICS]);
        let sender = Sender::new(veth);
        for from in 0..SCANS {
            sender.scan(from);
        }
        let mut frames = Vec::new();
        sensor.wait_for("frames in the metrics", || {
            frames = frames_of_workers(&metrics());
            frames.iter().sum::<u64>() == u64::from(4 * SCANS)
        });
        assert!(frames.len() == 8 && !frames.contains(&0), "{frames:?}");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.offered(), u64::from(4 * SCANS));
        let found = ended.lines(": Port scan detected: ");
        assert_eq!(found.len(), 64, "{}\n{}", ended.text, ended.stderr);
        let at_fourth = |line: &&str| line.contains(" on ports 80,81,82,83 (4 ports, ");
        assert!(found.iter().all(at_fourth), "{found:?}");
    });
}

/// A SYN behind this many bytes of IPv6 destination options.
fn syn_behind_options(port: u16, options: usize) -> Vec<u8> {
    let words = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
    let flow = craft::Flow::v6(words(1), 1024, words(2), port);
    let mut rest = vec![0; options];
    rest[0] = 6;
    rest[1] = u8::try_from(options / 8 - 1).expect("at most 2048");
    rest.extend(craft::Tcp::new(flow, craft::SYN, u32::from(port)).bytes());
    craft::Link::ethernet().frame(&craft::Ip::new(flow.src, flow.dst, 60).bytes(&rest))
}

#[test]
fn a_scan_behind_long_extension_headers_is_detected_and_a_syn_beyond_the_depth_is_counted() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "3"]);
        let sender = Sender::new(veth);
        for (port, options) in (80..).zip([48, 128, 256, 1024, 1400]) {
            sender.send(&syn_behind_options(port, options));
        }
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(ended.lines(": New connection: ").len(), 5, "{}", ended.text);
        assert_eq!(
            ended.lines(": Port scan detected: ").len(),
            1,
            "{}",
            ended.text
        );
        // A header of 2,048 bytes: the SYN is beyond the captured bytes.
        let sensor = Sensor::start(&["--workers", "3", "--strict"]);
        sender.send(&syn_behind_options(80, 2048));
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("1 frame cut before"),
            "{}",
            ended.stderr
        );
    });
}
