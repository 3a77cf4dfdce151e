//! One capture, split: into files, into sections, into an interface or a file for each direction. Attempts, outcomes,
//! volumes and scans stay the same; so does the rest of the log, but for the names of interfaces.
//!
//! Captures, places and names are drawn at random from fixed seeds; `SYNLEDGER_FUZZ=full` draws more of them and reads
//! each with 1, 2 and 8 workers in place of one of these numbers.

mod common;

use common::said::{MS, Said, read_once, write};
use common::sections::Section;
use craft::{Capture, LinkType, Rng};
use serde_json::Value;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use synledger::capture::frame;
use synledger::decode;

/// Numbers of workers, and memory for their tables: small ones start sooner, and hold all flows of a crafted capture.
const WORKERS: [[&str; 2]; 3] = [["1", "64"], ["2", "128"], ["8", "512"]];
/// The only parts of the log that tell of interfaces.
const OF_INTERFACES: [&str; 2] = ["in_iface", "in_iface_resp"];
/// The only counter that tells in which order frames were read.
const OF_ORDER: &str = "frames_reordered";

struct Search {
    rng: Rng,
    dir: tempfile::TempDir,
    is_full: bool,
    /// Splits that were read.
    count: usize,
}

impl Search {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            dir: tempfile::tempdir().expect("a folder"),
            is_full: std::env::var("SYNLEDGER_FUZZ").as_deref() == Ok("full"),
            count: 0,
        }
    }

    /// Random captures: half of the kinds there are, or all of them ten times.
    fn captures(&mut self) -> Vec<Capture> {
        let rounds = if self.is_full { 10 } else { 1 };
        let mut all: Vec<Capture> = (0..rounds)
            .flat_map(|_| craft::scenarios(self.rng.next_u64()))
            .collect();
        all.retain(|capture| capture.frames.len() > 1 && (self.is_full || self.rng.one_in(2)));
        all
    }

    /// Reads a split with one number of workers, or with all, and compares it with the whole.
    fn check(&mut self, whole: &Said, files: &[PathBuf], same: Same, what: &str) {
        self.count += 1;
        let workers = match self.is_full {
            true => &WORKERS[..],
            false => &[WORKERS[self.count % 3]],
        };
        for &workers in workers {
            let said = read_as(workers, files);
            let what = format!("{what}, {workers:?}, {files:?}");
            assert_eq!(said.last["complete"], true, "{what}");
            assert_eq!(said.code, Some(0), "{what}: {}", said.stderr);
            assert_same(&said, whole, same, &what);
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_path_buf()
    }

    /// Places where a capture of so many frames is cut: parts may be empty.
    fn cuts(&mut self, frames: usize) -> Vec<Range<usize>> {
        let count = 1 + self.rng.index(6);
        let mut ends: Vec<usize> = (0..count).map(|_| self.rng.index(frames + 1)).collect();
        ends.extend([0, frames]);
        ends.sort_unstable();
        ends.windows(2).map(|ends| ends[0]..ends[1]).collect()
    }

    /// Swaps some neighbours closer than 10 ms.
    fn swap_neighbours(&mut self, capture: &mut Capture) {
        let mut at = self.rng.index(4);
        while at + 1 < capture.frames.len() {
            if capture.frames[at + 1].ts_ns - capture.frames[at].ts_ns < 10 * MS {
                capture.frames.swap(at, at + 1);
            }
            at += 2 + self.rng.index(5);
        }
    }
}

/// What has to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Same {
    Everything,
    /// All but [`OF_INTERFACES`] and [`OF_ORDER`].
    AllButInterfaces,
}

fn read_as([number, mib]: [&str; 2], files: &[PathBuf]) -> Said {
    let args = ["--seed", "1", "--memory-mib", mib, "--workers", number];
    read_once(&args, files)
}

/// A record without what tells of interfaces.
fn without_interfaces(line: &str) -> Value {
    let mut record: Value = serde_json::from_str(line).expect("JSON in each line");
    for name in OF_INTERFACES {
        for part in ["", "/synledger"] {
            let part = record.pointer_mut(part).and_then(Value::as_object_mut);
            part.map(|part| part.remove(name));
        }
    }
    record
}

/// The last books without what tells of the order of frames.
fn without_order(said: &Said) -> Value {
    let mut last = said.last.clone();
    for books in ["/books", "/totals/books"] {
        let books = last.pointer_mut(books).expect("books");
        assert!(books[OF_ORDER].take().is_u64());
    }
    last
}

fn assert_same(said: &Said, whole: &Said, same: Same, what: &str) {
    let is_exact = same == Same::Everything;
    assert_eq!(said.log.len(), whole.log.len(), "{what}");
    for (at, (one, other)) in said.log.iter().zip(&whole.log).enumerate() {
        if is_exact || one == other {
            assert_eq!(one, other, "{what}: record {at}");
        } else {
            let [one, other] = [one, other].map(|line| without_interfaces(line));
            assert_eq!(one, other, "{what}: record {at}");
        }
    }
    match is_exact {
        true => assert_eq!(said.last, whole.last, "{what}"),
        false => assert_eq!(without_order(said), without_order(whole), "{what}"),
    }
}

/// Whether a frame goes from the lower address to the higher one; false of what has no addresses.
fn is_up(capture: &Capture, at: usize) -> bool {
    let one = &capture.frames[at];
    let frame = frame::Frame {
        bytes: &one.bytes,
        wire_len: one.wire_len,
        ts_ns: one.ts_ns,
        interface: 0,
        link: match capture.link {
            LinkType::Null => frame::LinkType::Null,
            LinkType::Ethernet => frame::LinkType::Ethernet,
            LinkType::Raw => frame::LinkType::RawIp,
            LinkType::Loop => frame::LinkType::Loop,
            LinkType::Sll => frame::LinkType::LinuxSll,
            LinkType::Sll2 => frame::LinkType::LinuxSll2,
        },
        vlan: None,
        gso: false,
        incoming: false,
    };
    let ends = |packet: decode::Packet| -> (IpAddr, IpAddr) { (packet.src, packet.dst) };
    decode::packet(&frame)
        .map(ends)
        .is_ok_and(|(src, dst)| src < dst)
}

/// The capture with an interface for each direction.
fn tap_of(capture: &Capture) -> Capture {
    let mut tap = capture.clone();
    for (at, frame) in tap.frames.iter_mut().enumerate() {
        frame.interface = 2 * frame.interface + u32::from(!is_up(capture, at));
    }
    tap
}

/// Whether one file after the other is named in the order of time: those whose first frames have one time keep theirs.
fn keep_ties(parts: &mut [Range<usize>], capture: &Capture) {
    let first_ns = |part: &Range<usize>| {
        let frame = capture.frames[part.clone()].first();
        frame.map(|frame| frame.ts_ns)
    };
    for one in 0..parts.len() {
        for other in one + 1..parts.len() {
            let is_tie = first_ns(&parts[one]) == first_ns(&parts[other]);
            if is_tie && parts[one].start > parts[other].start {
                parts.swap(one, other);
            }
        }
    }
}

fn write_range(dir: &Path, name: &str, capture: &Capture, range: &Range<usize>) -> PathBuf {
    write(dir, name, capture, |at| range.contains(&at))
}

#[test]
fn files_cut_at_any_frame_and_named_in_any_order_are_the_capture() {
    let mut search = Search::new(21);
    for mut capture in search.captures() {
        capture.sort();
        let is_in_order = search.rng.one_in(2);
        if !is_in_order {
            search.swap_neighbours(&mut capture);
        }
        let dir = search.path();
        let parts = search.cuts(capture.frames.len());
        let first = |part: &Range<usize>| Some(capture.frames.get(part.start)?.ts_ns);
        let starts: Vec<_> = parts.iter().filter_map(first).collect();
        if !starts.is_sorted() {
            // The only frames of a file were overtaken: nothing tells that it came first.
            continue;
        }
        let is_plain = capture.interfaces() == 1 && search.rng.one_in(2);
        let (end, same) = match is_plain {
            true => ("pcap", Same::AllButInterfaces),
            false => ("pcapng", Same::Everything),
        };
        let whole = read_as(
            WORKERS[0],
            &[write(&dir, "whole.pcapng", &capture, |_| true)],
        );
        let mut order = parts;
        search.rng.shuffle(&mut order);
        keep_ties(&mut order, &capture);
        let files: Vec<PathBuf> = order
            .iter()
            .enumerate()
            .map(|(at, part)| write_range(&dir, &format!("{at}.{end}"), &capture, part))
            .collect();
        let what = format!("{} as {order:?}", capture.name);
        search.check(&whole, &files, same, &what);
    }
    eprintln!("{} captures cut into files", search.count);
    assert!(search.count > 80);
}

#[test]
fn sections_cut_at_any_frame_are_the_capture() {
    let mut search = Search::new(22);
    for mut capture in search.captures() {
        // One stream in one order: nothing has to be sorted.
        if search.rng.one_in(2) {
            capture = tap_of(&capture);
        }
        let dir = search.path();
        let whole = read_as(
            WORKERS[0],
            &[write(&dir, "whole.pcapng", &capture, |_| true)],
        );
        let named = search.rng.one_in(2);
        let same = match named {
            true => Same::Everything,
            false => Same::AllButInterfaces,
        };
        let parts = search.cuts(capture.frames.len());
        let mut bytes = Vec::new();
        for part in &parts {
            let mut order: Vec<u32> = (0..capture.interfaces()).collect();
            if named {
                search.rng.shuffle(&mut order);
            }
            let section = Section {
                big_endian: search.rng.one_in(2),
                named,
                order,
            };
            bytes.extend(section.bytes(&capture, part.clone()));
        }
        let file = dir.join("sections.pcapng");
        std::fs::write(&file, bytes).expect("a file");
        let what = format!("{} in sections {parts:?}", capture.name);
        search.check(&whole, &[file], same, &what);
    }
    eprintln!("{} captures cut into sections", search.count);
    assert!(search.count > 80);
}

#[test]
fn an_interface_or_files_for_each_direction_are_the_capture() {
    let mut search = Search::new(23);
    let mut rotated = 0;
    for mut capture in search.captures() {
        capture.sort();
        let frames = 0..capture.frames.len();
        let ups: Vec<bool> = frames.map(|at| is_up(&capture, at)).collect();
        let dir = search.path();
        let name = &capture.name;
        let whole = read_as(
            WORKERS[0],
            &[write(&dir, "whole.pcapng", &capture, |_| true)],
        );
        let end = match capture.interfaces() {
            1 => "pcap",
            _ => "pcapng",
        };
        let tap = write(&dir, "tap.pcapng", &tap_of(&capture), |_| true);
        let same = Same::AllButInterfaces;
        search.check(&whole, &[tap], same, &format!("{name} by interfaces"));
        let up = write(&dir, &format!("up.{end}"), &capture, |at| ups[at]);
        let down = write(&dir, &format!("down.{end}"), &capture, |at| !ups[at]);
        let mut frames = capture.frames.windows(2).zip(ups.windows(2));
        let is_tie =
            frames.any(|(frames, ups)| frames[0].ts_ns == frames[1].ts_ns && ups[0] != ups[1]);
        if is_tie {
            // Which of two files comes first at one time, nobody can tell.
            continue;
        }
        let mut files = [up, down];
        search.rng.shuffle(&mut files);
        search.check(&whole, &files, same, &format!("{name} by files"));
        // As a tap that cuts the files of both directions, each at times of its own.
        rotated += 1;
        let mut files = Vec::new();
        for (direction, way) in [("rx", true), ("tx", false)] {
            for (number, part) in search.cuts(ups.len()).into_iter().enumerate() {
                let file = format!("{direction}_{number:05}.{end}");
                let of = |at| part.contains(&at) && ups[at] == way;
                files.push(write(&dir, &file, &capture, of));
            }
        }
        // In the order of their names, as a shell gives them: those that begin at one time keep it.
        search.check(&whole, &files, same, &format!("{name} by rotated files"));
    }
    eprintln!("{} splits by direction, {rotated} rotated", search.count);
    assert!(search.count > 160 && rotated > 30);
}
