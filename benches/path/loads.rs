//! Frames in memory, many more than a cache holds, rewritten before each timed stretch.

use super::traffic::client;
use std::path::{Path, PathBuf};

use synledger::capture::frame::{Frame, LinkType};
use synledger::capture::pcap::CaptureReader;

/// The sensor's default snaplen.
const CAPLEN: usize = 192;

/// Frames of one stretch.
#[derive(Default)]
pub struct Load {
    bytes: Vec<u8>,
    metas: Vec<Meta>,
}

#[derive(Clone, Copy)]
struct Meta {
    at: usize,
    len: usize,
    wire_len: u32,
    ts_ns: i64,
}

impl Load {
    /// Removes all frames and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.metas.clear();
    }

    /// Appends a frame, aligned as in a ring, and gives its bytes to be rewritten.
    pub fn push(&mut self, frame: &[u8], wire_len: u32, ts_ns: i64) -> &mut [u8] {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(frame);
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let len = frame.len();
        self.metas.push(Meta {
            at,
            len,
            wire_len,
            ts_ns,
        });
        &mut self.bytes[at..at + len]
    }

    /// Appends an IP packet in an Ethernet frame, 67 ns after the last frame.
    pub fn push_ip(&mut self, ip: &[u8]) {
        let ts_ns = 67 * (1 + self.metas.len() as i64);
        let frame = craft::Link::ethernet().frame(ip);
        let wire_len = u32::try_from(frame.len()).expect("a frame");
        self.push(&frame, wire_len, ts_ns);
    }

    /// The frames.
    pub fn frames(&self) -> Vec<Frame<'_>> {
        let cut = |meta: &Meta| Frame {
            bytes: &self.bytes[meta.at..meta.at + meta.len],
            wire_len: meta.wire_len,
            ts_ns: meta.ts_ns,
            interface: 0,
            link: LinkType::Ethernet,
            vlan: None,
            gso: false,
            incoming: false,
        };
        self.metas.iter().map(cut).collect()
    }
}

/// A template of an IPv4 TCP segment.
pub struct Segment {
    frame: Vec<u8>,
}

impl Segment {
    /// A segment with `data` bytes of payload.
    pub fn new(flags: u8, data: usize) -> Self {
        let flow = client(0);
        let tcp = craft::Tcp::new(flow, flags, 0).data(&vec![0; data]).bytes();
        let ip = craft::Ip::new(flow.src, flow.dst, 6).bytes(&tcp);
        Self {
            frame: craft::Link::ethernet().frame(&ip),
        }
    }

    /// Appends a segment from client `number` to the server, or, if `back`, from the server to it.
    pub fn push(
        &self,
        load: &mut Load,
        (number, back): (u32, bool),
        (seq, ack): (u32, u32),
        ts: i64,
    ) {
        let wire_len = u32::try_from(self.frame.len()).expect("a frame");
        let kept = &self.frame[..self.frame.len().min(CAPLEN)];
        let frame = load.push(kept, wire_len, ts);
        let host = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        let (mine, its) = ([frame[34], frame[35]], [frame[36], frame[37]]);
        if back {
            let server: [u8; 4] = frame[30..34].try_into().expect("four bytes");
            frame[26..30].copy_from_slice(&server);
            frame[30..34].copy_from_slice(&host);
            frame[34..36].copy_from_slice(&its);
            frame[36..38].copy_from_slice(&mine);
        } else {
            frame[26..30].copy_from_slice(&host);
        }
        frame[38..42].copy_from_slice(&seq.to_be_bytes());
        frame[42..46].copy_from_slice(&ack.to_be_bytes());
    }
}

/// Frames of real captures; without any, frames of crafted captures.
pub struct Mix {
    frames: Vec<(Vec<u8>, u32)>,
    /// The source of the frames.
    pub source: &'static str,
}

impl Mix {
    /// Reads all Ethernet captures of the corpus.
    pub fn new() -> Self {
        let mut frames = Vec::new();
        let folder = std::env::var_os("SYNLEDGER_CAPTURES").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
            PathBuf::from,
        );
        let mut files = Vec::new();
        find(&folder, &mut files);
        files.sort();
        for file in files {
            let Ok(mut reader) = CaptureReader::open(&file) else {
                continue;
            };
            while let Ok(Some(frame)) = reader.next_frame() {
                if frame.link == LinkType::Ethernet {
                    let kept = &frame.bytes[..frame.bytes.len().min(CAPLEN)];
                    frames.push((kept.to_vec(), frame.wire_len));
                }
            }
        }
        if !frames.is_empty() {
            let source = "real captures";
            return Self { frames, source };
        }
        let scenarios = (1..30).flat_map(craft::scenarios);
        for capture in scenarios.filter(|c| c.link == craft::LinkType::Ethernet) {
            frames.extend(capture.frames.into_iter().map(|frame| {
                let wire_len = u32::try_from(frame.bytes.len()).expect("a frame");
                (frame.bytes, wire_len)
            }));
        }
        let source = "crafted captures";
        Self { frames, source }
    }

    /// Frames of one round.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Appends one round, with addresses of its own, the same in both directions; gives the last time stamp.
    pub fn push(&self, load: &mut Load, number: u32, mut ts_ns: i64, gap_ns: i64) -> i64 {
        let mask = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        for (bytes, wire_len) in &self.frames {
            ts_ns += gap_ns;
            rewrite(load.push(bytes, *wire_len, ts_ns), mask);
        }
        ts_ns
    }
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            find(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// Changes both addresses of the outer IP header, by four bytes each.
fn rewrite(frame: &mut [u8], mask: [u8; 4]) {
    let mut at = 12;
    let ethertype = |frame: &[u8], at: usize| Some([*frame.get(at)?, *frame.get(at + 1)?]);
    while matches!(ethertype(frame, at), Some([0x81, 0] | [0x88, 0xa8])) {
        at += 4;
    }
    let places = match ethertype(frame, at) {
        Some([8, 0]) => [at + 14, at + 18],
        Some([0x86, 0xdd]) => [at + 22, at + 38],
        _ => return,
    };
    for place in places {
        let Some(address) = frame.get_mut(place..place + 4) else {
            return;
        };
        for (byte, mask) in address.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}
