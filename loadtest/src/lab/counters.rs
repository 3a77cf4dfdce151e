//! Counters of the kernel outside of the sensor.

/// What the kernel counted outside all sensors. Differences of two readings close the outer books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the sender's interface passed on.
    pub tx_packets: u64,
    /// Frames that the sender's interface could not pass on: the receiver's queue was full.
    pub tx_dropped: u64,
    /// Frames that the receiver's interface took.
    pub rx_packets: u64,
    /// Frames that the receiver's interface had to let go.
    pub rx_dropped: u64,
    /// Frames lost in the backlog of a CPU, all CPUs together; the same ones are in `rx_dropped`.
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
