//! softflowd: flow records from packets, sent as IPFIX to this crate's collector.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Artifacts, Counts, Peer, Place, number_behind, owned, text, tool};

/// See the module.
pub static SOFTFLOWD: Softflowd = Softflowd;

/// The default is 8192; it evicts flows beyond that.
const FLOWS_MAX: &str = "16000000";

/// See the module.
#[derive(Debug)]
pub struct Softflowd;

fn control(folder: &Path) -> PathBuf {
    folder.join("softflowd.ctl")
}

/// Arguments both live and from a file.
fn common(place: &Place<'_>) -> Option<Vec<String>> {
    let collector = format!("127.0.0.1:{}", place.collector?);
    let pid = place.folder.join("softflowd.pid");
    let words = [
        "-d",
        "-m",
        FLOWS_MAX,
        "-v",
        "10",
        "-b",
        "-6",
        "-n",
        &collector,
        "-p",
        pid.to_str()?,
    ];
    Some(owned(&words))
}

fn ask(folder: &Path, what: &str) -> Result<String> {
    let mut command = tool("softflowctl", &["-c", text(&control(folder))?, what])?;
    let output = command.output().context("softflowctl")?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("softflowctl {what}: {}: {stderr}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Peer for Softflowd {
    fn name(&self) -> &'static str {
        "softflowd"
    }

    fn program(&self) -> &str {
        "softflowd"
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["-h"]
    }

    fn writes(&self) -> &'static str {
        "bidirectional flow records (IPFIX), to a collector on this host"
    }

    fn drops_from(&self) -> &'static str {
        "softflowctl statistics (dropped by libpcap)"
    }

    fn live_args(&self, place: &Place<'_>) -> Option<Vec<String>> {
        let ring = (u64::from(place.ring_mib) << 20).to_string();
        let mut words = owned(&["-i", place.device, "-B", &ring]);
        words.extend(owned(&["-c", control(place.folder).to_str()?]));
        words.extend(common(place)?);
        Some(words)
    }

    fn ready_message(&self) -> &'static str {
        "Exporting flows from"
    }

    fn block_timeout(&self) -> Duration {
        Duration::from_millis(1200)
    }

    /// In the foreground it has no signal handlers: a signal ends it before it exports its flows.
    fn stop(&self, place: &Place<'_>) -> Result<Option<String>> {
        let statistics = ask(place.folder, "statistics")?;
        ask(place.folder, "shutdown")?;
        Ok(Some(statistics))
    }

    fn offline_args(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let mut words = owned(&["-r", capture.to_str()?, "-c", "none"]);
        words.extend(common(place)?);
        Some(words)
    }

    fn exports_flows(&self) -> bool {
        true
    }

    /// Live, libpcap gives it whole blocks only, without a timeout. It never reads the last, part-filled block, which is
    /// no loss under load. So frames are those received and not dropped. The connections of that block are missing.
    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        let number = |words| number_behind(artifacts.output, words);
        let dropped = number("Packets dropped by libpcap");
        let received = number("Packets received by libpcap");
        let frames = match (received, dropped) {
            (Some(received), Some(dropped)) => received.checked_sub(dropped),
            _ => number("Packets processed"),
        };
        Ok(Counts {
            frames: Some(frames.context("softflowd: no number of packets received")?),
            dropped,
            connections: artifacts.collected,
        })
    }
}
