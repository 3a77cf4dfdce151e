//! Events of the flow stage: a new attempt, its outcome, probes and loads, the end of a flow.

use crate::capture::tunnels::Inside;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::tcp_flags::{FIN, RST};
use std::net::IpAddr;

/// Addresses and ports, originator first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct FiveTuple {
    /// Originator's address.
    pub src: IpAddr,
    /// Responder's address.
    pub dst: IpAddr,
    /// Originator's port; the type for ICMP.
    pub src_port: u16,
    /// Responder's port; the counterpart's type or the code for ICMP.
    pub dst_port: u16,
    /// IP protocol number.
    pub proto: u8,
}

impl Key {
    pub(crate) fn tuple(&self) -> FiveTuple {
        FiveTuple {
            src: self.src().into(),
            dst: self.dst().into(),
            src_port: self.src_port(),
            dst_port: self.dst_port(),
            proto: self.proto(),
        }
    }
}

/// A connection attempt: the first SYN without ACK of its (addresses, ports, initial sequence number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Attempt {
    /// Time stamp of the SYN, nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// Client first.
    pub tuple: FiveTuple,
    /// The client's initial sequence number.
    pub isn: u32,
    /// SYN with FIN or RST: counts, and can never become established.
    pub odd: bool,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// VLAN identifiers, outermost first.
    pub vlan: [u16; 2],
    /// How many of `vlan` are set.
    pub vlan_count: u8,
}

impl From<&Headers> for Attempt {
    /// The attempt of a SYN.
    fn from(syn: &Headers) -> Self {
        Self {
            ts_ns: syn.ts_ns,
            tuple: syn.key.tuple(),
            isn: syn.seq,
            odd: syn.flags & (FIN | RST) != 0,
            interface: syn.interface,
            vlan: syn.vlan,
            vlan_count: syn.vlan_count,
        }
    }
}

words! {
    /// How a port was probed without a plain SYN, in nmap's words where it has one. What no stack sends comes first.
    #[derive(PartialOrd, Ord)]
    pub enum Technique {
        /// None of FIN, PSH, URG.
        Null = "null",
        /// FIN alone.
        Fin = "fin",
        /// FIN, PSH and URG.
        Xmas = "xmas",
        /// Another mixture of FIN, PSH and URG.
        Flags = "flags",
        /// SYN with FIN or RST: an attempt, so never in an [`Outcome`].
        SynFin = "syn_fin",
        /// ACK without a connection, answered by RST: nmap's ACK and window scans.
        Ack = "ack",
        /// FIN with ACK, without a connection, answered by RST.
        Maimon = "maimon",
    }
}

/// What a packet tells of the one who asks: the outcome of an attempt, a probe, a part of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub enum Outcome {
    /// An attempt: SYN+ACK with the right acknowledgment number.
    Answered,
    /// An attempt: RST, or an ICMP unreachable that quotes the SYN.
    Refused,
    /// An attempt: the client proved the handshake.
    Established,
    /// An attempt whose client answers the SYN+ACK with a RST without ACK, as a SYN scanner's stack does. Proves nothing
    /// about the source.
    HalfOpen,
    /// A segment of no attempt and no connection, by its flags, or by the RST that answers it.
    Probe(Technique),
    /// A datagram that opened a flow, and no [`Outcome::StrayAnswer`].
    UdpOpened,
    /// The responder's first datagram of a flow that was reported as [`Outcome::UdpOpened`].
    UdpAnswered,
    /// An ICMP unreachable that quotes such a flow's originator, the first one.
    UdpRefused,
    /// [`Outcome::DATAGRAMS`] datagrams behind the one that opened the flow, to a responder that has sent nothing.
    Datagrams,
    /// A datagram that opened a flow as an answer does whose question was not seen: from a service's port to a client's,
    /// with payload.
    StrayAnswer,
    /// A RST of no attempt, connection or flow.
    StrayRst,
    /// An ICMP or ICMPv6 message, but those by which IPv6 finds neighbours and listeners.
    Icmp,
}

impl Outcome {
    /// How many datagrams one [`Outcome::Datagrams`] stands for.
    pub const DATAGRAMS: u32 = 64;
}

/// A segment that waited for a SYN which did not come: it takes effect later than it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Waited {
    /// Its time stamp, nanoseconds since the Unix epoch.
    pub ts_ns: i64,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// Its key's tags, see [`Key::tags`].
    pub tags: u32,
}

impl From<&Headers> for Waited {
    fn from(segment: &Headers) -> Self {
        Self {
            ts_ns: segment.ts_ns,
            interface: segment.interface,
            tags: segment.key.tags(),
        }
    }
}

words! {
    /// Why a flow ended.
    #[derive(PartialOrd, Ord)]
    pub enum EndReason {
        /// Both sides sent FIN.
        Fin = "fin",
        /// A side sent RST after the connection was answered.
        Rst = "rst",
        /// RST or ICMP unreachable answered the attempt.
        Refused = "refused",
        /// Nothing answered the attempt within 5 s.
        Unanswered = "unanswered",
        /// Idle for longer than the protocol's time-out.
        Timeout = "timeout",
        /// Evicted from a full table.
        Evicted = "evicted",
        /// Still open when the capture or the run ended.
        Eof = "eof",
    }
}

words! {
    /// Zeek's summary of a connection: conn_state in base/protocols/conn/main.zeek.
    #[allow(missing_docs, reason = "Zeek's words")]
    pub enum ConnState {
        S0 = "S0",
        S1 = "S1",
        Sf = "SF",
        Rej = "REJ",
        S2 = "S2",
        S3 = "S3",
        Rsto = "RSTO",
        Rstr = "RSTR",
        Rstos0 = "RSTOS0",
        Rstrh = "RSTRH",
        Sh = "SH",
        Shr = "SHR",
        Oth = "OTH",
    }
}

/// Zeek's history letters in order of appearance; upper case: originator. Each once in either direction, but `t` again
/// at the 10th, 100th … of its segments, as in Zeek.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct History {
    /// ASCII letters; unused bytes are 0.
    pub letters: [u8; HISTORY_MAX],
}

/// Most letters of a history; further ones are left out.
pub const HISTORY_MAX: usize = 16;

impl History {
    /// Number of letters; [`History::letters`] has them first.
    #[inline(always)]
    pub fn len(&self) -> usize {
        let unused = u128::from_le_bytes(self.letters).leading_zeros() / 8;
        self.letters.len() - unused as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.letters[0] == 0
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Volume {
    /// Captured frames (under GRO one may hold many segments).
    pub packets: u64,
    /// Bytes of those frames on the wire, link header included.
    pub bytes: u64,
    /// Transport payload bytes.
    pub payload_bytes: u64,
    /// Bytes of those packets from the IP header on, by its length field: no link header, no padding.
    pub ip_bytes: u64,
    /// TCP segments with payload that end where this side had been before: sent again, or late (Zeek's `t`).
    pub retransmitted_packets: u64,
    /// Payload bytes of TCP that had been seen before.
    pub retransmitted_bytes: u64,
    /// Bytes of TCP that this side has passed by sequence number, and that were not seen: gaps.
    pub missed_bytes: u64,
    /// TCP flags seen, or-ed.
    pub tcp_flags: u8,
}

impl Volume {
    /// What came behind `before`, an older state of the same counters. Flags are those of both.
    pub(super) fn without(&self, before: &Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(before.packets),
            bytes: self.bytes.wrapping_sub(before.bytes),
            payload_bytes: self.payload_bytes.wrapping_sub(before.payload_bytes),
            ip_bytes: self.ip_bytes.wrapping_sub(before.ip_bytes),
            retransmitted_packets: self.retransmitted_packets - before.retransmitted_packets,
            retransmitted_bytes: self.retransmitted_bytes - before.retransmitted_bytes,
            missed_bytes: self.missed_bytes - before.missed_bytes,
            tcp_flags: self.tcp_flags,
        }
    }

    /// Something was sent again, or is missing.
    #[inline(always)]
    pub fn is_irregular(&self) -> bool {
        self.retransmitted_packets | self.retransmitted_bytes | self.missed_bytes != 0
    }
}

words! {
    /// The evidence of a handshake.
    #[derive(Default)]
    pub enum Basis {
        /// No TCP handshake was seen (UDP, ICMP, midstream, unanswered).
        #[default]
        None = "none",
    /// A SYN+ACK with the right number, but no proof by the client.
        Synack = "synack",
        /// What the server sent after a SYN+ACK that was not seen, but no proof by the client.
        Data = "data",
        /// The client proved that it received the SYN+ACK.
        Handshake = "handshake",
    }
}

/// The record of an ended flow, or of a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct FlowRecord {
    /// Addresses and ports, originator first.
    pub tuple: FiveTuple,
    /// Identifier of an ICMP echo, else 0.
    pub id: u16,
    /// Its SYN was joined from fragments.
    pub joined: bool,
    /// Client's initial sequence number (0 where none was seen).
    pub isn: u32,
    /// Time stamp of its first packet.
    pub start_ns: i64,
    /// Time stamp of its last packet.
    pub end_ns: i64,
    /// Originator to responder.
    pub orig: Volume,
    /// Responder to originator.
    pub resp: Volume,
    /// Zeek's state.
    pub conn_state: ConnState,
    /// Zeek's history.
    pub history: History,
    /// Why it ended.
    pub reason: EndReason,
    /// The evidence of its handshake.
    pub basis: Basis,
    /// First seen without its SYN.
    pub midstream: bool,
    /// Open when the sensor started, by sock_diag.
    pub preexisting: bool,
    /// Some frame held several segments.
    pub gso: bool,
    /// Some packet was a fragment.
    pub fragmented: bool,
    /// A counter reached its limit.
    pub saturated: bool,
    /// Its attempt has an older record: it ended unanswered or refused, then a repeated SYN or an answer came.
    pub reopened: bool,
    /// Live: packets of its class were shed while it was open, so its volumes may be too small.
    pub shed: bool,
    /// The tunnel that its packets came out of (`--decap`).
    pub inside: Inside,
    /// The flow goes on: `--active-timeout` has passed since it began or since the record before. `reason` is
    /// [`EndReason::Timeout`] then.
    pub interim: bool,
    /// Records of this flow before this one, 65,535 at most. Volumes count from `since_ns` on, so that the sum over all records of a flow
    /// is the flow; `start_ns`, flags, history and state are those of the whole flow so far.
    pub part: u16,
    /// From when on the volumes count: `start_ns`, or the deadline that made the record before this one.
    pub since_ns: i64,
    /// The whole flow once more, for outputs without interim records: there are records of its parts beside this one.
    pub total: bool,
    /// Where the originator's first frame was seen: index into the run's table of interfaces.
    pub interface: u16,
    /// Where the responder's was, or the same.
    pub interface_resp: u16,
    /// VLAN identifiers of the first packet, outermost first.
    pub vlan: [u16; 2],
    /// How many of `vlan` are set.
    pub vlan_count: u8,
}

impl FlowRecord {
    /// An interim record, or the last one of a flow that has some.
    pub fn is_part(&self) -> bool {
        self.interim || self.part > 0
    }

    /// Why the record was made: `active` for one of a flow that goes on, else the word of its reason.
    pub fn end_word(&self) -> &'static str {
        match self.interim {
            true => "active",
            false => self.reason.word(),
        }
    }
}

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub enum When {
    /// With the current packet.
    Packet,
    /// At this deadline, in nanoseconds of packet time.
    Deadline(i64),
    /// At the end of the capture or the run.
    End,
}

/// An event of the flow stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "written straight into a preallocated outbox"
)]
pub enum FlowEvent {
    /// A new connection attempt.
    Attempt(Attempt),
    /// An attempt was answered or refused, or a packet is a probe or a part of a load.
    Outcome {
        /// Originator first: who asks. Of a stray RST and an ICMP message its sender.
        tuple: FiveTuple,
        /// The outcome.
        outcome: Outcome,
        /// The segment that makes it, where that is not the current packet.
        waited: Option<Waited>,
    },
    /// A flow ended, or a part of one that goes on.
    Ended(FlowRecord),
}

impl FlowEvent {
    /// An outcome that the current packet makes.
    pub(super) fn outcome(tuple: FiveTuple, outcome: Outcome) -> Self {
        Self::Outcome {
            tuple,
            outcome,
            waited: None,
        }
    }
}

/// Suricata's name of a protocol; `None` where it uses the number.
pub fn proto_word(proto: u8) -> Option<&'static str> {
    match proto {
        1 => Some("ICMP"),
        6 => Some("TCP"),
        17 => Some("UDP"),
        58 => Some("IPv6-ICMP"),
        132 => Some("SCTP"),
        _ => None,
    }
}
