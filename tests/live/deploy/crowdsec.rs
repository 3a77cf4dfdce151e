//! The parser, the scenarios and the examples, by CrowdSec.

use super::super::programs::text_of;
use super::{HOSTILE, Logs, Program, crafted, deploy, named, on_interface, program, source};
use crate::common::netns::{alone, ip};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// CrowdSec with its hub where Debian's package has it; `None`, with `skipped`.
fn crowdsec_with_hub() -> Option<Program> {
    let crowdsec = program("crowdsec", "crowdsec")?;
    if !crowdsec.file("usr/share/crowdsec/hub").is_dir() {
        eprintln!("skipped: this crowdsec has its hub elsewhere than Debian's package");
        return None;
    }
    Some(crowdsec)
}

/// A configuration of CrowdSec in a folder of its own: its own parsers of lines and dates, and ours.
fn crowdsec_folder(crowdsec: &Program, dir: &Path) {
    let hub = crowdsec.file("usr/share/crowdsec/hub/parsers");
    let mut sources = vec![(crowdsec.file("etc/crowdsec/patterns"), "etc/")];
    for (stage, name) in [
        ("s00-raw", "syslog-logs"),
        ("s02-enrich", "dateparse-enrich"),
    ] {
        let file = hub.join(stage).join(format!("crowdsecurity/{name}.yaml"));
        let to = if stage == "s00-raw" {
            "etc/parsers/s00-raw/"
        } else {
            "etc/parsers/s02-enrich/"
        };
        sources.push((file, to));
    }
    sources.push((deploy("crowdsec/parsers/s01-parse"), "etc/parsers/"));
    sources.push((deploy("crowdsec/scenarios"), "etc/"));
    sources.push((deploy("crowdsec/acquis.yaml"), "etc/"));
    for folder in [
        "etc/parsers/s00-raw",
        "etc/parsers/s02-enrich",
        "data",
        "hub",
    ] {
        fs::create_dir_all(dir.join(folder)).expect("a folder");
    }
    for (from, to) in sources {
        let copied = Command::new("cp")
            .arg("-rL")
            .arg(&from)
            .arg(dir.join(to))
            .status();
        assert!(copied.expect("cp starts").success(), "{}", from.display());
    }
    let theirs = fs::read_to_string(crowdsec.file("etc/crowdsec/profiles.yaml")).expect("profiles");
    let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("a file");
    write("etc/profiles.yaml", &theirs);
    write("etc/simulation.yaml", "simulation: off\n");
    write(
        "hub/.index.json",
        r#"{"parsers":{},"scenarios":{},"postoverflows":{},"collections":{}}"#,
    );
    write(
        "credentials.yaml",
        "url: http://127.0.0.1:8080/\nlogin: test\npassword: test\n",
    );
    let config = CROWDSEC_CONFIG.replace("DIR", &dir.display().to_string());
    write("config.yaml", &config);
}

/// Without the central API, and in a namespace that has only its loopback.
const CROWDSEC_CONFIG: &str = "
common: {daemonize: false, log_media: stdout, log_level: info, working_dir: DIR}
config_paths:
  config_dir: DIR/etc
  data_dir: DIR/data
  simulation_path: DIR/etc/simulation.yaml
  hub_dir: DIR/hub
  index_path: DIR/hub/.index.json
crowdsec_service: {acquisition_path: DIR/etc/acquis.yaml, parser_routines: 1, buckets_routines: 1, output_routines: 1}
cscli: {output: human}
db_config: {type: sqlite, db_path: DIR/data/db, use_wal: false}
api:
  client: {credentials_path: DIR/credentials.yaml}
  server: {log_level: info, listen_uri: '127.0.0.1:8080', profiles_path: DIR/etc/profiles.yaml}
prometheus: {enabled: false}
";

/// What CrowdSec says of a log, read once.
fn crowdsec_says(crowdsec: &Program, dir: &Path, log: &Path) -> String {
    ip("link set lo up");
    let config = dir.join("config.yaml");
    let cscli = crowdsec.path.with_file_name("cscli");
    let added = Command::new(cscli)
        .arg("-c")
        .arg(&config)
        .args([
            "machines",
            "add",
            "test",
            "--password",
            "test",
            "--force",
            "-f",
        ])
        .arg(dir.join("credentials.yaml"))
        .output();
    let added = added.expect("cscli starts");
    assert!(added.status.success(), "{}", text_of(&added));
    let output = Command::new("timeout")
        .arg("60")
        .arg(&crowdsec.path)
        .arg("-c")
        .arg(&config)
        .args(["-type", "synledger", "-dsn"])
        .arg(format!("file://{}", log.display()))
        .output();
    let output = output.expect("timeout starts");
    assert!(output.status.success(), "{}", text_of(&output));
    text_of(&output)
}

/// The end of each sentence `msg="… performed 'SCENARIO' (1 events over 0s) at TIME"`: source, scenario, time.
fn overflows(said: &str) -> Vec<(String, String, String)> {
    let parts = |line: &str| {
        let message = line.split("msg=\"").nth(1)?.trim_end_matches('"');
        let (source, rest) = message.split_once(" performed '")?;
        let (scenario, rest) = rest.split_once("' (1 events over 0s) at ")?;
        let source = source.split(' ').nth(1)?;
        Some((source.to_owned(), scenario.to_owned(), rest.to_owned()))
    };
    said.lines().filter_map(parts).collect()
}

/// `2023-11-14T22:13:20.120000+0000` as CrowdSec writes it.
fn as_crowdsec(timestamp: &Value) -> String {
    let (date, time) = timestamp
        .as_str()
        .and_then(|text| text.split_once('T'))
        .expect("a time");
    let time = time
        .trim_end_matches("+0000")
        .trim_end_matches('0')
        .trim_end_matches('.');
    format!("{date} {time} +0000 UTC")
}

#[test]
fn crowdsec_bans_each_proven_scanner_at_the_time_of_its_alert_and_nobody_else() {
    let Some(crowdsec) = crowdsec_with_hub() else {
        return;
    };
    alone(move || {
        let logs = crafted();
        let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for alert in logs.expected(|scan| scan["verdict"] == "scan" && scan["proof"] == "handshake")
        {
            let times = expected.entry(source(alert)).or_default();
            times.insert(as_crowdsec(&alert["timestamp"]));
        }
        assert!(expected.len() > 3, "{expected:?}");
        let dir = tempfile::tempdir().expect("a folder");
        crowdsec_folder(&crowdsec, dir.path());
        let said = crowdsec_says(&crowdsec, dir.path(), &logs.eve);
        let mut found = BTreeSet::new();
        for (source, scenario, time) in overflows(&said) {
            assert_eq!(scenario, "synledger/scan", "{source}");
            let times = expected.get(&source);
            assert!(
                times.is_some_and(|times| times.contains(&time)),
                "{source} at {time}: {times:?}"
            );
            let ban = format!("{scenario} by ip {source} : 4h ban on Ip {source}");
            assert!(said.contains(&ban), "{ban}: {said}");
            found.insert(source);
        }
        assert_eq!(found, expected.into_keys().collect(), "{said}");
        let networks =
            logs.expected(|scan| scan["verdict"] == "scan" && !scan["src_prefix"].is_null());
        assert!(!networks.is_empty() && !found.iter().any(|source| source.contains('/')));
    });
}

#[test]
fn crowdsec_counts_a_scan_once_and_takes_nothing_from_names() {
    let Some(crowdsec) = crowdsec_with_hub() else {
        return;
    };
    alone(move || {
        let dir = tempfile::tempdir().expect("a folder");
        crowdsec_folder(&crowdsec, dir.path());
        let name = HOSTILE[3];
        let args = ["--sensor", name, "--local", "192.0.2.0/24"];
        let logs = Logs::of(&args, [("named", on_interface(name, &named()))].into_iter());
        let said = crowdsec_says(&crowdsec, dir.path(), &logs.eve);
        let mut found: Vec<_> = overflows(&said)
            .into_iter()
            .map(|(source, ..)| source)
            .collect();
        found.sort();
        assert_eq!(found, ["2001:db8::9", "203.0.113.56"], "{said}");
    });
}
