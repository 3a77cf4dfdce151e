//! Messages from a shard to the owners of a source and of a target: who touched what, and the answer.

use crate::decode::key::Address;
use crate::decode::vlan;
use crate::flow::record::Outcome;

/// Maximum contacts of a frame: a touch, an answer that came before it, and the proof of its handshake.
pub const CONTACTS_PER_FRAME: usize = 3;

/// Kinds of contacts. Those of one frame have different kinds, and this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ContactKind {
    /// A SYN without ACK, retransmissions included.
    Touch,
    /// The same with FIN or RST.
    OddTouch,
    /// The port answered with SYN+ACK.
    Answered,
    /// The port answered with RST or ICMP unreachable.
    Refused,
    /// The source completed the handshake.
    Established,
    /// The source reset the connection that the port had answered, without completing the handshake.
    HalfOpen,
    /// A segment without SYN, ACK and RST outside a connection: FIN, PSH and URG are not set, either.
    NullProbe,
    /// The same with FIN only.
    FinProbe,
    /// The same with FIN, PSH and URG.
    XmasProbe,
    /// The same with other flags.
    FlagsProbe,
    /// An ACK outside a connection that was answered with RST.
    AckProbe,
    /// The same with FIN.
    MaimonProbe,
    /// A datagram that opens a flow.
    UdpTouch,
    /// The port sent a datagram back.
    UdpAnswered,
    /// ICMP unreachable quotes the datagram.
    UdpRefused,
    /// [`DATAGRAMS`] further datagrams of a flow that nothing answered.
    Datagrams,
    /// A datagram that opens a flow as an answer to a question that was not seen.
    StrayAnswer,
    /// A RST that belongs to nothing.
    StrayReset,
    /// An ICMP or ICMPv6 message.
    Icmp,
}

/// Datagrams that a contact of that kind stands for.
pub const DATAGRAMS: u32 = Outcome::DATAGRAMS;

/// Kinds by their code in [`Mark`]; from [`LATE`] on those of late contacts.
const KINDS: [ContactKind; 1 << (V6 - KIND)] = {
    use ContactKind::*;
    [
        Touch,
        OddTouch,
        Answered,
        Refused,
        Established,
        HalfOpen,
        NullProbe,
        FinProbe,
        XmasProbe,
        FlagsProbe,
        AckProbe,
        MaimonProbe,
        UdpTouch,
        UdpAnswered,
        UdpRefused,
        Datagrams,
        StrayAnswer,
        StrayReset,
        Icmp,
        NullProbe,
        FinProbe,
        XmasProbe,
        FlagsProbe,
        AckProbe,
        MaimonProbe,
        StrayReset,
        Icmp,
        Icmp,
        Icmp,
        Icmp,
        Icmp,
        Icmp,
    ]
};
/// The first code of a late contact.
const LATE: u32 = 19;

/// A set of kinds of contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// The set of these.
    pub const fn of(kinds: &[ContactKind]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// Whether `kind` is one of them.
    #[inline(always)]
    pub const fn has(self, kind: ContactKind) -> bool {
        self.0 >> kind as u32 & 1 != 0
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Both sets.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl ContactKind {
    /// SYNs without ACK.
    pub const SYNS: Kinds = Kinds::of(&[Self::Touch, Self::OddTouch]);
    /// Probes that no connection explains.
    pub const PROBES: Kinds = Kinds::of(&[
        Self::NullProbe,
        Self::FinProbe,
        Self::XmasProbe,
        Self::FlagsProbe,
        Self::AckProbe,
        Self::MaimonProbe,
    ]);
    /// A source asks for a port.
    pub const TOUCHES: Kinds = Self::SYNS
        .with(Self::PROBES)
        .with(Kinds::of(&[Self::UdpTouch]));
    /// The outcome of a touch.
    pub const OUTCOMES: Kinds = Kinds::of(&[
        Self::Answered,
        Self::Refused,
        Self::Established,
        Self::HalfOpen,
        Self::UdpAnswered,
        Self::UdpRefused,
    ]);
    /// What concerns a source: the others say nothing about who sent them.
    pub const OF_SOURCES: Kinds = Self::TOUCHES.with(Self::OUTCOMES);
    /// What concerns a target.
    pub const OF_TARGETS: Kinds = Kinds::of(&[
        Self::Touch,
        Self::OddTouch,
        Self::Answered,
        Self::Refused,
        Self::Established,
        Self::UdpTouch,
        Self::Datagrams,
        Self::StrayAnswer,
        Self::StrayReset,
        Self::Icmp,
    ]);
}

words! {
    /// What a shard owns: it receives all contacts that concern its sources and its targets. An address has the same
    /// owner in both roles, and so has an IPv6 network of 48 bits.
    pub enum Owner {
        /// Contacts of a source.
        Source = "source",
        /// Contacts of a target.
        Target = "target",
    }
}

/// One cache line. Contacts and events are all that crosses between threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
#[repr(align(64))]
pub struct Contact {
    /// `read`: the frame's number. Live: the packet's time stamp in ns.
    pub position: u64,
    /// The packet's own time stamp, ns since the Unix epoch.
    pub ts_ns: i64,
    /// Keyed hash of the source under the tags of its key.
    pub source: u64,
    /// The originator's address, as [`Contact::src`].
    pub src: u128,
    /// The responder's address, as [`Contact::dst`].
    pub dst: u128,
    /// The responder's port.
    pub port: u16,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// The rest.
    pub mark: Mark,
}

/// What is left of a contact, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Mark(u32);

const KIND: u32 = 26;
const V6: u32 = 31;
/// The bits of a code.
const CODES: u32 = (1 << (V6 - KIND)) - 1;
const _: () = assert!(vlan::MASK >> KIND == 0);

impl Mark {
    /// Of a contact between IPv6 hosts or not, under tags of the key.
    #[inline]
    pub fn new(v6: bool, tags: u32, kind: ContactKind) -> Self {
        Self(tags | u32::from(v6) << V6 | (kind as u32) << KIND)
    }

    /// The same of a packet that waited in vain for its SYN until this position, if it is one of those that wait.
    pub fn late(self) -> Self {
        let code = self.0 >> KIND & CODES;
        let late = match KINDS[code as usize] {
            ContactKind::StrayReset => LATE + ContactKind::PROBES.0.count_ones(),
            kind if ContactKind::PROBES.has(kind) => {
                LATE + kind as u32 - ContactKind::NullProbe as u32
            }
            _ => code,
        };
        Self(self.0 & !(CODES << KIND) | late << KIND)
    }
}

const _: () = assert!(size_of::<Contact>() == 64);

impl Contact {
    /// The originator.
    #[inline]
    pub fn src(&self) -> Address {
        Address::new(self.is_v6(), self.src)
    }

    /// The responder.
    #[inline]
    pub fn dst(&self) -> Address {
        Address::new(self.is_v6(), self.dst)
    }

    fn is_v6(&self) -> bool {
        self.mark.0 >> V6 != 0
    }

    /// Its kind.
    #[inline]
    pub fn kind(&self) -> ContactKind {
        KINDS[(self.mark.0 >> KIND) as usize % KINDS.len()]
    }

    /// Order of contacts: by position; before those of the position's own frame come those of packets that waited
    /// until then, by content: they may be of other shards.
    pub fn order(&self) -> impl Ord + use<> {
        let is_late = self.mark.0 >> KIND & CODES >= LATE;
        let of_late = (self.ts_ns, self.src, self.dst, self.port, self.mark.0);
        (
            self.position,
            !is_late,
            is_late.then_some(of_late),
            self.kind(),
        )
    }

    /// Tags of the key, see [`crate::decode::key::Key::tags`].
    #[inline]
    pub fn tags(&self) -> u32 {
        self.mark.0 & vlan::MASK
    }

    /// The same as another kind of contact.
    pub fn with_kind(self, kind: ContactKind) -> Self {
        let mark = Mark::new(self.is_v6(), self.tags(), kind);
        Self { mark, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[ContactKind] = KINDS.split_at(LATE as usize).0;

    #[test]
    fn what_waited_comes_first_and_is_of_the_same_kind() {
        let of = |kind, position, ts_ns, is_late| {
            let mark = Mark::new(true, 77, kind);
            Contact {
                position,
                ts_ns,
                source: 0,
                src: 0,
                dst: 0,
                port: 0,
                interface: 0,
                mark: if is_late { mark.late() } else { mark },
            }
        };
        for &kind in ALL {
            let late = of(kind, 0, 0, true);
            assert_eq!((late.kind(), late.is_v6(), late.tags()), (kind, true, 77));
        }
        use ContactKind::{AckProbe, StrayReset, Touch};
        let sorted = [
            of(Touch, 1, 9, false),
            of(StrayReset, 2, 3, true),
            of(AckProbe, 2, 4, true),
            of(Touch, 2, 1, false),
            of(AckProbe, 2, 0, false),
        ];
        assert!(sorted.windows(2).all(|two| two[0].order() < two[1].order()));
    }

    #[test]
    fn a_mark_keeps_kind_family_and_tags() {
        for &kind in ALL {
            for (v6, tags) in [(false, 0), (true, vlan::MASK), (true, 1), (false, 77)] {
                let contact = Contact {
                    position: 0,
                    ts_ns: 0,
                    source: 0,
                    src: 0,
                    dst: 0,
                    port: 0,
                    interface: 0,
                    mark: Mark::new(v6, tags, kind),
                };
                let read = (contact.kind(), contact.is_v6(), contact.tags());
                assert_eq!(read, (kind, v6, tags));
            }
        }
    }

    #[test]
    fn every_kind_concerns_a_source_or_a_target() {
        let all = ContactKind::OF_SOURCES.with(ContactKind::OF_TARGETS);
        assert!(ALL.iter().all(|&kind| all.has(kind)));
        assert!(ALL.is_sorted() && ALL.iter().enumerate().all(|(n, &k)| n == k as usize));
    }
}
