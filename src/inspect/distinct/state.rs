//! The state of a touched port or host.

use crate::inspect::contact::ContactKind;

/// The best answer so far, in two bits.
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[borsh(use_discriminant = true)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TouchState {
    Untouched = 0,
    /// No answer yet.
    Touched = 1,
    /// RST or ICMP unreachable.
    Refused = 2,
    /// SYN+ACK. A port that answered once is open: a later refusal does not close it.
    Answered = 3,
}

impl TouchState {
    /// After a contact of this kind.
    pub(in crate::inspect) fn after(kind: ContactKind) -> Self {
        match kind {
            ContactKind::Answered | ContactKind::UdpAnswered => Self::Answered,
            ContactKind::Refused | ContactKind::UdpRefused => Self::Refused,
            _ => Self::Touched,
        }
    }

    pub(in crate::inspect) fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Untouched,
            1 => Self::Touched,
            2 => Self::Refused,
            _ => Self::Answered,
        }
    }
}
