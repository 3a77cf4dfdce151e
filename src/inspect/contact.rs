//! Messages from a shard to the owners of a source and of a pair: who touched what, and the answer.

use crate::decode::key::Address;
use crate::decode::vlan;
use crate::flow::key::Hasher;

/// Maximum contacts of a frame: a touch, an answer that came before it, and the proof of its handshake.
pub const CONTACTS_PER_FRAME: usize = 3;

/// Kinds of contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ContactKind {
    /// A SYN without ACK, retransmissions included.
    Touch = 0,
    /// The port answered with SYN+ACK.
    Answered = 1,
    /// The port answered with RST or ICMP unreachable.
    Refused = 2,
    /// The source completed the handshake.
    Established = 3,
}

words! {
    /// What a shard owns: it receives all contacts of its sources and pairs.
    pub enum Owner {
        /// A source and its target.
        Pair = "pair",
        /// A source.
        Source = "source",
    }
}

/// One cache line. Contacts and events are all that crosses between threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Contact {
    /// `read`: the frame's number. Live: the packet's time stamp in ns.
    pub position: u64,
    /// The packet's own time stamp, ns since the Unix epoch.
    pub ts_ns: i64,
    /// Keyed hash of source and target (the destination, or the address that stands for it).
    pub pair: u64,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u32);

const KIND: u32 = 26;
const NUMBER: u32 = 28;
const V6: u32 = 31;
const _: () = assert!(vlan::MASK >> KIND == 0 && CONTACTS_PER_FRAME <= 4);

impl Mark {
    /// Of a contact between IPv6 hosts or not, under tags of the key, with its number within its frame.
    #[inline]
    pub fn new(v6: bool, tags: u32, kind: ContactKind, number: u8) -> Self {
        let number = u32::from(number & 3);
        Self(tags | u32::from(v6) << V6 | (kind as u32) << KIND | number << NUMBER)
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
        match self.mark.0 >> KIND & 3 {
            0 => ContactKind::Touch,
            1 => ContactKind::Answered,
            2 => ContactKind::Refused,
            _ => ContactKind::Established,
        }
    }

    /// Its number within its frame.
    #[inline]
    pub fn number(&self) -> u8 {
        (self.mark.0 >> NUMBER & 3) as u8
    }

    /// Tags of the key, see [`crate::decode::key::Key::tags`].
    #[inline]
    pub fn tags(&self) -> u32 {
        self.mark.0 & vlan::MASK
    }

    /// The same as another kind of contact.
    pub fn with_kind(self, kind: ContactKind) -> Self {
        let mark = Mark::new(self.is_v6(), self.tags(), kind, self.number());
        Self { mark, ..self }
    }

    /// Keyed hash of the source.
    #[inline]
    pub fn source(&self, hasher: &Hasher) -> u64 {
        hasher.tagged(hasher.source(self.src()), self.tags())
    }
}
