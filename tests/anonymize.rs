//! `--anonymize`: no real address of a capture in any output of any format, and the same ones everywhere.

mod common;

use common::{NANOS, fails, syn, synledger};
use craft::{Capture, Flow, Link, LinkType};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use synledger::log::anonymize::Anonymizer;

const KEY: [u8; 32] = [7; 32];

/// Connections, scans of all kinds with a source, and floods, from addresses that are in no other number of a record.
fn capture(dir: &Path) -> PathBuf {
    let mut capture = Capture::new("anonymize", LinkType::Ethernet);
    let mut at_ns = 1_700_000_000_000_000_000;
    let mut push = |flow: Flow, isn: u32| {
        // The last one comes when silence is known to be one.
        at_ns += if isn == 7 { 30_000_000_000 } else { 1_000_000 };
        capture.push(at_ns, Link::ethernet().frame(&syn(flow, isn)));
    };
    let network = |low: u16| [0x2001, 0xdb8, 0x7777, 0x88, 0, 0, 0, low];
    for n in 0..60 {
        push(Flow::v4([100, 77, 3, n], 4000, [198, 51, 100, 88], 443), 1);
        push(
            Flow::v6(network(u16::from(n) + 1), 4000, network(0xbeef), 443),
            2,
        );
    }
    for port in 0..30 {
        push(
            Flow::v4([203, 0, 113, 199], 5000, [198, 51, 100, 88], 8000 + port),
            3,
        );
        let [_, _, c, d] = u32::from(port).to_be_bytes();
        push(
            Flow::v4([203, 0, 113, 177], 5001, [198, 51, c, 100 + d], 22),
            4,
        );
        push(
            Flow::v6(network(0xa00 + port), 5000, network(0xcafe), 9000 + port),
            5,
        );
    }
    for n in 0..400_u32 {
        let [_, _, c, d] = n.to_be_bytes();
        push(Flow::v4([100, 99, c, d], 6000, [198, 51, 100, 99], 80), 6);
    }
    push(Flow::v4([100, 77, 3, 1], 4001, [198, 51, 100, 88], 443), 7);
    let file = dir.join("capture.pcap");
    std::fs::write(&file, capture.to_pcap(NANOS)).expect("a capture");
    file
}

/// Everything that a run writes, by name.
fn run(dir: &Path, name: &str, key: Option<&Path>) -> BTreeMap<String, String> {
    let out = dir.join(name);
    std::fs::create_dir_all(out.join("zeek")).expect("a folder");
    let place = |file: &str| out.join(file).display().to_string();
    let events = "events=connection+alert+flow+stats+lifecycle";
    let outputs = [
        format!("text:{},{events}", place("text")),
        format!("eve:{},{events}", place("eve")),
        format!("zeek:{}", place("zeek")),
    ];
    let mut command = synledger();
    command
        .args([
            "read",
            "--sensor",
            "edge",
            "--local",
            "198.51.100.0/24",
            "--fold=50",
        ])
        .args(["--syn-flood", "100/1s", "--report"])
        .arg(format!("--report=html:{}", place("html")))
        .args(outputs.iter().flat_map(|output| ["--output", output]));
    command.args(key.iter().flat_map(|key| [Path::new("--anonymize"), key]));
    let output = command
        .arg(dir.join("capture.pcap"))
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let mut all = BTreeMap::new();
    for stream in [("stdout", output.stdout), ("stderr", output.stderr)] {
        all.insert(
            stream.0.to_owned(),
            String::from_utf8(stream.1).expect("UTF-8"),
        );
    }
    for file in ["text", "eve", "html", "zeek/conn.log", "zeek/notice.log"] {
        let text = std::fs::read_to_string(out.join(file)).expect(file);
        all.insert(file.to_owned(), text);
    }
    all
}

fn records(eve: &str) -> Vec<Value> {
    let lines = eve.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Addresses of the records of connections and flows.
fn addresses(eve: &str) -> BTreeSet<IpAddr> {
    let of = |one: &Value| ["src_ip", "dest_ip"].map(|name| one[name].as_str().map(str::to_owned));
    let all = records(eve)
        .iter()
        .flat_map(of)
        .flatten()
        .collect::<Vec<_>>();
    all.iter()
        .map(|text| text.parse().expect("an address"))
        .collect()
}

fn words(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_hexdigit() || ".:".contains(letter);
    let words = text.split(|letter| !is_part(letter));
    words
        .map(|word| word.trim_end_matches(['.', ':']))
        .collect()
}

#[test]
fn no_real_address_is_in_any_output_and_each_has_one_replacement() {
    let dir = tempfile::tempdir().expect("a folder");
    capture(dir.path());
    let key = dir.path().join("key");
    std::fs::write(&key, KEY).expect("a key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("our own");
    let real = run(dir.path(), "real", None);
    let hidden = run(dir.path(), "hidden", Some(&key));
    let known = addresses(&real["eve"]);
    assert!(known.len() > 150, "{}", known.len());
    let keyed = Anonymizer::new(&KEY);
    // In a network of IPv6 that is a source, the address is its first one.
    let of_hosts = |all: BTreeSet<IpAddr>| {
        let is_host = |one: &IpAddr| matches!(one, IpAddr::V6(v6) if v6.segments()[7] == 0);
        all.into_iter()
            .filter(|one| !is_host(one))
            .collect::<BTreeSet<_>>()
    };
    let expected = of_hosts(known.clone());
    let expected: BTreeSet<IpAddr> = expected.into_iter().map(|one| keyed.replace(one)).collect();
    assert_eq!(of_hosts(addresses(&hidden["eve"])), expected);
    for (name, text) in &hidden {
        let words = words(text);
        for address in &known {
            let shown = address.to_string();
            assert!(!words.contains(&*shown), "{shown} in {name}");
        }
        for network in ["100.99.0.0", "100.99.1.0", "2001:db8:7777", "203.0.113"] {
            assert!(!text.contains(network), "{network} in {name}");
        }
    }
    // The same formats have real ones without the key.
    for name in [
        "text",
        "eve",
        "html",
        "zeek/conn.log",
        "zeek/notice.log",
        "stdout",
    ] {
        assert!(real[name].contains("203.0.113.199"), "{name}");
        let scanner = keyed.replace("203.0.113.199".parse().expect("an address"));
        assert!(hidden[name].contains(&scanner.to_string()), "{name}");
    }
    assert!(real["text"].contains("100.99.0.0/24") && real["eve"].contains("\"src_prefix\":64"));
    // What does not depend on addresses stays, the direction among it.
    let of = |eve: &str| -> Vec<String> {
        let about = |one: &Value| {
            format!(
                "{} {} {}",
                one["event_type"], one["dest_port"], one["synledger"]["direction"]
            )
        };
        records(eve).iter().map(about).collect()
    };
    // Folds of one moment are in the order of their addresses.
    let [before, after] = [&real, &hidden].map(|all| {
        let mut about = of(&all["eve"]);
        about.sort();
        about
    });
    assert!(before == after);
    let again = run(dir.path(), "again", Some(&key));
    assert_eq!(again["zeek/conn.log"].len(), hidden["zeek/conn.log"].len());
    for name in ["text", "html", "stdout"] {
        assert_eq!(again[name], hidden[name], "{name}");
    }
}

#[test]
fn what_acts_on_real_addresses_is_refused_beside_it_and_so_is_an_open_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let key = dir.path().join("key");
    std::fs::write(&key, KEY).expect("a key");
    let shown = key.display().to_string();
    let list = format!("blocklist:{}", dir.path().join("list").display());
    for args in [
        &["run", "--no-config", "--block", "dry-run"][..],
        &["run", "--no-config", "--output", &list],
        &["read", "--output", &list, "capture.pcap"],
    ] {
        let mut command = synledger();
        command.args(args).arg("--anonymize").arg(&key);
        fails(
            command,
            2,
            &[
                "--anonymize",
                &shown,
                "act on real addresses",
                "leave one out",
            ],
        );
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("our own");
    let mut command = synledger();
    command
        .args(["read", "capture.pcap", "--anonymize"])
        .arg(&key);
    fails(
        command,
        2,
        &["--anonymize", &shown, "mode 0644", "chmod 0600"],
    );
}
