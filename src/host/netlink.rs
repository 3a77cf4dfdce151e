//! Netlink framing: one socket, requests out, messages and attributes in.
//!
//! Everything here reads bytes by position; no structure is ever cast onto a buffer. Used by
//! [`crate::host::nic`] (links, addresses, changes) and [`crate::host::open_sockets`] (sockets of the host).
//!
//! Source: `linux/netlink.h`, `linux/rtnetlink.h`.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};

/// Room for one datagram. The kernel fills dumps to at most 32 KiB of it (`netlink_dump`).
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// How often a dump that the kernel calls inconsistent is asked for again.
const DUMP_TRIES: u32 = 4;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// A netlink socket of the calling thread's network namespace.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    buffer: Vec<u8>,
    sequence: u32,
}

/// One message: what it is, and what follows its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`, for example `RTM_NEWLINK`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`: 0 for what the kernel says unasked.
    pub sequence: u32,
    /// The bytes after the header, without padding.
    pub body: &'a [u8],
}

impl Netlink {
    /// Opens a socket that joins the multicast groups in the mask `groups` (0: none).
    ///
    /// # Errors
    ///
    /// What the kernel says to `socket` or `bind`.
    pub fn open(protocol: SockProtocol, groups: u32, non_blocking: bool) -> io::Result<Self> {
        let mut flags = SockFlag::SOCK_CLOEXEC;
        if non_blocking {
            flags |= SockFlag::SOCK_NONBLOCK;
        }
        let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self {
            fd,
            buffer: vec![0; BUFFER_BYTES],
            sequence: 0,
        })
    }

    /// Asks for everything of one kind and keeps what `parse` makes of each answer.
    ///
    /// A dump that changed under the kernel's hands is asked for again, at most four times; the
    /// last answer is then taken as it is.
    ///
    /// # Errors
    ///
    /// What the kernel answered, or what `send` and `recvmsg` said.
    pub fn dump<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            let interrupted = self.ask(kind, NLM_F_REQUEST | NLM_F_DUMP, body, |message| {
                found.extend(parse(message));
            })?;
            if !interrupted {
                break;
            }
        }
        Ok(found)
    }

    /// Asks for one object and gives what `parse` makes of the answer.
    ///
    /// # Errors
    ///
    /// What the kernel answered (ENODEV for a link that is gone), or what `send` and `recvmsg` said.
    pub fn get<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut found = None;
        self.ask(kind, NLM_F_REQUEST | NLM_F_ACK, body, |message| {
            found = parse(message).or(found.take());
        })?;
        Ok(found)
    }

    /// Sends a request and reads until its end. True if the kernel marked the answer interrupted.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut on_message: impl FnMut(Message<'_>),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let bytes = request(kind, flags, sequence, body);
        let sent = socket::send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        if sent != bytes.len() {
            return Err(Errno::EMSGSIZE.into());
        }
        let mut interrupted = false;
        loop {
            for message in messages(self.receive()?) {
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => return ended(message.body).map(|()| interrupted),
                    _ => on_message(message),
                }
            }
        }
    }

    /// Reads one datagram of the kernel. Those of other senders are passed over.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when there is none on a non-blocking socket; ENOBUFS when the kernel had to
    /// throw messages away; EMSGSIZE when a datagram did not fit.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        let length = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let got = socket::recvmsg::<NetlinkAddr>(
                self.fd.as_raw_fd(),
                &mut parts,
                None,
                MsgFlags::empty(),
            );
            let got = match got {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            if got.address.is_some_and(|from| from.pid() != 0) {
                continue;
            }
            if got.flags.contains(MsgFlags::MSG_TRUNC) {
                return Err(Errno::EMSGSIZE.into());
            }
            break got.bytes;
        };
        Ok(&self.buffer[..length])
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The bytes of one request.
fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + body.len()).expect("requests are a few dozen bytes");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// What an NLMSG_ERROR or NLMSG_DONE says: 0 is an acknowledgment, or a dump's good end.
fn ended(body: &[u8]) -> io::Result<()> {
    match u32_at(body, 0).unwrap_or(0).cast_signed() {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

/// The messages in a datagram. Ends at the first one whose length cannot be right.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body: bytes.get(HEADER_BYTES..length)?,
        };
        bytes = bytes.get(aligned(length)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The attributes in `bytes`: type without its flag bits, and value.
///
/// Ends at the first one whose length cannot be right.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(aligned(length)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// Up to the next multiple of 4 (`NLMSG_ALIGN`, `RTA_ALIGN`).
fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// The 16-bit word of this machine's byte order at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*word))
}

/// The 32-bit word of this machine's byte order at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

/// The 64-bit word of this machine's byte order at `at`.
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_walked_by_their_aligned_length() {
        let mut bytes = request(16, 1, 7, &[1, 2, 3]);
        bytes.push(0);
        bytes.extend(request(17, 2, 8, &[4; 4]));
        let seen: Vec<_> = messages(&bytes).collect();
        assert_eq!(seen.len(), 2);
        assert_eq!((seen[0].kind, seen[0].sequence), (16, 7));
        assert_eq!(seen[0].body, [1, 2, 3]);
        assert_eq!((seen[1].kind, seen[1].body), (17, &[4_u8; 4][..]));
    }

    #[test]
    fn no_cut_of_a_message_panics_or_invents_one() {
        let bytes = request(16, 1, 7, &[9; 12]);
        for cut in 0..bytes.len() {
            assert_eq!(messages(&bytes[..cut]).count(), 0, "cut at {cut}");
        }
    }

    #[test]
    fn a_length_below_its_header_ends_the_walk() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
    }

    #[test]
    fn an_error_message_is_the_kernels_errno() {
        assert!(ended(&0_i32.to_ne_bytes()).is_ok());
        let error = ended(&(-19_i32).to_ne_bytes()).expect_err("19 is ENODEV");
        assert_eq!(error.raw_os_error(), Some(19));
    }
}
