//! nfpcapd of nfdump: flow records from packets, in files.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Artifacts, Counts, Peer, Place, lines_of, number_behind, owned, text};

/// See the module.
pub static NFPCAPD: Nfpcapd = Nfpcapd;

const FLOWS: &str = "flows";

/// See the module.
#[derive(Debug)]
pub struct Nfpcapd;

impl Peer for Nfpcapd {
    fn name(&self) -> &'static str {
        "nfpcapd"
    }

    fn program(&self) -> &str {
        "nfpcapd"
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["-V"]
    }

    fn writes(&self) -> &'static str {
        "flow records in its own format, one for each direction"
    }

    fn drops_from(&self) -> &'static str {
        "its report at the end (dropped by OS/Buffer)"
    }

    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        let flows = place.folder.join(FLOWS);
        std::fs::create_dir(&flows).with_context(|| flows.display().to_string())
    }

    fn live_args(&self, place: &Place<'_>) -> Option<Vec<String>> {
        let (ring, flows) = (place.ring_mib.to_string(), place.folder.join(FLOWS));
        Some(owned(&[
            "-i",
            place.device,
            "-b",
            &ring,
            "-w",
            flows.to_str()?,
        ]))
    }

    fn ready_message(&self) -> &'static str {
        "Startup nfpcapd"
    }

    fn block_timeout(&self) -> Duration {
        Duration::from_millis(1200)
    }

    fn offline_args(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let flows = place.folder.join(FLOWS);
        Some(owned(&["-r", capture.to_str()?, "-w", flows.to_str()?]))
    }

    /// Connections: nfdump joins the records of both directions; those with a SYN count.
    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        let flows = artifacts.folder.join(FLOWS);
        let mut files = std::fs::read_dir(&flows).with_context(|| flows.display().to_string())?;
        let any = files.any(|file| {
            file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("nfcapd."))
        });
        let words = [
            "-R",
            text(&flows)?,
            "-B",
            "-q",
            "-o",
            "fmt:%sa",
            "proto tcp and flags S",
        ];
        let connections = if any {
            lines_of("nfdump", &words, |line| line.len() > 1)?
        } else {
            0
        };
        let frames = number_behind(artifacts.output, "Total: Processed");
        Ok(Counts {
            frames: Some(frames.context("nfpcapd: no Total: Processed")?),
            dropped: number_behind(artifacts.output, "dropped by OS/Buffer"),
            connections: Some(connections),
        })
    }
}
