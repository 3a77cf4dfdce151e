//! Detections: the output of detectors.

use std::net::IpAddr;

pub use super::Kind;

words! {
    /// Phases of an episode.
    #[derive(PartialOrd, Ord)]
    pub enum Phase {
        /// Rising edge: the rule became true.
        Started = "started",
        /// The extent doubled since the last detection.
        Continues = "continues",
        /// Summary: the rule has been false for a window.
        Ended = "ended",
    }
}

impl Phase {
    /// The verb behind the title: `Port scan detected`.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Started => "detected",
            Self::Continues => "continues",
            Self::Ended => "ended",
        }
    }
}

words! {
    /// Proof of the source address, which a SYN alone may forge.
    #[derive(PartialOrd, Ord)]
    pub enum Proof {
        /// No proof.
        None = "none",
        /// A target answered with SYN+ACK; whether the source got it is not known.
        Answered = "answered",
        /// The source completed a handshake with a target since the first touch of the episode.
        Handshake = "handshake",
    }
}

words! {
    /// Whether a detection is an alert. Every detection reaches the log's tap.
    #[derive(Default, PartialOrd, Ord)]
    pub enum AlertStatus {
        /// An alert.
        #[default]
        Alert = "alert",
        /// None: in a direction outside `--scan-scope`.
        OutOfScope = "out_of_scope",
        /// None: its source is in `--allow`.
        Allowed = "allowed",
    }
}

/// The subject of a detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A source and a destination. Where one address stands for several, that of the deciding packet.
    Pair {
        /// The scanner.
        src: IpAddr,
        /// The target.
        dst: IpAddr,
    },
    /// A source and a port, on any host.
    SourcePort {
        /// The scanner.
        src: IpAddr,
        /// The port.
        port: u16,
        /// Destination of the deciding packet.
        dst: IpAddr,
    },
}

impl Subject {
    /// The scanner.
    pub fn src(&self) -> IpAddr {
        match *self {
            Self::Pair { src, .. } | Self::SourcePort { src, .. } => src,
        }
    }

    /// Destination of the deciding packet.
    pub fn dst(&self) -> IpAddr {
        match *self {
            Self::Pair { dst, .. } | Self::SourcePort { dst, .. } => dst,
        }
    }

    /// The port, if the subject has one.
    pub fn port(&self) -> Option<u16> {
        match *self {
            Self::Pair { .. } => None,
            Self::SourcePort { port, .. } => Some(port),
        }
    }
}

/// Extent of an episode so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Ports of one host.
    Ports {
        /// Number of distinct ones.
        count: u32,
        /// Inclusive ranges, ascending: at the rising edge the deciding ports, later all of the episode.
        ranges: Vec<(u16, u16)>,
    },
    /// Hosts.
    Hosts {
        /// Number of distinct ones.
        count: u32,
    },
}

impl Extent {
    /// Number of ports or hosts.
    pub fn count(&self) -> u32 {
        match *self {
            Self::Ports { count, .. } | Self::Hosts { count } => count,
        }
    }
}

/// Outcomes of the touched ports or hosts. They add up to [`Extent::count`] where every one is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Answered with RST or ICMP unreachable.
    pub refused: u32,
    /// No answer within 5 s; a lower bound before the summary.
    pub unanswered: u32,
    /// Answered with SYN+ACK.
    pub answered: u32,
    /// No answer yet, touched within the last 5 s; an upper bound.
    pub pending: u32,
}

/// A detection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detection {
    /// The rule.
    pub kind: Kind,
    /// Rising edge, doubling or summary.
    pub phase: Phase,
    /// Time stamp of the deciding packet, or the deadline that ended it.
    pub ts_ns: i64,
    /// Scanner and target.
    pub subject: Subject,
    /// Ports or hosts.
    pub extent: Extent,
    /// Outcomes of ports or hosts.
    pub evidence: Evidence,
    /// Proof of the source address.
    pub proof: Proof,
    /// Time stamp of the episode's first touch in the window.
    pub first_ns: i64,
    /// Time stamp of the newest touch.
    pub last_ns: i64,
    /// The rule's window in nanoseconds.
    pub window_ns: i64,
    /// No evicted entry could have changed this decision.
    pub exact: bool,
    /// No contact was lost on its way to the owner, and the extent holds every port or host.
    pub complete: bool,
    /// Interface of the deciding packet.
    pub interface: u16,
    /// With `--key vlan`: its VLAN identifiers, outermost first.
    pub vlan: [u16; 2],
    /// How many of `vlan` are set.
    pub vlan_count: u8,
    /// Whether it is an alert.
    pub status: AlertStatus,
}
