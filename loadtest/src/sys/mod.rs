//! System calls that no safe crate has. All `unsafe` of this crate is below this folder.
#![allow(
    unsafe_code,
    reason = "system calls and memory shared with the kernel; each block says why it is sound"
)]

pub mod bpf;
mod map;
mod packet;
mod rxring;
mod txring;
mod wait;
mod xdp;

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

pub use packet::{BURST_MAX, Burst, Plain};
pub use rxring::{RxCounts, RxRing, RxSize, RxStatistics};
pub use txring::TxRing;
pub use wait::{ChildExit, wait};
pub use xdp::Xdp;

/// setsockopt(2) with a plain value: integers, and structures of integers.
///
/// # Safety
///
/// `T` has no padding that the kernel would read.
unsafe fn set_option<T: Copy>(
    fd: BorrowedFd<'_>,
    level: i32,
    option: i32,
    value: &T,
) -> io::Result<()> {
    let len = socklen(size_of::<T>());
    let value: *const T = value;
    // SAFETY: the pointer is to `len` live bytes, which the kernel only reads within the call.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value.cast(), len) };
    check(done).map(drop)
}

fn socklen(len: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(len).expect("a small structure")
}

fn check(returned: i32) -> io::Result<i32> {
    if returned < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(returned)
    }
}

/// Whether the error only says that the kernel has no room now: the sender may go on.
fn is_full(error: &io::Error) -> bool {
    let full = [libc::ENOBUFS, libc::EAGAIN, libc::EBUSY];
    error
        .raw_os_error()
        .is_some_and(|errno| full.contains(&errno))
}

/// Makes the kernel send the frames in a socket's transmit ring; lack of room is no error.
fn kick(socket: &impl AsRawFd) -> io::Result<()> {
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    // SAFETY: neither data nor address: the kernel takes frames from the ring.
    let sent = unsafe { libc::sendto(fd, std::ptr::null(), 0, flags, std::ptr::null(), 0) };
    match sent {
        0.. => Ok(()),
        _ => match io::Error::last_os_error() {
            error if is_full(&error) => Ok(()),
            error => Err(error),
        },
    }
}
