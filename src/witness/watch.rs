//! The witness's socket on an interface, in no fanout group: main holds the socket, the thread reads its ring.

use crate::capture::bpf::sample::Sample;
use crate::capture::frame::LinkType;
use crate::capture::ring::block::Origin;
use crate::capture::ring::{Reader, RingGeometry};
use crate::capture::socket::{Filter, GATE, RxSocket};
use crate::error::SetupError;
use crate::host::nic::Interface;
use crate::time::clock::Stamps;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes kept of a SYN: two tags, both headers with all their options.
const SNAPLEN: u32 = 192;
/// A ring of 1 MiB: a trickle of 6.4 s, or some 4,800 SYNs at once.
pub const GEOMETRY: RingGeometry = RingGeometry {
    block_size: 16 << 10,
    block_nr: 64,
    block_timeout_ms: 100,
};
/// The smallest record in a ring.
const RECORD_BYTES_MIN: u64 = 88;

/// Main's side.
#[derive(Debug)]
pub struct Socket {
    /// Index into the run's table of interfaces.
    pub interface: u16,
    link: LinkType,
    socket: Arc<RxSocket>,
    dead: Arc<AtomicBool>,
}

/// The thread's side.
#[derive(Debug)]
pub struct WitnessRing {
    pub reader: Reader,
    /// Keeps the socket open while its ring is read.
    pub(super) _socket: Arc<RxSocket>,
    pub stamps: Stamps,
    /// The interface was removed: read the rest, then drop the ring.
    pub(super) dead: Arc<AtomicBool>,
    /// Run time at which `dead` was first seen.
    pub dead_since_ns: Option<i64>,
}

/// Counters of sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounts {
    /// `tp_packets`, drops included.
    pub packets: u64,
    /// `tp_drops`.
    pub dropped: u64,
}

/// Opens a socket on `nic` behind a closed gate, with its ring.
pub fn open(nic: &Interface, interface: u16) -> Result<(Socket, WitnessRing), SetupError> {
    let link = nic.link.unwrap_or(LinkType::Ethernet);
    let origin = Origin {
        interface,
        link,
        loopback: nic.loopback,
    };
    let (socket, ring) = RxSocket::open(&nic.name, GEOMETRY, origin)?;
    if nic.loopback {
        socket.ignore_outgoing()?;
    }
    socket.bind(nic.ifindex)?;
    let (socket, dead) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
    let theirs = WitnessRing {
        reader: Reader::new(ring),
        _socket: Arc::clone(&socket),
        stamps: Stamps::default(),
        dead: Arc::clone(&dead),
        dead_since_ns: None,
    };
    let ours = Socket {
        interface,
        link,
        socket,
        dead,
    };
    Ok((ours, theirs))
}

/// Maximum frames in a ring.
pub fn capacity() -> u64 {
    GEOMETRY.bytes() as u64 / RECORD_BYTES_MIN
}

impl Socket {
    /// Admits the SYNs of the sample.
    pub fn open_gate(&self, sample: &Sample) -> Result<(), SetupError> {
        let program = sample.program(self.link, SNAPLEN);
        self.socket.attach(Filter::Classic(&program))
    }

    /// Refuses every frame from now on.
    pub fn close_gate(&self) -> Result<(), SetupError> {
        self.socket.attach(Filter::Classic(&GATE))
    }

    /// Reads and clears the kernel's counters.
    pub fn take_counts(&self) -> SocketCounts {
        let counters = self.socket.statistics().unwrap_or_default();
        SocketCounts {
            packets: u64::from(counters.tp_packets),
            dropped: u64::from(counters.tp_drops),
        }
    }

    /// Has the thread drop the ring.
    pub fn abandon(&self) {
        self.dead.store(true, Ordering::Release);
    }

    /// Whether the thread has dropped the ring.
    pub fn is_released(&self) -> bool {
        Arc::strong_count(&self.socket) == 1
    }
}
