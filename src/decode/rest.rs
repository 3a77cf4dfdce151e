//! The part of a frame behind the headers decoded so far.

/// The bytes from some header on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// Bytes on the wire, never fewer than the captured ones but behind a MACsec tag.
    pub wire: usize,
    /// Offset of `bytes` in the frame.
    pub at: usize,
}

impl<'a> Rest<'a> {
    /// The part behind `len` bytes; `None` if fewer were captured.
    #[inline(always)]
    pub fn skip(self, len: usize) -> Option<Self> {
        let bytes = self.bytes.get(len..)?;
        Some(Self {
            bytes,
            wire: self.wire.saturating_sub(len),
            at: self.at + len,
        })
    }

    /// At most the first `len` bytes; the rest is padding.
    #[inline(always)]
    pub fn limit(self, len: usize) -> Self {
        Self {
            bytes: self.bytes.get(..len).unwrap_or(self.bytes),
            wire: self.wire.min(len),
            at: self.at,
        }
    }

    #[inline(always)]
    pub fn u8(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// In network order, as [`Rest::u32`].
    #[inline(always)]
    pub fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    #[inline(always)]
    pub fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    #[inline(always)]
    pub fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk::<N>().copied()
    }
}
