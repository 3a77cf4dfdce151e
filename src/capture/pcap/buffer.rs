//! A window over the uncompressed bytes of a capture.

use std::io::{self, Read};

use super::FRAME_MAX_BYTES;
use super::error::{Fault, ReadErrorKind};

/// Bytes read ahead.
const BUFFER_BYTES: usize = 256 << 10;

/// Limit of the buffer, whatever a file claims: one frame and its block.
pub(super) const BUFFER_MAX_BYTES: usize = 4 * FRAME_MAX_BYTES;

/// Reads ahead, keeps a record contiguous, counts its offset in the stream.
pub(super) struct Buffer {
    source: Box<dyn Read + Send>,
    data: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `data[0]` in the uncompressed stream.
    base: u64,
}

impl Buffer {
    pub(super) fn new(source: Box<dyn Read + Send>) -> Self {
        Self {
            source,
            data: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            base: 0,
        }
    }

    /// Offset of the next byte in the uncompressed stream.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// Makes `want` bytes available. Returns the bytes available: fewer than `want` only at the end of the stream.
    ///
    /// After [`ReadErrorKind::NotYet`] it may be called again; bytes already read are kept.
    #[inline]
    pub(super) fn fill(&mut self, want: usize) -> Result<usize, Fault> {
        let have = self.end - self.start;
        if have >= want {
            return Ok(have);
        }
        self.refill(want)
    }

    #[cold]
    fn refill(&mut self, want: usize) -> Result<usize, Fault> {
        assert!(want <= BUFFER_MAX_BYTES, "{want} bytes in one piece");
        let have = self.end - self.start;
        if want > self.data.len() {
            let bytes = want.next_power_of_two().min(BUFFER_MAX_BYTES);
            // A new zeroed vector: its pages take no memory until data fill them.
            let mut data = vec![0; bytes];
            data[..have].copy_from_slice(&self.data[self.start..self.end]);
            self.data = data;
        } else {
            self.data.copy_within(self.start..self.end, 0);
        }
        self.base = self.offset();
        (self.start, self.end) = (0, have);
        while self.end < want {
            match self.source.read(&mut self.data[self.end..]) {
                Ok(0) => break,
                Ok(bytes) => self.end += bytes,
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(self.unreadable(why)),
            }
        }
        Ok(self.end)
    }

    /// All available bytes.
    #[inline]
    pub(super) fn ready(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The next `len` bytes, which [`Buffer::fill`] made available.
    #[inline]
    pub(super) fn peek(&self, len: usize) -> &[u8] {
        &self.ready()[..len]
    }

    /// Consumes `len` available bytes and returns their index in [`Buffer::taken`].
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> usize {
        assert!(len <= self.end - self.start, "{len} bytes are not here");
        let at = self.start;
        self.start += len;
        at
    }

    /// Bytes of which [`Buffer::take`] gave indices, valid until the next [`Buffer::fill`] or [`Buffer::skip`].
    #[inline]
    pub(super) fn taken(&self) -> &[u8] {
        &self.data[..self.start]
    }

    /// Consumes at most `len` bytes; returns how many: 0 only at the end of the stream.
    pub(super) fn skip(&mut self, len: usize) -> Result<usize, Fault> {
        let step = self.fill(1)?.min(len);
        self.take(step);
        Ok(step)
    }

    fn unreadable(&self, why: io::Error) -> Fault {
        let offset = self.base + self.end as u64;
        match why.downcast::<Fault>() {
            Ok(fault) => match fault.kind {
                ReadErrorKind::Damaged | ReadErrorKind::Truncated => Fault {
                    offset: Some(offset),
                    ..fault
                },
                _ => fault,
            },
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                Fault::whole(ReadErrorKind::NotYet, "nothing has come for a while")
            }
            Err(why) => Fault {
                source: Some(why),
                ..Fault::at(ReadErrorKind::Io, offset, "could not be read")
            },
        }
    }
}
