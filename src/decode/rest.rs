//! What is left of a frame behind the headers read so far.

/// The bytes from some header on. `wire` says how many there were before the capture was cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest<'a> {
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// Bytes on the wire, never fewer than the captured ones.
    pub wire: usize,
    /// Where `bytes` start in the frame.
    pub at: usize,
}

impl<'a> Rest<'a> {
    /// What follows the first `len` bytes, where those were captured.
    #[inline(always)]
    pub fn skip(self, len: usize) -> Option<Self> {
        let bytes = self.bytes.get(len..)?;
        Some(Self {
            bytes,
            wire: self.wire.saturating_sub(len),
            at: self.at + len,
        })
    }

    /// At most the first `len` bytes: what lies behind is padding.
    #[inline(always)]
    pub fn limit(self, len: usize) -> Self {
        Self {
            bytes: self.bytes.get(..len).unwrap_or(self.bytes),
            wire: self.wire.min(len),
            at: self.at,
        }
    }

    /// The byte at `at`.
    #[inline(always)]
    pub fn u8(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The two bytes at `at`, in network order.
    #[inline(always)]
    pub fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }

    /// The four bytes at `at`, in network order.
    #[inline(always)]
    pub fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }

    /// The `N` bytes at `at`.
    #[inline(always)]
    pub fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk::<N>().copied()
    }
}
