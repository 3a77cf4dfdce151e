//! The witness's socket on an interface, in no group: main holds the socket, the thread reads its ring.

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

/// What both hold of a ring.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The interface is gone: read what is left, then let go.
    dead: AtomicBool,
}

/// Main's side.
#[derive(Debug)]
pub struct Socket {
    /// Index into the run's table of interfaces.
    pub interface: u16,
    link: LinkType,
    socket: Arc<RxSocket>,
    shared: Arc<Shared>,
}

/// The thread's side.
#[derive(Debug)]
pub struct WitnessRing {
    /// Reads its blocks.
    pub reader: Reader,
    /// Kept open as long as anybody reads from it.
    pub socket: Arc<RxSocket>,
    /// Its frames' stamps, in run time.
    pub stamps: Stamps,
    /// Run time at which its interface was found gone.
    pub dead_since_ns: Option<i64>,
    pub(super) shared: Arc<Shared>,
}

/// What a socket's counters came to since they were read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// `tp_packets`, drops included.
    pub packets: u64,
    /// `tp_drops`.
    pub dropped: u64,
}

/// Opens a socket on `nic` behind a closed gate, with its ring.
///
/// # Errors
///
/// What the kernel refuses, with what helps.
pub fn open(nic: &Interface, interface: u16) -> Result<(Socket, WitnessRing), SetupError> {
    let link = nic.link.unwrap_or(LinkType::Ethernet);
    let (socket, ring) = RxSocket::open(&nic.name, GEOMETRY, Origin { interface, link })?;
    if nic.loopback {
        socket.ignore_outgoing()?;
    }
    socket.bind(nic.ifindex)?;
    let (socket, shared) = (Arc::new(socket), Arc::new(Shared::default()));
    let theirs = WitnessRing {
        reader: Reader::new(ring),
        socket: Arc::clone(&socket),
        stamps: Stamps::default(),
        dead_since_ns: None,
        shared: Arc::clone(&shared),
    };
    let ours = Socket {
        interface,
        link,
        socket,
        shared,
    };
    Ok((ours, theirs))
}

/// Frames that a ring can hold at most.
pub fn capacity() -> u64 {
    GEOMETRY.bytes() as u64 / RECORD_BYTES_MIN
}

impl Socket {
    /// Lets the SYNs of the sample in.
    ///
    /// # Errors
    ///
    /// The kernel refuses the filter.
    pub fn open_gate(&self, sample: &Sample) -> Result<(), SetupError> {
        let program = sample.program(self.link, SNAPLEN);
        self.socket.attach(Filter::Classic(&program))
    }

    /// Lets nothing in any more.
    ///
    /// # Errors
    ///
    /// The kernel lacks the memory for a filter of one instruction.
    pub fn close_gate(&self) -> Result<(), SetupError> {
        self.socket.attach(Filter::Classic(&GATE))
    }

    /// Reads the kernel's counters, which clears them.
    pub fn moved(&self) -> Moved {
        let counters = self.socket.statistics().unwrap_or_default();
        Moved {
            packets: u64::from(counters.tp_packets),
            dropped: u64::from(counters.tp_drops),
        }
    }

    /// Tells the thread that the interface is gone.
    pub fn abandon(&self) {
        self.shared.dead.store(true, Ordering::Release);
    }

    /// Whether the thread has let go of the ring.
    pub fn is_let_go(&self) -> bool {
        Arc::strong_count(&self.socket) == 1
    }
}

impl WitnessRing {
    /// Whether its interface is gone.
    pub fn is_dead(&self) -> bool {
        self.shared.dead.load(Ordering::Acquire)
    }
}
