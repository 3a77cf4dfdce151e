//! nfcapd, of nfdump, counts as many flows, packets and bytes as the records of EVE have.

use crate::common::netns::{alone, ip};
use crate::common::synledger;
use crate::{Program, Sums, captures, program, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const HERE: &str = "10.77.0.1";
pub const PORT: &str = "4739";

/// A namespace with the other end of a veth pair.
pub struct Exporter(Child);

impl Exporter {
    /// `mtu`: of both ends.
    pub fn new(mtu: u32) -> Self {
        let child = Command::new("unshare")
            .args(["-n", "cat"])
            .stdin(Stdio::piped())
            .spawn();
        let child = child.expect("unshare starts");
        let exporter = Self(child);
        ip(&format!(
            "link add here mtu {mtu} type veth peer name there mtu {mtu}"
        ));
        let pid = exporter.0.id();
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        wait_for("namespace of the exporter", || {
            std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|other| other != own)
        });
        ip(&format!("link set there netns {pid}"));
        ip(&format!("addr add {HERE}/24 dev here"));
        ip("link set here up");
        ip("link set lo up");
        for words in [
            "addr add 10.77.0.2/24 dev there",
            "link set there up",
            "link set lo up",
        ] {
            let status = exporter.command("ip").args(words.split(' ')).status();
            assert!(status.expect("nsenter starts").success(), "{words}");
        }
        exporter
    }

    /// A process there.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// A program there.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-n", "-t", &self.pid().to_string()])
            .arg(program);
        command
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running nfcapd.
pub struct Nfcapd<'a> {
    child: Child,
    dir: &'a Path,
    reader: &'a Program,
}

impl<'a> Nfcapd<'a> {
    pub fn start([nfcapd, reader]: &'a [Program; 2], dir: &'a Path) -> Self {
        std::fs::create_dir_all(dir).expect("a folder");
        let log = std::fs::File::create(dir.join("../nfcapd.log")).expect("a file");
        let child = nfcapd
            .command()
            .args(["-b", HERE, "-p", PORT, "-t", "3600", "-B", "2000000", "-w"])
            .arg(dir)
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            .spawn()
            .expect("nfcapd starts");
        wait_for("nfcapd", || {
            let bound = std::fs::read_to_string("/proc/thread-self/net/udp").unwrap_or_default();
            bound.contains(":1283")
        });
        Self { child, dir, reader }
    }

    /// Ends it; returns what it has and its log.
    pub fn end(mut self) -> (Sums, String) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, Signal::SIGTERM).expect("it runs");
        self.child.wait().expect("it ends");
        let output = self
            .reader
            .command()
            .args(["-N", "-o", "csv", "-R"])
            .arg(self.dir)
            .output()
            .expect("nfdump starts");
        let log = std::fs::read_to_string(self.dir.join("../nfcapd.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&output.stdout);
        (sums_of_csv(&text), log)
    }
}

/// nfcapd and nfdump.
pub fn programs() -> Option<[Program; 2]> {
    Some([program("nfdump", "nfcapd")?, program("nfdump", "nfdump")?])
}

fn sums_of_csv(text: &str) -> Sums {
    let mut sums = Sums::default();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let at = |name: &str| header.iter().position(|one| *one == name);
    for line in lines.take_while(|line| !line.starts_with("Summary") && !line.is_empty()) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |name: &str| -> u64 {
            let field = at(name).and_then(|at| fields.get(at));
            field.map_or(0, |field| field.trim().parse().expect("a number"))
        };
        sums.add(
            number("ipkt") + number("opkt"),
            number("ibyt") + number("obyt"),
        );
    }
    sums
}

/// Reads a capture there with this output and EVE; what EVE has. `halves`: a flow for each direction with packets.
pub fn export(exporter: &Exporter, capture: &Path, dir: &Path, output: &str, halves: bool) -> Sums {
    let eve = dir.join("eve.json");
    let _ = std::fs::remove_file(&eve);
    let program = synledger();
    let done = exporter
        .command(program.get_program())
        // EVE then has a record of each part, too.
        .args(["read", "-q", "--active-timeout", "60", "--output", output])
        .args([
            "--output",
            &format!("eve:{},events=flow+stats", eve.display()),
        ])
        .arg(capture)
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&done.stderr);
    // A capture that was cut ends with 1, after all that is whole was written.
    assert!(
        done.status.code().is_some_and(|code| code <= 1),
        "{}: {error}",
        capture.display()
    );
    sums_of_eve(&std::fs::read_to_string(&eve).expect("EVE"), halves)
}

/// Flows of EVE, and its books, which close: the first output has every flow or has counted it as lost.
pub fn sums_of_eve(eve: &str, halves: bool) -> Sums {
    let (mut sums, mut flows, mut last) = (Sums::default(), 0, Value::Null);
    for line in eve.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        if record["event_type"] != "flow" {
            last = record;
            continue;
        }
        flows += 1;
        let number = |name: &str| record["flow"][name].as_u64().expect("a number");
        let ip_bytes = |way: &str| {
            let ours = &record["synledger"][format!("ip_bytes_{way}")];
            ours.as_u64().unwrap_or(0)
        };
        let both = [
            (number("pkts_toserver"), ip_bytes("toserver")),
            (number("pkts_toclient"), ip_bytes("toclient")),
        ];
        match halves {
            true => {
                // The last part of a flow may have no packets: then it is the originator's.
                let is_empty = both[0].0 + both[1].0 == 0;
                let with = both.iter().enumerate();
                let with = with.filter(|(at, (packets, _))| *packets > 0 || is_empty && *at == 0);
                let with = with.map(|(_, both)| both);
                with.for_each(|(packets, bytes)| sums.add(*packets, *bytes));
            }
            false => sums.add(both[0].0 + both[1].0, both[0].1 + both[1].1),
        }
    }
    assert_eq!(last["synledger"]["closed"], true, "{last}");
    let books = Carried::of(&last);
    assert_eq!((books.written + books.lost, books.pending), (flows, 0));
    sums
}

/// The books of a whole run, in the last record of this EVE.
pub fn books(eve: &Path) -> Value {
    let text = std::fs::read_to_string(eve).expect("EVE");
    let last = text.lines().last().expect("a last record");
    let last: Value = serde_json::from_str(last).expect("JSON");
    last["synledger"]["totals"]["books"].clone()
}

/// Flows of the first output, by the last record of its books.
pub struct Carried {
    pub written: u64,
    pub lost: u64,
    pub pending: u64,
}

impl Carried {
    pub fn of(stats: &Value) -> Self {
        let output = &stats["synledger"]["totals"]["books"]["outputs"][0];
        let flows = |counts: &Value| counts["flow"].as_u64().expect("a count");
        let causes = output["dropped"].as_object().expect("causes");
        Self {
            written: flows(&output["written"]),
            lost: causes.values().map(flows).sum(),
            pending: flows(&output["pending"]),
        }
    }
}

#[test]
fn nfcapd_has_the_flows_packets_and_bytes_of_twenty_captures() {
    let Some(programs) = programs() else {
        return;
    };
    alone(move || {
        let dir = tempfile::tempdir().expect("a folder");
        let exporter = Exporter::new(1500);
        let files = captures(dir.path());
        let mut all = Sums::default();
        for (number, capture) in files.iter().enumerate() {
            for (format, halves) in [("ipfix", false), ("netflow9", true)] {
                let flows = dir.path().join(format!("{number}-{format}/flows"));
                let nfcapd = Nfcapd::start(&programs, &flows);
                let output = format!("{format}:udp://{HERE}:{PORT}");
                let ours = export(&exporter, capture, dir.path(), &output, halves);
                std::thread::sleep(std::time::Duration::from_millis(100));
                let (theirs, log) = nfcapd.end();
                assert_eq!(theirs, ours, "{format} of {}: {log}", capture.display());
                assert!(ours.flows > 0, "{}", capture.display());
                assert!(log.contains("Sequence Errors: 0, Bad Packets: 0"), "{log}");
                all.add(ours.packets, ours.bytes);
                all.flows += ours.flows - 1;
            }
        }
        eprintln!(
            "nfcapd and EVE agree on {} captures by both protocols: {all:?}",
            files.len()
        );
    });
}

#[test]
fn a_path_of_576_bytes_gets_no_fragments_and_nfcapd_all_records() {
    let Some(programs) = programs() else {
        return;
    };
    alone(move || {
        let dir = tempfile::tempdir().expect("a folder");
        let exporter = Exporter::new(576);
        let capture = &captures(dir.path())[0];
        for (format, halves) in [("ipfix", false), ("netflow9", true)] {
            let flows = dir.path().join(format!("{format}/flows"));
            let nfcapd = Nfcapd::start(&programs, &flows);
            let output = format!("{format}:udp://{HERE}:{PORT}");
            let ours = export(&exporter, capture, dir.path(), &output, halves);
            std::thread::sleep(std::time::Duration::from_millis(100));
            let (theirs, log) = nfcapd.end();
            assert_eq!(theirs, ours, "{format}: {log}");
        }
        let fragments = exporter
            .command("cat")
            .arg("/proc/net/snmp")
            .output()
            .expect("cat");
        let text = String::from_utf8_lossy(&fragments.stdout).into_owned();
        let mut lines = text.lines().filter(|line| line.starts_with("Ip:"));
        let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
        let both = names.split(' ').zip(values.split(' '));
        let made = both.filter(|(name, _)| *name == "FragCreates");
        assert_eq!(made.map(|(_, count)| count).collect::<Vec<_>>(), ["0"]);
    });
}
