//! What a detector says.

use std::net::IpAddr;

words! {
    /// Kinds of detection.
    #[derive(PartialOrd, Ord)]
    pub enum Kind {
        /// One source tried many ports of one destination.
        PortScan = "port_scan",
    }
}

words! {
    /// Where in its life a detection is.
    #[derive(PartialOrd, Ord)]
    pub enum Phase {
        /// The rising edge: the rule became true.
        Started = "started",
        /// The number of ports doubled since the last line.
        Continues = "continues",
        /// The rule has been false for a window; the summary.
        Ended = "ended",
    }
}

/// What became of the touched ports: the four add up to [`Detection::ports`], where every port is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Ports that answered with RST or ICMP unreachable.
    pub refused: u32,
    /// Ports that said nothing within 5 s; a lower bound before the summary.
    pub unanswered: u32,
    /// Ports that answered with SYN+ACK.
    pub answered: u32,
    /// Ports that have said nothing yet and may still answer: touched a short time ago. An upper bound.
    pub pending: u32,
}

/// A detection: started, continuing or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Which rule.
    pub kind: Kind,
    /// Rising edge, doubling or summary.
    pub phase: Phase,
    /// Time stamp of the deciding packet, or the deadline that ended it.
    pub ts_ns: i64,
    /// Who scans.
    pub src: IpAddr,
    /// What is scanned. Where several addresses count as one, the one that the deciding packet went to.
    pub dst: IpAddr,
    /// When the episode's first touch in the window happened.
    pub first_ns: i64,
    /// Time stamp of the newest touch.
    pub last_ns: i64,
    /// Ports as inclusive ranges, ascending: at the rising edge the N deciding ports, later all of the episode.
    pub ranges: Vec<(u16, u16)>,
    /// How many distinct ports in the episode so far.
    pub ports: u32,
    /// The rule's window in nanoseconds.
    pub window_ns: i64,
    /// No state was pushed out of a table that could have changed this decision.
    pub exact: bool,
    /// Every contact that could matter reached the owner, and `ranges` hold every port.
    pub complete: bool,
    /// What became of the ports.
    pub evidence: Evidence,
    /// The scanner's VLANs, interface: of the deciding packet.
    pub interface: u16,
}
