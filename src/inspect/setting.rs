//! What the operator's settings say about a contact.

/// What the operator's settings say about a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting(u8);

impl Setting {
    /// Its destination is one of several that rules about a pair count as one: [`UNITED`](super::place::UNITED).
    pub const UNITED: Self = Self(1);
    /// Its destination is dark.
    pub const DARK: Self = Self(2);
    /// Its source is one of our addresses. Not asked for where no rule wants to know.
    pub const LOCAL: Self = Self(4);

    /// The same with another, if that holds.
    #[inline]
    pub fn with(self, other: Self, holds: bool) -> Self {
        match holds {
            true => Self(self.0 | other.0),
            false => self,
        }
    }

    /// See [`Setting::UNITED`].
    pub(super) fn is_united(self) -> bool {
        self.0 & Self::UNITED.0 != 0
    }

    #[inline]
    pub(super) fn is_dark(self) -> bool {
        self.0 & Self::DARK.0 != 0
    }

    #[inline]
    pub(super) fn is_local(self) -> bool {
        self.0 & Self::LOCAL.0 != 0
    }
}
