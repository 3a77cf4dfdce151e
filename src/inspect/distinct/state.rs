//! The state of a touched port or host.

/// The best answer so far, in two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TouchState {
    Untouched = 0,
    /// No answer yet.
    Touched = 1,
    /// SYN+ACK.
    Answered = 2,
    /// RST or ICMP unreachable.
    Refused = 3,
}

impl TouchState {
    pub(in crate::inspect) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Untouched,
            1 => Self::Touched,
            2 => Self::Answered,
            _ => Self::Refused,
        }
    }
}
