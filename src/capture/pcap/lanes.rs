//! Which interfaces of several captures are one.
//!
//! Captures that follow one another in time are one lane: `tcpdump -C` and `-G` cut a capture into such files. Captures
//! that overlap in time are lanes of their own, as those of a tap that writes one file a direction. A series of captures
//! (see `series`) stays in its lane, whatever else was put there while it had none open. Within a lane,
//! interfaces of one link type and one name are one; so are those without a name at one position in their sections.
//! Each interface index in a Linux cooked header of version 2 is an interface of its own.

use std::collections::HashMap;

use super::InterfaceInfo;
use crate::capture::frame::{Frame, LinkType};

/// The index of all interfaces beyond those that records can tell apart.
const BEYOND: u16 = u16::MAX;
/// Where the interface index lies in a Linux cooked header of version 2.
const SLL2_INDEX_AT: usize = 4;

/// What makes an interface the same one in another capture.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    lane: usize,
    name: Option<String>,
    /// 0 where there is a name.
    position: usize,
    link: LinkType,
    sll2_index: Option<u32>,
}

/// A sequence of captures that do not overlap, but for those of several series.
#[derive(Debug)]
struct Lane {
    /// Series of the captures of it that are open.
    open: Vec<usize>,
    /// Path of its newest capture.
    path: String,
    /// Time stamp of its newest frame.
    last_ns: i64,
    /// Likewise of each series.
    last_of: HashMap<usize, i64>,
}

impl Lane {
    /// Whether a capture of this series that begins at `first_ns` continues this series, or all of the lane.
    fn takes(&self, series: usize, first_ns: i64) -> Option<Continues> {
        let of_series = self.last_of.get(&series);
        if of_series.is_some_and(|&last_ns| last_ns <= first_ns) && !self.open.contains(&series) {
            return Some(Continues::Series);
        }
        (self.open.is_empty() && self.last_ns <= first_ns).then_some(Continues::Lane)
    }
}

/// What a capture continues; the better one is the greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Continues {
    Lane,
    Series,
}

/// All lanes, and the interfaces of the run.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    known: HashMap<Identity, u16>,
    names: Vec<String>,
}

impl Lanes {
    /// The lane of a capture of this series whose first frame has this time stamp: one whose series or captures ended no
    /// later than `overlap_ns` after it, or a new one. Of several, the one whose captures have the most similar path.
    pub(super) fn enter(
        &mut self,
        (path, series): (&str, usize),
        first_ns: i64,
        overlap_ns: i64,
    ) -> usize {
        let first_ns_or_later = first_ns.saturating_add(overlap_ns);
        let lanes = self.lanes.iter().enumerate();
        let taking =
            lanes.filter_map(|(at, lane)| Some((at, lane, lane.takes(series, first_ns_or_later)?)));
        // Of equal ones the first.
        let best = taking
            .rev()
            .max_by_key(|(_, lane, how)| (*how, likeness(&lane.path, path)));
        let at = match best {
            Some((at, ..)) => at,
            None => {
                self.lanes.push(Lane {
                    open: Vec::new(),
                    path: String::new(),
                    last_ns: first_ns,
                    last_of: HashMap::new(),
                });
                self.lanes.len() - 1
            }
        };
        self.lanes[at].open.push(series);
        path.clone_into(&mut self.lanes[at].path);
        at
    }

    /// Whether a capture of this series that begins at `first_ns` continues one that has ended.
    pub(super) fn continues(&self, series: usize, first_ns: i64) -> bool {
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| lane.takes(series, first_ns) == Some(Continues::Series))
    }

    /// A capture of this lane and series has ended with a frame of this time stamp.
    pub(super) fn leave(&mut self, lane: usize, series: usize, last_ns: i64) {
        let lane = &mut self.lanes[lane];
        let open = lane.open.iter().position(|one| *one == series);
        lane.open.swap_remove(open.expect("it entered"));
        lane.last_of.insert(series, last_ns);
        lane.last_ns = last_ns;
    }

    /// Names of all interfaces by their index; empty where there is none.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    fn index(&mut self, identity: Identity) -> u16 {
        if let Some(&index) = self.known.get(&identity) {
            return index;
        }
        let index = u16::try_from(self.names.len()).unwrap_or(BEYOND);
        if index == BEYOND {
            return BEYOND;
        }
        self.names.push(identity.name.clone().unwrap_or_default());
        self.known.insert(identity, index);
        index
    }
}

/// The interfaces of one capture: index in the capture to index in the run.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) lane: usize,
    /// `None` before an interface's first frame.
    plain: Vec<Option<u16>>,
    sll2: HashMap<(u16, u32), u16>,
    /// The last one found in `sll2`.
    recent: Option<((u16, u32), u16)>,
}

impl Mapping {
    /// Of a capture in this lane.
    pub(super) fn new(lane: usize) -> Self {
        Self {
            lane,
            plain: Vec::new(),
            sll2: HashMap::new(),
            recent: None,
        }
    }

    /// The index in the run of a frame's interface; `described` are the interfaces of its capture.
    #[inline]
    pub(super) fn index(
        &mut self,
        frame: &Frame<'_>,
        described: &[InterfaceInfo],
        lanes: &mut Lanes,
    ) -> u16 {
        if frame.link == LinkType::LinuxSll2 {
            return self.sll2_index(frame, described, lanes);
        }
        match self.plain.get(usize::from(frame.interface)) {
            Some(&Some(index)) => index,
            _ => self.find(frame.interface, None, described, lanes),
        }
    }

    fn sll2_index(
        &mut self,
        frame: &Frame<'_>,
        described: &[InterfaceInfo],
        lanes: &mut Lanes,
    ) -> u16 {
        let Some(sll2_index) = sll2_index(frame.bytes) else {
            return self.find(frame.interface, None, described, lanes);
        };
        let key = (frame.interface, sll2_index);
        if let Some((recent, index)) = self.recent
            && recent == key
        {
            return index;
        }
        let index = match self.sll2.get(&key) {
            Some(&index) => index,
            None => self.find(frame.interface, Some(sll2_index), described, lanes),
        };
        self.recent = Some((key, index));
        index
    }

    #[cold]
    fn find(
        &mut self,
        interface: u16,
        sll2_index: Option<u32>,
        described: &[InterfaceInfo],
        lanes: &mut Lanes,
    ) -> u16 {
        let at = usize::from(interface);
        let Some(info) = described.get(at).filter(|_| interface != BEYOND) else {
            return BEYOND;
        };
        let index = lanes.index(Identity {
            lane: self.lane,
            name: info.name.clone(),
            position: info.name.as_ref().map_or(info.position, |_| 0),
            link: info.link,
            sll2_index,
        });
        match sll2_index {
            // The table stays bounded: those beyond are found again each time.
            Some(_) if index == BEYOND => {}
            Some(sll2_index) => {
                self.sll2.insert((interface, sll2_index), index);
            }
            None => {
                if self.plain.len() <= at {
                    self.plain.resize(at + 1, None);
                }
                self.plain[at] = Some(index);
            }
        }
        index
    }
}

/// The interface index in a Linux cooked header of version 2.
pub(super) fn sll2_index(bytes: &[u8]) -> Option<u32> {
    let index = bytes.get(SLL2_INDEX_AT..)?.first_chunk()?;
    Some(u32::from_be_bytes(*index))
}

/// Bytes at both ends that two paths have in common.
fn likeness(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let same = |(a, b): &(&u8, &u8)| a == b;
    let head = one.iter().zip(other).take_while(same).count();
    let rest = one[head..].iter().rev().zip(other[head..].iter().rev());
    head + rest.take_while(same).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_continues_the_lane_of_the_most_similar_path() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter(("in/1.pcap", 0), 0, 0), 0);
        assert_eq!(lanes.enter(("out/1.pcap", 1), 5, 0), 1, "the first is open");
        lanes.leave(0, 0, 100);
        lanes.leave(1, 1, 90);
        assert_eq!(lanes.enter(("out/2.pcap", 2), 101, 0), 1);
        assert_eq!(lanes.enter(("in/2.pcap", 3), 102, 0), 0);
    }

    #[test]
    fn a_capture_that_begins_before_a_lane_ended_is_another_lane() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter(("1", 0), 0, 0), 0);
        lanes.leave(0, 0, 100);
        assert_eq!(
            lanes.enter(("2", 0), 100, 0),
            0,
            "equal stamps do not overlap"
        );
        lanes.leave(0, 0, 200);
        assert_eq!(lanes.enter(("3", 0), 199, 0), 1);
        lanes.leave(1, 0, 190);
        assert_eq!(lanes.enter(("4", 0), 195, 5), 0, "no more than the window");
    }

    #[test]
    fn a_series_stays_in_its_lane() {
        let mut lanes = Lanes::default();
        let [rx, tx] = [0, 1];
        assert_eq!(lanes.enter(("rx_1", rx), 0, 0), 0);
        lanes.leave(0, rx, 100);
        assert_eq!(lanes.enter(("tx_1", tx), 101, 0), 0, "nothing overlaps yet");
        assert!(lanes.continues(rx, 102) && !lanes.continues(rx, 99));
        assert_eq!(lanes.enter(("rx_2", rx), 102, 0), 0, "its own lane");
        assert!(!lanes.continues(rx, 102) && !lanes.continues(tx, 102));
        assert_eq!(lanes.enter(("rx_3", rx), 103, 0), 1, "not twice at a time");
        lanes.leave(0, tx, 104);
        assert_eq!(lanes.enter(("tx_2", tx), 104, 0), 0, "beside rx_2");
        assert_eq!(lanes.enter(("other", 2), 200, 0), 2);
    }

    #[test]
    fn interfaces_beyond_what_records_can_tell_apart_share_one_index() {
        let mut lanes = Lanes::default();
        let lane = lanes.enter(("any", 0), 0, 0);
        let mut mapping = Mapping::new(lane);
        let described = [InterfaceInfo {
            name: Some("any".to_owned()),
            link: LinkType::LinuxSll2,
            position: 0,
        }];
        let mut index = |number: u32| {
            let mut bytes = [0; 20];
            bytes[4..8].copy_from_slice(&number.to_be_bytes());
            let frame = Frame {
                bytes: &bytes,
                wire_len: 20,
                ts_ns: 0,
                interface: 0,
                link: LinkType::LinuxSll2,
                vlan: None,
                gso: false,
                incoming: false,
            };
            mapping.index(&frame, &described, &mut lanes)
        };
        for number in 0..u32::from(BEYOND) {
            assert_eq!(u32::from(index(number)), number);
        }
        assert_eq!(
            [70_000, 80_000, 7, 7].map(&mut index),
            [BEYOND, BEYOND, 7, 7]
        );
        assert_eq!(mapping.sll2.len(), usize::from(BEYOND));
    }
}
