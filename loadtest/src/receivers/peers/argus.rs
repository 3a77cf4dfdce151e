//! argus: flow records from packets, in a file. Compared from files only.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Artifacts, Counts, Peer, Place, owned, text, tool};

/// See the module.
pub static ARGUS: Argus = Argus;

const RECORDS: &str = "argus.records";

/// See the module.
#[derive(Debug)]
pub struct Argus;

impl Peer for Argus {
    fn name(&self) -> &'static str {
        "argus"
    }

    fn program(&self) -> &str {
        "argus"
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["-h"]
    }

    fn writes(&self) -> &'static str {
        "bidirectional flow records in its own format"
    }

    fn drops_from(&self) -> &'static str {
        "none: compared from files only"
    }

    fn offline_args(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let records = place.folder.join(RECORDS);
        // No configuration file: it could name an interface and other outputs.
        let words = [
            "-F",
            "/dev/null",
            "-r",
            capture.to_str()?,
            "-w",
            records.to_str()?,
        ];
        Some(owned(&words))
    }

    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        let records = artifacts.folder.join(RECORDS);
        let mut command = tool("racount", &["-r", text(&records)?, "-M", "proto"])?;
        let racount = command.output().context("racount")?;
        let output = String::from_utf8_lossy(&racount.stdout).into_owned();
        let column = |row: &str, at: usize| {
            let mut lines = output.lines().map(str::split_whitespace);
            let mut words = lines.find(|words| words.clone().next() == Some(row))?;
            words.nth(at)?.parse().ok()
        };
        Ok(Counts {
            frames: Some(column("sum", 2).context("racount: no sum")?),
            dropped: None,
            connections: Some(column("tcp", 1).unwrap_or(0)),
        })
    }
}
