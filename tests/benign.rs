//! Benign traffic that looks like scans: read whole, and what the rules say about it.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use common::{NANOS, synledger};
use craft::{BENIGN, Benign, benign, manifest};

/// The EVE log of a run.
const EVE: &str = "eve.json";

/// Reads an hour of this kind; its alerts are on standard output.
fn read(dir: &Path, kind: &str) -> (Benign, Output) {
    let (capture, about) = benign(kind, 1, 60).expect("a kind");
    let file = dir.join(about.file());
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("our own folder");
    let eve = format!("eve:{},events=alert", dir.join(EVE).display());
    let output = synledger()
        .arg("read")
        .args(["--output", "text:-,events=alert", "--output", &eve])
        .arg(&file)
        .output()
        .expect("the program starts");
    std::fs::remove_file(&file).expect("our own file");
    (about, output)
}

#[test]
fn every_benign_frame_is_decoded_and_the_rules_find_what_the_manifest_names() {
    let dir = tempfile::tempdir().expect("a folder");
    for kind in BENIGN {
        let (about, output) = read(dir.path(), kind);
        let summary = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind}: {summary}");
        for line in [
            &format!("{0} packets, 0 frames not decoded", about.frames),
            "the books close",
        ] {
            assert!(summary.contains(line), "{kind}: no {line:?} in {summary}");
        }
        let alerts = String::from_utf8_lossy(&output.stdout);
        for (rule, words) in [
            ("port_scan", "Port scan detected"),
            ("host_sweep", "Host sweep detected"),
        ] {
            // The manifest knows no networks of IPv6.
            let of_one = |line: &&str| !line.contains("/64") && !line.contains("/48");
            let lines = alerts.lines().filter(|line| line.contains(words));
            let found = lines.filter(of_one).count();
            let named = about.naive.iter().any(|naive| naive.rule == rule);
            assert_eq!(found > 0, named, "{kind}: {found} of {rule}");
            eprintln!("{kind}: {found} {rule}");
        }
        let verdicts = verdicts(dir.path());
        eprintln!("{kind}: {verdicts:?}");
        let scans = verdicts
            .iter()
            .filter(|((_, verdict), _)| verdict == "scan");
        assert_eq!(scans.count(), 0, "{kind}: {verdicts:?}");
    }
}

/// How many alerts of each kind and verdict the last run wrote.
fn verdicts(dir: &Path) -> BTreeMap<(String, String), usize> {
    let file = dir.join(EVE);
    let mut counts = BTreeMap::new();
    for line in std::fs::read_to_string(&file).expect("EVE").lines() {
        let alert: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let scan = &alert["synledger"]["scan"];
        let word = |name: &str| scan[name].as_str().unwrap_or("none").to_owned();
        *counts.entry((word("kind"), word("verdict"))).or_default() += 1;
    }
    std::fs::remove_file(&file).expect("our own file");
    counts
}

#[test]
fn the_manifest_is_json() {
    let all: Vec<Benign> = BENIGN
        .iter()
        .map(|kind| benign(kind, 2, 1).expect("a kind").1)
        .collect();
    let read: serde_json::Value = serde_json::from_str(&manifest(&all)).expect("JSON");
    let read = read.as_array().expect("an array");
    assert_eq!(read.len(), all.len());
    for (line, about) in read.iter().zip(&all) {
        assert_eq!(line["kind"], about.kind);
        assert_eq!(line["frames"], about.frames);
        assert_eq!(line["naive"][0]["because"], about.naive[0].because);
        let sources = line["sources"].as_array().expect("an array");
        assert_eq!(sources.len(), about.sources.len());
    }
}
