//! The detections that go on.

use crate::inspect::Kind;
use crate::inspect::detection::{AlertStatus, Detection, Phase, Subject, Verdict};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Most that are kept; of more the oldest are forgotten.
const SCANS_MAX: usize = 512;

/// A detection that goes on. Times by the wall clock, nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    pub kind: Kind,
    /// `None`: of many sources.
    pub src: Option<IpAddr>,
    pub dst: IpAddr,
    pub port: Option<u16>,
    /// Ports, hosts, places or packets.
    pub count: u64,
    pub verdict: Option<Verdict>,
    pub status: AlertStatus,
    pub first_ns: i64,
    pub last_ns: i64,
}

/// What tells detections apart. The destination of a scan of many hosts changes.
type Name = (Kind, Option<IpAddr>, Option<IpAddr>, Option<u16>);

#[derive(Debug, Default)]
pub(super) struct Scans(BTreeMap<Name, Scan>);

impl Scans {
    pub fn memory_bytes() -> u64 {
        // A node of a tree is at least half full.
        (2 * SCANS_MAX * size_of::<(Name, Scan)>()) as u64
    }

    pub fn on_detection(&mut self, detection: &Detection, shift_ns: i64) {
        let subject = &detection.subject;
        let dst = match subject {
            Subject::SourcePort { .. } | Subject::Source { .. } => None,
            Subject::Pair { dst, .. }
            | Subject::Target { dst }
            | Subject::TargetPort { dst, .. } => Some(*dst),
        };
        let name = (detection.kind, subject.src(), dst, subject.port());
        if detection.phase == Phase::Ended {
            self.0.remove(&name);
            return;
        }
        let scan = Scan {
            kind: detection.kind,
            src: subject.src(),
            dst: subject.dst(),
            port: subject.port(),
            count: detection.extent.count(),
            verdict: detection.verdict,
            status: detection.status,
            first_ns: detection.first_ns.saturating_add(shift_ns),
            last_ns: detection.last_ns.saturating_add(shift_ns),
        };
        self.0.insert(name, scan);
        if self.0.len() > SCANS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, scan)| scan.last_ns);
            let oldest = oldest.map(|(name, _)| *name);
            oldest.map(|name| self.0.remove(&name));
        }
    }

    pub fn newest_first(&self) -> Vec<Scan> {
        let mut all: Vec<Scan> = self.0.values().copied().collect();
        all.sort_unstable_by_key(|scan| (std::cmp::Reverse(scan.last_ns), scan.src, scan.dst));
        all
    }
}
