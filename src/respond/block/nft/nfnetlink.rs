//! Transactions with the kernel's nftables, and lists of its objects.

use super::attributes::{Batch, kind};
use crate::host::netlink::{Message, Netlink, answer, messages};
use nix::sys::socket::{SockProtocol, setsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// A transaction is one datagram: 65,536 elements with counters take less than 10 MB.
const SEND_BYTES: usize = 16 << 20;
/// For one refusal of each order in a batch, with the message that was refused.
const RECEIVE_BYTES: usize = 4 << 20;

/// Why a transaction did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aborted {
    /// These messages were refused: sequence number and error number.
    Messages(Vec<(u32, i32)>),
    /// The error number for all of it.
    Whole(i32),
}

impl Aborted {
    /// An error number that stands for all of them.
    pub fn errno(&self) -> i32 {
        match self {
            Self::Messages(refused) => refused.first().map_or(libc::EIO, |(_, errno)| *errno),
            Self::Whole(errno) => *errno,
        }
    }
}

impl From<io::Error> for Aborted {
    fn from(error: io::Error) -> Self {
        Self::Whole(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// Whether the kernel dropped messages, and others may follow.
fn is_overrun(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EMSGSIZE))
}

/// Two sockets to nftables.
///
/// The first one makes all changes: the kernel ties an owned table to it.
#[derive(Debug)]
pub struct Nfnetlink {
    writer: Netlink,
    reader: Netlink,
    next: u32,
}

impl Nfnetlink {
    /// Opens both.
    ///
    /// # Errors
    ///
    /// Those of netlink; EPROTONOSUPPORT on a kernel without it.
    pub fn open() -> io::Result<Self> {
        let writer = Netlink::open(SockProtocol::NetlinkNetFilter, 0, true)?;
        // Without the capability nothing else works, either: the first transaction says so.
        let _ = setsockopt(&writer, sockopt::SndBufForce, &SEND_BYTES);
        let _ = setsockopt(&writer, sockopt::RcvBufForce, &RECEIVE_BYTES);
        Ok(Self {
            writer,
            reader: Netlink::open(SockProtocol::NetlinkNetFilter, 0, false)?,
            next: 1,
        })
    }

    /// Sequence number for the next [`Batch`].
    pub fn next_sequence(&self) -> u32 {
        self.next
    }

    /// Carries out all of a batch, or nothing.
    ///
    /// The kernel works in the sender's context (`nfnetlink_rcv_batch`): when `send` is back, its answers are there.
    ///
    /// # Errors
    ///
    /// What the kernel refused.
    pub fn commit(&mut self, batch: Batch) -> Result<(), Aborted> {
        let (first, last) = (batch.first(), batch.last());
        let (bytes, next) = batch.finish();
        self.next = next;
        self.writer.send(&bytes)?;
        let (mut refused, mut answered, mut whole) = (Vec::new(), false, None);
        loop {
            let datagram = match self.writer.receive() {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    let goes_on = is_overrun(&error);
                    whole = Some(error.into());
                    match goes_on {
                        true => continue,
                        false => break,
                    }
                }
            };
            for message in messages(datagram) {
                let Some(result) = answer(message) else {
                    continue;
                };
                let sequence = message.sequence;
                answered |= sequence == last;
                match result {
                    Ok(()) => {}
                    Err(error) if sequence == first => whole = Some(error.into()),
                    Err(error) => {
                        refused.push((sequence, error.raw_os_error().unwrap_or(libc::EIO)));
                    }
                }
            }
        }
        match whole {
            Some(aborted) => Err(aborted),
            None if !refused.is_empty() => Err(Aborted::Messages(refused)),
            None if !answered => Err(Aborted::Whole(libc::EIO)),
            None => Ok(()),
        }
    }

    /// All objects of one kind that `body` asks for.
    ///
    /// # Errors
    ///
    /// The kernel's answer; ENOENT for a table or set that is not there.
    pub fn dump<T>(
        &mut self,
        message: u8,
        body: &[u8],
        parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.reader.dump(kind(message), body, parse)
    }

    /// One object; `None` if it is not there.
    ///
    /// # Errors
    ///
    /// The kernel's answer, but ENOENT.
    pub fn get<T>(
        &mut self,
        message: u8,
        body: &[u8],
        parse: impl FnMut(Message<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        match self.reader.get(kind(message), body, parse) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            other => other,
        }
    }

    /// The port of the socket that makes the changes.
    ///
    /// # Errors
    ///
    /// Those of `getsockname`.
    pub fn port(&self) -> io::Result<u32> {
        self.writer.port()
    }
}

/// Changes of nftables by others, from NFNLGRP_NFTABLES.
#[derive(Debug)]
pub struct Changes {
    netlink: Netlink,
    /// Whose changes are our own.
    own_port: u32,
}

/// `NFNLGRP_NFTABLES` is group 7.
const GROUPS: u32 = 1 << 6;

impl Changes {
    /// Subscribes. Changes of the socket with `own_port` are no changes.
    ///
    /// # Errors
    ///
    /// Those of netlink.
    pub fn watch(own_port: u32) -> io::Result<Self> {
        let netlink = Netlink::open(SockProtocol::NetlinkNetFilter, GROUPS, true)?;
        // Our own changes arrive, too. An overrun is survived.
        let _ = setsockopt(&netlink, sockopt::RcvBufForce, &RECEIVE_BYTES);
        Ok(Self { netlink, own_port })
    }

    /// Whether others changed an object that `is_ours` knows by its message, since the last call. Lost messages count
    /// as a change.
    pub fn take(&mut self, is_ours: impl Fn(&[u8]) -> bool) -> bool {
        let mut changed = false;
        loop {
            match self.netlink.receive() {
                Ok(datagram) => {
                    let mut foreign =
                        messages(datagram).filter(|message| message.port != self.own_port);
                    changed |= foreign.any(|message| is_ours(message.body));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changed,
                Err(error) if is_overrun(&error) => changed = true,
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}
