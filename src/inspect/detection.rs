//! What a detector says.

use std::net::IpAddr;

pub use super::Kind;

words! {
    /// Where in its life a detection is.
    #[derive(PartialOrd, Ord)]
    pub enum Phase {
        /// The rising edge: the rule became true.
        Started = "started",
        /// The extent doubled since the last line.
        Continues = "continues",
        /// The rule has been false for a window; the summary.
        Ended = "ended",
    }
}

impl Phase {
    /// What people read of it: `Port scan detected`.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Started => "detected",
            Self::Continues => "continues",
            Self::Ended => "ended",
        }
    }
}

words! {
    /// What shows that the source is who it says: anybody can send a SYN under any address.
    #[derive(PartialOrd, Ord)]
    pub enum Proof {
        /// Nothing.
        None = "none",
        /// Something answered it with SYN+ACK: what came back to the source's address is not known.
        Answered = "answered",
        /// The source completed a handshake with what it scans.
        Handshake = "handshake",
    }
}

words! {
    /// Whether a detection is an alert. One that is none reaches the log's tap all the same.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Shown {
        /// It is.
        #[default]
        Yes = "yes",
        /// It is in a direction that was not asked for.
        OutOfScope = "out_of_scope",
        /// It is of a source that `--allow` names.
        Allowed = "allowed",
    }
}

/// What a detection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// One source and one destination. Where several addresses count as one, the one that the deciding packet
    /// went to.
    Pair {
        /// Who scans.
        src: IpAddr,
        /// What is scanned.
        dst: IpAddr,
    },
    /// One source and one port, on whatever host.
    SourcePort {
        /// Who scans.
        src: IpAddr,
        /// The port.
        port: u16,
        /// The host that the deciding packet went to.
        dst: IpAddr,
    },
}

impl Subject {
    /// Who scans.
    pub fn src(&self) -> IpAddr {
        match *self {
            Self::Pair { src, .. } | Self::SourcePort { src, .. } => src,
        }
    }

    /// Where the deciding packet went.
    pub fn dst(&self) -> IpAddr {
        match *self {
            Self::Pair { dst, .. } | Self::SourcePort { dst, .. } => dst,
        }
    }

    /// The one port that it is about.
    pub fn port(&self) -> Option<u16> {
        match *self {
            Self::Pair { .. } => None,
            Self::SourcePort { port, .. } => Some(port),
        }
    }
}

/// How far it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Ports of one host.
    Ports {
        /// How many distinct ones in the episode so far.
        count: u32,
        /// As inclusive ranges, ascending: at the rising edge those that decided, later all of the episode.
        ranges: Vec<(u16, u16)>,
    },
    /// Hosts.
    Hosts {
        /// How many distinct ones in the episode so far.
        count: u32,
    },
}

impl Extent {
    /// How many ports or hosts.
    pub fn count(&self) -> u32 {
        match *self {
            Self::Ports { count, .. } | Self::Hosts { count } => count,
        }
    }
}

/// What became of the touched ports or hosts: the four add up to [`Extent::count`], where every one is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Those that answered with RST or ICMP unreachable.
    pub refused: u32,
    /// Those that said nothing within 5 s; a lower bound before the summary.
    pub unanswered: u32,
    /// Those that answered with SYN+ACK.
    pub answered: u32,
    /// Those that have said nothing yet and may still answer: touched a short time ago. An upper bound.
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
    /// Who scans what.
    pub subject: Subject,
    /// How many ports or hosts, and which.
    pub extent: Extent,
    /// What became of them.
    pub evidence: Evidence,
    /// What shows that the source is who it says.
    pub proof: Proof,
    /// When the episode's first touch in the window happened.
    pub first_ns: i64,
    /// Time stamp of the newest touch.
    pub last_ns: i64,
    /// The rule's window in nanoseconds.
    pub window_ns: i64,
    /// No state was pushed out of a table that could have changed this decision.
    pub exact: bool,
    /// Every contact that could matter reached the owner, and the extent holds every port or host.
    pub complete: bool,
    /// Interface of the deciding packet.
    pub interface: u16,
    /// Whether outputs are told of it.
    pub shown: Shown,
}
