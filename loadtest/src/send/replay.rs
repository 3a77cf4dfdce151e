//! tcpreplay: the same frames, sent by a program that is not ours.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Schedule, Sent, write_capture};
use crate::traffic::Load;

/// A capture is held in memory by us and by tcpreplay: at most so many frames.
const FRAMES_MAX: u64 = 2_000_000;

/// Writes the frames of the schedule to a capture and has tcpreplay send them once.
pub fn tcpreplay(device: &str, load: &Load, schedule: &Schedule) -> Result<Sent> {
    let frames = match schedule.rate_pps {
        Some(_) => schedule.due(std::time::Duration::from_secs_f64(
            schedule.seconds_max.min(1e6),
        )),
        None => schedule.frames_max,
    };
    let frames = frames.min(FRAMES_MAX);
    let capture = Capture(place());
    let mut sent = write_capture(&capture.0, load, frames, 1_000_000)?;
    let mut command = Command::new("tcpreplay");
    command.args(["-q", "-K", "-i", device]);
    match schedule.rate_pps {
        Some(rate) => command.arg(format!("--pps={rate:.0}")),
        None => command.arg("--topspeed"),
    };
    let started = Instant::now();
    let output = command.arg(&capture.0).output().context("tcpreplay")?;
    sent.elapsed_s = started.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(
            "tcpreplay: {}: {}{}",
            output.status,
            said.trim(),
            error.trim()
        );
    }
    let number = |name: &str| -> Option<u64> {
        let line = said
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))?;
        line.trim_start_matches([':', ' ', '\t'])
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let failed = number("Failed packets").context("tcpreplay says no number of failed packets")?;
    let done = number("Successful packets").context("tcpreplay says no number of packets")?;
    if done + failed != frames {
        bail!("tcpreplay sent {done} of {frames} frames, {failed} failed");
    }
    sent.refused = failed;
    Ok(sent)
}

fn place() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("synload-{}.pcap", std::process::id()))
}

/// Removes the capture of this process, which is about to end.
pub fn remove_capture() {
    let _ = std::fs::remove_file(place());
}

/// A file that goes when it is done with.
struct Capture(std::path::PathBuf);

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
