//! Bare packet sockets. The sensor opens its own.
#![allow(
    unsafe_code,
    reason = "sockaddr_ll and the fanout options have no safe wrapper"
)]

use std::fs::File;
use std::io::{self, Write};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void, sock_filter, sock_fprog, socklen_t};

/// A socket that sends frames unchanged through one interface and receives nothing.
#[derive(Debug)]
pub struct TxSocket(File);

impl TxSocket {
    /// Opens a sender on interface `ifindex`.
    ///
    /// # Errors
    ///
    /// As `socket(2)` and `bind(2)`: without `CAP_NET_RAW`, or without such an interface.
    pub fn open(ifindex: u32) -> io::Result<Self> {
        Ok(Self(File::from(sender(ifindex)?)))
    }

    /// Sends one frame, from its link header on.
    ///
    /// # Errors
    ///
    /// As `packet(7)`: ENETDOWN, EMSGSIZE or ENOBUFS.
    ///
    /// # Panics
    ///
    /// If the kernel sent only a part of it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = (&self.0).write(frame)?;
        assert_eq!(sent, frame.len(), "a frame is sent whole or not at all");
        Ok(())
    }
}

/// A packet socket bound to interface `ifindex` for sending: with protocol 0 it receives nothing.
///
/// # Errors
///
/// As `socket(2)` and `bind(2)`.
pub fn sender(ifindex: u32) -> io::Result<OwnedFd> {
    open(0, ifindex, 0)
}

fn open(flags: c_int, ifindex: u32, protocol: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | flags;
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the call above made it, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let protocol = u16::try_from(protocol).map_err(io::Error::other)?;
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = length::<libc::sockaddr_ll>();
    // SAFETY: the address lives through the call, and `size` is its length.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size) })?;
    Ok(fd)
}

/// An AF_PACKET socket bound to one interface, which may also receive.
#[derive(Debug)]
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
        let protocol = if listen { libc::ETH_P_ALL } else { 0 };
        let fd = open(libc::SOCK_NONBLOCK, ifindex, protocol)?;
        Ok(Self { fd })
    }

    /// Joins fanout group `group`, which a BPF program distributes.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn join(&self, group: u16) -> io::Result<()> {
        let word = u32::from(group) | libc::PACKET_FANOUT_CBPF << 16;
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &word)
    }

    /// Sets the program that distributes the group's packets.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_fanout_program(&self, program: &[sock_filter]) -> io::Result<()> {
        self.program(libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, program)
    }

    /// Attaches a classic BPF filter.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn filter(&self, program: &[sock_filter]) -> io::Result<()> {
        self.program(libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }

    /// Attaches a loaded eBPF program as a filter.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn filter_loaded(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_BPF);
        self.set(level, option, &program.as_raw_fd())
    }

    /// Sets the receive queue's size, also beyond the system's limit.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn set_receive_queue(&self, bytes: c_int) -> io::Result<()> {
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
        // SAFETY: the value lives through the call and has the given length; instructions that it
        // points to are borrowed by the caller, and the kernel only reads them.
        let rc =
            unsafe { libc::setsockopt(self.fd.as_raw_fd(), level, option, value, length::<T>()) };
        check(rc).map(drop)
    }
}

/// The fanout group of a packet socket.
///
/// # Errors
///
/// As `getsockopt(2)`.
pub fn fanout_group(socket: &impl AsFd) -> io::Result<u16> {
    let (mut value, mut size) = (0_u32, length::<u32>());
    let (to, option) = ((&raw mut value).cast(), libc::PACKET_FANOUT);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `size` bytes to `value`, which is that long.
    check(unsafe { libc::getsockopt(fd, libc::SOL_PACKET, option, to, &raw mut size) })?;
    u16::try_from(value & 0xffff).map_err(io::Error::other)
}

/// A tun device, without link headers. The caller sets it up; it is removed when the file is closed.
///
/// A packet written to the file arrives at the device.
///
/// # Errors
///
/// As opening `/dev/net/tun` and TUNSETIFF.
pub fn tun(name: &str) -> io::Result<File> {
    attach(name, libc::IFF_TUN)
}

/// [`tun`] of another hardware type (`ARPHRD_*`): a stand-in for a device that this kernel may not have. With
/// `ethernet` each frame has an Ethernet header.
///
/// # Errors
///
/// As [`tun`], and TUNSETLINK.
pub fn tun_as(name: &str, arphrd: u16, ethernet: bool) -> io::Result<File> {
    let file = attach(
        name,
        if ethernet {
            libc::IFF_TAP
        } else {
            libc::IFF_TUN
        },
    )?;
    let arphrd = libc::c_ulong::from(arphrd);
    // SAFETY: the argument is a number.
    let rc = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETLINK, arphrd) };
    check(rc).map(|_| file)
}

fn attach(name: &str, kind: c_int) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let mut request = [0u8; 40];
    request[..name.len()].copy_from_slice(name.as_bytes());
    let flags = u16::try_from(kind | libc::IFF_NO_PI).map_err(io::Error::other)?;
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
