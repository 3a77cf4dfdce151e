//! What the kernel knows of a connected socket: bytes on their way, and the path's MTU.

use libc::{c_int, c_void, socklen_t};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes that were written to a TCP socket and are not acknowledged (SIOCOUTQ, tcp(7)). Also of a socket whose connection
/// was reset: `tcp_ioctl` in net/ipv4/tcp.c answers in every state but that of a listener.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut count: c_int = 0;
    // SAFETY: the kernel writes one int.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    (answer == 0).then(|| usize::try_from(count).unwrap_or(0))
}

/// The MTU of the path of a connected IPv6 socket.
pub fn path_mtu_6(socket: BorrowedFd<'_>) -> Option<usize> {
    let mut mtu: c_int = 0;
    let mut len = socklen_t::try_from(size_of::<c_int>()).expect("four bytes");
    let (value, length): (*mut c_void, _) = ((&raw mut mtu).cast(), &raw mut len);
    let (level, name) = (libc::IPPROTO_IPV6, libc::IPV6_MTU);
    // SAFETY: the kernel writes at most `len` bytes to `mtu`, and `len`.
    let answer = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, length) };
    (answer == 0).then(|| usize::try_from(mtu).unwrap_or(0))
}
