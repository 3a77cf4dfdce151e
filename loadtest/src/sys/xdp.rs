//! An AF_XDP socket that sends, in copy mode, which every interface has.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::map::Map;
use super::{check, kick, set_option, socklen};

const SLOT: usize = 2048;
/// Slots, as many as the rings have entries: slot n is of entry n. In copy mode the kernel copies frames in the order
/// of the entries and completes each after its copy. So after n completions the first n slots are free.
const ENTRIES: u32 = 2048;
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket with its memory.
#[derive(Debug)]
pub struct Xdp {
    fd: OwnedFd,
    slots: Map,
    tx: XdpRing,
    completion: XdpRing,
    /// Frames handed over, modulo 2^32.
    produced: u32,
}

#[derive(Debug)]
struct XdpRing {
    map: Map,
    offsets: libc::xdp_ring_offset,
}

impl XdpRing {
    fn new(
        fd: BorrowedFd<'_>,
        offsets: libc::xdp_ring_offset,
        entry: usize,
        page: i64,
    ) -> io::Result<Self> {
        let len = offset(offsets.desc) + ENTRIES as usize * entry;
        let map = Map::new(Some(fd), len, page)?;
        Ok(Self { map, offsets })
    }

    fn word(&self, at: u64) -> &AtomicU32 {
        let word = self.map.at(offset(at), size_of::<u32>()).cast();
        // SAFETY: mapped and aligned for as long as `self`; the kernel uses it as one 32-bit word too.
        unsafe { AtomicU32::from_ptr(word.as_ptr()) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }
}

fn offset(offset: u64) -> usize {
    usize::try_from(offset).expect("64 bits")
}

impl Xdp {
    /// A sender on queue 0 of this interface of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it: no AF_XDP, or no such interface.
    pub fn new(interface: u32) -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd =
            check(unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: just opened, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let slots = Map::new(None, ENTRIES as usize * SLOT, 0)?;
        let registration = Registration {
            addr: slots.at(0, 1).as_ptr().addr() as u64,
            len: u64::from(ENTRIES) * SLOT as u64,
            chunk_size: u32::try_from(SLOT).expect("2 KiB"),
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        // SAFETY: integers without padding; the memory that they name lives as long as the socket, below.
        unsafe { set_option(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration) }?;
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_TX_RING,
        ] {
            // SAFETY: an integer.
            unsafe { set_option(fd.as_fd(), libc::SOL_XDP, ring, &ENTRIES) }?;
        }
        let offsets = mmap_offsets(fd.as_fd())?;
        let descriptor = size_of::<libc::xdp_desc>();
        let tx = XdpRing::new(fd.as_fd(), offsets.tx, descriptor, libc::XDP_PGOFF_TX_RING)?;
        let page = i64::try_from(libc::XDP_UMEM_PGOFF_COMPLETION_RING).expect("a page offset");
        let completion = XdpRing::new(fd.as_fd(), offsets.cr, size_of::<u64>(), page)?;
        bind(fd.as_fd(), interface)?;
        Ok(Self {
            fd,
            slots,
            tx,
            completion,
            produced: 0,
        })
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
        let completed = self.collect();
        let free = ENTRIES - self.produced.wrapping_sub(completed);
        let count = count.min(free as usize);
        for index in (first..).take(count) {
            let entry = (self.produced % ENTRIES) as usize;
            // SAFETY: the slot's last frame was copied, so the kernel does not read the slot before `producer`
            // moves.
            let slot = unsafe { self.slots.bytes(entry * SLOT, SLOT) };
            let len = write(index, slot);
            let descriptor = libc::xdp_desc {
                addr: (entry * SLOT) as u64,
                len: u32::try_from(len).expect("a frame"),
                options: 0,
            };
            let at = offset(self.tx.offsets.desc) + entry * size_of::<libc::xdp_desc>();
            let place = self.tx.map.at(at, size_of::<libc::xdp_desc>()).cast();
            // SAFETY: inside the ring, aligned, and the kernel reads it only once `producer` has moved.
            unsafe { place.write(descriptor) };
            self.produced = self.produced.wrapping_add(1);
        }
        // Release: the kernel sees frames and descriptors before it sees the new `producer`.
        self.tx.producer().store(self.produced, Ordering::Release);
        kick(&self.fd)?;
        Ok(count)
    }

    /// Consumes the completions; gives their number since the start, modulo 2^32.
    fn collect(&self) -> u32 {
        // Acquire pairs with the kernel's release: the kernel has finished reading completed frames.
        let completed = self.completion.producer().load(Ordering::Acquire);
        self.completion
            .consumer()
            .store(completed, Ordering::Release);
        completed
    }

    /// Waits until the kernel is done with every frame.
    ///
    /// # Errors
    ///
    /// When that takes more than 5 s.
    pub fn finish(&mut self) -> io::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        while self.collect() != self.produced {
            if Instant::now() > give_up {
                let left = self.produced.wrapping_sub(self.collect());
                return Err(io::Error::other(format!("{left} frames are not sent")));
            }
            kick(&self.fd)?;
            std::thread::sleep(Duration::from_micros(100));
        }
        Ok(())
    }
}

/// `struct xdp_umem_reg` of linux/if_xdp.h, with the last field, which was padding before.
#[derive(Clone, Copy)]
#[repr(C)]
struct Registration {
    addr: u64,
    len: u64,
    chunk_size: u32,
    headroom: u32,
    flags: u32,
    tx_metadata_len: u32,
}

fn mmap_offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    let mut offsets = MaybeUninit::<libc::xdp_mmap_offsets>::zeroed();
    let mut len = socklen(size_of::<libc::xdp_mmap_offsets>());
    let place = offsets.as_mut_ptr().cast();
    // SAFETY: the pointer is to `len` writable bytes.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            place,
            &raw mut len,
        )
    };
    check(done)?;
    // SAFETY: zeroes are valid offsets; the kernel has filled them.
    Ok(unsafe { offsets.assume_init() })
}

fn bind(fd: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).expect("44"),
        sxdp_flags: libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP,
        sxdp_ifindex: interface,
        sxdp_queue_id: 0,
        sxdp_shared_umem_fd: 0,
    };
    let address: *const libc::sockaddr_xdp = &raw const address;
    let len = socklen(size_of::<libc::sockaddr_xdp>());
    // SAFETY: the pointer is to a live address of that length.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.cast(), len) }).map(drop)
}
