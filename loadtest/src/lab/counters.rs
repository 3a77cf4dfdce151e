//! Counters of the kernel: frames before the sensor's sockets.

/// Counters of the lab's interfaces and of the CPUs. Used as the difference of two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the sender's interface passed to the receiver's.
    pub tx_packets: u64,
    /// Frames that the sender's interface dropped: the receiver's queue was full.
    pub tx_dropped: u64,
    /// Frames that the receiver's interface received.
    pub rx_packets: u64,
    /// Frames that the backlogs of all CPUs dropped.
    pub softnet_dropped: u64,
}

impl Counters {
    /// The difference to an `earlier` reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            tx_packets: self.tx_packets - earlier.tx_packets,
            tx_dropped: self.tx_dropped - earlier.tx_dropped,
            rx_packets: self.rx_packets - earlier.rx_packets,
            softnet_dropped: self.softnet_dropped - earlier.softnet_dropped,
        }
    }
}
