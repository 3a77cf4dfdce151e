//! Bare packet sockets for the tests that ask the real kernel. The sensor opens its own.
#![allow(
    unsafe_code,
    reason = "sockaddr_ll and the fanout options have no safe wrapper"
)]

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, sock_fprog, socklen_t};

/// An AF_PACKET socket bound to one interface.
pub struct Tap {
    fd: OwnedFd,
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Tap {
    /// A non-blocking socket on interface `ifindex`; with `listen` it receives every frame.
    ///
    /// # Errors
    ///
    /// As `socket(2)` and `bind(2)`.
    pub fn open(ifindex: u32, listen: bool) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers are passed.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the call above made it, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let all = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?;
        let address = libc::sockaddr_ll {
            sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
            sll_protocol: if listen { all.to_be() } else { 0 },
            sll_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        // SAFETY: the address lives through the call and is as long as said.
        check(unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                length::<libc::sockaddr_ll>(),
            )
        })?;
        Ok(Self { fd })
    }

    /// Joins fanout group `group`, which a program will divide.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn join(&self, group: u16) -> io::Result<()> {
        let word = u32::from(group) | libc::PACKET_FANOUT_CBPF << 16;
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &word)
    }

    /// Gives the group its program.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn divide(&self, program: &[sock_filter]) -> io::Result<()> {
        self.program(libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, program)
    }

    /// Gives the socket a filter.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn filter(&self, program: &[sock_filter]) -> io::Result<()> {
        self.program(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }

    /// Makes the receive queue this long, beyond the system's limit.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn queue(&self, bytes: c_int) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
    }

    fn program(&self, level: c_int, option: c_int, program: &[sock_filter]) -> io::Result<()> {
        let word = sock_fprog {
            len: u16::try_from(program.len()).map_err(io::Error::other)?,
            filter: program.as_ptr().cast_mut(),
        };
        self.set(level, option, &word)
    }

    fn set<T>(&self, level: c_int, option: c_int, value: &T) -> io::Result<()> {
        let value: *const c_void = std::ptr::from_ref(value).cast();
        // SAFETY: the value lives through the call and is as long as said; what a program points
        // to is borrowed by the caller, and the kernel only reads it.
        let rc =
            unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, value, length::<T>()) };
        check(rc).map(drop)
    }
}

/// A device without link headers, up to whoever sets it up; it ends when the file is closed.
///
/// What is written is a packet that comes in.
///
/// # Errors
///
/// As opening `/dev/net/tun` and TUNSETIFF.
pub fn tun(name: &str) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = u16::try_from(libc::IFF_TUN | libc::IFF_NO_PI).map_err(io::Error::other)?;
    request[16..18].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the request is an ifreq, 40 bytes, and lives through the call.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    check(rc).map(|_| file)
}

fn check(rc: c_int) -> io::Result<c_int> {
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(rc)
}

fn length<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).unwrap_or(socklen_t::MAX)
}
