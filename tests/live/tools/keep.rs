//! Captures of the runs, kept for other programs to read.

use super::address_of;
use super::modes::Mode;
use serde_json::{Value, json};
use std::path::PathBuf;

/// The folder that `SYNLEDGER_TOOLS_CAPTURES` names, or none.
pub struct Keep {
    folder: Option<PathBuf>,
    runs: Vec<Value>,
}

impl Keep {
    /// Makes the folder, if one is named.
    pub fn from_environment() -> Self {
        let folder: Option<PathBuf> =
            std::env::var_os("SYNLEDGER_TOOLS_CAPTURES").map(PathBuf::from);
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).expect("a folder for captures");
        }
        Self {
            folder,
            runs: Vec::new(),
        }
    }

    /// Keeps the capture of a mode, `bytes` of a pcap file.
    pub fn add(&mut self, at: usize, mode: &Mode, bytes: &[u8]) {
        let Some(folder) = &self.folder else {
            return;
        };
        let file = format!("{at:02}-{}.pcap", mode.program());
        std::fs::write(folder.join(&file), bytes).expect("a capture is kept");
        self.runs.push(json!({
            "file": file,
            "mode": mode.line(),
            "source": address_of(at, mode).to_string(),
            "promised": mode.promised,
        }));
    }

    /// Writes what the captures are of.
    pub fn end(self) {
        if let Some(folder) = self.folder {
            let runs = Value::Array(self.runs).to_string();
            std::fs::write(folder.join("runs.json"), runs).expect("a file for the runs");
        }
    }
}
