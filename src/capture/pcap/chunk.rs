//! A chunk of a capture: frames copied out of the file, shared read-only by all workers.
//!
//! Every worker gets every part of a chunk, so that idle shards know the time. Each reads its own frames, by the fanout
//! hash.

use std::ops::Range;
use std::sync::Arc;

use super::batch;
use crate::capture::frame::{Frame, LinkType, PLAIN_DEPTH};
use crate::capture::pcap::order::{FRAME_BYTES_MIN, SORTED_BYTES};
use crate::sys::prefetch::prefetch_bytes;

/// A chunk is full from so many bytes of frames on, and takes no further batch: two full ones hold all frames that may
/// have to be sorted.
const BYTES_MAX: usize = 512 << 10;
/// For the same reason a chunk has room for at least so many frames.
pub const FRAMES_MIN: usize = (SORTED_BYTES / FRAME_BYTES_MIN) as usize;
/// Prefetch distance in frames.
const AHEAD: usize = 16;

/// A frame without its bytes: half a line of memory.
#[derive(Clone, Copy, Debug)]
struct Meta {
    ts_ns: i64,
    /// Where its bytes begin.
    at: u32,
    caplen: u32,
    wire_len: u32,
    link: LinkType,
    interface: u16,
    worker: u16,
}

const _: () = assert!(size_of::<Meta>() == 32);

impl Meta {
    /// Its bytes among those of its chunk.
    #[inline(always)]
    fn bytes(self, all: &[u8]) -> &[u8] {
        &all[self.at as usize..][..self.caplen as usize]
    }
}

/// Numbers of bytes in a chunk, which takes one frame of `FRAME_MAX_BYTES` when it is all but full, and those that are
/// sorted into it: far less than 4 GiB.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "one check for both")]
fn within_chunk([a, b]: [usize; 2]) -> [u32; 2] {
    assert!((a | b) >> u32::BITS == 0, "{a} and {b} bytes in a chunk");
    [a as u32, b as u32]
}

/// Frames in the order of their keys.
#[derive(Debug, Default)]
pub struct Chunk {
    first: u64,
    frames_max: usize,
    metas: Vec<Meta>,
    /// Their places in the order, see [`super::order`]: the newest time stamps up to and with each frame.
    watermarks: Vec<i64>,
    bytes: Vec<u8>,
}

impl Chunk {
    /// An empty chunk for `frames` frames, at least [`FRAMES_MIN`].
    pub fn new(frames: usize) -> Self {
        assert!(frames >= FRAMES_MIN, "a chunk of {frames} frames");
        Self {
            first: 0,
            frames_max: frames,
            metas: Vec::with_capacity(frames),
            watermarks: Vec::with_capacity(frames),
            bytes: Vec::with_capacity(BYTES_MAX + batch::BYTES_MAX),
        }
    }

    /// Bytes of a chunk for `frames` frames, without the one frame that may exceed its limit.
    pub fn memory_bytes(frames: usize) -> u64 {
        (BYTES_MAX + batch::BYTES_MAX + frames * (size_of::<Meta>() + size_of::<i64>())) as u64
    }

    /// Bytes of the frames that may be sorted out of later chunks into an earlier one.
    pub fn sorted_bytes() -> u64 {
        Self::memory_bytes(FRAMES_MIN) + SORTED_BYTES - BYTES_MAX as u64
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.metas.clear();
        self.watermarks.clear();
        self.bytes.clear();
        // Frames from later chunks, or a long one, made it larger.
        self.metas.shrink_to(self.frames_max);
        self.watermarks.shrink_to(self.frames_max);
        self.bytes.shrink_to(2 * BYTES_MAX);
    }

    /// The next batch belongs into another chunk.
    pub fn is_full(&self) -> bool {
        self.metas.len() + batch::FRAMES_MAX > self.frames_max || self.bytes.len() >= BYTES_MAX
    }

    /// Copies the first `depth` bytes of a frame in, for `worker`, behind all frames of a lower or equal `key`. A frame
    /// may get its place later, with [`Chunk::place`]. Returns its index.
    #[inline(always)]
    pub fn push(&mut self, frame: &Frame<'_>, depth: usize, key: i64, worker: u16) -> usize {
        let (index, at) = (self.metas.len(), self.bytes.len());
        let [at, caplen] = within_chunk([at, depth]);
        self.metas.push(Meta {
            ts_ns: frame.ts_ns,
            at,
            caplen,
            wire_len: frame.wire_len,
            link: frame.link,
            interface: frame.interface,
            worker,
        });
        self.watermarks.push(key);
        // Most frames have this depth: a copy of fixed length needs no call.
        match frame.bytes.first_chunk::<PLAIN_DEPTH>() {
            Some(plain) if depth == PLAIN_DEPTH => self.bytes.extend_from_slice(plain),
            _ => self.bytes.extend_from_slice(&frame.bytes[..depth]),
        }
        index
    }

    /// Sets time and key of the frame at `index`; all before it have theirs.
    pub fn place(&mut self, index: usize, ts_ns: i64, key: i64) {
        self.metas[index].ts_ns = ts_ns;
        self.watermarks[index] = key;
    }

    /// Puts the frames in order.
    pub fn sort(&mut self) {
        if self.watermarks.is_sorted() {
            return;
        }
        let metas = self.metas.drain(..);
        let mut frames: Vec<_> = self.watermarks.drain(..).zip(metas).collect();
        frames.sort_by_key(|&(key, _)| key);
        for (key, meta) in frames {
            self.watermarks.push(key);
            self.metas.push(meta);
        }
    }

    /// Moves the frames of a later, sorted chunk that come before the key `newest` into this one, which has to be sorted
    /// again. False: there are none.
    pub fn take_earlier(&mut self, later: &mut Self, newest: i64) -> bool {
        let count = later.watermarks.partition_point(|&key| key < newest);
        let keys = later.watermarks.drain(..count);
        for (key, meta) in keys.zip(later.metas.drain(..count)) {
            let [at, _] = within_chunk([self.bytes.len(), 0]);
            self.metas.push(Meta { at, ..meta });
            self.watermarks.push(key);
            self.bytes.extend_from_slice(meta.bytes(&later.bytes));
        }
        count > 0
    }

    /// Numbers the sorted frames from `first` on; packet time had reached `reached_ns` before.
    pub fn number(&mut self, first: u64, reached_ns: i64) {
        self.first = first;
        let before = self.watermarks.iter_mut();
        for watermark in before.take_while(|key| **key < reached_ns) {
            *watermark = reached_ns;
        }
    }

    /// The highest key; the lowest time there is without frames.
    pub fn newest_key(&self) -> i64 {
        self.watermarks.last().copied().unwrap_or(i64::MIN)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Its frames, in parts of at most `frames`.
    pub fn parts(self: &Arc<Self>, frames: usize) -> impl Iterator<Item = Part> {
        let (chunk, len) = (Arc::clone(self), self.metas.len());
        (0..len).step_by(frames).map(move |from| Part {
            chunk: Arc::clone(&chunk),
            range: from..len.min(from + frames),
        })
    }
}

/// Consecutive frames of a chunk; at least one.
#[derive(Clone, Debug)]
pub struct Part {
    chunk: Arc<Chunk>,
    range: Range<usize>,
}

impl Part {
    /// Number of the first frame.
    pub fn first(&self) -> u64 {
        self.chunk.first + self.range.start as u64
    }

    /// Number of the last frame.
    pub fn last(&self) -> u64 {
        self.chunk.first + self.range.end as u64 - 1
    }

    /// The newest time stamp up to and with each frame.
    pub fn watermarks(&self) -> &[i64] {
        &self.chunk.watermarks[self.range.clone()]
    }

    /// The frames for `worker` with their numbers and watermarks.
    #[inline]
    pub fn frames_of(&self, worker: u16) -> impl Iterator<Item = (u64, i64, Frame<'_>)> {
        let (metas, bytes) = (&self.chunk.metas[self.range.clone()], &self.chunk.bytes[..]);
        let first = self.first();
        let placed = metas.iter().zip(self.watermarks()).enumerate();
        let mine = placed.filter(move |&(index, (meta, _))| {
            // Another core has just written them.
            if let Some(soon) = metas.get(index + AHEAD) {
                prefetch_bytes(&bytes[soon.at as usize..]);
            }
            meta.worker == worker
        });
        mine.map(move |(index, (meta, &watermark))| {
            let frame = Frame {
                bytes: meta.bytes(bytes),
                wire_len: meta.wire_len,
                ts_ns: meta.ts_ns,
                interface: meta.interface,
                link: meta.link,
                vlan: None,
                gso: false,
                incoming: false,
            };
            (first + index as u64, watermark, frame)
        })
    }
}
