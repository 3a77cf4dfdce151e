//! Captures: timestamped frames; merging and mutating.

use crate::link::LinkType;
use crate::rng::Rng;

/// A frame as a capture holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// Index of the interface; written by pcapng only.
    pub interface: u32,
    /// Length on the wire: at least that of `bytes`, unless a test wants a false one.
    pub wire_len: u32,
    /// The captured bytes.
    pub bytes: Vec<u8>,
}

/// A capture: frames in file order, which need not be the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Lower case words joined by `-`, fit for a file name.
    pub name: String,
    /// Link type of all interfaces.
    pub link: LinkType,
    /// The frames.
    pub frames: Vec<Frame>,
}

impl Capture {
    /// An empty capture.
    #[must_use]
    pub fn new(name: &str, link: LinkType) -> Self {
        Self {
            name: name.to_owned(),
            link,
            frames: Vec::new(),
        }
    }

    /// Appends a whole frame seen at interface 0.
    pub fn push(&mut self, ts_ns: i64, bytes: Vec<u8>) {
        self.push_on(0, ts_ns, bytes);
    }

    /// Appends a whole frame seen at `interface`.
    pub fn push_on(&mut self, interface: u32, ts_ns: i64, bytes: Vec<u8>) {
        let wire_len = u32::try_from(bytes.len()).expect("a frame is short");
        self.frames.push(Frame {
            ts_ns,
            interface,
            wire_len,
            bytes,
        });
    }

    /// The number of interfaces: one more than the highest index in use.
    #[must_use]
    pub fn interfaces(&self) -> u32 {
        self.frames
            .iter()
            .map(|frame| frame.interface + 1)
            .max()
            .unwrap_or(1)
    }

    /// Cuts every frame to `snap_len` bytes; the wire length stays.
    pub fn snap(&mut self, snap_len: usize) {
        for frame in &mut self.frames {
            frame.bytes.truncate(snap_len);
        }
    }

    /// Puts the frames in order of time; equal times keep their order.
    pub fn sort(&mut self) {
        self.frames.sort_by_key(|frame| frame.ts_ns);
    }
}

/// Merges captures of one link type by time. Each keeps its own order, backward steps included;
/// between frames of equal time the seed decides.
///
/// # Panics
///
/// If `captures` is empty, or link types differ.
#[must_use]
pub fn merge(captures: &[Capture], seed: u64) -> Capture {
    let link = captures.first().expect("at least one capture").link;
    assert!(
        captures.iter().all(|capture| capture.link == link),
        "one link type"
    );
    let mut rng = Rng::new(seed);
    let mut out = Capture::new("merged", link);
    let mut next = vec![0; captures.len()];
    loop {
        let due = |i: usize| captures[i].frames.get(next[i]).map(|frame| frame.ts_ns);
        let Some(first) = (0..captures.len()).filter_map(due).min() else {
            break;
        };
        let ready: Vec<usize> = (0..captures.len())
            .filter(|&i| due(i) == Some(first))
            .collect();
        let chosen = ready[rng.index(ready.len())];
        out.frames
            .push(captures[chosen].frames[next[chosen]].clone());
        next[chosen] += 1;
    }
    out
}

/// Damages a file or a frame: bit flips, bytes replaced, pieces cut out or doubled, the end cut off.
#[must_use]
pub fn mutate(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    let mut out = bytes.to_vec();
    for _ in 0..=rng.below(8) {
        if out.is_empty() {
            break;
        }
        let at = rng.index(out.len());
        let end = at + rng.index((out.len() - at).min(64) + 1);
        match rng.below(12) {
            0..=3 => out[at] ^= 1 << rng.below(8),
            4..=6 => out[at] = rng.next_u8(),
            7 => out[at] = [0, 1, 0x7F, 0x80, 0xFF][rng.index(5)],
            8 => drop(out.drain(at..end)),
            9 => {
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            10 => out[at..end].fill(0xFF),
            _ => out.truncate(at),
        }
    }
    out
}
