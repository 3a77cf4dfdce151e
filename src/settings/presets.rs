//! `--preset`: sets of flags.

words! {
    /// `--preset`.
    pub flag enum Preset {
        /// For a person at a terminal.
        Watch = "watch",
        /// A service that costs little.
        Edge = "edge",
        /// A service that writes every connection and flow.
        Ledger = "ledger",
    }
}

impl Preset {
    /// Flags, without dashes in front, and their values. The others keep their defaults.
    pub fn flags(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Watch => &[],
            Self::Edge => &[
                ("capture", "control"),
                (
                    "output",
                    "eve:/var/log/synledger/eve.json,events=alert+stats+lifecycle+block,rotate=1d,keep=1GiB",
                ),
                ("metrics", "127.0.0.1:9477"),
                ("state", "/var/lib/synledger"),
            ],
            Self::Ledger => &[
                ("capture", "headers"),
                (
                    "output",
                    "eve:/var/log/synledger/eve.json,rotate=1h,keep=8GiB",
                ),
                ("metrics", "127.0.0.1:9477"),
                ("state", "/var/lib/synledger"),
            ],
        }
    }
}
