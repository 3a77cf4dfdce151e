//! A TPACKET_V2 transmit ring.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::map::Map;
use super::{kick, packet, set_option};

const SLOT: usize = 2048;
const SLOTS: usize = 1024;
const BLOCK: usize = 64 << 10;
/// Offset of the frame in a slot: `TPACKET2_HDRLEN` − `sizeof(sockaddr_ll)` (tpacket_parse_header in af_packet.c).
const FRAME_AT: usize = size_of::<libc::tpacket2_hdr>().next_multiple_of(16);
const PATIENCE: Duration = Duration::from_secs(5);

/// The ring. Slots are filled and handed over in order.
#[derive(Debug)]
pub struct TxRing {
    fd: OwnedFd,
    map: Map,
    next: usize,
}

impl TxRing {
    /// A ring at this interface of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn new(interface: u32) -> io::Result<Self> {
        let fd = packet::open(interface)?;
        let request = libc::tpacket_req {
            tp_block_size: u32::try_from(BLOCK).expect("64 KiB"),
            tp_block_nr: u32::try_from(SLOTS * SLOT / BLOCK).expect("few"),
            tp_frame_size: u32::try_from(SLOT).expect("2 KiB"),
            tp_frame_nr: u32::try_from(SLOTS).expect("few"),
        };
        let version = libc::tpacket_versions::TPACKET_V2 as i32;
        // SAFETY: an integer.
        unsafe { set_option(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &version) }?;
        // SAFETY: an integer.
        unsafe { set_option(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_LOSS, &1_i32) }?;
        // SAFETY: four integers of 32 bits, without padding.
        unsafe { set_option(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_TX_RING, &request) }?;
        let map = Map::new(Some(fd.as_fd()), SLOTS * SLOT, 0)?;
        Ok(Self { fd, map, next: 0 })
    }

    /// The status word of a slot, which both sides write.
    fn status(&self, slot: usize) -> &AtomicU32 {
        let word = self.map.at(slot * SLOT, size_of::<u32>()).cast();
        // SAFETY: mapped and aligned for as long as `self`; both sides use it as one 32-bit word, and this
        // side by atomic operations only.
        unsafe { AtomicU32::from_ptr(word.as_ptr()) }
    }

    fn is_free(&self, slot: usize) -> bool {
        // Acquire pairs with the kernel's write of the status when it is done with the slot.
        self.status(slot).load(Ordering::Acquire) == libc::TP_STATUS_AVAILABLE
    }

    /// Hands over up to `count` frames from number `first` on, as many as slots are free; gives how many.
    /// `write` as in [`super::Burst::send`].
    ///
    /// # Errors
    ///
    /// Any error of `sendto` but lack of room.
    pub fn send(
        &mut self,
        first: u64,
        count: usize,
        mut write: impl FnMut(u64, &mut [u8]) -> usize,
    ) -> io::Result<usize> {
        let mut filled = 0;
        while filled < count && self.is_free(self.next) {
            let at = self.next * SLOT;
            // SAFETY: the slot is available, so the kernel leaves it alone until its status changes, and the
            // slice ends before that. The status word is in front of it.
            let frame = unsafe { self.map.bytes(at + FRAME_AT, SLOT - FRAME_AT) };
            let len = write(first + filled as u64, frame);
            let len = u32::try_from(len).expect("a frame").to_ne_bytes();
            // SAFETY: as above; tp_len and tp_snaplen are behind the status word.
            let lengths = unsafe { self.map.bytes(at + 4, 8) };
            lengths[..4].copy_from_slice(&len);
            lengths[4..].copy_from_slice(&len);
            // Release: the kernel sees the frame before it sees the request.
            self.status(self.next)
                .store(libc::TP_STATUS_SEND_REQUEST, Ordering::Release);
            self.next = (self.next + 1) % SLOTS;
            filled += 1;
        }
        kick(&self.fd)?;
        Ok(filled)
    }

    /// Waits until the kernel is done with every slot.
    ///
    /// # Errors
    ///
    /// When that takes more than 5 s.
    pub fn finish(&mut self) -> io::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while !(0..SLOTS).all(|slot| self.is_free(slot)) {
            if Instant::now() > give_up {
                return Err(io::Error::other(
                    "the kernel does not finish the transmit ring",
                ));
            }
            kick(&self.fd)?;
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }
}
