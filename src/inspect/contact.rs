//! Messages from a shard to the owners of a source and of a pair: who touched what, and the answer.

use crate::decode::key::Address;

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
    /// Both are IPv6.
    pub v6: bool,
    /// The responder's port.
    pub port: u16,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// The contact's number within its frame.
    pub number: u8,
    /// Its kind.
    pub kind: ContactKind,
}

const _: () = assert!(size_of::<Contact>() == 64);

impl Contact {
    /// The originator.
    #[inline]
    pub fn src(&self) -> Address {
        Address::new(self.v6, self.src)
    }

    /// The responder.
    #[inline]
    pub fn dst(&self) -> Address {
        Address::new(self.v6, self.dst)
    }
}
