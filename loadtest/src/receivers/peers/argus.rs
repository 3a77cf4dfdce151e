//! argus: flow records from packets, in a file. Compared from files only.

use std::path::Path;

use anyhow::{Context, Result};

use super::{Counts, Left, Peer, Place, owned, text, tool};

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

    fn version(&self) -> &'static [&'static str] {
        &["-h"]
    }

    fn writes(&self) -> &'static str {
        "flow records of its own format, of both directions"
    }

    fn drops_from(&self) -> &'static str {
        "nowhere: it is compared from files only"
    }

    fn offline(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let records = place.folder.join(RECORDS);
        // Without its configuration, which would have it listen and write elsewhere.
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

    fn counts(&self, left: &Left<'_>) -> Result<Counts> {
        let records = left.folder.join(RECORDS);
        let mut command = tool("racount", &["-r", text(&records)?, "-M", "proto"])?;
        let output = command.output().context("racount")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let column = |row: &str, at: usize| {
            let mut lines = said.lines().map(str::split_whitespace);
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
