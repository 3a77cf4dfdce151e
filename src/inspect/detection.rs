//! Detections: the output of detectors.

use super::contact::{Contact, ContactKind};
use super::network::Network;
use super::place::Place;
use std::net::IpAddr;

pub use super::Kind;
pub use crate::flow::record::Technique;

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
    /// The verdict of a detection.
    #[derive(PartialOrd, Ord)]
    pub enum Verdict {
        /// The rule holds, and nothing else says that it is a scan.
        Unproven = "unproven",
        /// Some of the evidence of a scan.
        Suspicious = "suspicious",
        /// A scan.
        Scan = "scan",
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
        /// None: its verdict is below `--alert`.
        BelowVerdict = "below_verdict",
    }
}

/// The subject of a detection. `dst` is the destination of the deciding packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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
    /// A source.
    Source {
        /// The scanner.
        src: IpAddr,
        /// Destination of the deciding packet.
        dst: IpAddr,
    },
    /// A destination, of many sources.
    Target {
        /// The target.
        dst: IpAddr,
    },
    /// A destination and a port, of many sources.
    TargetPort {
        /// The target.
        dst: IpAddr,
        /// The port.
        port: u16,
    },
}

impl Subject {
    /// The scanner, unless there are many.
    pub fn src(&self) -> Option<IpAddr> {
        match *self {
            Self::Pair { src, .. } | Self::SourcePort { src, .. } | Self::Source { src, .. } => {
                Some(src)
            }
            Self::Target { .. } | Self::TargetPort { .. } => None,
        }
    }

    /// The target, if the subject has one and a source.
    pub(crate) fn pair_target(&self) -> Option<IpAddr> {
        match *self {
            Self::Pair { dst, .. } => Some(dst),
            _ => None,
        }
    }

    /// Destination of the deciding packet.
    pub fn dst(&self) -> IpAddr {
        match *self {
            Self::Pair { dst, .. }
            | Self::SourcePort { dst, .. }
            | Self::Source { dst, .. }
            | Self::Target { dst }
            | Self::TargetPort { dst, .. } => dst,
        }
    }

    /// The port, if the subject has one.
    pub fn port(&self) -> Option<u16> {
        match *self {
            Self::SourcePort { port, .. } | Self::TargetPort { port, .. } => Some(port),
            _ => None,
        }
    }
}

/// Extent of an episode so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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
    /// Ports on hosts.
    Places {
        /// Number of distinct (host, port).
        count: u32,
    },
    /// Packets of a flood.
    Packets {
        /// Number of packets since its start.
        count: u64,
        /// Maximum in one interval of the rule.
        peak: u32,
    },
}

impl Extent {
    /// Number of ports, hosts, places or packets.
    pub fn count(&self) -> u64 {
        match *self {
            Self::Ports { count, .. } | Self::Hosts { count } | Self::Places { count } => {
                u64::from(count)
            }
            Self::Packets { count, .. } => count,
        }
    }
}

/// Outcomes of the touched ports or hosts. They add up to [`Extent::count`] where every one is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Evidence {
    /// Answered with RST or ICMP unreachable.
    pub refused: u32,
    /// No answer within 5 s of the first touch; a lower bound before the summary.
    pub unanswered: u32,
    /// Answered with SYN+ACK.
    pub answered: u32,
    /// No answer yet, touched for the first time within the last 5 s; an upper bound.
    pub pending: u32,
    /// So many of those that refused or did not answer say nothing against the source: ports of traceroute.
    pub spared: u32,
}

impl Technique {
    /// That of a contact.
    pub(crate) fn of(kind: ContactKind) -> Option<Self> {
        Some(match kind {
            ContactKind::NullProbe => Self::Null,
            ContactKind::FinProbe => Self::Fin,
            ContactKind::XmasProbe => Self::Xmas,
            ContactKind::FlagsProbe => Self::Flags,
            ContactKind::OddTouch => Self::SynFin,
            ContactKind::AckProbe => Self::Ack,
            ContactKind::MaimonProbe => Self::Maimon,
            _ => return None,
        })
    }

    /// Those of a set of bits.
    pub(crate) fn in_bits(bits: u8) -> impl Iterator<Item = Self> {
        let all = Self::ALL.into_iter();
        all.filter(move |&one| bits >> one as u8 & 1 != 0)
    }

    /// Whether one of a set is such that no stack sends it.
    pub(crate) fn any_certain(bits: u8) -> bool {
        Self::in_bits(bits).any(|one| one < Self::Ack)
    }
}

/// What is known of the source of a detection over the last half hour to hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct SourceEvidence {
    /// Distinct (destination, port) that it touched: an estimate, exact while few. Without ports of traceroute.
    pub places: u32,
    /// Those of them that answered.
    pub answered: u32,
    /// Connections that it reset before they were complete.
    pub half_open: u32,
    /// Dark addresses that it touched (`--dark`); 32 stand for more.
    pub dark: u32,
    /// Stealth techniques: a bit for each [`Technique`].
    pub techniques: u8,
    /// The target contacted it first.
    pub friendly: bool,
    /// Somebody completed a connection to it within the last half hour; to an address of it, where it is a network.
    pub contacted: bool,
    /// The same of an IPv6 address, to any address of its /64; for other sources as [`Self::contacted`].
    pub subnet_contacted: bool,
}

impl SourceEvidence {
    /// Places that refused, did not answer, or may still answer.
    pub(super) fn failed(&self) -> u32 {
        self.places.saturating_sub(self.answered)
    }
}

/// A source of a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct TopSource {
    /// Its address.
    pub addr: IpAddr,
    /// Packets that it is known to have sent.
    pub packets: u32,
    /// It may have sent so many more.
    pub error: u32,
}

/// The many sources of a flood or of a distributed scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Crowd {
    /// Connections completed, for a flood that is told from them.
    pub completed: Option<u64>,
    /// Distinct sources: an estimate.
    pub sources: u64,
    /// The sources of most packets, descending.
    pub top: Vec<TopSource>,
}

/// A detection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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
    /// What is known of its source.
    pub source: SourceEvidence,
    /// Whether it was a scan; `None`: a flood.
    pub verdict: Option<Verdict>,
    /// Its sources, if there are many.
    pub crowd: Option<Crowd>,
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
    /// The source is this IPv6 network, of which many addresses took part; `None`: one address.
    pub src_prefix: Option<u8>,
    /// With `--key vlan`: its VLAN identifiers, outermost first.
    pub vlan: [u16; 2],
    /// How many of `vlan` are set.
    pub vlan_count: u8,
    /// Whether it is an alert.
    pub status: AlertStatus,
}

impl Detection {
    /// Order by content, of what comes at the same place of the log.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        let source = (self.subject, self.src_prefix, self.vlan, self.vlan_count);
        (self.ts_ns, self.kind, source, self.phase)
    }

    /// Whether it tells of the source of a contact, which is that place's.
    pub(super) fn is_about(&self, contact: &Contact, place: &Place) -> bool {
        let is_source = self.subject.src() == Some(contact.src().into());
        let prefix = Network::of(place.tags).map(Network::prefix);
        is_source && self.src_prefix == prefix && self.phase != Phase::Ended
    }
}
