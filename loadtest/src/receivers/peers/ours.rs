//! synledger reading a file, as a peer of the others.

use std::path::{Path, PathBuf};

use anyhow::Result;
use memchr::memmem;

use super::{Counts, Left, Peer, Place, lines, owned};
use crate::truth::books::Books;

/// What it is asked to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// A JSON record for each flow: what Suricata is asked for.
    Eve,
    /// A line of text for each connection: its default.
    Text,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Ours {
    /// The program, as a path in UTF-8.
    pub binary: String,
    /// What it writes.
    pub log: Log,
    /// Further flags.
    pub args: Vec<String>,
}

/// The sensor with each of its logs, without a program: for what is said of it.
pub static EVE: Ours = Ours::new(Log::Eve);
/// See [`EVE`].
pub static TEXT: Ours = Ours::new(Log::Text);

impl Ours {
    const fn new(log: Log) -> Self {
        Self {
            binary: String::new(),
            log,
            args: Vec::new(),
        }
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(match self.log {
            Log::Eve => "synledger.json",
            Log::Text => "synledger.txt",
        })
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        match self.log {
            Log::Eve => "synledger",
            Log::Text => "synledger-text",
        }
    }

    fn program(&self) -> &str {
        &self.binary
    }

    fn version(&self) -> &'static [&'static str] {
        &["--version"]
    }

    fn writes(&self) -> &'static str {
        match self.log {
            Log::Eve => "a JSON record for each flow (EVE); live also one for each new connection",
            Log::Text => "a line of text for each new connection: its default",
        }
    }

    fn drops_from(&self) -> &'static str {
        "its books (PACKET_STATISTICS of each ring)"
    }

    fn offline(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let log = self.path(place.folder);
        let output = match self.log {
            Log::Eve => format!("eve:{},events=alert+flow+stats+lifecycle", log.to_str()?),
            Log::Text => format!("text:{}", log.to_str()?),
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
            "challenge",
            "--quiet",
        ]);
        words.extend(self.args.iter().cloned());
        Some(words)
    }

    fn counts(&self, left: &Left<'_>) -> Result<Counts> {
        let log = self.path(left.folder);
        Ok(match self.log {
            Log::Eve => {
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
            Log::Text => Counts {
                connections: Some(lines(&log, |line| {
                    memmem::find(line, b"New connection: ").is_some()
                })?),
                ..Counts::default()
            },
        })
    }
}
