//! What is known of a port or host that was touched.

/// What came back; two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TouchState {
    /// Not touched.
    Untouched = 0,
    /// Touched; nothing came back so far.
    Touched = 1,
    /// Answered with SYN+ACK.
    Answered = 2,
    /// Answered with RST or ICMP unreachable.
    Refused = 3,
}

impl TouchState {
    /// The state of these two bits.
    pub(in crate::inspect) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Untouched,
            1 => Self::Touched,
            2 => Self::Answered,
            _ => Self::Refused,
        }
    }
}
