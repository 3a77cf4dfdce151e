//! tcpdump. Live, it writes every frame to /dev/null: a copy, but no disk. From a file, it prints a line for each SYN.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Artifacts, Counts, Peer, Place, lines, number_before, owned};

/// Whole frames.
pub static TCPDUMP: Tcpdump = Tcpdump { snaplen: None };
/// The sensor's default snaplen.
pub static TCPDUMP_HEADERS: Tcpdump = Tcpdump {
    snaplen: Some("192"),
};

/// SYN without ACK; the filter language finds TCP flags in IPv4 only.
const SYNS: &str =
    "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn or (ip6[6] == 6 and ip6[53] & 0x12 == 2)";

/// See the module.
#[derive(Debug)]
pub struct Tcpdump {
    snaplen: Option<&'static str>,
}

impl Peer for Tcpdump {
    fn name(&self) -> &'static str {
        match self.snaplen {
            None => "tcpdump",
            Some(_) => "tcpdump-headers",
        }
    }

    fn program(&self) -> &str {
        "tcpdump"
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["--version"]
    }

    fn writes(&self) -> &'static str {
        match self.snaplen {
            None => "live: all frames to /dev/null; from a file: a line of text for each SYN",
            Some(_) => "all frames, cut to 192 bytes, to /dev/null",
        }
    }

    fn drops_from(&self) -> &'static str {
        "its report at the end (PACKET_STATISTICS)"
    }

    fn live_args(&self, place: &Place<'_>) -> Option<Vec<String>> {
        let ring_kib = (place.ring_mib * 1024).to_string();
        let mut words = owned(&["-i", place.device, "-n", "-B", &ring_kib, "-w", "/dev/null"]);
        // As another user it would first give /dev/null away to that user.
        words.extend(owned(&["-Z", "root"]));
        if let Some(snaplen) = self.snaplen {
            words.extend(owned(&["-s", snaplen]));
        }
        Some(words)
    }

    fn ready_message(&self) -> &'static str {
        "listening on"
    }

    /// Its libpcap timeout is 1 s (`to_ms` of pcap_open_live in tcpdump.c).
    fn block_timeout(&self) -> Duration {
        Duration::from_millis(1200)
    }

    /// A capture of spoofed SYNs takes it minutes, with any flags: it keeps the text of every address in 4,096 hash
    /// chains.
    fn offline_args(&self, capture: &Path, _place: &Place<'_>) -> Option<Vec<String>> {
        let capture = capture.to_str()?;
        self.snaplen
            .is_none()
            .then(|| owned(&["-n", "-r", capture, SYNS]))
    }

    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        // It prints the number of packets captured live only.
        let Some(captured) = number_before(artifacts.output, " packets captured") else {
            let out = artifacts.folder.join(format!("{}.out", self.name()));
            return Ok(Counts {
                connections: Some(lines(&out, |_| true)?),
                ..Counts::default()
            });
        };
        let dropped = number_before(artifacts.output, " packets dropped by kernel");
        Ok(Counts {
            frames: Some(captured),
            dropped: Some(dropped.context("tcpdump: no packets dropped by kernel")?),
            connections: None,
        })
    }
}
