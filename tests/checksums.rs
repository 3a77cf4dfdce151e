//! `read --checksums verify`: a forged packet that its receiver drops changes nothing, and a sender's own capture is known.

mod common;

use common::said::{self, read_once};
use common::synledger;
use craft::{
    ACK, Capture, FIN, Flow, Ip, Link, LinkType, PcapFormat, RST, SYN, Tcp, Udp, scenarios,
};
use std::path::PathBuf;

fn written(dir: &tempfile::TempDir, capture: &Capture) -> PathBuf {
    let path = dir.path().join("capture.pcap");
    std::fs::write(&path, capture.to_pcap(PcapFormat::NANOS)).expect("a file");
    path
}

fn framed(flow: Flow, proto: u8, payload: &[u8]) -> Vec<u8> {
    Link::ethernet().frame(&Ip::new(flow.src, flow.dst, proto).bytes(payload))
}

fn of(frames: Vec<Vec<u8>>) -> Capture {
    let mut capture = Capture::new("checksums", LinkType::Ethernet);
    for (nth, frame) in (0..).zip(frames) {
        capture.push(said::START_NS + nth * said::MS, frame);
    }
    capture
}

/// A segment; `bad`: with a wrong checksum.
fn segment(flow: Flow, flags: u8, numbers: (u32, u32), bad: bool) -> Vec<u8> {
    let mut tcp = Tcp::new(flow, flags, numbers.0).ack(numbers.1).bytes();
    tcp[16] ^= u8::from(bad);
    framed(flow, 6, &tcp)
}

/// A connection, and forged packets before its end: a RST, SYNs, datagrams, one of which has no checksum.
fn with_forgeries() -> Capture {
    let flow = Flow::v4([192, 0, 2, 1], 1024, [198, 51, 100, 1], 443);
    let back = flow.reversed();
    let forged = |port| Flow {
        src_port: port,
        ..flow
    };
    let mut bad_header = segment(forged(9), SYN, (1, 0), false);
    bad_header[24] ^= 1;
    let mut bad_udp = Udp::new(forged(10), b"hello").bytes();
    bad_udp[6] ^= 1;
    let mut none = Udp::new(forged(11), b"hello").bytes();
    none[6..8].fill(0);
    of(vec![
        segment(flow, SYN, (100, 0), false),
        segment(back, SYN | ACK, (500, 101), false),
        segment(flow, ACK, (101, 501), false),
        segment(flow, RST, (101, 0), true),
        segment(forged(8), SYN, (1, 0), true),
        bad_header,
        framed(flow, 17, &bad_udp),
        framed(flow, 17, &none),
        segment(flow, FIN | ACK, (101, 501), false),
        segment(back, FIN | ACK, (501, 102), false),
        segment(flow, ACK, (102, 502), false),
    ])
}

/// A connection that a forged RST with a wrong checksum seems to end, and SYNs that no host takes (insertion, Ptacek and
/// Newsham 1998).
#[test]
fn forged_packets_that_no_host_takes_change_nothing() {
    let capture = with_forgeries();
    let dir = tempfile::tempdir().expect("a folder");
    let file = [written(&dir, &capture)];
    let verified = read_once(&["--checksums", "verify"], &file);
    let books = &verified.last["books"];
    assert_eq!(verified.count("new_connections"), 1, "{}", verified.stderr);
    for (cause, count) in [
        ("bad_ip_checksum", 1),
        ("bad_tcp_checksum", 2),
        ("bad_udp_checksum", 1),
    ] {
        assert_eq!(books["unread_frames"][cause], count, "{cause}: {books:#}");
    }
    assert_eq!(
        (
            books["checksums"]["right"].as_u64(),
            books["checksums"]["absent"].as_u64()
        ),
        (Some(6), Some(1))
    );
    let said = "checksums: 6 right, 1 absent, 4 bad: these frames are refused";
    assert!(verified.stderr.contains(said), "{}", verified.stderr);
    assert!(
        verified.stderr.contains("the books close"),
        "{}",
        verified.stderr
    );
    let states = |said: &said::Said| -> Vec<String> {
        let records = said
            .records("flow")
            .filter(|record| record["proto"] == "TCP");
        records
            .map(|record| record["synledger"]["conn_state"].to_string())
            .collect()
    };
    assert_eq!(states(&verified), ["\"SF\""]);
    let believed = read_once(&[], &file);
    assert_eq!(believed.count("new_connections"), 3);
    assert!(
        states(&believed).iter().all(|state| state != "\"SF\""),
        "{:?}",
        states(&believed)
    );
    assert!(
        !believed.stderr.contains("checksums"),
        "{}",
        believed.stderr
    );
}

/// Crafted captures have right checksums: verified, they have the same log, in tunnels, too.
#[test]
fn right_checksums_change_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let (mut frames, mut bad) = (0, 0);
    for capture in scenarios(7).iter().step_by(6) {
        let file = [written(&dir, capture)];
        let verified = read_once(&["--checksums", "verify", "--workers", "2"], &file);
        frames += verified.count("frames");
        if verified.stderr.contains(" bad: these frames are refused")
            && !verified.stderr.contains(", 0 bad")
        {
            // Segments made wrong on purpose.
            bad += 1;
            continue;
        }
        assert_eq!(
            verified.log,
            read_once(&["--workers", "1"], &file).log,
            "{}",
            capture.name
        );
    }
    eprintln!("{frames} frames; {bad} captures hold bad checksums");
    assert!(frames > 500 && bad < 8);
}

#[test]
fn a_capture_of_a_sender_with_offload_is_known_by_its_bad_checksums() {
    let frames = (0..20).map(|port| {
        let flow = Flow::v4([192, 0, 2, 1], 1024 + port, [198, 51, 100, 1], 443);
        segment(flow, SYN, (1, 0), port > 5)
    });
    let dir = tempfile::tempdir().expect("a folder");
    let file = [written(&dir, &of(frames.collect()))];
    let verified = read_once(&["--checksums", "verify"], &file);
    let warning = "warning: most checksums are bad, as where the sender captured";
    assert!(verified.stderr.contains(warning), "{}", verified.stderr);
    assert_eq!(verified.count("new_connections"), 6);
    // What is cut cannot be verified, and counts.
    let mut capture = of((0..5)
        .map(|port| {
            let flow = Flow::v4([192, 0, 2, 1], 1024 + port, [198, 51, 100, 1], 443);
            segment(flow, SYN, (1, 0), false)
        })
        .collect());
    for frame in &mut capture.frames {
        frame.bytes.truncate(50);
    }
    let cut = read_once(&["--checksums", "verify"], &[written(&dir, &capture)]);
    assert_eq!(cut.last["books"]["checksums"]["cut"], 5);
    assert_eq!(cut.count("new_connections"), 5);
}

#[test]
fn the_witness_and_checksums_are_not_asked_for_together() {
    let args = ["run", "--checksums", "verify", "--witness", "1"];
    let output = synledger().args(args).output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("use --witness 0 or --checksums ignore"),
        "{stderr}"
    );
}
