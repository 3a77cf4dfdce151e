//! One frame as it was captured, whichever way it came.

/// The link layer a frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet II or 802.3 (DLT 1).
    Ethernet,
    /// An IPv4 or IPv6 packet with nothing before it (DLT 12, 14, 101, 228, 229).
    RawIp,
    /// Linux cooked capture, version 1 (DLT 113): 16 bytes.
    LinuxSll,
    /// Linux cooked capture, version 2 (DLT 276): 20 bytes.
    LinuxSll2,
    /// BSD loopback (DLT 0): a 4-byte address family in the byte order of the capturing host.
    Null,
    /// OpenBSD loopback (DLT 108): a 4-byte address family in network byte order.
    Loop,
    /// Any other link type; most of their frames are counted, not decoded.
    Other(u32),
}

/// A VLAN tag that the kernel moved out of the frame into the ring header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// Tag protocol identifier: 0x8100, 0x88a8 or 0x9100.
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN identifier (the low 12 bits).
    pub tci: u16,
}

words! {
    /// The class of a frame, which has its own ring. Decides which frames are lost under overload, not their order.
    #[derive(Default, Hash, PartialOrd, Ord)]
    pub enum Class {
        /// Every other frame, and what the fanout program cannot read.
        #[default]
        Data = "data",
        /// SYN+ACK, RST, FIN with ACK, ICMP errors.
        Control = "control",
        /// SYN without ACK, and probes that no stack sends (NULL, FIN without ACK, XMAS, SYN+FIN).
        Open = "open",
    }
}

/// Bytes that decoding reads of the commonest frames: Ethernet, IPv6 and TCP up to its flags.
pub const PLAIN_DEPTH: usize = 68;

/// What the kernel knows of the checksum of a frame's outermost segment or datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChecksumState {
    /// Nothing.
    Unknown,
    /// It is not computed yet: whoever sends the frame, or the NIC, will do so.
    Pending,
    /// It is right.
    Proven,
}

/// One captured frame. Borrowed from a ring block or from a chunk of a capture file.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The captured bytes, from the link header on; `bytes.len()` is the caplen.
    pub bytes: &'a [u8],
    /// Bytes of the frame on the wire (`tp_len`), at least the caplen in a sound capture.
    pub wire_len: u32,
    /// Nanoseconds since the Unix epoch, stamped by the kernel or read from the capture.
    pub ts_ns: i64,
    /// Index into the run's table of interfaces.
    pub interface: u16,
    /// The link header of `bytes`.
    pub link: LinkType,
    /// The outermost tag, if the kernel removed it from `bytes`.
    pub vlan: Option<VlanTag>,
    /// Several segments, merged by the kernel or the NIC, or not split yet.
    pub gso: bool,
    /// Live, but for loopback: it came in from outside. False: this host has sent it, or that is not known.
    pub incoming: bool,
}
