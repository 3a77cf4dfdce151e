//! Waiting for several rings at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// poll(2) leaves out negative descriptors.
const NOBODY: i32 = -1;

/// Waits until one of several sockets has a block or an error. Reuses its memory.
///
/// The kernel reports "readable" until the block it closed last is returned: leave out rings with an open block, or
/// the wait returns at once, again and again.
#[derive(Debug, Default)]
pub struct Poller {
    fds: Vec<libc::pollfd>,
}

impl Poller {
    /// A poller that allocates nothing for up to `sockets` sockets.
    pub fn with_capacity(sockets: usize) -> Self {
        Self {
            fds: Vec::with_capacity(sockets),
        }
    }

    /// Waits at most `timeout`, rounded up to a millisecond. `None` is a socket that is not waited for. Returns the
    /// number of ready sockets; 0 after the timeout or a signal.
    ///
    /// # Errors
    ///
    /// ENOMEM, or more sockets than the process may have.
    pub fn wait<'a, S: AsFd + 'a>(
        &mut self,
        sockets: impl IntoIterator<Item = Option<&'a S>>,
        timeout: Duration,
    ) -> io::Result<usize> {
        self.fds.clear();
        self.fds
            .extend(sockets.into_iter().map(|socket| libc::pollfd {
                fd: socket.map_or(NOBODY, |socket| socket.as_fd().as_raw_fd()),
                events: libc::POLLIN | libc::POLLERR,
                revents: 0,
            }));
        let count = libc::nfds_t::try_from(self.fds.len()).expect("as wide as usize");
        let timeout_ms = timeout.as_nanos().div_ceil(1_000_000);
        let timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
        // SAFETY: the kernel reads and writes `count` entries, the length of the list.
        let answer = unsafe { libc::poll(self.fds.as_mut_ptr(), count, timeout_ms) };
        match usize::try_from(answer) {
            Ok(ready) => Ok(ready),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {
                    self.fds.clear();
                    Ok(0)
                }
                error => Err(error),
            },
        }
    }

    /// Indices of the last wait's sockets with a pending error: a link that went down.
    pub fn failed(&self) -> impl Iterator<Item = usize> {
        let bad = libc::POLLERR | libc::POLLHUP | libc::POLLNVAL;
        let all = self.fds.iter().enumerate();
        all.filter(move |(_, fd)| fd.revents & bad != 0)
            .map(|(place, _)| place)
    }
}
