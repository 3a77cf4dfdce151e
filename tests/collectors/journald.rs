//! A real systemd-journald, with folders of its own, takes each record; journalctl gives every field back.

use crate::common::synledger;
use crate::{captures, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Its folders are new ones in a mount namespace of its own: the journal of this host is not touched.
const START: &str = "mount -t tmpfs none /run && mount -t tmpfs none /var/log && mkdir -p /run/systemd/journal && exec \"$0\"";
const EVENTS: &str = "events=connection+alert+flow";

/// A running systemd-journald.
struct Journald(Child);

impl Journald {
    /// Starts it; prints `skipped` where there is none, or it may not.
    fn start() -> Option<Self> {
        let places = [
            "/lib/systemd/systemd-journald",
            "/usr/lib/systemd/systemd-journald",
        ];
        let program = places.into_iter().find(|place| Path::new(place).is_file());
        let why = match program {
            _ if !geteuid().is_root() => "needs root for a mount namespace",
            None => "systemd-journald is not installed (package systemd)",
            Some(_) if !Path::new("/etc/machine-id").is_file() => "a journal needs /etc/machine-id",
            Some(program) => {
                let child = Command::new("unshare")
                    .args([
                        "--mount",
                        "--propagation",
                        "private",
                        "sh",
                        "-c",
                        START,
                        program,
                    ])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn();
                let journald = Self(child.expect("unshare starts"));
                let socket = journald.inside("/run/systemd/journal/socket");
                wait_for("socket of journald", || socket.exists());
                return Some(journald);
            }
        };
        eprintln!("skipped: {why}");
        None
    }

    /// A path of its mount namespace.
    fn inside(&self, path: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.0.id());
        Path::new(&root).join(path.trim_start_matches('/'))
    }

    /// A program in its mount namespace.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-m", "-t", &self.0.id().to_string()])
            .arg(program);
        command
    }

    /// Our entries, in their order.
    fn entries(&self) -> Vec<Value> {
        let output = self
            .command("journalctl")
            .args(["-D", "/run/log/journal", "-o", "json"])
            .arg("SYSLOG_IDENTIFIER=synledger")
            .output()
            .expect("journalctl starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let entries = text.lines().map(serde_json::from_str);
        entries.map(|entry| entry.expect("JSON")).collect()
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// A field of an entry, which journalctl gives as text.
fn field<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry[name].as_str().unwrap_or("")
}

/// The entry has the members of this record of EVE, and this line of text.
fn assert_same(entry: &Value, record: &Value, line: &str) {
    let kind = record["event_type"].as_str().expect("a word");
    let event = match kind {
        "alert" => record["synledger"]["scan"]["kind"]
            .as_str()
            .expect("a word"),
        _ => kind,
    };
    assert_eq!(field(entry, "SYNLEDGER_EVENT"), event, "{entry} {record}");
    let number = |value: &Value| {
        value
            .as_u64()
            .map_or(String::new(), |number| number.to_string())
    };
    for (ours, eve) in [
        ("SYNLEDGER_SRC_PORT", &record["src_port"]),
        ("SYNLEDGER_DST_PORT", &record["dest_port"]),
        ("SYNLEDGER_FLOW_ID", &record["flow_id"]),
        ("SYNLEDGER_PKTS_TOSERVER", &record["flow"]["pkts_toserver"]),
        ("SYNLEDGER_PKTS_TOCLIENT", &record["flow"]["pkts_toclient"]),
        (
            "SYNLEDGER_BYTES_TOSERVER",
            &record["flow"]["bytes_toserver"],
        ),
        (
            "SYNLEDGER_BYTES_TOCLIENT",
            &record["flow"]["bytes_toclient"],
        ),
    ] {
        assert_eq!(field(entry, ours), number(eve), "{ours}: {entry} {record}");
    }
    for (ours, eve) in [
        ("SYNLEDGER_SRC", &record["src_ip"]),
        ("SYNLEDGER_DST", &record["dest_ip"]),
        ("SYNLEDGER_CONN_STATE", &record["synledger"]["conn_state"]),
        ("SYNLEDGER_HISTORY", &record["synledger"]["history"]),
        ("SYNLEDGER_PHASE", &record["synledger"]["scan"]["phase"]),
        ("SYNLEDGER_VERDICT", &record["synledger"]["scan"]["verdict"]),
    ] {
        let eve = eve.as_str().unwrap_or("");
        assert_eq!(field(entry, ours), eve, "{ours}: {entry} {record}");
    }
    let priority: u8 = field(entry, "PRIORITY").parse().expect("a number");
    assert!((4..=6).contains(&priority), "{entry}");
    assert_eq!(field(entry, "_TRANSPORT"), "journal");
    let message = field(entry, "MESSAGE");
    assert!(
        !message.is_empty() && line.ends_with(message),
        "{message}: {line}"
    );
}

#[test]
fn journalctl_gives_every_field_of_each_record_back() {
    let Some(journald) = Journald::start() else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let (mut sum, mut files) = (0, 0);
    for capture in captures(dir.path()).iter().rev().take(8) {
        let [eve, text] = ["eve", "text"].map(|name| dir.path().join(name));
        for file in [&eve, &text] {
            let _ = std::fs::remove_file(file);
        }
        let program = synledger();
        let done = journald
            .command(program.get_program())
            .args(["read", "-q", "--text-format", "short"])
            .args(["--output", &format!("journald:,{EVENTS}")])
            .args(["--output", &format!("eve:{},{EVENTS}", eve.display())])
            .args(["--output", &format!("text:{},{EVENTS}", text.display())])
            .arg(capture)
            .output()
            .expect("the program starts");
        let error = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code().is_some_and(|code| code <= 1), "{error}");
        let content = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
        let (eve, text) = (content(&eve), content(&text));
        let all = sum + eve.lines().count();
        wait_for("entries", || journald.entries().len() >= all);
        let entries = journald.entries();
        assert_eq!(entries.len(), all, "{}", capture.display());
        for ((entry, record), line) in entries[sum..].iter().zip(eve.lines()).zip(text.lines()) {
            let record = serde_json::from_str(record).expect("JSON");
            assert_same(entry, &record, line);
        }
        (sum, files) = (all, files + 1);
        if sum > 3000 {
            // Beyond its rate limit it would drop entries, as it may.
            break;
        }
    }
    eprintln!("journald has {sum} records of {files} captures");
    assert!(sum > 0, "no records");
}
