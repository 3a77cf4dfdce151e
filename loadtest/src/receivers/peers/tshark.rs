//! tshark: decodes every field of every frame. Compared from files only.

use std::path::Path;

use anyhow::Result;
use memchr::memmem;

use super::{Artifacts, Counts, Peer, Place, lines, owned};

/// See the module.
pub static TSHARK: Tshark = Tshark;

/// See the module.
#[derive(Debug)]
pub struct Tshark;

impl Peer for Tshark {
    fn name(&self) -> &'static str {
        "tshark"
    }

    fn program(&self) -> &str {
        "tshark"
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["-v"]
    }

    fn writes(&self) -> &'static str {
        "a line of text for each TCP conversation (-z conv,tcp)"
    }

    fn drops_from(&self) -> &'static str {
        "none: compared from files only"
    }

    fn offline_args(&self, capture: &Path, _place: &Place<'_>) -> Option<Vec<String>> {
        Some(owned(&[
            "-n",
            "-r",
            capture.to_str()?,
            "-q",
            "-z",
            "conv,tcp",
        ]))
    }

    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        let out = artifacts.folder.join(format!("{}.out", self.name()));
        Ok(Counts {
            connections: Some(lines(&out, |line| memmem::find(line, b"<->").is_some())?),
            ..Counts::default()
        })
    }
}
