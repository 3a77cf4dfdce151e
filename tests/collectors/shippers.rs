//! Fluent Bit and Vector with the configurations of `tools/deploy`: each checks its own, and Fluent Bit carries every record.
//!
//! Neither is in Debian: where they are not installed, these tests are skipped.

use crate::common::synledger;
use crate::{Program, captures, program, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const DESTINATIONS: [&str; 4] = ["kafka", "nats", "loki", "elastic"];

/// The configurations of a shipper.
fn deploy(shipper: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/deploy");
    folder.join(shipper)
}

fn text_of(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr];
    both.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .concat()
}

/// Copies the configurations of Fluent Bit to `dir`, each text replaced by the other.
fn copy(fluent_bit: &Program, dir: &Path, replaced: &[(&str, String)]) {
    let tail = fluent_bit.command().args(["-i", "tail", "--help"]).output();
    // Built without SQLite it remembers nothing over a restart.
    let remembers = text_of(&tail.expect("fluent-bit starts")).contains("\ndb ");
    for entry in std::fs::read_dir(deploy("fluent-bit")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let mut text = std::fs::read_to_string(&path).expect("a file");
        for (old, new) in replaced {
            text = text.replace(old, new);
        }
        if !remembers {
            let lines = text.lines().filter(|line| !line.trim().starts_with("db: "));
            text = lines.map(|line| format!("{line}\n")).collect();
        }
        let name = path.file_name().expect("a name");
        std::fs::write(dir.join(name), text).expect("a file");
    }
}

/// A running Fluent Bit.
struct Running(Child);

impl Running {
    fn start(fluent_bit: &Program, config: &Path) -> Self {
        let child = fluent_bit
            .command()
            .arg("-q")
            .arg("-c")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("fluent-bit starts"))
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

#[test]
fn fluent_bit_takes_each_configuration() {
    let Some(fluent_bit) = program("fluent-bit", "fluent-bit") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let log = dir.path().join("eve.json").display().to_string();
    let replaced = [
        ("/var/log/synledger/eve.json", log),
        ("port: 5140", format!("port: {}", free_port())),
    ];
    copy(&fluent_bit, dir.path(), &replaced);
    for destination in DESTINATIONS {
        let config = dir.path().join(format!("{destination}.yaml"));
        if destination == "nats" {
            // `--dry-run` with its output for NATS crashes Fluent Bit 5.1.1; a run does not.
            let mut running = Running::start(&fluent_bit, &config);
            std::thread::sleep(Duration::from_secs(2));
            assert!(running.runs(), "{destination}");
            continue;
        }
        let mut command = fluent_bit.command();
        let output = command.arg("-c").arg(&config).arg("--dry-run").output();
        let text = text_of(&output.expect("fluent-bit starts"));
        let said = "configuration test is successful";
        assert!(text.contains(said), "{destination}: {text}");
    }
}

#[test]
fn fluent_bit_carries_each_record_of_both_inputs() {
    let Some(fluent_bit) = program("fluent-bit", "fluent-bit") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let (eve, port) = (dir.path().join("eve.json"), free_port());
    let replaced = [
        ("/var/log/synledger/eve.json", eve.display().to_string()),
        ("port: 5140", format!("port: {port}")),
    ];
    copy(&fluent_bit, dir.path(), &replaced);
    std::fs::write(&eve, "").expect("a file");
    let config = dir.path().join("files.yaml");
    let output = format!(
        "includes:\n  - inputs.yaml\npipeline:\n  outputs:\n    - name: file\n      match: synledger.*\n      \
         path: {}\n      format: plain\n",
        dir.path().display()
    );
    std::fs::write(&config, output).expect("a file");
    let mut running = Running::start(&fluent_bit, &config);
    wait_for("port of fluent-bit", || {
        assert!(running.runs(), "it ended");
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let capture = &captures(dir.path())[5];
    let done = synledger()
        .args(["read", "-q", "--sensor", "edge-1"])
        .args(["--output", &format!("eve:{}", eve.display())])
        .args([
            "--output",
            &format!("syslog:tcp://127.0.0.1:{port},events=connection+alert+flow"),
        ])
        .arg(capture)
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", text_of(&done));
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let records = lines("eve.json");
    // The last record, of statistics, was not asked for by syslog.
    wait_for("records", || {
        lines("synledger.eve").len() >= records.len()
            && lines("synledger.syslog").len() >= records.len() - 1
    });
    let parsed = |line: &String| -> Value { serde_json::from_str(line).expect("JSON") };
    let carried: Vec<Value> = lines("synledger.eve").iter().map(parsed).collect();
    let ours: Vec<Value> = records.iter().map(parsed).collect();
    assert_eq!(carried, ours);
    let syslog: Vec<Value> = lines("synledger.syslog").iter().map(parsed).collect();
    assert_eq!(syslog.len(), ours.len() - 1);
    for (message, record) in syslog.iter().zip(&ours) {
        assert_eq!(message["host"], "edge-1");
        assert_eq!(message["ident"], "synledger");
        let members = message["members"].as_str().expect("text");
        let source = record["src_ip"].as_str().unwrap_or_default();
        assert!(members.contains(source), "{message} {record}");
        assert!(
            !message["message"].as_str().unwrap_or("").is_empty(),
            "{message}"
        );
    }
    eprintln!(
        "fluent-bit has {} records of EVE and {} of syslog",
        carried.len(),
        syslog.len()
    );
}

#[test]
fn vector_takes_each_configuration() {
    let Some(vector) = program("vector", "vector") else {
        return;
    };
    for destination in DESTINATIONS {
        let files = ["inputs", destination].map(|name| format!("{name}.toml"));
        let output = Command::new(&vector.path)
            .args(["validate", "--no-environment"])
            .args(files.map(|name| deploy("vector").join(name)))
            .output()
            .expect("vector starts");
        assert!(output.status.success(), "{}", text_of(&output));
    }
}
