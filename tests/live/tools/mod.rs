//! Tools that scan and flood, each against the rules of the sensor.
//!
//! A target with open, closed and filtered ports, and a scanner with an address of its own in each mode of each tool.
//! tcpdump captures beside the live sensor what is sent: the manifest. The rules, by brute force over the manifest,
//! must give what `read` of the same capture gives, and the kinds that this mode is promised; the live sensor must
//! find the same kinds. Probes that are minutes apart are recorded faster, and their time stamps rewritten.
//!
//! SYNLEDGER_TOOLS=FILE: the long form, with every mode; writes a table of what was detected, and when, to the file.
//! SYNLEDGER_TOOLS_CAPTURES=DIR: keeps the capture of each mode there, and what it is of in DIR/runs.json.

mod keep;
mod lab;
mod manifest;
mod modes;
mod report;
mod rules;

use crate::common::netns::with_veth;
use crate::common::{NANOS, synledger};
use crate::programs::installed;
use crate::sensor::{Sensor, of_type, records};
use keep::Keep;
use lab::{Lab, source};
use manifest::Packet;
use modes::{MODES, Mode};
use nix::sys::signal::Signal;
use report::Run;
use rules::{Edge, FLOODS, Flood};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;

/// Kinds of which every rising edge must be that of the brute force.
const EXACT: [&str; 5] = [
    "port_scan",
    "host_sweep",
    "stealth_scan",
    "udp_scan",
    "slow_scan",
];

/// A detection as the sensor reports it.
#[derive(Clone, Debug)]
pub struct Alert {
    pub kind: String,
    /// `started`, `continues` or `ended`.
    pub phase: String,
    /// Time stamp of the deciding packet: microseconds of its day.
    pub day_us: i64,
    /// `None`: no single one.
    pub src: Option<IpAddr>,
    pub dst: Option<IpAddr>,
    pub verdict: Option<String>,
}

/// Microseconds of the day in `2026-11-30T03:50:52.405799+0000`.
fn day_us(stamp: &str) -> i64 {
    let time = stamp.get(11..26).expect("date and time");
    let digits = time.split([':', '.']);
    let numbers: Vec<i64> = digits.map(|one| one.parse().expect("digits")).collect();
    ((numbers[0] * 60 + numbers[1]) * 60 + numbers[2]) * 1_000_000 + numbers[3]
}

fn alerts(eve: &[Value]) -> Vec<Alert> {
    let scan = |record: &Value| record["synledger"]["scan"].clone();
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let address = |value: &Value| value.as_str()?.parse().ok();
    let alert = |record: &Value| Alert {
        kind: word(&scan(record)["kind"]).expect("a kind"),
        phase: word(&scan(record)["phase"]).expect("a phase"),
        day_us: day_us(record["timestamp"].as_str().expect("a stamp")),
        src: address(&record["src_ip"]),
        dst: address(&record["dest_ip"]),
        verdict: word(&scan(record)["verdict"]),
    };
    of_type(eve, "alert").map(alert).collect()
}

fn read(path: &Path) -> Vec<Alert> {
    let mut command = synledger();
    command.args(["read", "-q", "--output", "eve:-,events=alert"]);
    let output = command.arg(path).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    alerts(&records(&String::from_utf8_lossy(&output.stdout)))
}

/// Records a mode, and compares what `read` finds with the rules and the promise.
fn judge(lab: &Lab, at: usize, mode: &Mode, dir: &Path, keep: &mut Keep) -> Run {
    let path = lab.record(at, mode, dir);
    let bytes = std::fs::read(&path).expect("a capture");
    let mut capture = craft::read_pcap("tool", &bytes).expect("a capture of tcpdump");
    if let Some((_, delay_ms)) = mode.slowed {
        manifest::space_probes(&mut capture, delay_ms * 1_000_000);
    }
    capture.sort();
    let bytes = capture.to_pcap(NANOS);
    std::fs::write(&path, &bytes).expect("a capture file");
    keep.add(at, mode, &bytes);
    let packets = manifest::packets(&capture);
    let alerts = read(&path);
    assert_exact(mode, &packets, &alerts);
    assert_promised(mode, &packets, &alerts);
    Run::new(*mode, at, &packets, alerts)
}

fn assert_exact(mode: &Mode, packets: &[Packet], alerts: &[Alert]) {
    let edge = |alert: &Alert| {
        Some(Edge {
            kind: alert.kind.clone(),
            day_us: alert.day_us,
            src: alert.src?,
            dst: alert.dst?,
        })
    };
    let is_exact = |edge: &Edge| EXACT.contains(&edge.kind.as_str());
    let started = alerts.iter().filter(|alert| alert.phase == "started");
    let mut found: Vec<Edge> = started.filter_map(edge).filter(is_exact).collect();
    found.sort();
    let mut expected = rules::edges(packets);
    let kinds: BTreeSet<&str> = expected.iter().map(|edge| edge.kind.as_str()).collect();
    let by_edges = |kind: &&&str| kind.ends_with("_scan") || kind.ends_with("_sweep");
    let promised = mode.promised.iter().filter(by_edges);
    let promised = promised.filter(|kind| **kind != "distributed_scan");
    let promised: BTreeSet<&str> = promised.copied().collect();
    assert_eq!(kinds, promised, "{}: what was sent", mode.line());
    expected.retain(is_exact);
    assert_eq!(found, expected, "{}", mode.line());
}

/// Floods by their rate, and all kinds that the sensor has by the promise.
fn assert_promised(mode: &Mode, packets: &[Packet], alerts: &[Alert]) {
    let line = mode.line();
    let has = |kind: &str| alerts.iter().any(|alert| alert.kind == kind);
    let kind = "distributed_scan";
    assert_eq!(has(kind), mode.promised.contains(&kind), "{line}: {kind}");
    for Flood {
        kind,
        least,
        counts,
    } in FLOODS
    {
        let most = rules::most_a_second(packets, counts);
        if most < least {
            assert!(!has(kind), "{line}: {kind} at {most} a second");
        }
        if mode.promised.contains(&kind) && most < 2 * least {
            eprintln!("skipped: {line}: this machine sends only {most} a second");
        } else if mode.promised.contains(&kind) {
            assert!(has(kind), "{line}: no {kind} at {most} a second");
        }
    }
}

/// The live sensor saw the same probes: it finds each kind at each source, except of modes whose stamps were rewritten.
fn assert_live(runs: &[Run], live: &[Alert]) {
    let slowed = runs.iter().filter(|run| run.mode.slowed.is_some());
    let slowed: Vec<IpAddr> = slowed.map(|run| run.source).collect();
    let of = |alerts: &mut dyn Iterator<Item = &Alert>| {
        let exact = alerts.filter(|alert| EXACT.contains(&alert.kind.as_str()));
        let pair = |alert: &Alert| Some((alert.kind.clone(), alert.src?));
        let pairs = exact.filter_map(pair);
        let fast = pairs.filter(|(_, src)| !slowed.contains(src));
        fast.collect::<BTreeSet<(String, IpAddr)>>()
    };
    let read = of(&mut runs.iter().flat_map(|run| &run.alerts));
    assert_eq!(of(&mut live.iter()), read, "live, and by read");
}

#[test]
fn each_mode_of_each_tool_is_detected_where_a_rule_promises_it() {
    let table = std::env::var_os("SYNLEDGER_TOOLS");
    with_veth(move |_| {
        let lab = match Lab::new() {
            Ok(lab) => lab,
            Err(why) => return eprintln!("skipped: no target for tools: {why}"),
        };
        let dir = tempfile::tempdir().expect("a folder");
        let sensor = Sensor::start(&["--workers", "2"]);
        let mut here: HashMap<&str, bool> = HashMap::new();
        let mut runs = Vec::new();
        let mut keep = Keep::from_environment();
        let all = MODES.iter().enumerate();
        for (at, mode) in all.filter(|(_, mode)| mode.short || table.is_some()) {
            let program = mode.program();
            if *here.entry(program).or_insert_with(|| installed(program)) {
                runs.push(judge(&lab, at, mode, dir.path(), &mut keep));
            }
        }
        keep.end();
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_live(&runs, &alerts(&ended.eve));
        if let Some(path) = table {
            std::fs::write(&path, report::table(&runs)).expect("a file for the table");
        }
    });
}

/// The scanner's address in a run, as the sensor writes it.
fn address_of(at: usize, mode: &Mode) -> IpAddr {
    let text = source(at, mode.is_ipv6());
    text.parse().expect("an address")
}
