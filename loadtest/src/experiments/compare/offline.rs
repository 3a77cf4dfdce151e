//! From files: each subject reads the same captures on one CPU; its whole process is measured.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::CompareArgs;
use super::targets::Targets;
use crate::lab::process::{Running, Usage, quote};
use crate::lab::{RECEIVER_CPU, Scratch};
use crate::receivers::peers::{
    self, ARGUS, Artifacts, Collector, Counts, LogFormat, NFPCAPD, Peer, Place, SOFTFLOWD,
    SURICATA, TCPDUMP, TSHARK,
};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::send::{Transmission, write_capture};
use crate::traffic::Load;

/// Long, for tshark.
const PATIENCE: Duration = Duration::from_secs(900);
/// Packets per second of the captures' time stamps.
const CAPTURE_PPS: u64 = 1_000_000;

/// How many times as fast as the peer the sensor must be.
fn wanted(peer: &str) -> Option<f64> {
    match peer {
        "suricata" => Some(20.0),
        "nfpcapd" | "softflowd" => Some(5.0),
        _ => None,
    }
}

struct Capture {
    path: PathBuf,
    load: Load,
    truth: Transmission,
}

impl CompareArgs {
    pub(super) fn offline(&self, record: &mut Record, targets: &mut Targets) -> Result<()> {
        let scratch = Scratch::new()?;
        let (eve, text) = (
            self.synledger(LogFormat::Eve)?,
            self.synledger(LogFormat::Text)?,
        );
        let all: [&dyn Peer; 8] = [
            &eve, &text, &TCPDUMP, &SURICATA, &NFPCAPD, &SOFTFLOWD, &ARGUS, &TSHARK,
        ];
        let peers: Vec<(&dyn Peer, String)> = all
            .into_iter()
            .filter(|peer| self.has(*peer))
            .map(|peer| (peer, peers::version(peer)))
            .collect();
        for &name in &self.capture {
            let load = Load::new(name, self.search.common.seed);
            let path = scratch.path().join(format!("{name}.pcap"));
            let truth = write_capture(&path, &load, self.frames, CAPTURE_PPS)?;
            let capture = Capture { path, load, truth };
            for run in 1..=self.runs {
                self.files_round(&peers, &capture, run, record, targets)?;
            }
            std::fs::remove_file(&capture.path).context("a capture")?;
        }
        Ok(())
    }

    fn files_round(
        &self,
        peers: &[(&dyn Peer, String)],
        capture: &Capture,
        run: u32,
        record: &mut Record,
        targets: &mut Targets,
    ) -> Result<()> {
        let frames = float(capture.truth.tally.frames);
        let attempts = float(capture.truth.tally.attempts.max(1));
        let mut synledger = None;
        for (peer, setting) in peers {
            let (counts, usage) = read(*peer, &capture.path).with_context(|| peer.name())?;
            let cpu_s = usage.user_s + usage.system_s;
            let found = counts.connections.unwrap_or(0);
            say!(
                "{}, {}, round {run}: {:.2} s, {cpu_s:.2} s of CPU, {found} of {attempts} connections",
                peer.name(),
                capture.load.name,
                usage.elapsed_s,
            );
            if peer.name() == "synledger" {
                synledger = Some((usage.elapsed_s, cpu_s));
            }
            let point = Point {
                subject: peer.name().to_owned(),
                load: capture.load.name.to_string(),
                depth: setting.clone(),
                rate_pps: None,
                run,
            };
            let mut add = |metric, value, unit| record.add(&point, metric, value, unit);
            add("file_rate", frames / usage.elapsed_s, "packets/s")?;
            add("file_rate_cpu", frames / cpu_s, "packets/s")?;
            add("file_memory_peak", float(usage.memory_peak_bytes), "bytes")?;
            add(
                "file_connections_of_truth",
                float(found) / attempts,
                "ratio",
            )?;
            if let Some((synledger_s, synledger_cpu_s)) = synledger {
                add("file_times", usage.elapsed_s / synledger_s, "ratio")?;
                add("file_times_cpu", cpu_s / synledger_cpu_s, "ratio")?;
                if let Some(wanted) = wanted(peer.name()) {
                    let what = format!("times as fast as {}, {}", peer.name(), capture.load.name);
                    targets.add(&what, wanted, usage.elapsed_s / synledger_s);
                }
            }
            if counts
                .frames
                .is_some_and(|read| read != capture.truth.tally.frames)
            {
                add(
                    "file_frames_read",
                    float(counts.frames.unwrap_or(0)),
                    "frames",
                )?;
            }
        }
        Ok(())
    }
}

/// Runs a peer on a capture, on one CPU.
///
/// # Errors
///
/// When it is not installed, or fails, or a count is missing.
pub fn read(peer: &dyn Peer, capture: &Path) -> Result<(Counts, Usage)> {
    let scratch = Scratch::new()?;
    let folder = scratch.path();
    let collector = match peer.exports_flows() {
        true => Some(Collector::new()?),
        false => None,
    };
    let place = Place {
        folder,
        device: "",
        ring_mib: 64,
        collector: collector.as_ref().map(Collector::port),
    };
    peer.prepare(&place)?;
    let program = peers::find(peer.program()).context("it is not installed")?;
    let words = peer.offline_args(capture, &place);
    let mut command = Command::new("taskset");
    command.args(["-c", &RECEIVER_CPU.to_string()]).arg(program);
    command.args(words.context("it reads no files")?);
    let running = Running::start(command, peer.name(), folder)?;
    let (ended, usage) = running.finish(PATIENCE)?;
    let output = peers::last_output(folder, peer.name());
    if ended.code != Some(0) {
        bail!("it {ended}. {}", quote(&output));
    }
    let artifacts = Artifacts {
        folder,
        output: &output,
        collected: collector.map(Collector::finish).transpose()?,
    };
    Ok((peer.counts(&artifacts)?, usage))
}
