//! tcpreplay as sender: sends a capture of the load's frames.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::{Schedule, Transmission, write_capture};
use crate::traffic::Load;

/// Most frames of a capture, which this process and tcpreplay both hold in memory.
const FRAMES_MAX: u64 = 2_000_000;

/// Writes the frames of the schedule to a capture; tcpreplay sends it once.
pub fn tcpreplay(device: &str, load: &Load, schedule: &Schedule) -> Result<Transmission> {
    let frames = match schedule.rate_pps {
        Some(_) => schedule.due(std::time::Duration::from_secs_f64(
            schedule.seconds_max.min(1e6),
        )),
        None => schedule.frames_max,
    };
    let frames = frames.min(FRAMES_MAX);
    let capture = TempCapture(capture_path());
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
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(
            "tcpreplay: {}: {}{}",
            output.status,
            stdout.trim(),
            stderr.trim()
        );
    }
    let number = |name: &str| -> Option<u64> {
        let line = stdout
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))?;
        line.trim_start_matches([':', ' ', '\t'])
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let failed = number("Failed packets").context("tcpreplay: no number of failed packets")?;
    let done =
        number("Successful packets").context("tcpreplay: no number of successful packets")?;
    if done + failed != frames {
        bail!("tcpreplay sent {done} of {frames} frames, {failed} failed");
    }
    sent.refused = failed;
    Ok(sent)
}

fn capture_path() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("synload-{}.pcap", std::process::id()))
}

/// Removes the capture of this process before it ends.
pub fn remove_capture() {
    let _ = std::fs::remove_file(capture_path());
}

/// A file that is removed on drop.
struct TempCapture(std::path::PathBuf);

impl Drop for TempCapture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
