//! The text log of a running sensor: lines in the order of time, statistics at their interval.

use super::sensor::{EVENTS, Ended, Sensor, of_type};
use super::traffic::{Sender, flow, frame, with_trickle};
use crate::common::netns::{SENSOR, Veth, with_veth};
use crate::common::{RUN, synledger};
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

/// Interval of each `stats` record, and whether it is the last.
fn intervals(ended: &Ended) -> Vec<(f64, bool)> {
    of_type(&ended.eve, "stats")
        .map(|record| {
            let ours = &record["synledger"];
            let last = ours["final"].as_bool().expect("a flag");
            (ours["interval_s"].as_f64().expect("seconds"), last)
        })
        .collect()
}

/// Runs a sensor for a few seconds of connections and scans, so that every kind of record is written.
fn run(veth: Veth) -> Ended {
    let workers = ["--workers", "2", "--scan-window", "1s"];
    let sensor = Sensor::start(&[&workers[..], &["--stats-interval", "1"]].concat());
    with_trickle(veth, Duration::from_millis(2), || {
        let sender = Sender::new(veth);
        for from in 1..=3 {
            sender.scan(from);
            thread::sleep(Duration::from_millis(1200));
        }
    });
    let ended = sensor.stop(Signal::SIGTERM);
    ended.assert_exact();
    ended
}

/// Whether the log never had to go on without a late worker.
fn in_time(ended: &Ended) -> bool {
    let last = of_type(&ended.eve, "stats").last().expect("a last record");
    let books = &last["synledger"]["totals"]["books"];
    books["late_records"] == 0 && !ended.text.contains(": Sensor straggler: ")
}

#[test]
fn lines_of_events_and_of_the_sensor_itself_are_in_the_order_of_time() {
    const KINDS: [&str; 5] = [
        ": New connection: ",
        ": Flow ended: ",
        ": Port scan ended: ",
        ": Stats: ",
        ": Sensor stop: ",
    ];
    with_veth(|veth| {
        let Some(ended) = (0..5).map(|_| run(veth)).find(in_time) else {
            eprintln!("skipped: a worker was late in each of 5 runs");
            return;
        };
        let intervals = intervals(&ended);
        let (last, before) = intervals.split_last().expect("a last record");
        assert!(last.1 && before.len() >= 3, "{intervals:?}");
        let about_one = |(interval_s, last): &(f64, bool)| !last && (1.0..2.0).contains(interval_s);
        assert!(before.iter().all(about_one), "{intervals:?}");
        for kind in KINDS {
            assert!(!ended.lines(kind).is_empty(), "no {kind}: {}", ended.text);
        }
        let connections = ended.lines(": New connection: ");
        let named = |line: &&str| line[27..].starts_with(" sensor transit: New connection: ");
        assert!(connections.iter().all(named), "{}", ended.text);
        let lines: Vec<&str> = ended.text.lines().collect();
        for pair in lines.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            assert!(
                before[..27] <= after[..27],
                "time goes back:\n{before}\n{after}"
            );
        }
    });
}

/// Standard output is the journal if JOURNAL_STREAM says so: here it is a file.
#[test]
fn the_journal_gets_alerts_and_lifecycle_alone_unless_events_asks_for_more() {
    let run = |veth, output: &str, is_journal: bool| {
        let dir = tempfile::tempdir().expect("a folder");
        let file = File::create(dir.path().join("stdout")).expect("a file");
        let about = file.metadata().expect("it is open");
        let inode = about.ino() + u64::from(!is_journal);
        let eve = format!("eve:{},{EVENTS}", dir.path().join("log.json").display());
        let mut command = synledger();
        command
            .args(RUN)
            .args(["-i", SENSOR, "--ring-mib", "8", "--memory-mib", "128"])
            .args(["--output", &eve, "--output", output])
            .env("JOURNAL_STREAM", format!("{}:{inode}", about.dev()));
        let mut sensor = Sensor::spawn(dir, &mut command, file);
        Sender::new(veth).scan(1);
        let path = sensor.path("stdout");
        sensor.wait_for("alert", || {
            std::fs::read_to_string(&path).is_ok_and(|text| text.contains(": Port scan detected: "))
        });
        sensor.signal(Signal::SIGTERM);
        assert_eq!(sensor.exit(), Some(0), "{}", sensor.content("stderr"));
        (sensor.content("stdout"), sensor.content("stderr"))
    };
    with_veth(move |veth| {
        let said = "synledger: text:-: the journal: alert, lifecycle, block alone, ";
        let (text, stderr) = run(veth, "text:-", true);
        assert!(!text.contains(": New connection: "), "{text}");
        assert!(text.contains(": Sensor start: "), "{text}");
        assert_eq!(stderr.matches(said).count(), 1, "{stderr}");
        assert!(stderr.contains("the books close"), "{stderr}");
        let (text, stderr) = run(veth, "text:-,events=connection+alert", true);
        assert!(text.contains(": New connection: "), "{text}");
        assert!(!stderr.contains(said), "{stderr}");
        let (text, stderr) = run(veth, "text:-", false);
        assert!(text.contains(": New connection: "), "{text}");
        assert!(!text.contains(": Sensor start: ") && !stderr.contains(said));
    });
}

#[test]
fn with_stats_interval_0_the_only_statistics_are_the_last() {
    with_veth(|veth| {
        let sensor = Sensor::start(&["--stats-interval", "0"]);
        Sender::new(veth).send(&frame(flow(1, 1024, 1, 80), 7));
        thread::sleep(Duration::from_millis(2500));
        let ended = sensor.stop(Signal::SIGTERM);
        ended.assert_exact();
        let intervals = intervals(&ended);
        assert_eq!(intervals.len(), 1, "{intervals:?}");
        assert!(intervals[0].1 && intervals[0].0 > 2.0, "{intervals:?}");
    });
}
