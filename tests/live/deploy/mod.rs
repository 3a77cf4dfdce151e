//! The filters for fail2ban and the parser for CrowdSec, by the real programs, on lines that ours writes.

mod crowdsec;
mod fail2ban;

use super::conversation::Conversation;
use super::programs::text_of;
use crate::common::{NANOS, synledger};
use craft::{ACK, Capture, Flow, LinkType, RST, SYN, benign, crowds, probes};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program of a package: installed, or unpacked by `make test`.
pub struct Program {
    /// What its paths begin with: empty if it is installed.
    root: PathBuf,
    pub path: PathBuf,
}

/// Finds it; prints `skipped` if it is nowhere.
pub fn program(package: &str, name: &str) -> Option<Program> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join(name));
    if let Some(path) = installed.into_iter().find(|path| path.is_file()) {
        let root = PathBuf::new();
        return Some(Program { root, path });
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/unpacked");
    let root = root.join(package);
    let path = root.join("usr/bin").join(name);
    if path.is_file() {
        return Some(Program { root, path });
    }
    eprintln!("skipped: {name} is not installed (package {package})");
    None
}

impl Program {
    /// A path of its package.
    fn file(&self, path: &str) -> PathBuf {
        match self.root.as_os_str().is_empty() {
            true => Path::new("/").join(path),
            false => self.root.join(path),
        }
    }

    /// A program of Python with the modules of its package.
    fn python(&self) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(&self.path)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TZ", "Asia/Tokyo")
            .env("PYTHONPATH", self.file("usr/lib/python3/dist-packages"));
        command
    }
}

/// A file of `tools/deploy`.
fn deploy(path: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/deploy");
    folder.join(path)
}

/// The alerts of our logs.
struct Logs {
    _dir: tempfile::TempDir,
    full: PathBuf,
    short: PathBuf,
    eve: PathBuf,
    alerts: Vec<Value>,
}

impl Logs {
    /// Reads each capture for itself, with these arguments, and appends all alerts, in each format.
    fn of<'a>(args: &[&str], captures: impl Iterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let [full, short, eve] = ["full", "short", "eve"].map(|name| dir.path().join(name));
        for (name, bytes) in captures {
            let file = dir.path().join("capture");
            fs::write(&file, bytes).expect("a file");
            for (format, outputs) in [
                ("full", &[("text", &full), ("eve", &eve)][..]),
                ("short", &[("text", &short)]),
            ] {
                let mut command = synledger();
                command
                    .args(["read", "--quiet", "--text-format", format])
                    .args(args);
                for (kind, path) in outputs {
                    let output = format!("{kind}:{},events=alert+connection", path.display());
                    command.args(["--output", &output]);
                }
                let output = command.arg(&file).output().expect("the program starts");
                assert!(output.status.success(), "{name}: {}", text_of(&output));
            }
        }
        let lines = fs::read_to_string(&eve).expect("a log");
        let records = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect(line));
        let alerts = records.filter(|record: &Value| record["event_type"] == "alert");
        Self {
            alerts: alerts.collect(),
            full,
            short,
            eve,
            _dir: dir,
        }
    }

    /// Alerts of one source that begin or continue, as the records say.
    fn expected(&self, takes: impl Fn(&Value) -> bool) -> Vec<&Value> {
        let open = |alert: &&Value| {
            alert["src_ip"].is_string() && scan(alert)["phase"] != "ended" && takes(scan(alert))
        };
        self.alerts.iter().filter(open).collect()
    }
}

fn scan(alert: &Value) -> &Value {
    &alert["synledger"]["scan"]
}

/// The source of an alert: an address, or a network.
fn source(alert: &Value) -> String {
    let address = alert["src_ip"].as_str().expect("an address");
    match &scan(alert)["src_prefix"] {
        Value::Null => address.to_owned(),
        prefix => format!("{address}/{prefix}"),
    }
}

fn sources(alerts: &[&Value]) -> Vec<String> {
    alerts.iter().map(|alert| source(alert)).collect()
}

/// Scans of every kind, floods, and traffic that looks like scans.
fn crafted() -> Logs {
    let of = |capture: Capture| ("crafted", capture.to_pcap(NANOS));
    let some = probes(1).into_iter().step_by(2).chain(crowds(1));
    let kinds = ["monitoring", "domain-logon", "backscatter-one-victim"];
    let innocent = kinds.map(|kind| benign(kind, 1, 10).expect("a kind").0);
    Logs::of(&[], some.chain(innocent).map(of))
}

/// The first frame of a capture of [`super::conversation::write`], seconds since the Unix epoch.
const BEGIN_S: f64 = 1_700_000_000.0;

/// 20 closed ports of a host that this source has a connection with, or, `spoofed`, has not.
fn scan_of(flow: impl Fn(u16) -> Flow, spoofed: bool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    if !spoofed {
        frames.extend(Conversation::new(flow(80)).handshake());
    }
    for port in 1_000..1_020 {
        let one = Conversation::new(flow(port));
        frames.push(one.up(SYN, 0, 0, b""));
        frames.push(one.down(RST | ACK, 0, 1, b""));
    }
    frames
}

const SCANNER: [u8; 4] = [203, 0, 113, 56];
const SCANNER6: &str = "2001:db8::9";
const SPOOFED: [u8; 4] = [203, 0, 113, 99];
const TARGET: [u8; 4] = [192, 0, 2, 1];

/// Two scanners (IPv4, IPv6), one that may be spoofed, a client of four services, a SYN flood, and
/// answers to SYNs that others sent in our name.
fn named() -> Vec<Vec<u8>> {
    let v4 = |src| move |port| Flow::v4(src, 40_000, TARGET, port);
    let v6 = |port| {
        let network = |last| [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
        Flow::v6(network(9), 40_000, network(1), port)
    };
    let mut frames = scan_of(v4(SCANNER), false);
    frames.extend(scan_of(v6, false));
    frames.extend(scan_of(v4(SPOOFED), true));
    for port in 80..84 {
        frames.extend(Conversation::new(v4([203, 0, 113, 7])(port)).handshake());
    }
    for last in 0..1_500_u16 {
        let [high, low] = last.to_be_bytes();
        frames.push(Conversation::new(v4([198, 18, high, low])(443)).up(SYN, 0, 0, b""));
    }
    for port in 2_000..2_040 {
        let victim = Conversation::new(Flow::v4(TARGET, port, [203, 0, 113, 200], 80));
        frames.push(victim.down(SYN | ACK, 0, 1, b""));
    }
    frames
}

/// A scan by a host of ours.
fn ours() -> Vec<Vec<u8>> {
    scan_of(
        |port| Flow::v4(TARGET, 40_000, [203, 0, 113, 250], port),
        false,
    )
}

/// The pcapng file of these frames, whose interface has this name.
fn on_interface(name: &str, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut capture = Capture::new("named", LinkType::Ethernet);
    for (at, frame) in (0_i64..).zip(frames) {
        capture.push(1_700_000_000_000_000_000 + at * 1_000_000, frame.clone());
    }
    let file = capture.to_pcapng();
    // A section header of 28 bytes, then the interface: type, length, 8 bytes, the option with its name (eth0).
    let (head, rest) = file.split_at(28);
    let (link, options) = (&rest[8..16], &rest[24..]);
    let old = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
    let mut body = link.to_vec();
    body.extend([2, 0]);
    body.extend(u16::try_from(name.len()).expect("short").to_le_bytes());
    body.extend(name.as_bytes());
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(&options[..old - 24 - 4]);
    let length = u32::try_from(body.len() + 12).expect("short").to_le_bytes();
    let block = [&1_u32.to_le_bytes()[..], &length, &body, &length];
    [head, &block.concat(), &rest[old..]].concat()
}

/// Names that would be an alert about 198.51.100.66 where a filter takes them for more than a name.
const HOSTILE: [&str; 4] = [
    "eth0",
    "x in: Port scan detected: 198.51.100.66 -> 192.0.2.1 on ports 1,2,3,4 (4 ports, 4 refused; verdict: scan)",
    "198.51.100.66\u{a0}-> 192.0.2.1\n2023-11-14T22:13:20.000000Z eth0 in: Port scan detected: 198.51.100.66",
    r#"x","event_type":"alert","src_ip":"198.51.100.66","dest_ip":"192.0.2.1","proto":"TCP""#,
];
