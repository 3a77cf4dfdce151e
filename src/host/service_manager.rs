//! The service manager that started this process, told by sd_notify(3): ready, reloading, stopping, alive.

use crate::sys::passing;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::sync::Arc;
use std::time::Duration;

/// A connection to the service manager; without one, every message goes nowhere.
///
/// It is connected once: a sensor that has given its privileges up need not find the path again. It never waits:
/// where the manager reads nothing, a message is lost.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The manager of NOTIFY_SOCKET, with the watchdog of WATCHDOG_USEC if WATCHDOG_PID is this process or unset.
    ///
    /// # Errors
    ///
    /// NOTIFY_SOCKET names a socket that cannot be connected.
    pub fn from_environment() -> io::Result<Self> {
        let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|value| !value.is_empty()) else {
            return Ok(Self::default());
        };
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let ours = env::var_os("WATCHDOG_PID")
            .is_none_or(|pid| pid == OsString::from(process::id().to_string()));
        let watchdog_us = number("WATCHDOG_USEC").filter(|&us| ours && us > 0);
        Self::connect(&address, watchdog_us.map(Duration::from_micros))
    }

    /// The manager at this path, or at this abstract name if it begins with `@`.
    ///
    /// # Errors
    ///
    /// Those of `socket` and `connect`.
    pub fn connect(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match address.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => socket.connect(address)?,
        }
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some(Arc::new(socket)),
            watchdog,
        })
    }

    /// Whether there is one.
    pub fn is_present(&self) -> bool {
        self.socket.is_some()
    }

    /// How long the manager waits for a sign of life before it ends the service; `None`: for ever.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Leaves a descriptor in the manager's store under this name. The manager does not look whether it has an error: a
    /// packet socket has one when its interface goes down.
    ///
    /// # Errors
    ///
    /// There is no manager, or it takes no message within a second.
    pub fn store(&self, name: &str, fd: &impl AsFd) -> io::Result<()> {
        let message = format!("FDSTORE=1\nFDNAME={name}\nFDPOLL=0");
        self.send_with(&message, fd.as_fd())
    }

    /// Removes what has this name from the store.
    pub fn remove_stored(&self, name: &str) {
        self.notify(&["FDSTOREREMOVE=1", &format!("FDNAME={name}")]);
    }

    /// Waits until the manager has handled all messages so far, five seconds at most.
    ///
    /// # Errors
    ///
    /// There is no manager, or it does not answer.
    pub fn barrier(&self) -> io::Result<()> {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        self.send_with("BARRIER=1", theirs.as_fd())?;
        drop(theirs);
        // The manager closes its end.
        let mut polled = [PollFd::new(ours.as_fd(), PollFlags::POLLHUP)];
        match poll(&mut polled, PollTimeout::from(5_000_u16))? {
            0 => Err(ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    fn send_with(&self, message: &str, fd: BorrowedFd<'_>) -> io::Result<()> {
        let socket = self.socket.as_ref();
        let socket = socket.ok_or_else(|| io::Error::other("NOTIFY_SOCKET is not set"))?;
        loop {
            match passing::send(socket.as_fd(), message.as_bytes(), &[fd]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            let mut polled = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut polled, PollTimeout::from(1_000_u16))? == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Sends these assignments, such as `READY=1`. A message that cannot be sent is lost: nobody is there to be told.
    pub fn notify(&self, assignments: &[&str]) {
        if let Some(socket) = &self.socket {
            let _ = socket.send(assignments.join("\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_a_path_and_an_abstract_name_and_waits_for_nobody() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let name = format!("synledger-test-{}", process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("a name");
        let at_path = UnixDatagram::bind(&path).expect("bound");
        let at_name = UnixDatagram::bind_addr(&abstract_name).expect("bound");
        for (socket, address) in [
            (at_path, path.as_os_str()),
            (at_name, OsStr::new(&format!("@{name}"))),
        ] {
            let manager = ServiceManager::connect(address, None).expect("connected");
            manager.notify(&["READY=1", "STATUS=x"]);
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).expect("a message");
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=x");
            // Far more than its queue holds.
            (0..10_000).for_each(|_| manager.notify(&["WATCHDOG=1"]));
        }
    }

    #[test]
    fn without_a_manager_nothing_is_sent_and_a_path_without_a_socket_is_an_error() {
        ServiceManager::default().notify(&["READY=1"]);
        let dir = tempfile::tempdir().expect("a folder");
        let error = ServiceManager::connect(dir.path().join("none").as_os_str(), None);
        assert_eq!(
            error.expect_err("no socket").kind(),
            io::ErrorKind::NotFound
        );
    }
}
