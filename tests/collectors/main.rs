//! What other programs make of exported records: nfcapd, tshark, softflowd beside ours, rsyslogd, systemd-journald, Fluent Bit.

#[path = "../common/mod.rs"]
mod common;

mod journald;
mod losses;
mod nfcapd;
mod shippers;
mod softflowd;
mod syslogs;
mod wire;

use common::corpus;
use craft::PcapFormat;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Captures of the corpus with different protocols, versions of IP and link types.
const REAL: [&str; 10] = [
    "idaholab+Malcolm-Test-Artifacts/pcap/protocols/Telnet.pcap",
    "idaholab+Malcolm-Test-Artifacts/pcap/protocols/NTP.pcap",
    "idaholab+Malcolm-Test-Artifacts/pcap/protocols/DNP3.pcap",
    "idaholab+Malcolm-Test-Artifacts/pcap/protocols/PROFINET.pcap",
    "zeek+zeek/testing/btest/Traces/http/206_example_c.pcap",
    "zeek+zeek/testing/btest/Traces/quic/quic_win11_firefox_google.pcap",
    "zeek+zeek/testing/btest/Traces/portmapper-many-unanswered-calls.pcapng",
    "zeek+zeek/testing/btest/Traces/ldap/missing_ldap_logs.pcapng",
    "OISF+suricata-verify/tests/smb2-01/smb2-peter.pcap",
    "the-tcpdump-group+tcpdump/tests/pim-packet-assortment.pcap",
];

/// Ten crafted captures in `dir`, and ten real ones where there are any.
fn captures(dir: &Path) -> Vec<PathBuf> {
    let crafted = craft::scenarios(1).into_iter().chain(craft::probes(1));
    let mut crafted: Vec<_> = crafted.filter(|one| one.interfaces() == 1).collect();
    // The largest have the most different flows.
    crafted.sort_by_key(|one| std::cmp::Reverse(one.to_pcap(PcapFormat::NANOS).len()));
    let mut files = Vec::new();
    for capture in crafted.iter().take(10) {
        let path = dir.join(format!("{}.pcap", capture.name));
        std::fs::write(&path, capture.to_pcap(PcapFormat::NANOS)).expect("a file");
        files.push(path);
    }
    if let Some(folder) = corpus() {
        files.extend(REAL.iter().map(|name| folder.join(name)));
    }
    files
}

/// The folder of the libraries of a package, as Debian names it.
fn libraries() -> String {
    format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)
}

/// A program of a package: installed, or unpacked by `make test`.
struct Program {
    /// What its paths begin with.
    root: PathBuf,
    path: PathBuf,
}

/// Finds it; prints `skipped` if it is nowhere.
fn program(package: &str, name: &str) -> Option<Program> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/unpacked");
    for root in [PathBuf::from("/"), unpacked.join(package)] {
        for folder in ["usr/bin", "usr/sbin", "opt/fluent-bit/bin"] {
            let path = root.join(folder).join(name);
            if path.is_file() {
                return Some(Program { root, path });
            }
        }
    }
    eprintln!("skipped: {name} is not installed (package {package})");
    None
}

impl Program {
    /// A path of its package.
    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// It, with the libraries that were unpacked beside it.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.env("LD_LIBRARY_PATH", self.file(&libraries()));
        command
    }
}

/// The crafted captures of at most `bytes`, in `dir`.
fn small_captures(dir: &Path, bytes: usize) -> Vec<PathBuf> {
    let crafted = craft::scenarios(1).into_iter().chain(craft::probes(1));
    let mut files = Vec::new();
    for capture in crafted.filter(|one| one.interfaces() == 1) {
        let pcap = capture.to_pcap(PcapFormat::NANOS);
        if pcap.len() <= bytes {
            let path = dir.join(format!("small-{}.pcap", capture.name));
            std::fs::write(&path, pcap).expect("a file");
            files.push(path);
        }
    }
    files
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < give_up, "no {what} in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Packets, bytes and flows that a collector should have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    flows: u64,
    packets: u64,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, packets: u64, bytes: u64) {
        self.flows += 1;
        self.packets += packets;
        self.bytes += bytes;
    }
}
