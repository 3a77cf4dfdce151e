//! Frames of the rarer link types in a capture, and whether their link headers led anywhere.

use crate::capture::frame::Frame;
use crate::capture::pcap::link_name;
use crate::decode::{self, MalformedCause, NotIpCause, Unread};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    /// Frames of a type that is not read.
    unknown: u64,
    /// Frames of a type that is read, whose link header is cut or damaged.
    damaged: u64,
}

/// What one file held of each link type, by its number. The common types are not counted.
#[derive(Debug, Default)]
pub struct RareLinks(BTreeMap<u32, Tally>);

/// What a person should know about a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Some of its frames are of a type that is not read.
    Part(String),
    /// No frame was read, for its link type.
    Whole(String),
}

impl RareLinks {
    /// Counts a frame of a rarer type.
    #[cold]
    pub fn note(&mut self, number: u32, frame: &Frame<'_>) {
        let tally = self.0.entry(number).or_default();
        match decode::packet(frame) {
            Err(Unread::NotIp(NotIpCause::LinkType)) => tally.unknown += 1,
            Err(Unread::Malformed(MalformedCause::TruncatedLink | MalformedCause::TooManyTags)) => {
                tally.damaged += 1
            }
            _ => {}
        }
    }

    /// Judges a file of so many frames.
    pub fn judge(&self, frames: u64) -> Option<Judgement> {
        let kinds = |count: fn(&Tally) -> u64| -> (u64, String) {
            let of_it = self.0.iter().filter(|(_, tally)| count(tally) > 0);
            let names: Vec<String> = of_it.clone().map(|(&number, _)| named(number)).collect();
            (
                of_it.map(|(_, tally)| count(tally)).sum(),
                names.join(" and "),
            )
        };
        let (unknown, unknown_names) = kinds(|tally| tally.unknown);
        let (damaged, damaged_names) = kinds(|tally| tally.damaged);
        if frames > 0 && unknown + damaged == frames {
            let mut why = Vec::new();
            if unknown > 0 {
                why.push(format!("{unknown_names} is not read"));
            }
            if damaged > 0 {
                why.push(format!("the headers of {damaged_names} are cut or damaged"));
            }
            return Some(Judgement::Whole(format!(
                "none of its frames ({frames}) could be read: {}",
                why.join(", and ")
            )));
        }
        (unknown > 0).then(|| {
            Judgement::Part(format!(
                "{unknown_names} is not read: {unknown} of {frames} frames are counted as missed"
            ))
        })
    }
}

/// A link type by number and name.
fn named(number: u32) -> String {
    let name = link_name(number).unwrap_or("no name in the list of the tcpdump group");
    format!("link type {number} ({name})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::frame::LinkType;

    fn judged(frames: &[(u32, &[u8])], others: u64) -> Option<Judgement> {
        let mut links = RareLinks::default();
        for &(number, bytes) in frames {
            let frame = Frame {
                bytes,
                wire_len: 60,
                ts_ns: 0,
                interface: 0,
                link: LinkType::Other(number),
                vlan: None,
                gso: false,
                incoming: false,
            };
            links.note(number, &frame);
        }
        links.judge(frames.len() as u64 + others)
    }

    #[test]
    fn a_file_of_a_link_type_that_is_not_read_says_number_and_name() {
        let whole = |says: &str| Some(Judgement::Whole(says.to_owned()));
        assert_eq!(
            judged(&[(105, b"x"), (105, b"y")], 0),
            whole("none of its frames (2) could be read: link type 105 (IEEE802_11) is not read")
        );
        assert_eq!(
            judged(&[(239, &[2, 0, 0, 0, 9])], 0),
            whole(
                "none of its frames (1) could be read: the headers of link type 239 (NFLOG) are cut or damaged"
            )
        );
        let part = "link type 4000 (no name in the list of the tcpdump group) is not read: 1 of 3 frames are counted as missed";
        assert_eq!(
            judged(&[(4000, b"")], 2),
            Some(Judgement::Part(part.to_owned()))
        );
    }

    #[test]
    fn a_type_that_is_read_needs_no_word() {
        // PPP: link control, which is no IP; and a header that is cut among others.
        assert_eq!(judged(&[(9, &[0xc0, 0x21, 1])], 0), None);
        assert_eq!(judged(&[(9, &[])], 1), None);
        assert_eq!(judged(&[], 0), None);
    }
}
