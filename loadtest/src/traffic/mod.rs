//! Traffic: load, seed and frame number give the bytes of a frame, the same on every machine.
//!
//! There is no state between frames: a load's name, its seed and the number of frames sent give every frame again.
//! Every attempt has a number, and its initial sequence number is a permutation of that number. So a log line
//! identifies its attempt.

mod catalog;
mod parts;
mod shuffle;
mod template;

use std::fmt;
use std::str::FromStr;

use craft::{Capture, LinkType, PcapFormat, Rng};
use serde::Serialize;

pub use parts::FLOWS;
use parts::{FrameSpec, Keys, Part};
pub use shuffle::{FIRST, SECOND, Shuffle};
pub use template::{Ends, Fields, Template, low32};

/// The longest frame of any load.
pub const FRAME_LEN_MAX: usize = 1514;

/// The class of a frame, which decides its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// SYN without ACK.
    Open,
    /// SYN with ACK, RST, FIN.
    Control,
    /// Any other well-formed frame.
    Data,
    /// A malformed frame; it goes to the ring of [`Class::Data`].
    Unreadable,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Open, Self::Control, Self::Data, Self::Unreadable];

    /// Its word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["open", "control", "data", "unreadable"][self as usize]
    }
}

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the protocols")]
pub enum Kind {
    Syn,
    SynAck,
    Ack,
    Data,
    Fin,
    Rst,
    Udp,
    Fragment,
    Malformed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Syn,
        Self::SynAck,
        Self::Ack,
        Self::Data,
        Self::Fin,
        Self::Rst,
        Self::Udp,
        Self::Fragment,
        Self::Malformed,
    ];

    /// Its word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        const WORDS: [&str; 9] = [
            "syn",
            "syn_ack",
            "ack",
            "data",
            "fin",
            "rst",
            "udp",
            "fragment",
            "malformed",
        ];
        WORDS[self as usize]
    }
}

/// Facts about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its class.
    pub class: Class,
    /// Its kind.
    pub kind: Kind,
    /// Number of the attempt that it opens, if it is a SYN.
    pub opens: Option<u32>,
    /// Number of its connection's attempt, and whether the client sent the frame.
    pub connection: Option<(u32, bool)>,
}

/// An attempt, as the log must have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Both ends, client first.
    pub ends: Ends,
    /// Initial sequence number.
    pub isn: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = &self.ends;
        let end = |address, port| std::net::SocketAddr::new(ends.address(address), port);
        let (from, to) = (end(ends.src, ends.src_port), end(ends.dst, ends.dst_port));
        write!(f, "{from} -> {to} isn {}", self.isn)
    }
}

/// The loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Name {
    /// SYNs to one port, each from a new address
    Syn,
    /// As `syn`, over IPv6
    Syn6,
    /// SYNs to one port from 16 addresses
    Few,
    /// Established connections, frames of 64 bytes
    Bulk64,
    /// Established connections, frames of 1514 bytes
    Bulk1500,
    /// Short connections from SYN to FIN
    Short,
    /// Short connections, bulk of all sizes, refused connections, DNS, IPv6, fragments
    Mix,
    /// Fragments of SYNs and of UDP datagrams
    Fragments,
    /// Malformed frames
    Malformed,
    /// As `syn`, but 1 SYN of 4096 is from one of 64 scanners
    Scan,
    /// RSTs without a connection
    Rst,
    /// ACKs without a connection
    Ack,
    /// UDP datagrams, each from a new address
    Udp,
    /// Bulk of 1514 bytes, and a refused connection in every 128 frames
    Busy,
    /// A spoofed flood of SYNs, and established connections: 1 frame of 16 is data
    Storm,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Syn,
        Self::Syn6,
        Self::Few,
        Self::Bulk64,
        Self::Bulk1500,
        Self::Short,
        Self::Mix,
        Self::Fragments,
        Self::Malformed,
        Self::Scan,
        Self::Rst,
        Self::Ack,
        Self::Udp,
        Self::Busy,
        Self::Storm,
    ];

    /// The loads of `books`: all but those made for `overload`.
    pub const GENERAL: [Self; 13] = [
        Self::Syn,
        Self::Syn6,
        Self::Few,
        Self::Bulk64,
        Self::Bulk1500,
        Self::Short,
        Self::Mix,
        Self::Fragments,
        Self::Malformed,
        Self::Scan,
        Self::Rst,
        Self::Ack,
        Self::Udp,
    ];

    /// The word of `--load`.
    #[must_use]
    pub fn word(self) -> &'static str {
        const WORDS: [&str; 15] = [
            "syn",
            "syn6",
            "few",
            "bulk64",
            "bulk1500",
            "short",
            "mix",
            "fragments",
            "malformed",
            "scan",
            "rst",
            "ack",
            "udp",
            "busy",
            "storm",
        ];
        WORDS[self as usize]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(word, false)
    }
}

/// A load: gives any of its frames, and the facts about it.
#[derive(Clone, Debug)]
pub struct Load {
    /// Its name.
    pub name: Name,
    /// Its seed.
    pub seed: u64,
    keys: Keys,
    parts: Vec<Part>,
    /// The part of each frame of a round.
    round: Vec<usize>,
    /// For each frame of a round, the number of earlier frames of its part.
    before: Vec<u64>,
    /// Frames of each part in a round.
    shares: Vec<u64>,
}

impl Load {
    /// The load with this name and seed.
    #[must_use]
    pub fn new(name: Name, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let keys = Keys::new(&mut rng);
        let weighted = catalog::parts(name);
        let mut round: Vec<usize> = weighted
            .iter()
            .enumerate()
            .flat_map(|(part, (_, weight))| std::iter::repeat_n(part, *weight))
            .collect();
        rng.shuffle(&mut round);
        let parts: Vec<Part> = weighted.into_iter().map(|(part, _)| part).collect();
        let mut shares = vec![0; parts.len()];
        let mut before = Vec::new();
        for &part in &round {
            before.push(shares[part]);
            shares[part] += 1;
        }
        Self {
            name,
            seed,
            keys,
            parts,
            round,
            before,
            shares,
        }
    }

    /// The part of frame `index`, and the frame's number in that part.
    fn place(&self, index: u64) -> (usize, u64) {
        if let [_] = self.round[..] {
            return (0, index);
        }
        let len = self.round.len() as u64;
        let at = usize::try_from(index % len).expect("below a length");
        let part = self.round[at];
        (part, index / len * self.shares[part] + self.before[at])
    }

    fn step(&self, index: u64) -> (usize, FrameSpec) {
        let (part, at) = self.place(index);
        let mut step = self.parts[part].step(at, &self.numbering(part));
        let global = |local: u32| self.global(part, local);
        step.frame.opens = step.frame.opens.map(global);
        step.frame.connection = step
            .frame
            .connection
            .map(|(local, client)| (global(local), client));
        (part, step)
    }

    fn numbering(&self, part: usize) -> parts::Numbering<'_> {
        parts::Numbering {
            keys: &self.keys,
            parts: u32::try_from(self.parts.len()).expect("few"),
            part: u32::try_from(part).expect("few"),
        }
    }

    fn global(&self, part: usize, local: u32) -> u32 {
        self.numbering(part).global(local)
    }

    /// Facts about frame `index`.
    #[must_use]
    pub fn frame(&self, index: u64) -> Frame {
        self.step(index).1.frame
    }

    /// Writes frame `index` to the front of `out`; gives its length and the facts about it.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`FRAME_LEN_MAX`].
    pub fn write(&self, index: u64, out: &mut [u8]) -> (usize, Frame) {
        let (part, step) = self.step(index);
        let len = self.parts[part].templates[step.template].write(&step.fields, out);
        (len, step.frame)
    }

    /// The attempt with this number.
    #[must_use]
    pub fn attempt(&self, number: u32) -> Attempt {
        let parts = u32::try_from(self.parts.len()).expect("few");
        let part = usize::try_from(number % parts).expect("few");
        let ends = self.parts[part].client(number / parts, &self.numbering(part));
        Attempt {
            ends,
            isn: self.keys.isn.permute(number),
        }
    }

    /// Whether the attempt with this number opens a bulk connection.
    #[must_use]
    pub fn is_bulk(&self, number: u32) -> bool {
        let parts = u32::try_from(self.parts.len()).expect("few");
        let part = usize::try_from(number % parts).expect("few");
        self.parts[part].is_bulk()
    }

    /// The number of the attempt with this initial sequence number. Any sequence number gives a number: compare the
    /// attempt.
    #[must_use]
    pub fn number(&self, isn: u32) -> u32 {
        self.keys.isn.invert(isn)
    }

    /// For [`Name::Syn`], what a program in the kernel needs to make its frames: the template, and the permutations of
    /// sequence number, address and port.
    #[must_use]
    pub fn spoofed(&self) -> Option<(&Template, [Shuffle; 3])> {
        let keys = [self.keys.isn, self.keys.address, self.keys.port];
        (self.name == Name::Syn).then(|| (&self.parts[0].templates[0], keys))
    }

    /// The first `frames` frames as a capture, with `pps` time stamps per second.
    ///
    /// # Panics
    ///
    /// If `pps` is 0.
    #[must_use]
    pub fn capture(&self, frames: u64, pps: u64) -> Vec<u8> {
        let mut capture = Capture::new(self.name.word(), LinkType::Ethernet);
        let mut out = [0; FRAME_LEN_MAX];
        for index in 0..frames {
            let (len, _) = self.write(index, &mut out);
            let ns = u128::from(index) * 1_000_000_000 / u128::from(pps);
            let at = CAPTURE_START_NS + i64::try_from(ns).expect("292 years");
            capture.push(at, out[..len].to_vec());
        }
        capture.to_pcap(PcapFormat::NANOS)
    }
}

/// 2026-01-01 00:00:00 UTC.
const CAPTURE_START_NS: i64 = 1_767_225_600_000_000_000;

/// Frames counted by class and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// By [`Class`].
    pub classes: [u64; Class::ALL.len()],
    /// By [`Kind`].
    pub kinds: [u64; Kind::ALL.len()],
    /// Frames that open an attempt.
    pub attempts: u64,
}

impl Tally {
    /// Counts a frame.
    pub fn add(&mut self, frame: &Frame, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
        self.classes[frame.class as usize] += 1;
        self.kinds[frame.kind as usize] += 1;
        self.attempts += u64::from(frame.opens.is_some());
    }

    /// Frames of a class.
    #[must_use]
    pub fn class(&self, class: Class) -> u64 {
        self.classes[class as usize]
    }

    /// As JSON, for reports.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let classes: serde_json::Map<_, _> = Class::ALL
            .iter()
            .map(|class| (class.word().to_owned(), self.class(*class).into()))
            .collect();
        let kinds: serde_json::Map<_, _> = Kind::ALL
            .iter()
            .map(|kind| (kind.word().to_owned(), self.kinds[*kind as usize].into()))
            .collect();
        serde_json::json!({
            "frames": self.frames, "bytes": self.bytes, "attempts": self.attempts,
            "classes": classes, "kinds": kinds,
        })
    }
}

#[cfg(test)]
mod tests;
