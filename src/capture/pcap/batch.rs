//! Consecutive frames of one capture that lie in its read buffer.

use super::lanes::sll2_index;
use crate::capture::frame::{Frame, LinkType};

/// Most frames of a batch.
pub const FRAMES_MAX: usize = 64;
/// The last frame of a batch begins within so many bytes.
pub(super) const BYTES_MAX: usize = 32 << 10;

/// A frame in the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) ts_ns: i64,
    pub(super) at: usize,
    pub(super) caplen: u32,
    pub(super) wire_len: u32,
}

impl Record {
    /// Of a frame whose bytes are all there is.
    pub(super) fn all_of(frame: &Frame<'_>) -> Self {
        Self {
            ts_ns: frame.ts_ns,
            at: 0,
            caplen: u32::try_from(frame.bytes.len()).expect("at most FRAME_MAX_BYTES"),
            wire_len: frame.wire_len,
        }
    }
}

/// What frames of a batch are like.
pub(super) struct Like {
    /// The first and the last time that they may have.
    pub(super) times_ns: (i64, i64),
    /// Index among the interfaces of their file.
    pub(super) interface: usize,
    pub(super) link: LinkType,
    /// See [`sll2_index`]; of other link types unused.
    pub(super) sll2_index: Option<u32>,
}

impl Like {
    /// Whether a frame of this interface is like them: of most, its bytes are not asked for.
    #[inline(always)]
    pub(super) fn has<'a>(&self, ts_ns: i64, bytes: impl FnOnce() -> &'a [u8]) -> bool {
        let (first_ns, last_ns) = self.times_ns;
        let is_other = || sll2_index(bytes()) != self.sll2_index;
        let is_in_time = first_ns <= ts_ns && ts_ns <= last_ns;
        is_in_time && !(self.link == LinkType::LinuxSll2 && is_other())
    }
}

/// Frames of one interface; at least one.
#[derive(Debug)]
pub struct Batch<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) records: &'a [Record],
    /// What all of them start with.
    pub link: LinkType,
    pub(super) interface: u16,
    /// The number of their capture among the arguments, from 1 on.
    pub file: usize,
}

impl Batch<'_> {
    /// The frames, in their order.
    #[inline(always)]
    pub fn frames(&self) -> impl Iterator<Item = Frame<'_>> {
        self.records.iter().map(|record| Frame {
            bytes: &self.bytes[record.at..][..record.caplen as usize],
            wire_len: record.wire_len,
            ts_ns: record.ts_ns,
            interface: self.interface,
            link: self.link,
            vlan: None,
            gso: false,
            incoming: false,
        })
    }
}
