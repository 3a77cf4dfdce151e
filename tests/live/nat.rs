//! A bridge before NAT: real connections, watched on either side of it, on both, and at the bridge and its port.

use super::dump::Dump;
use super::nat_lab::{BRIDGE, LAST, Lab, Line, OUTSIDE, PORT, Truth};
use super::programs::{installed, text_of};
use super::sensor::{Sensor, of_type, record_values, records};
use crate::common::netns::alone;
use crate::common::read_logs;
use craft::read_pcap;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What `read` says of the capture of one place, and its number of frames.
struct Captured {
    eve: Vec<Value>,
    frames: u64,
}

fn read(dir: &Path, file: PathBuf) -> Captured {
    let bytes = std::fs::read(&file).expect("a capture");
    let capture = read_pcap("one place", &bytes).expect("a whole capture");
    let (_, eve, output) = read_logs(dir, &[], &[file]);
    assert!(output.status.success(), "{}", text_of(&output));
    Captured {
        eve: records(&String::from_utf8_lossy(&eve)),
        frames: capture.frames.len() as u64,
    }
}

/// A run over these devices, and a capture of each side at the same time.
fn watch(lab: &Lab, devices: &[&str], workers: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let sides = [BRIDGE, OUTSIDE].into_iter();
    let dumps: Vec<_> = sides
        .filter(|side| devices.contains(side))
        .map(|side| Dump::start(side, dir.path()))
        .collect();
    let sensor = Sensor::start_on(devices, workers);
    let truth = lab.traffic();
    let files: Vec<_> = dumps.into_iter().map(|dump| dump.end_after(LAST)).collect();
    let ended = sensor.stop(Signal::SIGINT);
    ended.assert_exact();
    let captured: Vec<_> = files
        .into_iter()
        .map(|file| read(dir.path(), file))
        .collect();
    // The port shows what the bridge shows.
    let copies = match devices.contains(&PORT) {
        true => captured[0].frames,
        false => 0,
    };
    let frames = captured.iter().map(|side| side.frames).sum::<u64>() + copies;
    assert_eq!(ended.offered(), frames, "{}", ended.stderr);
    assert_as_captured(&ended.eve, &captured);
    assert_true(&ended.eve, &truth, devices);
    assert_copies(&ended.eve, &truth, copies);
    eprintln!(
        "{}, --workers {workers}: {} connections, {frames} frames offered, {copies} of them copies, \
         {} segments retransmitted",
        devices.join(" and "),
        of_type(&ended.eve, "new_connection").count(),
        truth.resent
    );
}

/// The records are those of the captures.
fn assert_as_captured(live: &[Value], captured: &[Captured]) {
    let captured: Vec<Value> = captured.iter().flat_map(|side| side.eve.clone()).collect();
    for kind in ["new_connection", "flow"] {
        let [live, captured] = [live, &captured].map(|eve| record_values(eve, kind));
        let only = |of: &[String], other: &[String]| -> Vec<String> {
            let only = of.iter().filter(|record| !other.contains(record));
            only.take(3).cloned().collect()
        };
        assert!(
            live == captured,
            "{kind}: {} live, {} captured; only live: {:#?}; only captured: {:#?}",
            live.len(),
            captured.len(),
            only(&live, &captured),
            only(&captured, &live)
        );
    }
}

fn lines(eve: &[Value]) -> Vec<Line> {
    let flows = of_type(eve, "flow").filter(|flow| flow["proto"] == "TCP");
    let line = |flow: &Value| {
        let word = |value: &Value| value.as_str().expect("a word").to_owned();
        let ours = &flow["synledger"];
        let ends = [&flow["src_ip"], &flow["dest_ip"]].map(word).join(" ");
        let outcome = [&ours["direction"], &ours["conn_state"]];
        let outcome = outcome.map(word).join(" ");
        let bytes = ["payload_bytes_toserver", "payload_bytes_toclient"];
        let bytes = bytes.map(|name| ours[name].to_string()).join(" ");
        (format!("{ends} {} {outcome}", flow["dest_port"]), bytes)
    };
    flows.map(line).collect()
}

/// The records are those of the connections that were made.
fn assert_true(eve: &[Value], truth: &Truth, devices: &[&str]) {
    let mut expected = truth.inside.clone();
    let both = devices.contains(&OUTSIDE);
    if both {
        expected.extend(truth.outside.clone());
    }
    let mut seen = lines(eve);
    for lines in [&mut expected, &mut seen] {
        if truth.resent != 0 {
            lines.iter_mut().for_each(|(_, payload)| payload.clear());
        }
        lines.sort();
    }
    assert_eq!(seen, expected);
    // NAT leaves the initial sequence number: each connection is there once a side.
    let mut by_isn: BTreeMap<u64, usize> = BTreeMap::new();
    for record in of_type(eve, "new_connection") {
        let isn = record["synledger"]["isn"].as_u64().expect("a number");
        *by_isn.entry(isn).or_default() += 1;
    }
    assert_eq!(by_isn.len(), truth.inside.len());
    let sides = 1 + usize::from(both);
    assert!(by_isn.values().all(|&times| times == sides), "{by_isn:?}");
}

/// Each frame of the bridge came twice; the second time it is counted as a copy and is in no flow.
fn assert_copies(eve: &[Value], truth: &Truth, copies: u64) {
    if truth.resent != 0 {
        return eprintln!("copies by kind are not compared: the kernel retransmitted");
    }
    let last = of_type(eve, "stats").find(|record| record["synledger"]["final"] == true);
    let books = &last.expect("the last books")["synledger"]["books"];
    // What is 0 may be left out.
    let counted = |name: &str| books[name].as_u64().unwrap_or(0);
    let [mut syns, mut resets] = [0, 0];
    if copies > 0 {
        let refused = truth.inside.iter().filter(|line| line.0.ends_with(" REJ"));
        syns = truth.inside.len() as u64;
        // A reset ends its attempt, so its copy comes after the end.
        resets = refused.count() as u64;
    }
    let names = [
        "syn_other_interface",
        "packets_other_interface",
        "packets_after_end",
    ];
    assert_eq!(names.map(counted), [syns, copies - syns - resets, resets]);
}

fn watched(devices: &'static [&'static str]) {
    if !installed("nft") || !installed("tcpdump") {
        return;
    }
    alone(move || match Lab::new() {
        Ok(lab) => {
            for workers in ["1", "2"] {
                watch(&lab, devices, workers);
            }
        }
        Err(why) => eprintln!("skipped: {why}"),
    });
}

#[test]
fn a_bridge_before_nat_shows_each_connection_once_with_its_own_addresses() {
    watched(&[BRIDGE]);
}

#[test]
fn both_sides_of_nat_show_two_attempts_a_connection() {
    watched(&[BRIDGE, OUTSIDE]);
}

#[test]
fn what_a_bridge_and_its_port_show_counts_once_and_its_copies_as_copies() {
    watched(&[PORT, BRIDGE]);
}

#[test]
fn a_port_its_bridge_and_the_far_side_of_nat_show_two_attempts_a_connection() {
    watched(&[PORT, BRIDGE, OUTSIDE]);
}
