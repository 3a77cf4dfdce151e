//! SIGHUP and a changed configuration file: what is in force at once, without losing a frame, and what is not.

use super::sensor::{EVENTS, Sensor, of_type, records};
use super::traffic::{Sender, with_trickle};
use crate::common::netns::{SENSOR, Veth, with_veth};
use crate::common::synledger;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A sensor with a configuration file, which is all that it has beside its rings.
struct Configured {
    sensor: Sensor,
    file: PathBuf,
    reloads: usize,
}

impl Configured {
    /// `text`: the file, with outputs by [`outputs`] in this folder.
    fn start(dir: tempfile::TempDir, text: &str) -> Self {
        let file = dir.path().join("x.toml");
        std::fs::write(&file, text).expect("a file");
        let mut command = synledger();
        command
            .args(["run", "--config"])
            .arg(&file)
            .args(["-i", SENSOR, "--ring-mib", "8", "--sensor", "test"])
            .args(["--memory-mib", "128", "--workers", "2", "--fold", "0"]);
        Self {
            sensor: Sensor::spawn(dir, &mut command, Stdio::null()),
            file,
            reloads: 0,
        }
    }

    /// Changes the file and has it read; returns the new record about that.
    fn reload(&mut self, text: &str) -> String {
        std::fs::write(&self.file, text).expect("a file");
        self.sensor.signal(Signal::SIGHUP);
        let about = |eve: &str| -> Vec<String> {
            let words = ["\"event\":\"reload\"", "\"event\":\"reload_failed\""];
            let is_one = |line: &&str| words.iter().any(|word| line.contains(word));
            eve.lines().filter(is_one).map(str::to_owned).collect()
        };
        let reloads = self.reloads + 1;
        self.sensor.wait_for("a reload", || {
            about(&self.sensor.content("log.json")).len() >= reloads
        });
        self.reloads = reloads;
        // Workers and the logger take a change between two batches.
        std::thread::sleep(Duration::from_millis(300));
        about(&self.sensor.content("log.json")).pop().expect("one")
    }
}

/// The line of these outputs in a folder, and of the one that the test reads.
fn outputs(dir: &Path, others: &[&str]) -> String {
    outputs_in([dir; 2], others)
}

fn outputs_in([eve, dir]: [&Path; 2], others: &[&str]) -> String {
    let eve = format!("\"eve:{},{EVENTS}\"", eve.join("log.json").display());
    let others = others.iter().map(|other| {
        let (kind, name) = other.split_once(':').expect("KIND:NAME");
        format!("\"{kind}:{}\"", dir.join(name).display())
    });
    let all: Vec<String> = std::iter::once(eve).chain(others).collect();
    format!("output = [{}]\n", all.join(",\n  "))
}

/// Source and port of each connection in a log of short or full lines.
fn connections(text: &str) -> Vec<String> {
    let lines = text.lines();
    let of = |line: &str| Some(line.split_once(": New connection: ")?.1.to_owned());
    lines.filter_map(of).collect()
}

fn of_eve(eve: &[Value]) -> Vec<String> {
    let of = |one: &Value| {
        let text = |name: &str| one[name].as_str().expect("a string").to_owned();
        let (from, to) = (&one["src_port"], &one["dest_port"]);
        format!("{}:{from} -> {}:{to}", text("src_ip"), text("dest_ip"))
    };
    of_type(eve, "new_connection").map(of).collect()
}

#[test]
fn outputs_come_and_go_without_losing_a_connection_and_their_books_close() {
    with_veth(|veth| {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = tempfile::tempdir().expect("another folder");
        let dir = logs.path().to_owned();
        let eve = folder.path().to_owned();
        let outputs = |others: &[&str]| outputs_in([&eve, &dir], others);
        let old = outputs(&["text:old.txt"]);
        let new = outputs(&["text:new.txt,events=connection+alert"]);
        let mut run = Configured::start(folder, &old);
        with_trickle(veth, Duration::from_micros(500), || {
            std::thread::sleep(Duration::from_millis(300));
            let said = run.reload(&new);
            assert!(said.contains("in force now: output"), "{said}");
            std::thread::sleep(Duration::from_millis(300));
            // Nothing of this file is in force, as its second output cannot be opened.
            let wrong = outputs(&["text:third.txt", "text:nowhere/x.txt"]);
            let said = run.reload(&format!("allow = \"10.0.0.0/8\"\n{wrong}"));
            let why = "no setting was changed: --output text:";
            assert!(
                said.contains(why) && said.contains("nowhere is missing: create it"),
                "{said}"
            );
            assert!(
                said.contains("--output is from ") && said.contains("line 2"),
                "{said}"
            );
            assert!(!dir.join("third.txt").exists());
        });
        let ended = run.sensor.stop(Signal::SIGTERM);
        ended.assert_exact();
        let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let texts = [text("old.txt"), text("new.txt")];
        let [before, after] = texts.each_ref().map(|text| connections(text));
        assert!(before.len() > 100 && after.len() > 100, "{}", ended.stderr);
        let mut both = [before, after].concat();
        let mut all = of_eve(&ended.eve);
        both.sort();
        all.sort();
        assert_eq!(both, all);
        for (word, name) in [
            ("output_removed", "old.txt was removed: "),
            ("output_added", "new.txt was added"),
        ] {
            let is_it = |one: &&Value| one["synledger"]["event"] == word;
            let told: Vec<&Value> = ended.eve.iter().filter(is_it).collect();
            assert_eq!(told.len(), 1, "{word}");
            assert!(told[0].to_string().contains(name), "{}", told[0]);
        }
        for name in ["old.txt: ", "new.txt: "] {
            assert!(ended.stderr.contains(name), "{}", ended.stderr);
        }
    });
}

/// Flows have records from the moment that an output asks for them.
#[test]
fn an_output_may_ask_for_other_records() {
    with_veth(|veth| {
        let folder = tempfile::tempdir().expect("a folder");
        let eve = |events: &str| {
            format!(
                "output = \"eve:{},events={events}\"\n",
                folder.path().join("log.json").display()
            )
        };
        let (few, all) = (
            eve("lifecycle+alert"),
            eve("lifecycle+alert+connection+flow"),
        );
        let mut run = Configured::start(folder, &few);
        let ended = with_trickle(veth, Duration::from_millis(1), || {
            std::thread::sleep(Duration::from_millis(300));
            assert!(of_eve(&records(&run.sensor.content("log.json"))).is_empty());
            let said = run.reload(&all);
            assert!(said.contains("in force now: output"), "{said}");
            std::thread::sleep(Duration::from_millis(300));
            run.sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
        assert!(!of_eve(&ended.eve).is_empty(), "{}", ended.stderr);
        assert!(
            of_type(&ended.eve, "flow").next().is_some(),
            "{}",
            ended.stderr
        );
    });
}

#[test]
fn the_sandbox_says_where_a_new_output_may_be() {
    with_veth(|_| {
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("another folder");
        let dir = folder.path().to_owned();
        let mut run = Configured::start(folder, &outputs(&dir, &[]));
        let restricts = run
            .sensor
            .content("stderr")
            .contains("files of its own alone (Landlock)");
        let path = elsewhere.path().join("new.txt");
        let there = path.display().to_string();
        let mine = outputs(&dir, &[]).replace("]", &format!(", \"text:{there}\"]"));
        let said = run.reload(&mine);
        if !restricts {
            eprintln!("skipped: no Landlock here");
            return;
        }
        assert!(
            said.contains("the sandbox writes only where outputs of the start are"),
            "{said}"
        );
        assert!(said.contains(&there) && !path.exists(), "{said}");
        run.sensor.stop(Signal::SIGTERM).assert_exact();
    });
}

/// Phases of the records about scans of this source.
fn phases(eve: &[Value], src: &str) -> Vec<String> {
    let of_source = of_type(eve, "alert").filter(|one| one["src_ip"] == src);
    let scans = of_source.filter(|one| one["synledger"]["scan"]["kind"] == "port_scan");
    let phase = |one: &Value| {
        one["synledger"]["scan"]["phase"]
            .as_str()
            .map(str::to_owned)
    };
    scans.filter_map(phase).collect()
}

#[test]
fn a_scan_that_was_allowed_at_its_start_is_told_of_once_it_is_not() {
    with_veth(|veth: Veth| {
        let folder = tempfile::tempdir().expect("a folder");
        let base = outputs(folder.path(), &[]) + "scan-window = \"2s\"\n";
        let allowed = format!("{base}allow = \"10.0.0.2\"\n");
        let mut run = Configured::start(folder, &allowed);
        let ended = with_trickle(veth, Duration::from_millis(1), || {
            let sender = Sender::new(veth);
            sender.scan(2);
            std::thread::sleep(Duration::from_millis(300));
            assert!(phases(&records(&run.sensor.content("log.json")), "10.0.0.2").is_empty());
            run.reload(&base);
            run.sensor.wait_for("an end", || {
                phases(&records(&run.sensor.content("log.json")), "10.0.0.2")
                    .contains(&"ended".to_owned())
            });
            run.sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
        let phases = phases(&ended.eve, "10.0.0.2");
        assert_eq!(
            phases.first().map(String::as_str),
            Some("continues"),
            "{phases:?}"
        );
        let distinct: BTreeSet<&str> = phases.iter().map(String::as_str).collect();
        assert_eq!(distinct, BTreeSet::from(["continues", "ended"]));
    });
}

#[test]
fn settings_of_blocks_change_while_they_are_in_force() {
    with_veth(|veth| {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("sock").display().to_string();
        let base = outputs(folder.path(), &[])
            + &format!(
                "block = \"dry-run\"\nstatus-socket = \"{socket}\"\nblock-unproven = true\nblock-private = true\n"
            );
        let policy = format!("{base}block-on = \"policy\"\nblock-max = 100\n");
        let mut run = Configured::start(folder, &policy);
        let blocked = |sensor: &Sensor, src: &str| {
            let eve = records(&sensor.content("log.json"));
            let of = |one: &&Value| one["synledger"]["block"]["net"] == src;
            let times = of_type(&eve, "block").filter(of);
            times
                .filter_map(|one| one["synledger"]["block"]["for_s"].as_u64())
                .collect::<Vec<_>>()
        };
        let ended = with_trickle(veth, Duration::from_millis(2), || {
            let sender = Sender::new(veth);
            sender.scan(1);
            run.sensor
                .wait_for("a block", || blocked(&run.sensor, "10.0.0.1/32") == [600]);
            let said = run.reload(&format!(
                "{base}block-on = \"policy\"\nblock-times = \"42s\"\nblock-max = 101\n"
            ));
            assert!(
                said.contains("in force now: block-times; only after a restart: block-max"),
                "{said}"
            );
            sender.scan(2);
            run.sensor
                .wait_for("a block", || blocked(&run.sensor, "10.0.0.2/32") == [42]);
            let said = run.reload(&base.replace("dry-run", "off"));
            assert!(
                said.contains(
                    "nothing to change; only after a restart: block, block-max, block-on"
                ),
                "{said}"
            );
            run.sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
    });
}

/// A source that scans five ports: by the rule of the start that is no scan.
#[test]
fn thresholds_change_without_losing_a_frame() {
    with_veth(|veth| {
        let folder = tempfile::tempdir().expect("a folder");
        let base = outputs(folder.path(), &[]) + "udp-flood = \"off\"\n";
        let mut run = Configured::start(folder, &format!("{base}scan-ports = 16\n"));
        let of = |sensor: &Sensor, src: &str| phases(&records(&sensor.content("log.json")), src);
        let ended = with_trickle(veth, Duration::from_micros(500), || {
            let sender = Sender::new(veth);
            sender.scan(1);
            std::thread::sleep(Duration::from_millis(500));
            assert!(of(&run.sensor, "10.0.0.1").is_empty());
            let now = "scan-ports = 3\nscan-window = \"30s\"\nsyn-flood = \"77/2s\"\nudp-flood = \"50/1s\"\n";
            let said = run.reload(&format!(
                "{}{now}",
                base.replace("udp-flood = \"off\"\n", "")
            ));
            let applied =
                "in force now: scan-ports, scan-window, syn-flood; only after a restart: udp-flood";
            assert!(said.contains(applied), "{said}");
            sender.scan(2);
            run.sensor
                .wait_for("a scan", || !of(&run.sensor, "10.0.0.2").is_empty());
            run.sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
        assert!(
            phases(&ended.eve, "10.0.0.1").is_empty(),
            "{}",
            ended.stderr
        );
    });
}
