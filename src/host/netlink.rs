//! Netlink: a socket, requests, messages and attributes.
//!
//! Bytes are read by position; no structure is cast onto a buffer.
//!
//! Source: `linux/netlink.h`, `linux/rtnetlink.h`.

use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
};

/// Room for one datagram. The kernel fills dumps to at most 32 KiB of it (`netlink_dump`).
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Tries of a dump that the kernel marks as interrupted.
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

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`, for example `RTM_NEWLINK`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`; 0 in notifications.
    pub sequence: u32,
    /// `nlmsg_pid`. In a notification of nftables: the port of the socket that made the change.
    pub port: u32,
    /// The bytes after the header, without padding.
    pub body: &'a [u8],
}

impl Netlink {
    /// Opens a socket that joins the multicast groups in the mask `groups` (0: none).
    ///
    /// # Errors
    ///
    /// Those of `socket` and `bind`.
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

    /// Dumps all objects of one kind, each parsed by `parse`.
    ///
    /// An interrupted dump (NLM_F_DUMP_INTR) is repeated. After four tries the last one is taken as it is.
    ///
    /// # Errors
    ///
    /// The kernel's answer, or those of `send` and `recvmsg`.
    pub fn dump<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.dump_at_most(usize::MAX, kind, body, parse)
    }

    /// The same, of which the first `max` are kept.
    ///
    /// # Errors
    ///
    /// Those of [`Self::dump`].
    pub fn dump_at_most<T>(
        &mut self,
        max: usize,
        kind: u16,
        body: &[u8],
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            let interrupted = self.transact(kind, NLM_F_REQUEST | NLM_F_DUMP, body, |message| {
                if found.len() < max {
                    found.extend(parse(message));
                }
            })?;
            if !interrupted {
                break;
            }
        }
        Ok(found)
    }

    /// Gets one object, parsed by `parse`.
    ///
    /// # Errors
    ///
    /// The kernel's answer (ENODEV for a link that is gone), or those of `send` and `recvmsg`.
    pub fn get<T>(
        &mut self,
        kind: u16,
        body: &[u8],
        mut parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut found = None;
        self.transact(kind, NLM_F_REQUEST | NLM_F_ACK, body, |message| {
            found = parse(message).or(found.take());
        })?;
        Ok(found)
    }

    /// Sends a request and reads the whole answer. True if the dump was interrupted.
    fn transact(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut on_message: impl FnMut(Message<'_>),
    ) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.send(&request(kind, flags, sequence, body))?;
        let mut interrupted = false;
        loop {
            for message in messages(self.receive()?) {
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => return result(message.body).map(|()| interrupted),
                    _ => on_message(message),
                }
            }
        }
    }

    /// Sends finished messages, whose sequence numbers are the caller's.
    ///
    /// # Errors
    ///
    /// Those of `send`; EMSGSIZE also if it took a part.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = socket::send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())?;
        match sent == bytes.len() {
            true => Ok(()),
            false => Err(Errno::EMSGSIZE.into()),
        }
    }

    /// The port that the kernel gave to this socket.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn port(&self) -> io::Result<u32> {
        let name: NetlinkAddr = socket::getsockname(self.fd.as_raw_fd())?;
        Ok(name.pid())
    }

    /// Receives one datagram of the kernel, and skips those of other senders.
    ///
    /// # Errors
    ///
    /// `WouldBlock` without a datagram on a non-blocking socket; ENOBUFS when the kernel dropped messages;
    /// EMSGSIZE when a datagram did not fit.
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

/// The kernel's answer to a request of its own sequence number, if this message is one.
///
/// # Errors
///
/// What the kernel refused it with.
pub fn answer(message: Message<'_>) -> Option<io::Result<()>> {
    (message.kind == NLMSG_ERROR).then(|| result(message.body))
}

/// The errno in an NLMSG_ERROR or NLMSG_DONE; 0 is an acknowledgment, or the good end of a dump.
fn result(body: &[u8]) -> io::Result<()> {
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
            port: u32_at(bytes, 12)?,
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

/// Rounds up to a multiple of 4 (`NLMSG_ALIGN`, `RTA_ALIGN`).
pub fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// The IPv4 or IPv6 address in an attribute of 4 or 16 bytes.
pub fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(value).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// The 16-bit integer in native byte order at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*word))
}

/// The 32-bit integer in native byte order at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*word))
}

/// The 64-bit integer in native byte order at `at`.
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
        assert!(result(&0_i32.to_ne_bytes()).is_ok());
        let error = result(&(-19_i32).to_ne_bytes()).expect_err("19 is ENODEV");
        assert_eq!(error.raw_os_error(), Some(19));
    }
}
