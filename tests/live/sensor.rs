//! A running sensor on one end of the pair, and its output.

use crate::common::{self, RUN, netns::SENSOR};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Address for --metrics: every namespace has its own ports.
pub const METRICS: &str = "127.0.0.1:9477";
pub const EVENTS: &str = "events=connection+alert+flow+stats+lifecycle+block";

/// A running sensor; killed on drop.
pub struct Sensor {
    pub child: Child,
    dir: tempfile::TempDir,
}

/// Exit code and output of a sensor that has ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stderr: String,
    pub text: String,
    pub eve: Vec<Value>,
}

impl Sensor {
    /// Starts the program on [`SENSOR`] and waits until it watches.
    pub fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let text = format!("text:{},{EVENTS}", dir.path().join("log.txt").display());
        Self::start_in(dir, &["--output", &text], args, Stdio::null())
    }

    pub fn start_in(
        dir: tempfile::TempDir,
        outputs: &[&str],
        args: &[&str],
        stdout: Stdio,
    ) -> Self {
        let eve = format!("eve:{},{EVENTS}", dir.path().join("log.json").display());
        let defaults = [
            ["--ring-mib", "8"],
            ["--memory-mib", "128"],
            ["--fold", "0"],
        ];
        let defaults = defaults.iter().filter(|[flag, _]| !args.contains(flag));
        // The key decides which shard owns a pair. With half of these tables, 64 scans over 8 shards overflowed a shard
        // with one in 30 keys; with these, each of 8 shards holds every port of 32 scans at a time.
        let mut command = common::synledger();
        command
            .args(RUN)
            .args(["-i", SENSOR])
            .args(defaults.flatten())
            .args(["--sensor", "test", "--output", &eve])
            .args(outputs)
            .args(args);
        Self::spawn(dir, &mut command, stdout)
    }

    /// Starts the program with only these outputs; `log.json` must get its lifecycle records.
    pub fn start_with(dir: tempfile::TempDir, outputs: &[&str], args: &[&str]) -> Self {
        let mut command = common::synledger();
        command
            .args(RUN)
            .args(["-i", SENSOR, "--ring-mib", "8"])
            .args(outputs)
            .args(args);
        Self::spawn(dir, &mut command, Stdio::null())
    }

    /// Starts the program with these flags and little memory, and does not wait until it watches.
    pub fn begin(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let [text, eve] = [("text", "log.txt"), ("eve", "log.json")]
            .map(|(kind, name)| format!("{kind}:{},{EVENTS}", dir.path().join(name).display()));
        let mut command = common::synledger();
        command
            .args(RUN)
            .args(["--ring-mib", "8", "--memory-mib", "32"])
            .args(["--workers", "1", "--output", &text, "--output", &eve])
            .args(args);
        Self::launch(dir, &mut command, Stdio::null())
    }

    /// Starts the program on these devices and waits until it watches.
    pub fn start_on(devices: &[&str], workers: &str) -> Self {
        let mut command = common::synledger();
        command
            .args(RUN)
            .args(["--sensor", "test", "--workers", workers])
            .args(["--ring-mib", "8", "--memory-mib", "128", "--fold", "0"])
            .args(devices.iter().flat_map(|device| ["-i", device]));
        Self::start_command(&mut command)
    }

    /// Starts this `run` with both logs in a new folder.
    pub fn start_command(command: &mut Command) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for (format, file) in [("text", "log.txt"), ("eve", "log.json")] {
            let output = format!("{format}:{},{EVENTS}", dir.path().join(file).display());
            command.args(["--output", &output]);
        }
        Self::spawn(dir, command, Stdio::null())
    }

    fn launch(dir: tempfile::TempDir, command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        let file = File::create(dir.path().join("stderr")).expect("a file");
        let child = command.stdout(stdout).stderr(file).spawn();
        let child = child.expect("the program starts");
        Self { child, dir }
    }

    pub fn spawn(dir: tempfile::TempDir, command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        let sensor = Self::launch(dir, command, stdout);
        sensor.wait_for_event("start");
        sensor
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn content(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub fn wait_for(&self, what: &str, mut happened: impl FnMut() -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !happened() {
            assert!(
                Instant::now() < give_up,
                "no {what} in {PATIENCE:?}\n{}\n{}",
                self.content("stderr"),
                self.content("log.txt")
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until standard error has these words.
    pub fn wait_for_stderr(&self, words: &str) {
        self.wait_for(words, || self.content("stderr").contains(words));
    }

    /// Waits for a lifecycle record.
    pub fn wait_for_event(&self, word: &str) {
        let event = format!("\"event\":\"{word}\"");
        self.wait_for(word, || self.content("log.json").contains(&event));
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for the end and returns the exit code.
    pub fn exit(&mut self) -> Option<i32> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < give_up, "the sensor did not end");
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn stop(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        let code = self.exit();
        Ended {
            code,
            stderr: self.content("stderr"),
            text: self.content("log.txt"),
            eve: records(&self.content("log.json")),
        }
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The books closed, and the kernel lost nothing.
    pub fn assert_exact(&self) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        assert!(self.stderr.contains("the books close"), "{}", self.stderr);
        let refused = "the sandbox refused";
        assert!(!self.stderr.contains(refused), "{}", self.stderr);
        assert_eq!(self.number(", ", " dropped by full rings"), 0);
    }

    pub fn offered(&self) -> u64 {
        match self.stderr.contains("\n1 frame offered by the kernel") {
            true => 1,
            false => self.number("\n", " frames offered by the kernel"),
        }
    }

    /// The number in the books that stands between `before` and `after`.
    pub fn number(&self, before: &str, after: &str) -> u64 {
        number(&self.stderr, before, after)
    }

    /// Connections answered, established and refused, by the books.
    pub fn outcomes(&self) -> [u64; 3] {
        [
            self.number("\n", " answered, "),
            self.number("answered, ", " established"),
            self.number("established, ", " refused"),
        ]
    }

    pub fn lines(&self, part: &str) -> Vec<&str> {
        self.text
            .lines()
            .filter(|line| line.contains(part))
            .collect()
    }
}

/// The number in printed books that stands between `before` and `after`.
pub fn number(stderr: &str, before: &str, after: &str) -> u64 {
    let until = stderr.find(after).expect(after);
    let word = stderr[..until].rsplit(before).next();
    word.expect("a word").parse().expect(stderr)
}

pub fn records(eve: &str) -> Vec<Value> {
    eve.lines()
        .map(|line| serde_json::from_str(line).expect("JSON in each line"))
        .collect()
}

/// Attempts as a multiset: both ends, initial sequence number, VLAN tags.
pub fn attempts(eve: &[Value]) -> Vec<String> {
    let of = |record: &Value| {
        let field = |name: &str| record[name].to_string();
        let isn = &record["synledger"]["isn"];
        ["src_ip", "src_port", "dest_ip", "dest_port", "vlan"]
            .map(field)
            .join(" ")
            + &format!(" {isn}")
    };
    let mut all: Vec<_> = of_type(eve, "new_connection").map(of).collect();
    all.sort();
    all
}

/// Scans that started, with the ports known then.
pub fn scans(eve: &[Value]) -> Vec<String> {
    let mut all: Vec<_> = of_type(eve, "alert")
        .filter(|record| {
            let scan = &record["synledger"]["scan"];
            scan["kind"] == "port_scan" && scan["phase"] == "started"
        })
        .map(|record| {
            format!(
                "{} {} {}",
                record["src_ip"], record["dest_ip"], record["synledger"]["scan"]["port_list"]
            )
        })
        .collect();
    all.sort();
    all
}

/// TCP records of a kind, without what depends on time and place: stamps, frame numbers, the end of the run,
/// interfaces, and what `read` does not know: the direction, and whether the kernel merged segments.
pub fn record_values(eve: &[Value], kind: &str) -> Vec<String> {
    const LEFT_OUT: [(&str, &[&str]); 3] = [
        ("", &["timestamp", "in_iface", "pcap_cnt"]),
        ("/flow", &["start", "end", "age", "state", "reason"]),
        (
            "/synledger",
            &["direction", "end_reason", "gso", "in_iface_resp"],
        ),
    ];
    let without = |record: &Value| {
        let mut record = record.clone();
        for (part, names) in LEFT_OUT {
            // A record of another kind has no such part.
            if let Some(Value::Object(part)) = record.pointer_mut(part) {
                part.retain(|name, _| !names.contains(&name.as_str()));
            }
        }
        record.to_string()
    };
    let tcp = of_type(eve, kind).filter(|record| record["proto"] == "TCP");
    let mut all: Vec<String> = tcp.map(without).collect();
    all.sort();
    all
}

pub fn of_type<'a>(eve: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    eve.iter()
        .filter(move |record| record["event_type"] == kind)
}

/// The metrics served at [`METRICS`].
pub fn metrics() -> String {
    answer("/metrics")
}

/// The HTTP answer for this path, head and body.
pub fn answer(path: &str) -> String {
    let mut stream = TcpStream::connect(METRICS).expect("metrics are served");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {METRICS}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
