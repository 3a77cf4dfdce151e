//! Whether the kernel's fanout program put a frame where its twin in user space does.

use crate::capture::bpf::fanout::{self, Keys};
use crate::capture::frame::{Class, Frame};
use crate::decode::Packet;

/// The place of one worker's rings among those of all workers.
pub(super) struct Placement {
    pub keys: Keys,
    pub worker: usize,
    pub workers: u32,
}

impl Placement {
    /// Live: whether a frame from a ring of this class belongs elsewhere. What decoding found of a whole TCP
    /// segment or UDP datagram decides; the headers of other frames are read once more.
    #[inline(never)]
    pub fn is_misrouted(&self, frame: &Frame<'_>, packet: Option<&Packet>, ring: Class) -> bool {
        let place = match packet.and_then(Packet::as_whole) {
            Some(of) => fanout::whole(&self.keys, of.ends, of.ports, of.flags),
            None => fanout::demux(&self.keys, frame),
        };
        let (class, worker) = place.member(self.workers);
        (class, worker as usize) != (ring, self.worker)
    }
}
