//! How the kernel distributes frames to workers, and how much it keeps of each.

words! {
    /// `--fanout`.
    pub enum FanoutMode {
        /// Our program: rings by class, symmetric keyed hash.
        Class = "class",
        /// PACKET_FANOUT_HASH.
        Hash = "hash",
        /// PACKET_FANOUT_CPU.
        Cpu = "cpu",
        /// PACKET_FANOUT_QM.
        Qm = "qm",
    }
}

words! {
    /// `--capture`.
    pub flag enum CaptureDepth {
        /// Every packet, cut to its headers.
        Headers = "headers",
        /// Only classes `open` and `control`.
        Control = "control",
        /// All bytes.
        Full = "full",
    }
}
