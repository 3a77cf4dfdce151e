//! What a shard tells the owner of a pair: who touched which port, what came back.

use std::net::IpAddr;

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
}

/// One line of cache: the only thing, beside events, that crosses between workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub struct Contact {
    /// `read`: the frame's number. Live: the packet's time stamp in ns.
    pub position: u64,
    /// The packet's own time stamp, ns since the Unix epoch.
    pub ts_ns: i64,
    /// The keyed hash of source and target (the destination, or what stands for it): the pair in short, and
    /// its owner.
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
