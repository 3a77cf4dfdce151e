//! Suricata with flow records in EVE and no rules.

use std::path::Path;

use anyhow::{Context, Result};
use memchr::memmem;
use serde_json::Value;

use super::{Artifacts, Counts, Peer, Place, lines, owned};

/// See the module.
pub static SURICATA: Suricata = Suricata;

const SETTINGS: &str = "suricata.yaml";
const LOG: &str = "eve.json";
/// Bytes of one block of its ring, and of one frame in its computation of the ring size (`AFPComputeRingParamsV3`).
const BLOCK_BYTES: u32 = 256 << 10;
const FRAME_BYTES: u32 = 1616;

/// See the module.
#[derive(Debug)]
pub struct Suricata;

/// One capture thread on a TPACKET_V3 ring, flow tables of the sensor's default size. Unlike by default, it leaves the
/// interface's offloads on, because turning them off ends threaded NAPI on a veth; and the kernel reassembles no
/// fragments for it, so that it sees each frame sent.
fn settings(place: &Place<'_>) -> String {
    let blocks = (place.ring_mib << 20) / BLOCK_BYTES;
    // It adds one block to those that the asked frames need.
    let frames = (blocks - 1) * (BLOCK_BYTES / FRAME_BYTES);
    format!(
        "%YAML 1.1
---
default-log-dir: {folder}
stats:
  enabled: yes
  interval: 3600
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: {LOG}
      types:
        - flow
        - stats
logging:
  default-log-level: notice
  outputs:
    - console:
        enabled: yes
af-packet:
  - interface: default
    threads: 1
    cluster-id: 99
    cluster-type: cluster_flow
    defrag: no
    tpacket-v3: yes
    block-size: {BLOCK_BYTES}
    ring-size: {frames}
capture:
  disable-offloading: false
flow:
  memcap: 256mb
threading:
  set-cpu-affinity: no
unix-command:
  enabled: no
",
        folder = place.folder.display()
    )
}

/// Arguments both live and from a file: an empty file of rules; no check of checksums, as in the other programs.
fn common(place: &Place<'_>) -> Option<Vec<String>> {
    let settings = place.folder.join(SETTINGS);
    let words = [
        "-c",
        settings.to_str()?,
        "-S",
        "/dev/null",
        "-k",
        "none",
        "-l",
        place.folder.to_str()?,
    ];
    Some(owned(&words))
}

impl Peer for Suricata {
    fn name(&self) -> &'static str {
        "suricata"
    }

    fn program(&self) -> &str {
        "suricata"
    }

    fn version_args(&self) -> &'static [&'static str] {
        &["-V"]
    }

    fn writes(&self) -> &'static str {
        "a JSON record for each flow (EVE), no rules"
    }

    fn drops_from(&self) -> &'static str {
        "its last stats record (capture.kernel_drops)"
    }

    fn prepare(&self, place: &Place<'_>) -> Result<()> {
        let path = place.folder.join(SETTINGS);
        std::fs::write(&path, settings(place)).with_context(|| path.display().to_string())
    }

    fn live_args(&self, place: &Place<'_>) -> Option<Vec<String>> {
        let mut words = owned(&["--runmode", "workers"]);
        words.push(format!("--af-packet={}", place.device));
        words.extend(common(place)?);
        Some(words)
    }

    fn ready_message(&self) -> &'static str {
        "Engine started"
    }

    fn offline_args(&self, capture: &Path, place: &Place<'_>) -> Option<Vec<String>> {
        let mut words = owned(&["--runmode", "single", "-r", capture.to_str()?]);
        words.extend(common(place)?);
        Some(words)
    }

    fn counts(&self, artifacts: &Artifacts<'_>) -> Result<Counts> {
        let log = artifacts.folder.join(LOG);
        let is_flow = |line: &[u8]| memmem::find(line, br#""event_type":"flow""#).is_some();
        let is_tcp = |line: &[u8]| memmem::find(line, br#""proto":"TCP""#).is_some();
        let connections = lines(&log, |line| is_flow(line) && is_tcp(line))?;
        let stats = last_stats(&log)?;
        let decoder = stats["decoder"]["pkts"].as_u64();
        Ok(Counts {
            frames: Some(decoder.context("suricata: no decoder.pkts in its stats")?),
            dropped: stats["capture"]["kernel_drops"].as_u64(),
            connections: Some(connections),
        })
    }
}

fn last_stats(log: &Path) -> Result<Value> {
    let mut found = Vec::new();
    lines(log, |line| {
        let fits = memmem::find(line, br#""event_type":"stats""#).is_some();
        if fits {
            found = line.to_vec();
        }
        fits
    })?;
    let value: Value = serde_json::from_slice(&found).context("suricata: no stats record")?;
    Ok(value["stats"].clone())
}
