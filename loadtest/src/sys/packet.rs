//! Packet sockets that only send: `sendmmsg`, and the `afpacket` crate one frame at a time.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::{check, is_full, set_option};

/// Most frames of one call.
pub const BURST_MAX: usize = 64;
const SLOT: usize = 2048;
const SEND_BUFFER: i32 = 16 << 20;

/// A packet socket bound to an interface for sending. With protocol 0 it receives nothing.
pub(super) fn open(interface: u32) -> io::Result<OwnedFd> {
    let fd = packet::sender(interface)?;
    // SAFETY: an integer.
    unsafe {
        set_option(
            fd.as_fd(),
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            &SEND_BUFFER,
        )
    }?;
    Ok(fd)
}

/// Sends many frames a call.
#[derive(Debug)]
pub struct Burst {
    fd: OwnedFd,
    slots: Vec<[u8; SLOT]>,
}

impl Burst {
    /// A sender at this interface of the calling thread's namespace.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the socket: no `CAP_NET_RAW`, or no such interface.
    pub fn new(interface: u32) -> io::Result<Self> {
        Ok(Self {
            fd: open(interface)?,
            slots: vec![[0; SLOT]; BURST_MAX],
        })
    }

    /// Hands over `count` frames from number `first` on, at most [`BURST_MAX`]; gives how many of them the kernel
    /// refused for lack of room. A refused frame is not sent again: the schedule does not wait.
    ///
    /// `write` gets a frame's number and a buffer; it writes the frame and gives its length.
    ///
    /// # Errors
    ///
    /// Any error of `sendmmsg` but lack of room.
    pub fn send(
        &mut self,
        first: u64,
        count: usize,
        mut write: impl FnMut(u64, &mut [u8]) -> usize,
    ) -> io::Result<u64> {
        let count = count.min(self.slots.len());
        let mut lens = [0; BURST_MAX];
        for (index, slot) in (first..).zip(&mut self.slots[..count]) {
            let len = write(index, slot);
            assert!(len <= SLOT, "{len} bytes in a slot of {SLOT}");
            lens[usize::try_from(index - first).expect("below 64")] = len;
        }
        let (mut at, mut refused) = (0, 0);
        while at < count {
            match self.call(&lens[at..count], at) {
                Ok(sent) if sent == count - at => at = count,
                // At an error of a later frame the call stops and returns no error number (__sys_sendmmsg in
                // net/socket.c). So the frame behind the sent ones was refused.
                Ok(sent) => {
                    at += sent + 1;
                    refused += 1;
                }
                Err(error) if is_full(&error) => {
                    at += 1;
                    refused += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    fn call(&mut self, lens: &[usize], from: usize) -> io::Result<usize> {
        let mut parts = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; BURST_MAX];
        // SAFETY: zeroes are valid headers: null pointers and lengths of 0.
        let mut headers: [libc::mmsghdr; BURST_MAX] =
            unsafe { MaybeUninit::zeroed().assume_init() };
        let slots = self.slots[from..].iter_mut().zip(lens);
        for (((slot, &len), part), header) in slots.zip(&mut parts).zip(&mut headers) {
            part.iov_base = slot.as_mut_ptr().cast();
            part.iov_len = len;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
        }
        let count = u32::try_from(lens.len()).expect("at most 64");
        // SAFETY: `count` headers point to parts, and those to slots, all of which outlive the call. No part is
        // longer than its slot: `send` has asserted it.
        let sent = unsafe { libc::sendmmsg(self.fd.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
        let sent = check(sent)?;
        Ok(usize::try_from(sent).expect("not negative"))
    }
}

/// The `afpacket` crate, one write a frame: the baseline.
///
/// The stream stays private: a clone of it closes the descriptor twice. It is not made by its own `new`, which would
/// receive from all interfaces; its socket here receives nothing.
pub struct Plain {
    stream: afpacket::sync::RawPacketStream,
    slot: Box<[u8; SLOT]>,
}

impl Plain {
    /// See [`Burst::new`].
    ///
    /// # Errors
    ///
    /// See [`Burst::new`].
    pub fn new(interface: u32) -> io::Result<Self> {
        let fd = open(interface)?.into_raw_fd();
        // SAFETY: the stream becomes the descriptor's only owner, and closes it when dropped.
        let stream = unsafe { afpacket::sync::RawPacketStream::from_raw_fd(fd) };
        Ok(Self {
            stream,
            slot: Box::new([0; SLOT]),
        })
    }

    /// See [`Burst::send`].
    ///
    /// # Errors
    ///
    /// Any error of `write` but lack of room.
    pub fn send(
        &mut self,
        first: u64,
        count: usize,
        mut write: impl FnMut(u64, &mut [u8]) -> usize,
    ) -> io::Result<u64> {
        let mut refused = 0;
        for index in (first..).take(count) {
            let len = write(index, &mut self.slot[..]);
            match self.stream.write(&self.slot[..len]) {
                Ok(sent) if sent == len => {}
                Ok(sent) => return Err(io::Error::other(format!("{sent} bytes of {len} sent"))),
                Err(error) if is_full(&error) => refused += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}
