//! `--scan-target host`: ports of all addresses of the host count together, and records name one of these addresses.

mod common;

use common::pipeline::{assert_closed, everything, run_as, small};
use common::{NANOS, syn};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use synledger::host::addresses::Localities;
use synledger::log::formats::text::TextFormat;
use synledger::log::sinks::spec::OutputSpec;
use synledger::shard::policy::Policy;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// One port on each of five addresses of the host, by one source over IPv4 and by another over IPv6.
fn one_port_each() -> Vec<u8> {
    let mut capture = craft::Capture::new("one port each", craft::LinkType::Ethernet);
    for i in 1..=5_u8 {
        let port = 1000 + u16::from(i);
        let v4 = craft::Flow::v4([203, 0, 113, 9], 4000, [192, 0, 2, i], port);
        let v6 = |last| [0x2001, 0, 0, 0, 0, 0, 0, last];
        let v6 = craft::Flow::v6(v6(0xee), 4000, v6(u16::from(i)), port);
        for (flow, ms) in [(v4, 0), (v6, 1)] {
            let at_ns = (i64::from(i) * 10 + ms) * 1_000_000;
            capture.push(at_ns, craft::Link::ethernet().frame(&syn(flow, 7)));
        }
    }
    capture.to_pcap(NANOS)
}

/// The log of [`one_port_each`].
fn log(dir: &Path, host: bool, workers: usize, seed: u64) -> String {
    let ours = (1..=5).flat_map(|i| [ip(&format!("192.0.2.{i}")), ip(&format!("2001::{i}"))]);
    let policy = Policy {
        localities: Arc::new(Localities::live(ours, &[])),
        host,
        ..everything()
    };
    let path = dir.join(format!("{host}-{workers}-{seed}"));
    let _ = std::fs::remove_file(&path);
    let output = format!("text:{},events=alert", path.display());
    let mut common = small(workers);
    common.outputs = vec![OutputSpec {
        text_format: Some(TextFormat::Short),
        ..output.parse().expect("a spec")
    }];
    let frames = std::iter::once(one_port_each());
    let ran = run_as("one port each", &common, &policy, seed, frames);
    assert_closed("one port each", &ran.books);
    std::fs::read_to_string(path).expect("a log")
}

#[test]
fn ports_of_all_addresses_are_one_scan_with_every_number_of_workers() {
    let dir = tempfile::tempdir().expect("a folder");
    let first = log(dir.path(), true, 1, 0);
    let detected: Vec<&str> = first
        .lines()
        .filter(|line| line.contains("detected"))
        .collect();
    assert_eq!(
        detected,
        [
            "1970-01-01 00:00:00: Port scan detected: 203.0.113.9 -> 192.0.2.5 on ports 1001,1002,1003,1004,1005",
            "1970-01-01 00:00:00: Port scan detected: 2001::ee -> 2001::5 on ports 1001,1002,1003,1004,1005",
        ]
    );
    for workers in [1, 2, 8] {
        for seed in 0..4 {
            assert_eq!(
                log(dir.path(), true, workers, seed),
                first,
                "{workers} workers, seed {seed}"
            );
        }
    }
    assert_eq!(
        log(dir.path(), false, 2, 0),
        "",
        "without it each address has one port"
    );
}
