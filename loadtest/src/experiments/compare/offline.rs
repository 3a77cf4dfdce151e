//! From files: each subject reads the same captures on one CPU; its whole process is measured.
//!
//! Each capture is also read in a short form, its first quarter. CPU time per frame is the slope between both lengths: a
//! program's start and end cost the same in both and cancel.

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

/// The short form of a capture has its frames divided by this.
const SHORTER: u64 = 4;

struct Capture {
    path: PathBuf,
    load: Load,
    truth: Transmission,
    /// Its first frames, and how many.
    short: (PathBuf, u64),
}

/// CPU seconds of one program at two lengths of a capture.
#[derive(Clone, Copy, Debug)]
struct CpuTimes {
    /// Of how many frames, how many seconds.
    long: (u64, f64),
    short: (u64, f64),
}

impl CpuTimes {
    /// CPU nanoseconds per frame, without what a program takes to start and to end; `None` if the longer capture did not
    /// take more: then it is too short to tell.
    fn slope_ns(&self) -> Option<f64> {
        let (frames, seconds) = (self.long.0 - self.short.0, self.long.1 - self.short.1);
        (frames > 0 && seconds > 0.0).then(|| seconds * 1e9 / float(frames))
    }

    /// Records both times and their slope.
    fn record(&self, record: &mut Record, point: &Point) -> Result<()> {
        record.add(point, "file_cpu", self.long.1, "s")?;
        record.add(point, "file_cpu_short", self.short.1, "s")?;
        match self.slope_ns() {
            Some(slope) => record.add(point, "file_cpu_slope", slope, "ns/frame"),
            None => {
                let (name, frames, fewer) = (&point.subject, self.long.0, self.short.0);
                say!(
                    "{name}: {frames} frames took no more CPU time than {fewer}: no slope, raise --frames"
                );
                Ok(())
            }
        }
    }
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
            let capture = Capture::write(scratch.path(), load, self.frames)?;
            for run in 1..=self.runs {
                self.files_round(&peers, &capture, run, record, targets)?;
            }
            for path in [&capture.path, &capture.short.0] {
                std::fs::remove_file(path).context("a capture")?;
            }
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
            let cpu_s = usage.cpu_s();
            let (_, short) = read(*peer, &capture.short.0).with_context(|| peer.name())?;
            let cpu = CpuTimes {
                long: (capture.truth.tally.frames, cpu_s),
                short: (capture.short.1, short.cpu_s()),
            };
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
            cpu.record(record, &point)?;
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

impl Capture {
    /// Writes both forms into `folder`.
    fn write(folder: &Path, load: Load, frames: u64) -> Result<Self> {
        let path = folder.join(format!("{}.pcap", load.name));
        let truth = write_capture(&path, &load, frames, CAPTURE_PPS)?;
        let (first, few) = (
            folder.join(format!("{}-short.pcap", load.name)),
            frames / SHORTER,
        );
        write_capture(&first, &load, few, CAPTURE_PPS)?;
        let short = (first, few);
        Ok(Self {
            path,
            load,
            truth,
            short,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_and_end_of_a_program_are_not_in_its_cpu_time_per_frame() {
        let at = |start_s: f64, ns: f64| {
            let of = |frames: u64| (frames, start_s + float(frames) * ns / 1e9);
            let (long, short) = (of(1_000_000), of(250_000));
            CpuTimes { long, short }.slope_ns().expect("a slope")
        };
        for start_s in [0.0, 0.5, 30.0] {
            let slope = at(start_s, 400.0);
            assert!((slope - 400.0).abs() < 0.001, "{start_s}: {slope}");
        }
        assert!(at(0.0, 800.0) > at(30.0, 400.0));
    }

    #[test]
    fn a_capture_that_is_too_short_has_no_slope_but_times() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        for (long_s, has) in [(0.2, true), (0.1, false)] {
            let mut record = Record::open(&path, "compare").expect("a record");
            let cpu = CpuTimes {
                long: (1_000, long_s),
                short: (250, 0.1),
            };
            cpu.record(&mut record, &Point::default()).expect("rows");
            let rows = crate::report::record::read(&path).expect("rows");
            let metrics: Vec<&str> = rows.iter().map(|row| row.metric.as_str()).collect();
            assert_eq!(&metrics[..2], ["file_cpu", "file_cpu_short"]);
            assert_eq!(metrics.contains(&"file_cpu_slope"), has);
            std::fs::remove_file(&path).expect("removed");
        }
    }

    #[test]
    fn the_short_form_of_a_capture_is_its_first_quarter() {
        let folder = tempfile::tempdir().expect("a folder");
        let load = Load::new(crate::traffic::Name::Syn, 1);
        let capture = Capture::write(folder.path(), load, 1_000).expect("written");
        assert_eq!(capture.short.1, 250);
        let bytes = |path: &Path| std::fs::read(path).expect("a capture");
        let (long, short) = (bytes(&capture.path), bytes(&capture.short.0));
        assert!(long.starts_with(&short) && long.len() > 3 * short.len());
    }
}
