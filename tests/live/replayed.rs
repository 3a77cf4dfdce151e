//! A capture replayed by tcpreplay gives the attempts and scans of `read`.

use super::programs::{installed, replay, text_of};
use super::sensor::{Sensor, attempts, records, scans};
use super::traffic::{flow, frame};
use crate::common::netns::with_veth;
use crate::common::{NANOS, read_logs};
use craft::{Capture, Link, LinkType};
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};

fn write(dir: &Path, capture: &Capture) -> PathBuf {
    let path = dir.join("sent.pcap");
    std::fs::write(&path, capture.to_pcap(NANOS)).expect("a capture file");
    path
}

/// 300 attempts, retransmissions of every third, and 5 scans of 6 ports, each between distinct hosts, and data.
fn short_capture() -> Capture {
    let mut capture = Capture::new("short", LinkType::Ethernet);
    let mut frames = Vec::new();
    for i in 0..300_u32 {
        frames.push(frame(flow(i, 1024, 1, 443), i));
        if i.is_multiple_of(3) {
            frames.push(frame(flow(i, 1024, 1, 443), i));
        }
    }
    for scan in 0..5_u32 {
        for port in [21, 22, 23, 25, 80, 110] {
            frames.push(frame(flow(1000 + scan, 5000, 2, port), scan));
        }
    }
    for i in 0..200_u32 {
        let there = flow(2000 + i, 1024, 3, 80);
        let data = craft::Tcp::new(there, craft::ACK | craft::PSH, i).data(b"hello");
        frames.push(
            Link::ethernet().frame(&craft::Ip::new(there.src, there.dst, 6).bytes(&data.bytes())),
        );
    }
    for (i, frame) in (0_i64..).zip(frames) {
        capture.push(i * 500_000, frame);
    }
    capture
}

fn live_equals_read(workers: &'static str) {
    if !installed("tcpreplay") {
        return;
    }
    with_veth(move |_| {
        let dir = tempfile::tempdir().expect("a folder");
        let capture = short_capture();
        let file = write(dir.path(), &capture);
        let (_, eve, output) = read_logs(dir.path(), &[], std::slice::from_ref(&file));
        assert!(output.status.success(), "{}", text_of(&output));
        let read = records(&String::from_utf8_lossy(&eve));
        let sensor = Sensor::start(&["--workers", workers]);
        let sent = replay(&[&file], 5000);
        let live = sensor.stop(Signal::SIGINT);
        live.assert_exact();
        assert_eq!(sent, capture.frames.len() as u64);
        assert_eq!(live.offered(), sent, "{}", live.stderr);
        assert_eq!(attempts(&live.eve), attempts(&read));
        assert_eq!(attempts(&read).len(), 330);
        assert_eq!(scans(&read).len(), 5);
        if live.text.contains(": Sensor straggler: ") {
            // On a busy machine a straggler breaks the order: another four of six ports may be first.
            assert_eq!(scans(&live.eve).len(), 5, "{}", live.stderr);
        } else {
            assert_eq!(scans(&live.eve), scans(&read), "{}", live.stderr);
        }
    });
}

#[test]
fn a_replayed_capture_gives_what_read_gives_with_one_worker() {
    live_equals_read("1");
}

#[test]
fn a_replayed_capture_gives_what_read_gives_with_four_workers() {
    live_equals_read("4");
}
