//! `compare`: gives the sensor and other programs the same load, CPU and ring memory.
//!
//! Subjects take turns (A B C A B C): a disturbance of the machine affects all of them. A ratio is of two values of
//! one round. A peer that is not installed is skipped and named.

pub mod cpu;
mod live;
mod offline;
mod targets;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
pub use offline::read;

use crate::experiments::search::SearchFlags;
use crate::flags::{seconds, whole};
use crate::judge::{Findings, Require};
use crate::lab::SENDER_CPU;
use crate::receivers::peers::{self, LogFormat, Peer, Synledger};
use crate::receivers::sensor::DEPTHS;
use crate::say;
use crate::send::pin;
use crate::traffic::Name;
use targets::Targets;

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    pub(crate) require: Require,
    #[command(flatten)]
    search: SearchFlags,
    /// Compare only live on an interface, or only from files.
    #[arg(long, value_enum, default_value = "both")]
    only: Half,
    /// Compare only this program; repeatable. Default: all that are installed.
    #[arg(long, value_name = "NAME", value_parser = ALL)]
    subject: Vec<String>,
    /// Loads of live floods; repeatable.
    #[arg(long, value_enum, default_values = ["syn", "bulk64", "mix"])]
    load: Vec<Name>,
    /// Loads of captures; repeatable.
    #[arg(long, value_enum, default_values = ["mix", "syn"])]
    capture: Vec<Name>,
    /// Capture depth of the sensor.
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
    /// Ring memory of every subject in MiB, 4 to 1024.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = whole::<u32>(4, 1024))]
    ring_mib: u32,
    /// Frames of each capture, 1000 to 10000000.
    #[arg(long, value_name = "N", default_value_t = 1_870_000, value_parser = whole::<u64>(1_000, 10_000_000))]
    frames: u64,
    /// Seconds of each live flood, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// Rounds of live floods and of files, 1 to 1000.
    #[arg(long, default_value_t = 5, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
    /// Rounds of searches for the rate without loss, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = whole::<u32>(1, 1000))]
    searches: u32,
}

/// Which half of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Half {
    Both,
    Live,
    Offline,
}

impl CompareArgs {
    /// Compares and records; a subject that was not measured is a failure, how fast the sensor is a target.
    ///
    /// # Errors
    ///
    /// When the sensor, the sender or an installed peer fails; when `--only` excludes a subject of `--subject`.
    pub fn run(&self) -> Result<Findings> {
        check_half(self.only, &self.subject)?;
        let (mut record, mut targets) = (self.search.common.record("compare")?, Targets::default());
        let lab = match self.only {
            Half::Offline => None,
            Half::Both | Half::Live => Some(self.search.lab.make()?),
        };
        // This process keeps off the subjects' CPU. From here on it sees one CPU only, so the lab is made before.
        pin(SENDER_CPU)?;
        let mut findings = match lab {
            Some(lab) => self.live(&lab, &mut record, &mut targets)?,
            None => Findings::default(),
        };
        if self.only != Half::Live {
            self.offline(&mut record, &mut targets)?;
        }
        findings.join(targets.judge());
        Ok(findings)
    }

    fn wants(&self, name: &str) -> bool {
        self.subject.is_empty() || self.subject.iter().any(|asked| asked == name)
    }

    /// The sensor as a peer that reads files and writes this log.
    fn synledger(&self, log: LogFormat) -> Result<Synledger> {
        let sensor = self.search.common.sensor("headers")?;
        let Some(binary) = sensor.binary.to_str() else {
            bail!("{}: a path that is not UTF-8", sensor.binary.display());
        };
        let synledger = Synledger {
            binary: binary.to_owned(),
            log,
            args: sensor.args,
        };
        if self.wants(synledger.name()) && !sensor.binary.is_file() {
            bail!("{binary}: no such program: build it (make build) or name it with --binary");
        }
        Ok(synledger)
    }

    /// Whether a peer is asked for and installed. Names one that is asked for and not installed.
    fn has(&self, peer: &dyn Peer) -> bool {
        let wanted = self.wants(peer.name());
        let installed = peers::is_installed(peer.program());
        if wanted && !installed {
            say!("skipped: {} is not installed", peer.program());
        }
        wanted && installed
    }
}

/// Checks that each subject asked for can be compared in this half.
fn check_half(only: Half, asked: &[String]) -> Result<()> {
    let (lacks, has) = match only {
        Half::Both => return Ok(()),
        Half::Live => (&FILES_ONLY, "is compared from files only: --only offline"),
        Half::Offline => (&LIVE_ONLY, "is compared live only: --only live"),
    };
    match asked.iter().find(|name| lacks.contains(&name.as_str())) {
        Some(name) => bail!("--subject {name}: it {has}, or no --only"),
        None => Ok(()),
    }
}

/// Subjects that read no interface.
const FILES_ONLY: [&str; 3] = ["synledger-text", "argus", "tshark"];
/// Subjects that read no file.
const LIVE_ONLY: [&str; 3] = ["bare", "bare-one-ring", "tcpdump-headers"];

/// Names of all subjects.
const ALL: [&str; 11] = [
    "synledger",
    "synledger-text",
    "bare",
    "bare-one-ring",
    "tcpdump",
    "tcpdump-headers",
    "suricata",
    "nfpcapd",
    "softflowd",
    "argus",
    "tshark",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_of_the_other_half_is_an_error() {
        for (only, lacks) in [(Half::Live, FILES_ONLY), (Half::Offline, LIVE_ONLY)] {
            for name in lacks {
                assert!(ALL.contains(&name));
                let asked = ["tcpdump".to_owned(), name.to_owned()];
                let error = check_half(only, &asked).expect_err(name);
                assert!(error.to_string().contains("--only"), "{error}");
                assert!(check_half(Half::Both, &asked).is_ok());
                assert!(check_half(only, &asked[..1]).is_ok());
            }
        }
    }

    #[test]
    fn every_peer_is_a_subject_and_is_described() {
        for peer in peers::all() {
            assert!(ALL.contains(&peer.name()), "{}", peer.name());
            assert!(!peer.writes().is_empty() && !peer.drops_from().is_empty());
        }
    }
}
