//! The process takes at most `--memory-mib`, with any capture.

mod common;

use common::{NANOS, syn, synledger};
use craft::{Capture, Flow, Link, LinkType};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// SYNs of distinct sources, and datagrams of distinct flows: enough to fill every table and queue.
fn flood(file: &Path) {
    let mut capture = Capture::new("flood", LinkType::Ethernet);
    for n in 0..600_000_u32 {
        let [a, b, c, d] = n.wrapping_mul(0x9e37_79b1).to_be_bytes();
        let flow = Flow::v4([a, b, c, d], 1024, [198, 51, 100, d], u16::from(c));
        let packet = match n % 3 {
            0 => craft::Ip::new(flow.src, flow.dst, 17).bytes(&craft::Udp::new(flow, b"x").bytes()),
            _ => syn(flow, n),
        };
        capture.push(i64::from(n) * 1000, Link::ethernet().frame(&packet));
    }
    std::fs::write(file, capture.to_pcap(NANOS)).expect("a capture file");
}

/// Peak resident memory of a process, in bytes; waits for its end.
fn peak_resident(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most_kib = 0;
    loop {
        let ended = child.try_wait().expect("a child");
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        most_kib = kib.unwrap_or(0).max(most_kib);
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            return most_kib * 1024;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_flood_is_read_within_memory_mib() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("flood.pcap");
    flood(&file);
    for (mib, workers, fold) in [
        (48, "1", false),
        (64, "2", true),
        (64, "4", false),
        (256, "2", false),
    ] {
        let mut command = synledger();
        command.args(["read", "-", "--workers", workers, "-q"]);
        command.args(["--memory-mib", &mib.to_string()]);
        for format in ["text", "eve"] {
            let output = format!(
                "{format}:{},events=connection+flow",
                dir.path().join(format).display()
            );
            command.args(["--output", &output]);
        }
        if fold {
            command.arg("--fold");
        }
        let child = command
            .stdin(File::open(&file).expect("the file"))
            .stdout(Stdio::null())
            .spawn();
        let most = peak_resident(child.expect("it starts"));
        eprintln!("read, {workers} workers: {} MiB of {mib}", most / MIB);
        assert!(
            most <= mib * MIB,
            "{workers} workers: {most} bytes of {mib} MiB"
        );
        assert!(
            most >= mib * MIB / 3,
            "{workers} workers: {most} bytes: was anything read?"
        );
    }
}
