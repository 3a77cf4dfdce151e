//! synledger on a file, in the form of a peer.

use std::path::{Path, PathBuf};

use anyhow::Result;
use memchr::memmem;

use super::{Artifacts, Counts, Peer, Place, lines, owned};
use crate::truth::books::Books;

/// Format of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON record for each flow, as Suricata writes.
    Eve,
    /// A line of text for each connection, the default.
    Text,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Synledger {
    /// The program, as a path in UTF-8.
    pub binary: String,
    /// Format of its log.
    pub log: LogFormat,
    /// More flags.
    pub args: Vec<String>,
}

/// The sensor with its EVE log, without a program: for names and descriptions only.
pub static EVE: Synledger = Synledger::new(LogFormat::Eve);
/// As [`EVE`], with the text log.
pub static TEXT: Synledger = Synledger::new(LogFormat::Text);

impl Synledger {
    const fn new(log: LogFormat) -> Self {
        Self {
            binary: String::new(),
            log,
            args: Vec::new(),
        }
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(match self.log {
            LogFormat::Eve => "synledger.json",
            LogFormat::Text => "synledger.txt",
        })
    }
}

impl Peer for Synledger {
    fn name(&self) -> &'static str {
        match self.log {
            LogFormat::Eve => "synledger",
            LogFormat::Text => "synledger-text",
        }
    }

    fn program(&self) -> &str {
        &self.binary
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["--version"]
    }

    fn writes(&self) -> &'static str {
        match self.log {
            LogFormat::Eve => {
                "a JSON record for each flow (EVE); live, also one for each new connection"
            }
            LogFormat::Text => "a line of text for each new connection, the default",
        }
    }

    fn drops_from(&self) -> &'static str {
        "its books (PACKET_STATISTICS of each ring)"
    }

    fn offline_args(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let log = self.path(place.folder);
        let output = match self.log {
            LogFormat::Eve => format!("eve:{},events=alert+flow+stats+lifecycle", log.to_str()?),
            LogFormat::Text => format!("text:{}", log.to_str()?),
        };
        let capture = capture.to_str()?;
        let mut words = owned(&[
            "read",
            capture,
            "--workers",
            "1",
            "--output",
            &output,
            "--text-format",
            "short",
            "--quiet",
        ]);
        words.extend(self.args.iter().cloned());
        Some(words)
    }

    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        let log = self.path(artifacts.folder);
        Ok(match self.log {
            LogFormat::Eve => {
                let has = |line: &[u8], what: &str| memmem::find(line, what.as_bytes()).is_some();
                let is_connection = |line: &[u8]| {
                    has(line, r#""event_type":"flow""#)
                        && has(line, r#""proto":"TCP""#)
                        && has(line, r#""midstream":false"#)
                };
                Counts {
                    frames: Some(Books::read(&log)?.count("frames")),
                    dropped: None,
                    connections: Some(lines(&log, is_connection)?),
                }
            }
            LogFormat::Text => Counts {
                connections: Some(lines(&log, |line| {
                    memmem::find(line, b"New connection: ").is_some()
                })?),
                ..Counts::default()
            },
        })
    }
}
