//! Scans and floods: how many of each kind, the ports that they tried, and the largest of them.

use crate::inspect::Kind;
use crate::inspect::detection::{AlertStatus, Detection, Evidence, Extent, Phase, Proof};
use crate::log::formats::text::sentence;
use std::cmp::Reverse;

/// Episodes that a report keeps: the largest.
pub const EPISODES_MAX: usize = 256;
const PORTS: usize = 65_536;
/// Maximum of [`Episode::what`]: two addresses, a port, and as many ranges as a line lists.
const WHAT_BYTES_MAX: usize = 1024;

/// A scan or a flood, from its summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    pub kind: Kind,
    /// Wall clock at its first and last touch, ns.
    pub first_ns: i64,
    pub last_ns: i64,
    /// Ports or hosts.
    pub extent: u64,
    /// Who did what, as in a line of text: `A -> B on ports 22,80`.
    pub what: String,
    pub evidence: Evidence,
    pub proof: Proof,
}

impl Episode {
    fn rank(&self) -> impl Ord + '_ {
        (Reverse(self.extent), self.first_ns, &self.what)
    }
}

/// How many scans tried each port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortCounts {
    /// Port and scans, most scans first.
    pub first: Vec<(u16, u32)>,
    /// All ports that were tried.
    pub ports: usize,
}

/// All scans and floods. Those that `--allow` withholds are only counted.
#[derive(Debug, Default)]
pub struct Scans {
    /// Rising edges, alerts or not.
    started: u64,
    /// Alerts, by kind.
    ended: [u64; Kind::COUNT],
    /// Scans that are no alert.
    pub withheld: u64,
    /// By kind, scans that tried each port; empty before the first.
    by_port: [Vec<u32>; Kind::COUNT],
    largest: Vec<Episode>,
}

impl Scans {
    /// Maximum memory.
    pub fn memory_bytes() -> u64 {
        let episode = size_of::<Episode>() + WHAT_BYTES_MAX;
        (Kind::COUNT * PORTS * size_of::<u32>() + 2 * EPISODES_MAX * episode) as u64
    }

    /// Counts a detection, whose times are `shift_ns` behind the wall clock.
    pub fn on_detection(&mut self, detection: &Detection, shift_ns: i64) {
        match (detection.phase, detection.status) {
            (Phase::Started, _) => self.started += 1,
            (Phase::Continues, _) => {}
            // The summary decides: a scan may go on from ports that `--allow` names to others.
            (Phase::Ended, AlertStatus::Alert) => {
                self.ended[detection.kind.index()] += 1;
                self.count_ports(detection);
                self.keep(detection, shift_ns);
            }
            (Phase::Ended, _) => self.withheld += 1,
        }
    }

    fn count_ports(&mut self, detection: &Detection) {
        let port = detection.subject.port().map(|port| (port, port));
        let ranges = match &detection.extent {
            Extent::Ports { ranges, .. } => ranges.as_slice(),
            _ => port.as_slice(),
        };
        let counts = &mut self.by_port[detection.kind.index()];
        if counts.is_empty() && !ranges.is_empty() {
            counts.resize(PORTS, 0);
        }
        for port in ranges.iter().flat_map(|&(first, last)| first..=last) {
            let count = &mut counts[usize::from(port)];
            *count = count.saturating_add(1);
        }
    }

    fn keep(&mut self, detection: &Detection, shift_ns: i64) {
        let mut line = Vec::new();
        sentence(&mut line, detection);
        let line = String::from_utf8_lossy(&line);
        // Behind the title: `Port scan ended: `.
        let what = line.split_once(": ").map_or(&*line, |(_, what)| what);
        self.largest.push(Episode {
            kind: detection.kind,
            first_ns: detection.first_ns.saturating_add(shift_ns),
            last_ns: detection.last_ns.saturating_add(shift_ns),
            extent: detection.extent.count(),
            what: match detection.verdict {
                Some(verdict) => format!("{what}; verdict: {verdict}"),
                None => what.to_owned(),
            },
            evidence: detection.evidence,
            proof: detection.proof,
        });
        if self.largest.len() == 2 * EPISODES_MAX {
            self.drop_small();
        }
    }

    fn drop_small(&mut self) {
        self.largest.sort_by(|a, b| a.rank().cmp(&b.rank()));
        self.largest.truncate(EPISODES_MAX);
    }

    /// Kinds with a scan, and how many there were.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u64)> {
        let all = Kind::ALL.into_iter().zip(self.ended);
        all.filter(|(_, count)| *count > 0)
    }

    /// All scans.
    pub fn sum(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// Scans without a summary: a full table evicted them. They are in no other number.
    pub fn unfinished(&self) -> u64 {
        self.started.saturating_sub(self.sum() + self.withheld)
    }

    /// The largest scans, at most [`EPISODES_MAX`].
    pub fn largest(&self) -> Vec<&Episode> {
        let mut all: Vec<_> = self.largest.iter().collect();
        all.sort_by(|a, b| a.rank().cmp(&b.rank()));
        all.truncate(EPISODES_MAX);
        all
    }

    /// The ports that most scans of these kinds tried.
    pub fn ports(&self, kinds: &[Kind], most: usize) -> PortCounts {
        let count = |port: u16| {
            let each = kinds.iter().map(|kind| &self.by_port[kind.index()]);
            let counts = each.filter_map(|counts| counts.get(usize::from(port)));
            counts.fold(0_u32, |sum, &count| sum.saturating_add(count))
        };
        let all = (0..=u16::MAX).map(|port| (port, count(port)));
        let mut all: Vec<_> = all.filter(|(_, count)| *count > 0).collect();
        all.sort_by_key(|&(port, count)| (Reverse(count), port));
        let ports = all.len();
        all.truncate(most);
        PortCounts { first: all, ports }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::detection::Subject;
    use crate::log::formats::samples;

    fn scan(ranges: Vec<(u16, u16)>) -> Detection {
        let count = ranges
            .iter()
            .map(|(first, last)| u32::from(last - first) + 1);
        let count = count.sum();
        samples::scan(Phase::Ended, ranges, count)
    }

    fn started(detection: &Detection) -> Detection {
        Detection {
            phase: Phase::Started,
            ..detection.clone()
        }
    }

    #[test]
    fn each_port_has_the_number_of_scans_that_tried_it() {
        let mut scans = Scans::default();
        let all = [
            scan(vec![(22, 23), (80, 80), (65_535, 65_535)]),
            scan(vec![(0, 0), (22, 22), (80, 81)]),
            samples::sweep(Phase::Ended, 25),
        ];
        for one in &all {
            scans.on_detection(&started(one), 0);
            scans.on_detection(one, 0);
        }
        let kinds = [(Kind::PortScan, 2), (Kind::HostSweep, 1)];
        assert_eq!(scans.kinds().collect::<Vec<_>>(), kinds);
        let of = |kinds: &[Kind]| scans.ports(kinds, 3);
        let first = vec![(22, 2), (80, 2), (0, 1)];
        assert_eq!(of(&[Kind::PortScan]), PortCounts { first, ports: 6 });
        let first = vec![(22, 1)];
        assert_eq!(of(&[Kind::HostSweep]), PortCounts { first, ports: 1 });
        assert_eq!(of(&Kind::ALL).first, [(22, 3), (80, 2), (0, 1)]);
        assert_eq!((scans.sum(), scans.unfinished()), (3, 0));
    }

    #[test]
    fn the_largest_scans_are_kept_whatever_their_order() {
        let kept = |sizes: &mut dyn Iterator<Item = u16>| {
            let mut scans = Scans::default();
            for size in sizes {
                scans.on_detection(&scan(vec![(1, size)]), 5);
            }
            let largest = scans.largest().into_iter().cloned();
            largest.collect::<Vec<Episode>>()
        };
        let most = 3 * u16::try_from(EPISODES_MAX).expect("small");
        let up = kept(&mut (1..=most));
        assert_eq!(up, kept(&mut (1..=most).rev()));
        assert_eq!(up.len(), EPISODES_MAX);
        assert_eq!((up[0].extent, up[255].extent), (768, 513));
        assert_eq!(
            up[0].what,
            "192.0.2.56 -> 10.0.0.5 on ports 1-768; verdict: unproven"
        );
        assert_eq!(up[0].last_ns, scan(vec![]).last_ns + 5);
    }

    #[test]
    fn a_scan_that_is_allowed_is_only_counted_and_one_without_a_summary_is_said() {
        let mut scans = Scans::default();
        let allowed = Detection {
            status: AlertStatus::Allowed,
            ..scan(vec![(22, 25)])
        };
        for one in [started(&allowed), allowed] {
            scans.on_detection(&one, 0);
        }
        assert_eq!((scans.withheld, scans.sum()), (1, 0));
        assert!(scans.largest().is_empty() && scans.ports(&Kind::ALL, 1).first.is_empty());
        scans.on_detection(&started(&scan(vec![(22, 25)])), 0);
        assert_eq!((scans.sum(), scans.unfinished()), (0, 1));
    }

    #[test]
    fn the_words_about_a_scan_fit_into_their_room() {
        let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let mut scans = Scans::default();
        let ranges = (30_000..31_000).map(|port| (2 * port, 2 * port)).collect();
        scans.on_detection(
            &Detection {
                subject: Subject::Pair {
                    src: long.parse().expect("an address"),
                    dst: long.parse().expect("an address"),
                },
                ..scan(ranges)
            },
            0,
        );
        let what = &scans.largest()[0].what;
        assert!(what.len() > 400 && what.len() <= WHAT_BYTES_MAX, "{what}");
    }
}
