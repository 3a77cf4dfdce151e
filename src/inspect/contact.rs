//! What a shard tells the owners of a source and of a pair: who touched what, what came back.

use std::net::IpAddr;

/// A frame makes so many contacts at most: the touch, and what it says of an attempt.
pub const CONTACTS_PER_FRAME: usize = 2;

/// What happened between the two addresses.
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
    /// Whose detections are made at one place: that shard has all contacts of it.
    pub enum Owner {
        /// The owner of a source and its target.
        Pair = "pair",
        /// The owner of a source.
        Source = "source",
    }
}

/// One line of cache: the only thing, beside events, that crosses between workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Contact {
    /// `read`: the frame's number. Live: the packet's time stamp in ns.
    pub position: u64,
    /// The packet's own time stamp, ns since the Unix epoch.
    pub ts_ns: i64,
    /// The keyed hash of source and target (the destination, or what stands for it): the pair in short.
    pub pair: u64,
    /// Who touched.
    pub src: IpAddr,
    /// What was touched.
    pub dst: IpAddr,
    /// The touched port.
    pub port: u16,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// The contact's number within its frame.
    pub number: u8,
    /// What happened.
    pub kind: ContactKind,
}

const _: () = assert!(size_of::<Contact>() == 64);
