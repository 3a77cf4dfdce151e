//! A full disk costs only lines of the output on it, and the loss is reported.

use super::programs::text_of;
use super::sensor::{EVENTS, Ended, METRICS, Sensor, answer, metrics, of_type, records};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::{Veth, ip, with_veth};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Attempts sent while the disk is full: their lines are several times what disk and buffer hold.
const FLOOD: u32 = 12_000;
/// Attempts sent after that.
const AFTER: u32 = 100;
const DISK_KIB: usize = 4096;
const BALLAST_KIB: usize = 3772;

/// A small file system in a mount namespace of the calling thread, partly filled.
pub struct SmallDisk {
    pub place: PathBuf,
    _folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Mounts it with [`BALLAST_KIB`] of ballast; prints why and returns `None` if that is not possible.
    pub fn mount() -> Option<Self> {
        let disk = Self::of_kib(DISK_KIB)?;
        std::fs::write(disk.ballast(), vec![0; BALLAST_KIB << 10]).expect("it fits");
        Some(disk)
    }

    /// Mounts an empty one.
    pub fn of_kib(kib: usize) -> Option<Self> {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
            eprintln!("skipped: no mount namespace: {errno}");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("small");
        std::fs::create_dir(&place).expect("a folder");
        let size = format!("size={kib}k");
        let target = place.display().to_string();
        // First make mounts private, so that this one stays in the namespace.
        for words in [
            vec!["--make-rprivate", "/"],
            vec!["-t", "tmpfs", "-o", &size, "none", &target],
        ] {
            let output = Command::new("mount").args(words).output();
            let output = output.expect("mount starts");
            if !output.status.success() {
                eprintln!("skipped: no small disk: {}", text_of(&output));
                return None;
            }
        }
        Some(Self {
            place,
            _folder: folder,
        })
    }

    pub fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }

    fn log(&self) -> PathBuf {
        self.place.join("log.json")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.place).status();
    }
}

/// The result of a run on a disk that filled up.
struct Outcome {
    ended: Ended,
    /// Records of whole lines on the small disk.
    full: Vec<Value>,
    /// Text behind the last newline there.
    torn: String,
}

impl Outcome {
    /// Runs a sensor until the disk is full; with `room`, frees space and sends more.
    fn of_run(veth: Veth, strict: bool, room: bool) -> Option<Self> {
        let disk = SmallDisk::mount()?;
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!("text:{},{EVENTS}", dir.path().join("log.txt").display());
        let full = format!(
            "eve:{},events=connection+flow+lifecycle",
            disk.log().display()
        );
        let outputs = ["--output", &text, "--output", &full];
        let mut args = vec!["--metrics", METRICS];
        args.extend(strict.then_some("--strict"));
        ip("link set lo up");
        let sensor = Sensor::start_in(dir, &outputs, &args, Stdio::null());
        let sender = Sender::new(veth);
        let send = |from: std::ops::Range<u32>| {
            from.for_each(|from| sender.send(&frame(flow(from, 1024, 1, 443), from)));
        };
        let all = |what: &str, count: u32| {
            sensor.wait_for(what, || {
                sensor.content("log.txt").matches(what).count() == count as usize
            });
        };
        send(0..FLOOD);
        // The other outputs do not wait, so no worker does.
        all(": New connection: ", FLOOD);
        sensor.wait_for("lost lines in the metrics", || {
            dropped(&metrics(), "connection") > 0
        });
        assert_eq!(dropped(&metrics(), "alert"), 0, "that output has no alerts");
        assert_reported_while_it_lasts(&sensor);
        if room {
            all(": Flow ended: ", FLOOD);
            let size = std::fs::metadata(disk.log()).expect("a file").len();
            assert!(size <= (DISK_KIB - BALLAST_KIB) as u64 * 1024, "{size}");
            std::fs::remove_file(disk.ballast()).expect("it is there");
            sensor.wait_for("recovery", || {
                content(&disk.log()).contains("output_recovered")
            });
            send(FLOOD..FLOOD + AFTER);
            all(": New connection: ", FLOOD + AFTER);
            sensor.wait_for("the end of the loss", || {
                sensor.content("stderr").contains("no longer losing: ")
            });
            sensor.wait_for("health", || answer("/healthz?strict").ends_with("\r\nok\n"));
        }
        let ended = sensor.stop(Signal::SIGINT);
        let log = content(&disk.log());
        let whole = log.rfind('\n').expect("at least the start") + 1;
        let (whole, torn) = log.split_at(whole);
        let (full, torn) = (records(whole), torn.to_owned());
        Some(Self { ended, full, torn })
    }

    /// Lines on the disk, losses in its lifecycle records, and the books agree.
    fn assert_adds_up(&self, code: i32, sent: u64, room: bool) {
        let stderr = &self.ended.stderr;
        assert_eq!(self.ended.code, Some(code), "{stderr}");
        assert!(stderr.contains("the books close"), "{stderr}");
        assert_eq!(self.ended.offered(), sent, "{stderr}");
        assert_eq!(self.ended.number(", ", " dropped by full rings"), 0);
        for (line, kind) in [("New connection", "new_connection"), ("Flow ended", "flow")] {
            let line = self.ended.lines(&format!(": {line}: ")).len() as u64;
            let record = of_type(&self.ended.eve, kind).count() as u64;
            assert_eq!(
                (line, record),
                (sent, sent),
                "other outputs have every {kind}"
            );
        }
        let written = |kind| of_type(&self.full, kind).count() as u64;
        let missing = [sent - written("new_connection"), sent - written("flow")];
        assert!(missing.iter().all(|&count| count > 0), "{missing:?}");
        let lost = ["connection", "flow"].map(|kind| self.reported_lost(kind));
        if room {
            assert_eq!(lost, missing, "records on the disk report the loss");
            assert_eq!(self.torn, "", "a torn line is completed");
        } else {
            assert_eq!(lost, [0, 0], "no record of the loss fits on the disk");
        }
        let dropped = self.dropped();
        let lifecycle = dropped - missing.iter().sum::<u64>();
        if room {
            assert_eq!(lifecycle, self.reported_lost("lifecycle"), "{stderr}");
        } else {
            assert!(
                lifecycle > 0,
                "the stop record did not fit either: {stderr}"
            );
        }
        eprintln!(
            "full disk: {sent} connections, {} lines written, {dropped} dropped ({missing:?} connections and \
             flows), reported there as lost {lost:?}, {} bytes of a torn line, exit {code}",
            self.full.len(),
            self.torn.len()
        );
    }

    /// Records dropped on the small disk, from the printed books.
    fn dropped(&self) -> u64 {
        let line = |line: &&str| line.contains("small/log.json: ");
        let line = self.ended.stderr.lines().rfind(line).expect("a line");
        let words = line
            .strip_suffix(" dropped")
            .and_then(|line| line.rsplit(", ").next());
        words.expect("a word").parse().expect("a number")
    }

    fn reported_lost(&self, kind: &str) -> u64 {
        let recovered = |record: &&Value| record["synledger"]["event"] == "output_recovered";
        let records = of_type(&self.full, "lifecycle").filter(recovered);
        let lost = records.map(|record| {
            let ours = &record["synledger"];
            assert_eq!(ours["cause"], "disk_full", "{record}");
            assert_eq!(ours["output"], 3, "{record}");
            ours["lost"][kind].as_u64().unwrap_or(0)
        });
        lost.sum()
    }
}

/// Records of a kind dropped so far, from the metrics.
fn dropped(metrics: &str, kind: &str) -> u64 {
    let series = format!("synledger_records_dropped_by_kind_total{{kind=\"{kind}\"}} ");
    let lines = metrics.lines().filter(|line| line.starts_with(&series));
    let values = lines.map(|line| {
        let value = line.rsplit(' ').next().expect("a value");
        value.parse::<u64>().expect("a number")
    });
    values.sum()
}

fn content(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// A full disk is reported on standard error, in the other logs, in the health check and in a metric.
fn assert_reported_while_it_lasts(sensor: &Sensor) {
    for expected in [
        "small/log.json takes no lines: its disk is full; 1 MiB of them waits, further ones are lost; free space",
        "small/log.json (",
    ] {
        sensor.wait_for(expected, || sensor.content("stderr").contains(expected));
    }
    sensor.wait_for_event("loss_began");
    let degraded = "synledger_degraded{reason=\"output\"} 1\n";
    sensor.wait_for(degraded, || metrics().contains(degraded));
    let health = answer("/healthz");
    assert!(health.starts_with("HTTP/1.1 503 "), "{health}");
    assert!(health.contains("\r\nfailing\noutput: "), "{health}");
    let health = answer("/healthz?live");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
}

fn full_disk(strict: bool, room: bool, code: i32) {
    with_veth(move |veth| {
        let sent = u64::from(if room { FLOOD + AFTER } else { FLOOD });
        if let Some(outcome) = Outcome::of_run(veth, strict, room) {
            outcome.assert_adds_up(code, sent, room);
        }
    });
}

#[test]
fn a_disk_that_was_full_gets_a_record_of_its_loss() {
    full_disk(false, true, 1);
}

#[test]
fn a_disk_that_was_full_is_a_miss_under_strict() {
    full_disk(true, true, 3);
}

#[test]
fn a_disk_that_stays_full_costs_only_its_own_lines() {
    full_disk(false, false, 1);
}

#[test]
fn a_disk_that_stays_full_is_a_miss_under_strict() {
    full_disk(true, false, 3);
}

#[test]
fn losses_of_a_full_disk_are_counted_by_cause() {
    with_veth(|veth| {
        ip("link set lo up");
        let dir = tempfile::tempdir().expect("a folder");
        // A device that is always full.
        let outputs = ["--output", "eve:/dev/full,events=connection"];
        let args = ["--metrics", METRICS];
        let sensor = Sensor::start_in(dir, &outputs, &args, Stdio::null());
        let sender = Sender::new(veth);
        (0..FLOOD).for_each(|from| sender.send(&frame(flow(from, 1024, 1, 443), from)));
        let lines = || {
            let metrics = metrics();
            let of_device =
                |line: &&str| line.contains("_dropped_total{") && line.contains("dev/full\"");
            let lines = metrics.lines().filter(of_device).map(str::to_owned);
            lines.collect::<Vec<_>>()
        };
        let is_lost = |line: &String| !line.ends_with(" 0");
        sensor.wait_for("lost lines in the metrics", || lines().iter().any(is_lost));
        let lines = lines();
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap_or_default();
        let expected = "synledger: 12000 of 12000 records of eve:/dev/full (100 %) were lost: its disk is full; \
                    that log is not whole";
        assert_eq!(last, expected, "{}", ended.stderr);
        let of_cause = |line: &String| is_lost(line) && line.contains("\"disk_full\"");
        assert!(lines.iter().any(of_cause), "{lines:#?}");
    });
}

#[test]
fn a_full_disk_is_an_error_that_quiet_does_not_hide() {
    with_veth(|veth| {
        let Some(disk) = SmallDisk::mount() else {
            return;
        };
        let full = format!("eve:{},events=connection+flow", disk.log().display());
        let dir = tempfile::tempdir().expect("a folder");
        let sensor = Sensor::start_in(dir, &["--output", &full], &["--quiet"], Stdio::null());
        let sender = Sender::new(veth);
        (0..FLOOD).for_each(|from| sender.send(&frame(flow(from, 1024, 1, 443), from)));
        let expected = "small/log.json takes no lines: its disk is full";
        sensor.wait_for(expected, || sensor.content("stderr").contains(expected));
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let lines = ended.stderr.lines();
        assert!(lines.clone().count() > 1, "{}", ended.stderr);
        assert!(
            lines.clone().all(|line| line.contains("small/log.json")),
            "{}",
            ended.stderr
        );
    });
}
