//! A real rsyslogd takes what is sent, by each transport.

use crate::common::synledger;
use crate::{Program, captures, libraries, program, small_captures, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// A running rsyslogd with an input for each transport.
struct Rsyslogd {
    child: Child,
    dir: PathBuf,
    udp: u16,
    tcp: u16,
}

impl Rsyslogd {
    fn start(program: &Program, dir: &Path) -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("bound")
            .port();
        let tcp = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("bound")
            .port();
        let at = dir.display();
        let config = format!(
            r#"
global(workDirectory="{at}" parser.escapeControlCharactersOnReceive="on")
module(load="imudp") module(load="imtcp") module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="{udp}" rateLimit.interval="0")
input(type="imtcp" address="127.0.0.1" port="{tcp}")
input(type="imuxsock" socket="{at}/log" rateLimit.interval="0")
template(name="fields" type="string" string="%pri%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%\n")
*.* action(type="omfile" file="{at}/out" template="fields")
"#
        );
        let file = dir.join("rsyslog.conf");
        std::fs::write(&file, config).expect("a file");
        let child = program
            .command()
            .arg("-M")
            .arg(program.file(&format!("{}/rsyslog", libraries())))
            .args(["-n", "-i"])
            .arg(dir.join("pid"))
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("stderr")).expect("a file"))
            .spawn()
            .expect("rsyslogd starts");
        let this = Self {
            child,
            dir: dir.to_owned(),
            udp,
            tcp,
        };
        wait_for("socket of rsyslogd", || {
            dir.join("log").exists() && std::net::TcpStream::connect(("127.0.0.1", tcp)).is_ok()
        });
        this
    }

    /// Lines so far.
    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("out")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Rsyslogd {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

const EVENTS: &str = "events=connection+alert+flow";

/// Reads a capture with an output, and EVE's records of the same kinds: how many there are.
fn read(capture: &Path, dir: &Path, output: &str) -> usize {
    let eve = dir.join("eve.json");
    let _ = std::fs::remove_file(&eve);
    let done = synledger()
        .args([
            "read",
            "-q",
            "--sensor",
            "edge-1",
            "--output",
            &format!("{output},{EVENTS}"),
        ])
        .args(["--output", &format!("eve:{},{EVENTS}", eve.display())])
        .arg(capture)
        .output()
        .expect("the program starts");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{error}");
    std::fs::read_to_string(&eve).expect("EVE").lines().count()
}

/// Datagrams that the smallest usual buffer of a receiver certainly holds, were it never read: 212,992 bytes, of which
/// each takes 2,304 at most here. Whoever sends more over UDP may lose some without a fault of anybody.
const HELD: usize = 64;

impl Rsyslogd {
    /// Records so far.
    fn records(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.retain(|line| line.contains("synledger"));
        lines
    }

    /// Reads a capture with this output to it, which must bring each record once; `sum`: records that it has.
    fn assert_takes(&self, capture: &Path, target: &str, sum: &mut usize) -> usize {
        let is_local = target.starts_with("unix:");
        for format in ["syslog", "cef"] {
            let records = read(capture, &self.dir, &format!("{format}:{target}"));
            let all = *sum + records;
            wait_for(&format!("{all} records, by {format}:{target}"), || {
                self.records().len() >= all
            });
            let lines = self.records();
            assert_eq!(lines.len(), all, "{format}:{target}");
            for line in &lines[*sum..] {
                assert_fields(line, format, is_local);
            }
            *sum = all;
        }
        *sum
    }
}

#[test]
fn rsyslogd_takes_each_record_by_each_transport() {
    let Some(program) = program("rsyslog", "rsyslogd") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let rsyslogd = Rsyslogd::start(&program, dir.path());
    let tcp = format!("tcp://127.0.0.1:{}", rsyslogd.tcp);
    let udp = format!("udp://127.0.0.1:{}", rsyslogd.udp);
    let unix = format!("unix://{}/log", dir.path().display());
    let (mut sum, mut over_udp) = (0, 0);
    for capture in &captures(dir.path())[5..10] {
        rsyslogd.assert_takes(capture, &tcp, &mut sum);
        rsyslogd.assert_takes(capture, &unix, &mut sum);
    }
    let small = small_captures(dir.path(), 4096);
    let few = |capture: &&PathBuf| {
        let records = read(capture, dir.path(), "text:/dev/null");
        (1..=HELD).contains(&records)
    };
    for capture in small.iter().filter(few).take(5) {
        let before = sum;
        over_udp += rsyslogd.assert_takes(capture, &udp, &mut sum) - before;
    }
    assert!(over_udp > 0, "no capture of few records");
    eprintln!("rsyslogd has {sum} records, {over_udp} of them by UDP");
}

fn assert_fields(line: &str, format: &str, is_local: bool) {
    let fields: Vec<&str> = line.splitn(6, '|').collect();
    assert_eq!(fields[2], "synledger", "{line}");
    let priority: u8 = fields[0].parse().expect("a number");
    assert!((28..=30).contains(&priority), "{line}");
    if !is_local {
        assert_eq!(fields[1], "edge-1", "{line}");
        assert!(!fields[3].is_empty() && fields[3] != "-", "{line}");
    }
    match (format, is_local) {
        ("cef", _) => {
            let message = fields[5].trim_start();
            assert!(message.starts_with("CEF:0|synledger|synledger|"), "{line}");
            assert!(message.contains(" msg="), "{line}");
        }
        (_, false) => assert!(fields[4].starts_with("[synledger@32473 event=\""), "{line}"),
        (_, true) => {
            let message = fields[5].trim_start();
            assert!(message.starts_with("[synledger@32473 event=\""), "{line}");
        }
    }
}
