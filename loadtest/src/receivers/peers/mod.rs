//! Peers: programs that a user might run instead of the sensor. One file a program: how to start it on an interface
//! and on a capture, how to stop it, where its counts are.
//!
//! The settings favour the peers: the sensor's ring memory, tables that are large enough, no rules, no name look-ups.

mod argus;
mod collector;
mod live;
mod nfpcapd;
mod softflowd;
mod suricata;
mod synledger;
mod tcpdump;
mod tshark;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use argus::ARGUS;
pub use collector::Collector;
pub use live::{LivePeer, last_output};
pub use nfpcapd::NFPCAPD;
pub use softflowd::SOFTFLOWD;
pub use suricata::SURICATA;
pub use synledger::{LogFormat, Synledger};
pub use tcpdump::{TCPDUMP, TCPDUMP_HEADERS};
pub use tshark::TSHARK;

/// The surroundings of a peer's run.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// An empty folder for its files.
    pub folder: &'a Path,
    /// The interface that it captures on; empty when it reads a file.
    pub device: &'a str,
    /// Ring memory in MiB.
    pub ring_mib: u32,
    /// The collector's port on this host, for a peer that exports flows.
    pub collector: Option<u16>,
}

/// Files and output of a finished run.
#[derive(Clone, Copy, Debug)]
pub struct Artifacts<'a> {
    /// The folder that it wrote to.
    pub folder: &'a Path,
    /// The ends of its standard output and standard error, then the answer of [`Peer::stop`].
    pub output: &'a str,
    /// Connections that the collector counted.
    pub collected: Option<u64>,
}

/// A peer's own counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that it read.
    pub frames: Option<u64>,
    /// Frames dropped before it read them.
    pub dropped: Option<u64>,
    /// TCP connections reported.
    pub connections: Option<u64>,
}

/// One program.
pub trait Peer: Sync {
    /// Its name in the tables.
    fn name(&self) -> &'static str;

    /// The program's file name.
    fn program(&self) -> &str;

    /// Arguments that print its version.
    fn version_args(&self) -> &'static [&'static str];

    /// What it writes; costs are compared with that in mind.
    fn writes(&self) -> &'static str;

    /// The source of its number of dropped frames.
    fn drops_from(&self) -> &'static str;

    /// Writes the files that it needs to start.
    ///
    /// # Errors
    ///
    /// When they cannot be written.
    fn prepare(&self, _place: &Place<'_>) -> Result<()> {
        Ok(())
    }

    /// Its arguments on an interface; `None` if it is compared from files only.
    fn live_args(&self, _place: &Place<'_>) -> Option<Vec<String>> {
        None
    }

    /// Text that it prints when it captures.
    fn ready_message(&self) -> &'static str {
        ""
    }

    /// Longest time until it reads a part-filled block.
    fn block_timeout(&self) -> Duration {
        Duration::from_millis(100)
    }

    /// Stops it by its control tool; gives the tool's answer. `None`: SIGINT stops it.
    ///
    /// # Errors
    ///
    /// When the tool fails.
    fn stop(&self, _place: &Place<'_>) -> Result<Option<String>> {
        Ok(None)
    }

    /// Its arguments for a capture; `None` if it is compared live only.
    fn offline_args(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>>;

    /// Whether it sends flow records to a collector.
    fn exports_flows(&self) -> bool {
        false
    }

    /// Reads its counts.
    ///
    /// # Errors
    ///
    /// When a count is missing.
    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts>;
}

/// All peers; the sensor's outputs are entries, too.
#[must_use]
pub fn all() -> Vec<&'static dyn Peer> {
    vec![
        &synledger::EVE,
        &synledger::TEXT,
        &TCPDUMP,
        &TCPDUMP_HEADERS,
        &SURICATA,
        &NFPCAPD,
        &SOFTFLOWD,
        &ARGUS,
        &TSHARK,
    ]
}

/// Programs that a reader would look for beside the others, and why `loadtest` does not measure them.
pub const NEVER_MEASURED: [(&str, &str); 1] =
    [("Zeek", "Debian 12 and its backports have no package of it")];

/// Whether a peer captures on an interface.
#[must_use]
pub fn is_live(peer: &dyn Peer) -> bool {
    peer.live_args(&nowhere()).is_some()
}

/// Whether a peer reads captures.
#[must_use]
pub fn reads_files(peer: &dyn Peer) -> bool {
    peer.offline_args(Path::new("a.pcap"), &nowhere()).is_some()
}

/// For arguments that nobody runs.
fn nowhere() -> Place<'static> {
    Place {
        folder: Path::new(""),
        device: "",
        ring_mib: 64,
        collector: Some(1),
    }
}

/// Whether this program is installed.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    find(program).is_some()
}

/// Path of a program: on PATH, or in the folders of root's programs.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut places = folders.into_iter().map(|folder| folder.join(program));
    places.find(|place| place.is_file())
}

/// Version of a peer; empty if it prints none.
#[must_use]
pub fn version(peer: &dyn Peer) -> String {
    let mut command = Command::new(find(peer.program()).unwrap_or_default());
    command.args(peer.version_args()).stdin(Stdio::null());
    let Ok(output) = command.output() else {
        return String::new();
    };
    let text = [output.stdout, output.stderr].concat();
    version_in(&String::from_utf8_lossy(&text)).to_owned()
}

/// The first word of the form 1.2 or 1.2.3.
fn version_in(text: &str) -> &str {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split(|byte: char| byte.is_whitespace() || "(),:".contains(byte))
        .map(|word| word.trim_matches(['v', '.']))
        .find(|word| word.contains('.') && word.split('.').all(is_number))
        .unwrap_or("")
}

/// The number in front of `words`, in the last line of `text` that has `words`.
fn number_before(text: &str, words: &str) -> Option<u64> {
    let (before, _) = text.lines().rev().find_map(|line| line.split_once(words))?;
    before.split_whitespace().last()?.parse().ok()
}

/// The number behind `words`, in the last line of `text` that has `words`.
fn number_behind(text: &str, words: &str) -> Option<u64> {
    let (_, behind) = text.lines().rev().find_map(|line| line.split_once(words))?;
    let behind = behind.trim_start_matches([':', ' ']);
    let end = behind
        .find(|byte: char| !byte.is_ascii_digit())
        .unwrap_or(behind.len());
    behind[..end].parse().ok()
}

/// Counts the lines of a file that `fits` accepts.
fn lines(path: &Path, fits: impl FnMut(&[u8]) -> bool) -> Result<u64> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    count(BufReader::with_capacity(1 << 20, file), fits)
}

fn count(mut from: impl BufRead, mut fits: impl FnMut(&[u8]) -> bool) -> Result<u64> {
    let (mut line, mut found) = (Vec::new(), 0);
    while from.read_until(b'\n', &mut line)? > 0 {
        found += u64::from(fits(&line));
        line.clear();
    }
    Ok(found)
}

/// A command of a peer's own tool; `timeout` ends it after five minutes.
fn tool(program: &str, words: &[&str]) -> Result<Command> {
    let path = find(program).with_context(|| format!("{program} is not installed"))?;
    let mut command = Command::new("timeout");
    command
        .arg("300")
        .arg(path)
        .args(words)
        .stdin(Stdio::null());
    Ok(command)
}

/// Runs a peer's own tool and counts its output lines that `fits` accepts.
fn lines_of(program: &str, words: &[&str], fits: impl FnMut(&[u8]) -> bool) -> Result<u64> {
    let mut command = tool(program, words)?;
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| program.to_owned())?;
    let from = child.stdout.take().context("a pipe")?;
    let found = count(BufReader::with_capacity(1 << 20, from), fits);
    let status = child.wait().with_context(|| program.to_owned())?;
    if !status.success() {
        bail!("{program} {}: {status}", words.join(" "));
    }
    found
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{}: not UTF-8", path.display()))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_the_output_of_programs() {
        for (output, version) in [
            (
                "tcpdump version 4.99.3\nlibpcap version 1.10.3 (with TPACKET_V3)\n",
                "4.99.3",
            ),
            ("This is Suricata version 7.0.10 RELEASE", "7.0.10"),
            ("nfpcapd: Version: 1.7.1", "1.7.1"),
            (
                "Usage: softflowd [options] [bpf_program]\nThis is softflowd version 1.1.0. Valid",
                "1.1.0",
            ),
            ("TShark (Wireshark) 4.0.17 (Git v4.0.17 packaged)", "4.0.17"),
            ("no version here", ""),
        ] {
            assert_eq!(version_in(output), version, "{output}");
        }
    }

    #[test]
    fn numbers_are_found_before_and_behind_their_words() {
        let output = "12 packets captured\n34 packets received by filter\nTotal: Processed: 56, skipped: 0\n\
            Processed: 7, x\nStat: received: 148300, dropped by OS/Buffer: 9, freeze_q_cnt: 0\n";
        assert_eq!(number_before(output, " packets captured"), Some(12));
        assert_eq!(number_behind(output, "Total: Processed"), Some(56));
        assert_eq!(number_behind(output, "dropped by OS/Buffer"), Some(9));
        assert_eq!(number_before(output, " packets dropped"), None);
        assert_eq!(number_behind(output, "no such words"), None);
    }

    #[test]
    fn a_missing_program_is_not_found() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
    }
}
