//! An entry of the journal that is too large for a datagram: memory in a descriptor, sealed, as journald asks for.

use crate::sys::memfd;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use socket2::Socket;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// Sends `message` to the socket at `path`.
///
/// # Errors
///
/// As memfd_create(2), write(2) and sendmsg(2).
pub fn send(socket: &Socket, path: Option<&Path>, message: &[u8]) -> io::Result<usize> {
    let path = path.ok_or(ErrorKind::InvalidInput)?;
    let mut memory = memfd::create(c"synledger-entry")?;
    memory.write_all(message)?;
    memfd::seal(&memory)?;
    let address = UnixAddr::new(path)?;
    let fds = [memory.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    Ok(sendmsg(
        socket.as_raw_fd(),
        &[],
        &control,
        flags,
        Some(&address),
    )?)
}
