//! A chunk of a capture: frames copied out of the file, shared read-only by all workers.
//!
//! Every worker gets every part of a chunk, so that idle shards know the time. Each reads its own frames, by the fanout
//! hash.

use std::ops::Range;
use std::sync::Arc;

use crate::capture::frame::{Frame, LinkType};
use crate::capture::pcap::order::{FRAME_BYTES_MIN, SORTED_BYTES};
use crate::sys::prefetch::prefetch_bytes;

/// A chunk is full from so many bytes of frames on: two full ones hold all frames that may have to be sorted.
const BYTES_MAX: usize = 512 << 10;
/// For the same reason a chunk has room for at least so many frames.
pub const FRAMES_MIN: usize = (SORTED_BYTES / FRAME_BYTES_MIN) as usize;
/// Prefetch distance in frames.
const AHEAD: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Meta {
    at: usize,
    caplen: u32,
    wire_len: u32,
    ts_ns: i64,
    /// Its place in the order, see [`super::order`].
    key: i64,
    link: LinkType,
    interface: u16,
    worker: u16,
}

/// Frames in the order of their keys.
#[derive(Debug, Default)]
pub struct Chunk {
    first: u64,
    frames_max: usize,
    metas: Vec<Meta>,
    /// The keys of `metas`, which are the newest time stamps up to and with each frame.
    watermarks: Vec<i64>,
    bytes: Vec<u8>,
    is_sorted: bool,
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
            bytes: Vec::with_capacity(BYTES_MAX + BYTES_MAX / 8),
            is_sorted: true,
        }
    }

    /// Bytes of a chunk for `frames` frames, without the one frame that may exceed its limit.
    pub fn memory_bytes(frames: usize) -> u64 {
        (BYTES_MAX + frames * (size_of::<Meta>() + size_of::<i64>())) as u64
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
        self.is_sorted = true;
    }

    /// The next frame belongs into another chunk.
    pub fn is_full(&self) -> bool {
        self.metas.len() >= self.frames_max || self.bytes.len() >= BYTES_MAX
    }

    /// Copies the first `depth` bytes of a frame in, for `worker`, behind all frames of a lower or equal `key`.
    #[inline]
    pub fn push(&mut self, frame: &Frame<'_>, depth: usize, key: i64, worker: u16) {
        self.is_sorted &= self.watermarks.last().is_none_or(|&last| last <= key);
        self.push_unplaced(frame, depth, key, worker);
    }

    /// [`Chunk::push`] for a frame that gets its place later, with [`Chunk::place`]. Returns its index.
    #[inline]
    pub fn push_unplaced(
        &mut self,
        frame: &Frame<'_>,
        depth: usize,
        key: i64,
        worker: u16,
    ) -> usize {
        self.metas.push(Meta {
            at: self.bytes.len(),
            caplen: u32::try_from(depth).expect("at most FRAME_MAX_BYTES"),
            wire_len: frame.wire_len,
            ts_ns: frame.ts_ns,
            key,
            link: frame.link,
            interface: frame.interface,
            worker,
        });
        self.watermarks.push(key);
        self.bytes.extend_from_slice(&frame.bytes[..depth]);
        self.metas.len() - 1
    }

    /// Sets time and key of the frame at `index`; all before it have theirs.
    pub fn place(&mut self, index: usize, ts_ns: i64, key: i64) {
        let before = index.checked_sub(1).map(|before| self.watermarks[before]);
        self.is_sorted &= before.is_none_or(|before| before <= key);
        let meta = &mut self.metas[index];
        (meta.ts_ns, meta.key) = (ts_ns, key);
        self.watermarks[index] = key;
    }

    /// Puts the frames in order.
    pub fn sort(&mut self) {
        if self.is_sorted {
            return;
        }
        self.metas.sort_by_key(|meta| meta.key);
        for (watermark, meta) in self.watermarks.iter_mut().zip(&self.metas) {
            *watermark = meta.key;
        }
        self.is_sorted = true;
    }

    /// Moves the frames of a later, sorted chunk that come before the key `newest` into this one, which has to be sorted
    /// again.
    pub fn take_earlier(&mut self, later: &mut Self, newest: i64) {
        let count = later.watermarks.partition_point(|&key| key < newest);
        for meta in later.metas.drain(..count) {
            let bytes = &later.bytes[meta.at..meta.at + meta.caplen as usize];
            self.metas.push(Meta {
                at: self.bytes.len(),
                ..meta
            });
            self.watermarks.push(meta.key);
            self.bytes.extend_from_slice(bytes);
            self.is_sorted = false;
        }
        later.watermarks.drain(..count);
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
    pub fn frames_of(&self, worker: u16) -> impl Iterator<Item = (u64, i64, Frame<'_>)> {
        let (metas, bytes) = (&self.chunk.metas[self.range.clone()], &self.chunk.bytes);
        let numbered = (self.first()..).zip(metas).zip(self.watermarks());
        let mine = numbered.enumerate().filter(move |(index, ((_, meta), _))| {
            // Another core has just written them.
            if let Some(soon) = metas.get(index + AHEAD) {
                prefetch_bytes(&bytes[soon.at..soon.at + soon.caplen as usize]);
            }
            meta.worker == worker
        });
        mine.map(|(_, ((number, meta), &watermark))| {
            let frame = Frame {
                bytes: &bytes[meta.at..meta.at + meta.caplen as usize],
                wire_len: meta.wire_len,
                ts_ns: meta.ts_ns,
                interface: meta.interface,
                link: meta.link,
                vlan: None,
                gso: false,
            };
            (number, watermark, frame)
        })
    }
}
