//! What the kernel counts outside of the sensor.

/// Counters of the lab's interfaces and of the CPUs. The outer books use the difference of two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the sender's interface passed on.
    pub tx_packets: u64,
    /// Frames that the sender's interface could not pass on: the receiver's queue was full.
    pub tx_dropped: u64,
    /// Frames that the receiver's interface took.
    pub rx_packets: u64,
    /// Frames that the receiver's interface dropped.
    pub rx_dropped: u64,
    /// Frames that the backlogs of all CPUs dropped; `rx_dropped` counts them too.
    pub softnet_dropped: u64,
    /// Times that a CPU stopped receiving with work left.
    pub softnet_squeezed: u64,
}

impl Counters {
    /// What was counted between `earlier` and this reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            tx_packets: self.tx_packets - earlier.tx_packets,
            tx_dropped: self.tx_dropped - earlier.tx_dropped,
            rx_packets: self.rx_packets - earlier.rx_packets,
            rx_dropped: self.rx_dropped - earlier.rx_dropped,
            softnet_dropped: self.softnet_dropped - earlier.softnet_dropped,
            softnet_squeezed: self.softnet_squeezed - earlier.softnet_squeezed,
        }
    }
}
