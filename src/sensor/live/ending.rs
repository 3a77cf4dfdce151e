//! Why a run ends, and its exit code.

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A signal.
    Asked,
    /// Nobody reads standard output any more.
    ReaderLeft,
    /// The block helper is gone for good, and a service manager can start a sensor that has another.
    BlockingOver,
}

impl Ending {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Asked => "asked to stop",
            Self::ReaderLeft => "standard output has lost its reader: that ends the run",
            Self::BlockingOver => {
                "the block helper is gone for good: the service manager is to start synledger again"
            }
        }
    }

    /// What it adds to the exit code of the books.
    pub(super) fn exit_code(self, strict: bool) -> u8 {
        match self {
            Self::ReaderLeft if strict => 3,
            Self::Asked | Self::ReaderLeft => 0,
            Self::BlockingOver => 1,
        }
    }
}
