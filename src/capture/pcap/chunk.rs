//! A chunk of a capture: frames copied out of the file, shared read-only by all workers.
//!
//! Every worker gets every chunk, so that idle shards know the time. Each reads its own frames, by the fanout hash.

use crate::capture::frame::{Frame, LinkType};
use crate::sys::prefetch::prefetch_bytes;

/// A chunk is full from so many bytes of frames on.
const BYTES_MAX: usize = 1 << 20;
/// Prefetch distance in frames.
const AHEAD: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Meta {
    at: usize,
    caplen: usize,
    wire_len: u32,
    ts_ns: i64,
    link: LinkType,
    interface: u16,
    worker: u32,
}

/// Frames with consecutive numbers.
#[derive(Debug, Default)]
pub struct Chunk {
    first: u64,
    metas: Vec<Meta>,
    watermarks: Vec<i64>,
    bytes: Vec<u8>,
}

impl Chunk {
    /// An empty chunk for `frames` frames.
    pub fn new(frames: usize) -> Self {
        Self {
            first: 0,
            metas: Vec::with_capacity(frames),
            watermarks: Vec::with_capacity(frames),
            bytes: Vec::with_capacity(BYTES_MAX),
        }
    }

    /// Bytes of a chunk for `frames` frames, without the one frame that may exceed its limit.
    pub fn memory_bytes(frames: usize) -> u64 {
        (BYTES_MAX + frames * (size_of::<Meta>() + size_of::<i64>())) as u64
    }

    /// Empties it; its next frame has the number `first`.
    pub fn clear(&mut self, first: u64) {
        self.first = first;
        self.metas.clear();
        self.watermarks.clear();
        self.bytes.clear();
    }

    /// The next frame belongs into another chunk.
    pub fn is_full(&self) -> bool {
        self.metas.len() == self.metas.capacity() || self.bytes.len() >= BYTES_MAX
    }

    /// Copies the first `depth` bytes of a frame in, for `worker`; `watermark_ns` is the newest time stamp up to and
    /// with it.
    #[inline]
    pub fn push(&mut self, frame: &Frame<'_>, depth: usize, watermark_ns: i64, worker: u32) {
        self.metas.push(Meta {
            at: self.bytes.len(),
            caplen: depth,
            wire_len: frame.wire_len,
            ts_ns: frame.ts_ns,
            link: frame.link,
            interface: frame.interface,
            worker,
        });
        self.watermarks.push(watermark_ns);
        self.bytes.extend_from_slice(&frame.bytes[..depth]);
    }

    /// Number of the first frame.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Number of the last frame; `first - 1` if empty.
    pub fn last(&self) -> u64 {
        self.first + self.metas.len() as u64 - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// The newest time stamp up to and with each frame.
    pub fn watermarks(&self) -> &[i64] {
        &self.watermarks
    }

    /// The frames for `worker` with their numbers and watermarks.
    pub fn frames_of(&self, worker: u32) -> impl Iterator<Item = (u64, i64, Frame<'_>)> {
        let numbered = (self.first..).zip(&self.metas).zip(&self.watermarks);
        let mine = numbered.enumerate().filter(move |(index, ((_, meta), _))| {
            // Another core has just written them.
            if let Some(soon) = self.metas.get(index + AHEAD) {
                prefetch_bytes(&self.bytes[soon.at..soon.at + soon.caplen]);
            }
            meta.worker == worker
        });
        mine.map(|(_, ((number, meta), &watermark))| {
            let frame = Frame {
                bytes: &self.bytes[meta.at..meta.at + meta.caplen],
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
