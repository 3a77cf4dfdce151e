//! Signals, and readers that close standard output.

use super::sensor::{Sensor, of_type};
use super::traffic::{Sender, flow, frame, with_trickle};
use crate::common::netns::{SENSOR, with_veth};
use crate::common::synledger;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn sigterm_amid_traffic_ends_with_exact_books() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let ended = with_trickle(veth, Duration::from_micros(100), || {
            let sender = Sender::new(veth);
            for from in 0..500 {
                sender.send(&frame(flow(from, 1024, 1, 443), from));
            }
            sensor.stop(Signal::SIGTERM)
        });
        ended.assert_exact();
        let logged = ended.lines(": New connection: ").len();
        assert!(logged > 500, "{}", ended.stderr);
        assert_eq!(ended.offered(), logged as u64, "{}", ended.stderr);
    });
}

#[test]
fn sighup_reopens_a_moved_log() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--workers", "2"]);
        let sender = Sender::new(veth);
        sender.send(&frame(flow(1, 1024, 1, 443), 1));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.1:")
        });
        std::fs::rename(sensor.path("log.txt"), sensor.path("moved.txt")).expect("it is there");
        sensor.signal(Signal::SIGHUP);
        sensor.wait_for("new file", || sensor.path("log.txt").exists());
        sender.send(&frame(flow(2, 1024, 1, 443), 2));
        sensor.wait_for("line", || {
            sensor
                .content("log.txt")
                .contains(": New connection: 10.0.0.2:")
        });
        let moved = sensor.content("moved.txt");
        let ended = sensor.stop(Signal::SIGINT);
        ended.assert_exact();
        assert_eq!(moved.matches(": New connection: ").count(), 1, "{moved}");
        assert_eq!(ended.lines(": New connection: ").len(), 1, "{}", ended.text);
    });
}

/// Settings of a reload, and a broken file, under traffic: no frame is lost, and the log says what is in force.
#[test]
fn sighup_puts_an_allow_list_in_force_and_a_broken_file_changes_nothing() {
    with_veth(|veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("x.toml");
        let path = file.display().to_string();
        let write = |text: &str| std::fs::write(&file, text).expect("a file");
        write("fold = 0\n");
        let mut command = synledger();
        command
            .args(["run", "--config", &path, "-i", SENSOR, "--ring-mib", "8"])
            .args(["--memory-mib", "128", "--workers", "2"]);
        let sensor = Sensor::start_command(&mut command);
        let sender = Sender::new(veth);
        let reload = |word: &str, count: usize| {
            let event = format!("\"event\":\"{word}\"");
            sensor.signal(Signal::SIGHUP);
            sensor.wait_for(word, || {
                sensor.content("log.json").matches(&event).count() == count
            });
            // Workers take a change between two batches.
            std::thread::sleep(Duration::from_millis(300));
        };
        let scans_of = |eve: &[serde_json::Value], from: &str| {
            of_type(eve, "alert")
                .filter(|one| one["synledger"]["scan"]["phase"] == "started")
                .filter(|one| one["src_ip"] == from)
                .count()
        };
        with_trickle(veth, Duration::from_micros(500), || {
            sender.scan(1);
            sensor.wait_for("a scan", || {
                sensor
                    .content("log.json")
                    .contains("\"src_ip\":\"10.0.0.1\",\"dest_ip\"")
            });
            write("fold = 0\nallow = \"10.0.0.2\"\nring-mib = 16\nalert-rate = 7\n");
            reload("reload", 1);
            sender.scan(2);
            write("fold = 0\nallow = [\"10.0.0.2\",\n  \"10.0.0.3/99\"]\n");
            reload("reload_failed", 1);
            sender.scan(2);
            write("fold = 0\n");
            reload("reload", 2);
            sender.scan(4);
            sensor.wait_for("a scan", || {
                sensor
                    .content("log.json")
                    .contains("\"src_ip\":\"10.0.0.4\",\"dest_ip\"")
            });
        });
        let ended = sensor.stop(Signal::SIGTERM);
        ended.assert_exact();
        assert!(scans_of(&ended.eve, "10.0.0.1") > 0);
        assert_eq!(
            scans_of(&ended.eve, "10.0.0.2"),
            0,
            "allowed since the first reload"
        );
        assert!(scans_of(&ended.eve, "10.0.0.4") > 0);
        // On the command line ring-mib has a value of its own, which wins.
        let first =
            format!("{path} was read: in force now: allow; only after a restart: alert-rate\n");
        assert!(ended.text.contains(&first), "{}", ended.text);
        let broken = format!("no setting was changed: {path} line 3: allow = \"10.0.0.3/99\"");
        assert!(ended.text.contains(&broken), "{}", ended.text);
    });
}

fn close_reader(args: &'static [&'static str], code_expected: i32) {
    with_veth(move |veth| {
        let dir = tempfile::tempdir().expect("a folder");
        let mut sensor = Sensor::start_in(dir, &["--output", "text:-"], args, Stdio::piped());
        let pipe = sensor.child.stdout.take().expect("it is piped");
        let code = with_trickle(veth, Duration::from_millis(2), || {
            let mut head = String::new();
            BufReader::new(pipe).read_line(&mut head).expect("a line");
            assert!(head.contains(": New connection: 10."), "{head}");
            sensor.exit()
        });
        let stderr = sensor.content("stderr");
        assert_eq!(code, Some(code_expected), "{stderr}");
        if args.contains(&"-q") && code_expected == 0 {
            assert_eq!(stderr, "");
            return;
        }
        let why = "synledger: standard output has lost its reader: that ends the run\n";
        let (_, books) = stderr.split_once(why).expect(&stderr);
        assert!(books.contains("the books close"), "{stderr}");
        let stop = sensor.content("log.json");
        assert!(stop.contains("lost its reader: that ends the run; reading what is left"));
    });
}

#[test]
fn a_closed_reader_ends_the_run_and_is_reported() {
    close_reader(&[], 0);
}

#[test]
fn a_quiet_run_with_a_closed_reader_prints_nothing() {
    close_reader(&["-q"], 0);
}

#[test]
fn a_strict_run_with_a_closed_reader_fails() {
    close_reader(&["--strict"], 3);
}
