//! The state of a source on the list, and the comment behind its address.

use crate::inspect::Kind;
use crate::inspect::detection::{Extent, Proof};
use crate::log::formats::stamp::Stamp;
use crate::respond::TimedDetection;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::net::IpAddr;

/// Maximum ranges of ports.
const RANGES: usize = 8;
/// Maximum distinct targets.
const TARGETS: usize = 8;

/// The lowest ports of a set, as ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ports {
    ranges: [(u16, u16); RANGES],
    len: usize,
    /// There are more, or unknown ones.
    more: bool,
}

impl Ports {
    fn add(&mut self, first: u16, last: u16) {
        let mut all = self.ranges[..self.len].to_vec();
        all.push((first, last));
        all.sort_unstable();
        all.dedup_by(|next, kept| {
            let joins = u32::from(next.0) <= u32::from(kept.1) + 1;
            if joins {
                kept.1 = kept.1.max(next.1);
            }
            joins
        });
        self.more |= all.len() > RANGES;
        self.len = all.len().min(RANGES);
        self.ranges[..self.len].copy_from_slice(&all[..self.len]);
    }

    /// `80-83,443`, with `+` for unnamed ones.
    fn append(&self, out: &mut Vec<u8>) {
        for (at, &(first, last)) in self.ranges[..self.len].iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = match first == last {
                true => write!(out, "{comma}{first}"),
                false => write!(out, "{comma}{first}-{last}"),
            };
        }
        if self.more {
            out.extend_from_slice(if self.len > 0 { b",+" } else { b"+" });
        }
    }
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    /// Expiry in run time.
    pub(super) end_ns: i64,
    /// Expiry by the wall clock, as are the next two.
    end_wall_ns: i64,
    first_ns: i64,
    last_ns: i64,
    /// A bit for each kind of detection.
    kinds: u32,
    proof: Proof,
    ports: Ports,
    /// Hashes of targets, and their number.
    targets: [u32; TARGETS],
    targets_len: u32,
    /// Maximum of hosts in one detection.
    hosts: u32,
    events: u64,
}

impl Default for BlockEntry {
    fn default() -> Self {
        Self {
            end_ns: i64::MIN,
            end_wall_ns: i64::MIN,
            first_ns: i64::MAX,
            last_ns: i64::MIN,
            kinds: 0,
            proof: Proof::None,
            ports: Ports::default(),
            targets: [0; TARGETS],
            targets_len: 0,
            hosts: 0,
            events: 0,
        }
    }
}

const _: () = assert!(Kind::COUNT <= 32);

impl BlockEntry {
    /// Adds a detection of the source, which expires `expire_ns` after it was last seen.
    pub(super) fn add(&mut self, timed: &TimedDetection<'_>, expire_ns: i64) {
        let detection = timed.detection;
        let wall_ns = |run_ns: i64| run_ns.saturating_add(timed.shift_ns);
        let end_ns = detection.last_ns.saturating_add(expire_ns);
        if end_ns > self.end_ns {
            self.end_ns = end_ns;
            self.end_wall_ns = wall_ns(end_ns);
        }
        self.first_ns = self.first_ns.min(wall_ns(detection.first_ns));
        self.last_ns = self.last_ns.max(wall_ns(detection.last_ns));
        self.kinds |= 1 << detection.kind as u32;
        self.proof = self.proof.max(detection.proof);
        match (&detection.extent, detection.subject.port()) {
            (Extent::Ports { ranges, .. }, _) => {
                self.ports.more |= ranges.is_empty();
                for &(first, last) in ranges {
                    self.ports.add(first, last);
                }
            }
            (Extent::Hosts { count }, port) => {
                self.hosts = self.hosts.max(*count);
                self.ports.more |= port.is_none();
                port.into_iter().for_each(|port| self.ports.add(port, port));
            }
            (Extent::Places { .. } | Extent::Packets { .. }, _) => self.ports.more = true,
        }
        self.add_target(detection.subject.dst());
        self.events += 1;
    }

    #[cfg(test)]
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    fn add_target(&mut self, target: IpAddr) {
        let mut hasher = DefaultHasher::new();
        target.hash(&mut hasher);
        let short = (hasher.finish() >> 32) as u32;
        let known = self.targets[..self.targets_len as usize].contains(&short);
        if !known && (self.targets_len as usize) < TARGETS {
            self.targets[self.targets_len as usize] = short;
            self.targets_len += 1;
        }
    }

    /// Appends ` # kind=port_scan first=… last=… ports=… hosts=… proof=… expires=… events=…`.
    pub(super) fn append_comment(&self, out: &mut Vec<u8>, stamp: &mut Stamp) {
        out.extend_from_slice(b" # kind=");
        let kinds = Kind::ALL.into_iter();
        let kinds = kinds.filter(|&kind| self.kinds & 1 << kind as u32 != 0);
        for (at, kind) in kinds.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(out, "{comma}{kind}");
        }
        out.extend_from_slice(b" first=");
        append_time(out, stamp, self.first_ns);
        out.extend_from_slice(b" last=");
        append_time(out, stamp, self.last_ns);
        out.extend_from_slice(b" ports=");
        self.ports.append(out);
        let hosts = self.hosts.max(self.targets_len);
        let _ = write!(out, " hosts={hosts} proof={} expires=", self.proof);
        append_time(out, stamp, self.end_wall_ns);
        let _ = write!(out, " events={}", self.events);
    }
}

/// Appends `2021-04-28T15:28:05Z`.
pub(super) fn append_time(out: &mut Vec<u8>, stamp: &mut Stamp, wall_ns: i64) {
    stamp.append_seconds(out, wall_ns);
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(ports: &Ports) -> String {
        let mut out = Vec::new();
        ports.append(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn ports_are_ranges_and_those_beyond_the_eighth_a_plus() {
        let mut ports = Ports::default();
        for (first, last) in [(443, 443), (80, 81), (82, 83), (65_535, 65_535), (0, 0)] {
            ports.add(first, last);
        }
        assert_eq!(shown(&ports), "0,80-83,443,65535");
        (1..10).for_each(|i| ports.add(1000 + 10 * i, 1000 + 10 * i));
        assert_eq!(shown(&ports), "0,80-83,443,1010,1020,1030,1040,1050,+");
        ports.add(0, 65_535);
        assert_eq!(shown(&ports), "0-65535,+");
        let unknown = Ports {
            more: true,
            ..Ports::default()
        };
        assert_eq!(shown(&unknown), "+");
    }

    proptest! {
        #[test]
        fn ports_are_those_of_a_set(ranges in prop::collection::vec((0_u16..40, 0_u16..4), 0..7)) {
            let mut ports = Ports::default();
            let mut all = std::collections::BTreeSet::new();
            for (first, more) in ranges {
                ports.add(first, first + more);
                all.extend(first..=first + more);
            }
            prop_assert!(!ports.more);
            let kept = &ports.ranges[..ports.len];
            let kept: Vec<u16> = kept.iter().flat_map(|&(first, last)| first..=last).collect();
            prop_assert_eq!(kept, all.into_iter().collect::<Vec<_>>());
        }
    }
}
