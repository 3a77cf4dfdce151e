//! Sockets to collectors, which never block: how each is opened, found to be down, and opened again.

use super::memory;
use crate::log::formats::framing::Transport;
use crate::log::sinks::endpoint::Endpoint;
use crate::sys::socket_queue;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, getsockopt, recv, sockopt};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::Duration;

/// A collector that is down is tried again after this time.
const RETRY_NS: i64 = 1_000_000_000;
/// The same over UDP. A host says at most once a second that nobody listens (icmp_ratelimit): where that answer is
/// left out, the collector looks as if it were up.
const RETRY_UDP_NS: i64 = 2_000_000_000;
/// So long an answer that it is still down may take, or one that it takes a connection.
const PROBE_NS: i64 = 200_000_000;
const CONNECT_NS: i64 = 5_000_000_000;
/// A connection on which nothing is acknowledged for so long is broken.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// Headers before a UDP datagram's payload.
const HEADERS_4: usize = 20 + 8;
const HEADERS_6: usize = 40 + 8;
/// Messages over TCP have at most so many bytes.
const STREAM_LIMIT: usize = 16 << 10;
/// Datagrams to a socket of this host have at most so many bytes.
const LOCAL_LIMIT: usize = 64 << 10;

/// Whether messages can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Yes.
    Up,
    /// Yes, by a connection that is new.
    New,
    /// Not now.
    Down,
    /// Send something without records: if it is not refused soon, the collector is up.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// Until an answer came, or this time.
    Waiting(i64),
    /// Until it is tried again.
    Down(i64),
}

/// A socket to a collector.
#[derive(Debug)]
pub struct Channel {
    transport: Transport,
    addresses: Vec<SockAddr>,
    /// Which address is in use.
    at: usize,
    socket: Option<Socket>,
    state: State,
    /// `mtu=`.
    mtu: usize,
    limit: usize,
    /// What is too large for a datagram goes as memory in a descriptor.
    in_memory: bool,
    /// Streams: bytes that were handed over and may not be acknowledged, those of introductions among them.
    pub handed: usize,
}

impl Channel {
    /// Resolves the collector's name and opens a socket. One that is down is no error.
    ///
    /// # Errors
    ///
    /// The name cannot be resolved, or the path of a socket is too long.
    pub fn open(endpoint: &Endpoint, mtu: u16) -> io::Result<Self> {
        let addresses = match endpoint {
            Endpoint::Local(path) => vec![SockAddr::unix(path)?],
            Endpoint::Internet { .. } => {
                let found = endpoint.resolve()?.into_iter().map(SockAddr::from);
                found.collect()
            }
        };
        if addresses.is_empty() {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let transport = endpoint.transport();
        let mut channel = Self {
            transport,
            addresses,
            at: 0,
            socket: None,
            state: State::Down(i64::MIN),
            mtu: mtu.into(),
            limit: 0,
            in_memory: false,
            handed: 0,
        };
        let socket = channel.new_socket();
        channel.socket = match transport {
            Transport::Unix => Some(socket?),
            Transport::Udp | Transport::Tcp => socket.ok(),
        };
        channel.state = match (transport, &channel.socket) {
            (Transport::Tcp, None) => State::Down(i64::MIN),
            // The kernel ends it.
            (Transport::Tcp, Some(_)) => State::Waiting(i64::MAX),
            (Transport::Udp | Transport::Unix, _) => State::Up,
        };
        channel.limit = channel.limit_of_path();
        Ok(channel)
    }

    /// The peer takes memory in a descriptor, as journald does.
    pub fn takes_memory(self) -> Self {
        let in_memory = true;
        Self { in_memory, ..self }
    }

    /// Most bytes of a message.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether messages go over one connection, in order and acknowledged.
    pub fn is_stream(&self) -> bool {
        self.transport == Transport::Tcp
    }

    /// Whether whoever does not read lets datagrams be lost, of which nobody hears.
    pub fn loses(&self) -> bool {
        self.transport == Transport::Udp
    }

    fn new_socket(&self) -> io::Result<Socket> {
        let address = &self.addresses[self.at];
        let kind = match self.transport {
            Transport::Tcp => Type::STREAM,
            Transport::Udp | Transport::Unix => Type::DGRAM,
        };
        let socket = Socket::new(address.domain(), kind.nonblocking(), None)?;
        match self.transport {
            // Sent to its path each time: whoever opens the path anew gets the next message.
            Transport::Unix => return Ok(socket),
            Transport::Udp => {}
            Transport::Tcp => {
                socket.set_tcp_nodelay(true)?;
                socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
            }
        }
        match socket.connect(address) {
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
            done => done.map(|()| socket),
        }
    }

    /// Whether messages can be sent now.
    pub fn ready(&mut self, now_ns: i64) -> Ready {
        match self.state {
            State::Up => Ready::Up,
            State::Down(until_ns) if now_ns < until_ns => Ready::Down,
            State::Down(_) => self.try_again(now_ns),
            State::Waiting(_) if self.refused() => self.fail(now_ns),
            State::Waiting(_) if self.is_stream() && self.is_connected() => self.go_up(),
            State::Waiting(until_ns) if now_ns < until_ns => Ready::Down,
            State::Waiting(_) if self.is_stream() => self.fail(now_ns),
            State::Waiting(_) => self.go_up(),
        }
    }

    fn go_up(&mut self) -> Ready {
        self.state = State::Up;
        Ready::New
    }

    fn fail(&mut self, now_ns: i64) -> Ready {
        self.down(now_ns);
        Ready::Down
    }

    fn try_again(&mut self, now_ns: i64) -> Ready {
        if self.transport == Transport::Unix {
            // The next message says at once whether somebody takes it.
            return self.go_up();
        }
        self.at = (self.at + 1) % self.addresses.len();
        self.handed = 0;
        self.socket = self.new_socket().ok();
        if self.socket.is_none() {
            return self.fail(now_ns);
        }
        self.limit = self.limit_of_path();
        match self.transport {
            Transport::Tcp => {
                self.state = State::Waiting(now_ns.saturating_add(CONNECT_NS));
                Ready::Down
            }
            Transport::Udp | Transport::Unix => {
                self.state = State::Waiting(now_ns.saturating_add(PROBE_NS));
                Ready::Probe
            }
        }
    }

    /// Whether the socket has an error.
    fn refused(&self) -> bool {
        let socket = self.socket.as_ref();
        socket.is_none_or(|socket| !matches!(socket.take_error(), Ok(None)))
    }

    /// Whether a connection is there.
    fn is_connected(&self) -> bool {
        let socket = self.socket.as_ref();
        socket.is_some_and(|socket| socket.peer_addr().is_ok())
    }

    /// Nothing can be sent until it is tried again.
    pub fn down(&mut self, now_ns: i64) {
        let retry_ns = match self.transport {
            Transport::Udp => RETRY_UDP_NS,
            Transport::Tcp | Transport::Unix => RETRY_NS,
        };
        self.state = State::Down(now_ns.saturating_add(retry_ns));
        if self.is_stream() {
            self.socket = None;
            self.handed = 0;
        }
    }

    /// Sends a datagram.
    ///
    /// # Errors
    ///
    /// Those of send(2); `WouldBlock`: it takes nothing now.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let Some(socket) = &self.socket else {
            return Err(ErrorKind::NotConnected.into());
        };
        let sent = match self.transport {
            Transport::Unix => match socket.send_to(message, &self.addresses[self.at]) {
                Err(error) if self.in_memory && is_too_large(&error) => {
                    memory::send(socket, self.addresses[self.at].as_pathname(), message)
                }
                done => done,
            },
            Transport::Udp | Transport::Tcp => {
                socket.send_with_flags(message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
            }
        };
        sent.map(drop)
    }

    /// Hands bytes to a stream.
    ///
    /// # Errors
    ///
    /// As [`Channel::send`].
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(socket) = &self.socket else {
            return Err(ErrorKind::NotConnected.into());
        };
        let count = socket.send_with_flags(bytes, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)?;
        self.handed += count;
        Ok(count)
    }

    /// Bytes that a stream was handed and its peer has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        let socket = self.socket.as_ref();
        socket.map_or(0, |socket| {
            socket_queue::unacknowledged(socket.as_fd()).unwrap_or(0)
        })
    }

    /// Whether the peer of a stream has closed it. What it sends is not for us.
    pub fn is_closed(&self) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        let mut bytes = [0; 256];
        match recv(socket.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
            Ok(count) => count == 0,
            Err(errno) => !matches!(errno, Errno::EAGAIN | Errno::EINTR),
        }
    }

    /// Waits at most `timeout` until something can be sent.
    pub fn wait(&self, timeout: Duration) {
        match (&self.socket, self.state) {
            (Some(socket), State::Up) => {
                let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
                let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, timeout);
            }
            _ => std::thread::sleep(timeout),
        }
    }

    /// The path has become smaller, as a router says.
    pub fn measure_path(&mut self) {
        self.limit = self.limit_of_path();
    }

    fn limit_of_path(&self) -> usize {
        match self.transport {
            Transport::Tcp => STREAM_LIMIT,
            Transport::Unix => LOCAL_LIMIT,
            Transport::Udp => {
                let is_6 = self.addresses[self.at].domain() == Domain::IPV6;
                let socket = self.socket.as_ref().map(AsFd::as_fd);
                let path = socket.and_then(|socket| path_mtu(socket, is_6));
                let mtu = path.map_or(self.mtu, |path| path.min(self.mtu));
                let headers = if is_6 { HEADERS_6 } else { HEADERS_4 };
                mtu.max(MTU_LEAST) - headers
            }
        }
    }
}

fn is_too_large(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS))
}

/// Below that no path is.
const MTU_LEAST: usize = 256;

/// The path's MTU, as far as the kernel knows it.
fn path_mtu(socket: BorrowedFd<'_>, is_6: bool) -> Option<usize> {
    match is_6 {
        true => socket_queue::path_mtu_6(socket),
        false => usize::try_from(getsockopt(&socket, sockopt::IpMtu).ok()?).ok(),
    }
}
