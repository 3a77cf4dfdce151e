//! Descriptors from one process to another: by a Unix socket (SCM_RIGHTS), or inherited.

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors of one message: the kernel's SCM_MAX_FD.
pub const MOST: usize = 253;

/// Sends a message with descriptors, [`MOST`] at most.
///
/// # Errors
///
/// As sendmsg(2).
pub fn send(socket: BorrowedFd<'_>, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let parts = [IoSlice::new(message)];
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &parts,
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    match sent == message.len() {
        true => Ok(()),
        false => Err(ErrorKind::WriteZero.into()),
    }
}

/// Receives a message, and the descriptors with it. Returns its bytes; 0: the other side has closed.
///
/// # Errors
///
/// As recvmsg(2). [`ErrorKind::InvalidData`]: there were more descriptors than one message has.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control = nix::cmsg_space!([RawFd; MOST]);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let is_cut = message.flags.contains(MsgFlags::MSG_CTRUNC);
    for one in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = one {
            // SAFETY: the kernel has just made them for this process, and nothing else owns them.
            fds.extend(
                raw.into_iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
            );
        }
    }
    if is_cut {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "more descriptors than fit",
        ));
    }
    Ok(message.bytes)
}

/// The first descriptor that a service manager passes on (SD_LISTEN_FDS_START).
const FIRST: RawFd = 3;
/// Most descriptors that are taken.
const INHERITED_MAX: usize = 1 << 16;

/// Takes the descriptors that a service manager has passed on, with their names: LISTEN_FDS and LISTEN_FDNAMES, if
/// LISTEN_PID is this process. Once, before any other descriptor is opened; the second time there are none.
pub fn inherited() -> Vec<(String, OwnedFd)> {
    static TAKEN: std::sync::Once = std::sync::Once::new();
    let mut taken = Vec::new();
    TAKEN.call_once(|| taken = take_inherited());
    taken
}

fn take_inherited() -> Vec<(String, OwnedFd)> {
    let variable = |name| std::env::var(name).ok();
    let ours = variable("LISTEN_PID").and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = variable("LISTEN_FDS").and_then(|count| count.parse::<usize>().ok());
    let Some(count) = count.filter(|count| ours && *count <= INHERITED_MAX) else {
        return Vec::new();
    };
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut all = Vec::new();
    for (fd, _) in (FIRST..).zip(0..count) {
        let name = names.next().unwrap_or("unknown").to_owned();
        // SAFETY: only whether it is open is asked.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            break;
        }
        // SAFETY: it is open, and the service manager has made it for this process, which takes it once.
        all.push((name, unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Seek as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn descriptors_arrive_in_their_order_and_are_the_same_files() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut files: Vec<File> = (0..3)
            .map(|_| tempfile::tempfile().expect("a file"))
            .collect();
        for (number, file) in (b'0'..).zip(&mut files) {
            file.write_all(&[number]).expect("written");
            file.rewind().expect("rewound");
        }
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(|file| file.as_fd()).collect();
        send(ours.as_fd(), b"x", &fds).expect("sent");
        send(ours.as_fd(), b"y", &[]).expect("sent");
        let (mut buffer, mut got) = ([0; 8], Vec::new());
        assert_eq!(
            receive(theirs.as_fd(), &mut buffer, &mut got).expect("a message"),
            1
        );
        for (number, fd) in (b'0'..).zip(got) {
            let mut byte = [0];
            File::from(fd).read_exact(&mut byte).expect("its byte");
            assert_eq!(byte, [number]);
        }
        let mut none = Vec::new();
        assert_eq!(
            receive(theirs.as_fd(), &mut buffer, &mut none).expect("a message"),
            1
        );
        assert!(none.is_empty());
        drop(ours);
        assert_eq!(
            receive(theirs.as_fd(), &mut buffer, &mut none).expect("the end"),
            0
        );
    }
}
