//! A packet socket that fills a ring.
//!
//! The kernel prescribes the order of the calls, see [`super::group`]: socket with protocol 0, version, gate, ring,
//! mapping, bind, fanout, fanout program, promiscuous membership, statistics, filter.

use super::ring::block::Origin;
use super::ring::memory::Memory;
use super::ring::{Ring, RingGeometry};
use crate::capture::frame::LinkType;
use crate::error::SetupError;
use libc::sock_filter;
use socket2::{Domain, Socket, Type};
use std::ffi::c_int;
use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// The gate: a filter that accepts no frame.
pub const GATE: [sock_filter; 1] = accept(0);

/// linux/if_packet.h
const PACKET_IGNORE_OUTGOING: c_int = 23;

/// `tp_frame_size` has no meaning in version 3 but must divide the block.
const FRAME_SIZE: u32 = 2048;

/// A program that accepts every frame, cut to `snaplen` bytes.
pub const fn accept(snaplen: u32) -> [sock_filter; 1] {
    [sock_filter {
        code: 0x06, // BPF_RET | BPF_K
        jt: 0,
        jf: 0,
        k: snaplen,
    }]
}

/// Decides which frames enter a ring, and how many bytes of them.
#[derive(Clone, Copy, Debug)]
pub enum Filter<'a> {
    /// A classic BPF program; it returns the bytes to keep.
    Classic(&'a [sock_filter]),
    /// A loaded eBPF program of type SOCKET_FILTER.
    Extended(BorrowedFd<'a>),
}

/// `PACKET_STATISTICS`: counts since the previous reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingStatistics {
    /// Frames that passed the filter, dropped ones included.
    pub tp_packets: u32,
    /// Frames for which the ring had no room.
    pub tp_drops: u32,
    /// Times the ring became full: episodes, not frames.
    pub tp_freeze_q_cnt: u32,
}

/// A socket that fills a ring.
#[derive(Debug)]
pub struct RxSocket {
    socket: Socket,
    name: String,
}

impl RxSocket {
    /// Opens a socket behind a closed gate, with its ring. It receives nothing before [`RxSocket::bind`].
    ///
    /// # Errors
    ///
    /// Without CAP_NET_RAW, without the memory, or with a geometry the kernel refuses.
    pub fn open(
        name: &str,
        geometry: RingGeometry,
        origin: Origin,
    ) -> Result<(Self, Ring), SetupError> {
        // Protocol 0 until bind: with ETH_P_ALL the ring would hold frames of every interface from before
        // the socket joined its fanout group, and those would be counted twice.
        let kind = match origin.link {
            // Cooked: the kernel removes what stands before the IP header, which for PPP and GRE differs between the
            // directions.
            LinkType::RawIp => Type::DGRAM,
            _ => Type::RAW,
        };
        let kind = kind.cloexec().nonblocking();
        let socket = Socket::new(Domain::PACKET, kind, None)
            .map_err(|e| with_hint("socket(AF_PACKET)", name, e))?;
        let socket = Self {
            socket,
            name: name.to_owned(),
        };
        // The value of the kernel's enum, not the number in its name.
        let version = libc::tpacket_versions::TPACKET_V3 as c_int;
        socket.set("setsockopt(PACKET_VERSION)", libc::PACKET_VERSION, &version)?;
        socket.attach(Filter::Classic(&GATE))?;
        let ring = socket.set_ring(geometry, origin)?;
        Ok((socket, ring))
    }

    /// A socket of another process, with its ring of this geometry, bound and in its group.
    ///
    /// # Errors
    ///
    /// It is no packet socket, or has no such ring.
    ///
    /// # Safety
    ///
    /// No other `Ring` of this socket is read any more, in any process.
    pub(super) unsafe fn adopt(
        fd: OwnedFd,
        name: &str,
        geometry: RingGeometry,
        origin: Origin,
    ) -> Result<(Self, Ring), SetupError> {
        let socket = Self {
            socket: Socket::from(fd),
            name: name.to_owned(),
        };
        let version = socket.get("getsockopt(PACKET_VERSION)", libc::PACKET_VERSION)?;
        if version != libc::tpacket_versions::TPACKET_V3 as u32 {
            let error = io::Error::new(io::ErrorKind::InvalidData, format!("version {version}"));
            return Err(SetupError::new("getsockopt(PACKET_VERSION)", name, error));
        }
        // The kernel maps a ring whole or not at all.
        let memory =
            Memory::map(socket.as_fd(), geometry).map_err(|e| with_hint("mmap", name, e))?;
        // SAFETY: by this function's contract nobody else reads it.
        let ring = unsafe { Ring::new(Arc::new(memory), origin) };
        Ok((socket, ring))
    }

    fn set_ring(&self, geometry: RingGeometry, origin: Origin) -> Result<Ring, SetupError> {
        let request = libc::tpacket_req3 {
            tp_block_size: geometry.block_size,
            tp_block_nr: geometry.block_nr,
            tp_frame_size: FRAME_SIZE,
            tp_frame_nr: (geometry.block_size / FRAME_SIZE).saturating_mul(geometry.block_nr),
            tp_retire_blk_tov: geometry.block_timeout_ms,
            tp_sizeof_priv: 0,
            // Without TP_FT_REQ_FILL_RXHASH: the kernel's hash is not used.
            tp_feature_req_word: 0,
        };
        let subject = || {
            let (count, kib) = (geometry.block_nr, geometry.block_size / 1024);
            format!("{}, {count} blocks of {kib} KiB", self.name)
        };
        let call = "setsockopt(PACKET_RX_RING)";
        if geometry.block_timeout_ms == 0 {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "a block timeout of 0 ms");
            return Err(SetupError::new(call, subject(), error));
        }
        let option = libc::PACKET_RX_RING;
        set_option(&self.socket, libc::SOL_PACKET, option, &request)
            .map_err(|e| with_hint(call, subject(), e))?;
        let memory = Memory::map(self.socket.as_fd(), geometry)
            .map_err(|e| with_hint("mmap", subject(), e))?;
        // SAFETY: the socket is new and its memory was mapped once, here; the kernel keeps the contract.
        Ok(unsafe { Ring::new(Arc::new(memory), origin) })
    }

    /// Binds to every protocol of one interface. From here on the filter decides what enters.
    ///
    /// A link that is down is no error: [`RxSocket::take_error`] gives ENETDOWN.
    ///
    /// # Errors
    ///
    /// No such interface in this network namespace.
    pub fn bind(&self, ifindex: u32) -> Result<(), SetupError> {
        let address = libc::sockaddr_ll {
            sll_family: libc::sa_family_t::try_from(libc::AF_PACKET)
                .expect("AF_PACKET fits 16 bits"),
            sll_protocol: u16::try_from(libc::ETH_P_ALL)
                .expect("ETH_P_ALL fits 16 bits")
                .to_be(),
            sll_ifindex: c_int::try_from(ifindex).expect("the kernel's indices are positive ints"),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let (fd, length) = (self.socket.as_raw_fd(), length_of::<libc::sockaddr_ll>());
        // SAFETY: the kernel reads `length` bytes of `address`, which is that long.
        let answer = unsafe { libc::bind(fd, (&raw const address).cast(), length) };
        check(answer).map_err(|e| with_hint("bind", &*self.name, e))
    }

    /// Replaces the filter atomically.
    ///
    /// # Errors
    ///
    /// The kernel refuses the program.
    pub fn attach(&self, filter: Filter<'_>) -> Result<(), SetupError> {
        let (call, answer) = match filter {
            Filter::Classic(program) => {
                let answer = fprog(program).and_then(|program| {
                    let option = libc::SO_ATTACH_FILTER;
                    set_option(&self.socket, libc::SOL_SOCKET, option, &program)
                });
                ("setsockopt(SO_ATTACH_FILTER)", answer)
            }
            Filter::Extended(program) => {
                let (option, program) = (libc::SO_ATTACH_BPF, program.as_raw_fd());
                let answer = set_option(&self.socket, libc::SOL_SOCKET, option, &program);
                ("setsockopt(SO_ATTACH_BPF)", answer)
            }
        };
        answer.map_err(|e| with_hint(call, &*self.name, e))
    }

    /// Reads and clears the kernel's counters. They wrap at 2^32: read them every second, in one place.
    ///
    /// # Errors
    ///
    /// None for an open packet socket.
    pub fn statistics(&self) -> io::Result<RingStatistics> {
        let [tp_packets, tp_drops, tp_freeze_q_cnt] =
            get_option(&self.socket, libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(RingStatistics {
            tp_packets,
            tp_drops,
            tp_freeze_q_cnt,
        })
    }

    /// Takes the pending error, which `poll` reports as POLLERR until then: ENETDOWN when the link goes down.
    pub fn take_error(&self) -> Option<io::Error> {
        self.socket.take_error().unwrap_or_else(Some)
    }

    /// Ignores frames that this host sends: on `lo` each frame would be seen twice. No effect in a fanout group, which
    /// has a flag for it.
    ///
    /// # Errors
    ///
    /// Before Linux 4.20.
    pub fn ignore_outgoing(&self) -> Result<(), SetupError> {
        let call = "setsockopt(PACKET_IGNORE_OUTGOING)";
        self.set(call, PACKET_IGNORE_OUTGOING, &c_int::from(true))
    }

    /// Sets an option of level SOL_PACKET.
    pub(super) fn set<T>(
        &self,
        call: &'static str,
        option: c_int,
        value: &T,
    ) -> Result<(), SetupError> {
        set_option(&self.socket, libc::SOL_PACKET, option, value)
            .map_err(|e| with_hint(call, &*self.name, e))
    }

    /// Reads an option of level SOL_PACKET.
    pub(super) fn get(&self, call: &'static str, option: c_int) -> Result<u32, SetupError> {
        let answer = get_option(&self.socket, libc::SOL_PACKET, option);
        let [value] = answer.map_err(|e| with_hint(call, &*self.name, e))?;
        Ok(value)
    }

    /// Sets the program that picks the member of a fanout group.
    pub(super) fn set_fanout_program(&self, program: &[sock_filter]) -> Result<(), SetupError> {
        let call = "setsockopt(PACKET_FANOUT_DATA)";
        let program = fprog(program).map_err(|e| with_hint(call, &*self.name, e))?;
        self.set(call, libc::PACKET_FANOUT_DATA, &program)
    }
}

impl AsFd for RxSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Opens a packet socket and closes it again.
///
/// # Errors
///
/// Without CAP_NET_RAW, or if the kernel has no packet sockets.
pub fn try_open(name: &str) -> Result<(), SetupError> {
    Socket::new(Domain::PACKET, Type::RAW.cloexec(), None)
        .map(drop)
        .map_err(|e| with_hint("socket(AF_PACKET)", name, e))
}

fn set_option<T>(socket: &Socket, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let (value, length) = (std::ptr::from_ref(value).cast(), length_of::<T>());
    // SAFETY: the kernel reads `length` bytes of `value`, which is that long; a `sock_fprog` points to a
    // program that outlives the call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) })
}

fn get_option<const N: usize>(
    socket: &Socket,
    level: c_int,
    option: c_int,
) -> io::Result<[u32; N]> {
    let mut values = [0_u32; N];
    let mut length = length_of::<[u32; N]>();
    let (to, size) = (values.as_mut_ptr().cast(), &raw mut length);
    // SAFETY: the kernel writes at most `length` bytes to `values`, which is that long and may hold any.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, to, size) })?;
    let whole = size_of_val(&values);
    assert_eq!(length as usize, whole, "option {option} has another length");
    Ok(values)
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("options are small")
}

fn check(answer: c_int) -> io::Result<()> {
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The kernel only reads the program, whatever the pointer's type says.
fn fprog(program: &[sock_filter]) -> io::Result<libc::sock_fprog> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "more than 65,535 instructions");
    Ok(libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(too_long)?,
        filter: program.as_ptr().cast_mut(),
    })
}

/// A set-up error, with a hint if the cause is known.
pub(super) fn with_hint(
    call: &'static str,
    subject: impl Into<String>,
    error: io::Error,
) -> SetupError {
    let fanout = call.contains("FANOUT");
    let hint = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            Some("needs CAP_NET_RAW: run as root, or set the file capability cap_net_raw")
        }
        Some(libc::ENOMEM) => Some("not enough memory for the ring: lower --ring-mib"),
        Some(libc::ENODEV | libc::ENXIO) => Some("no such interface in this network namespace"),
        Some(libc::EAFNOSUPPORT) => Some("this kernel has no AF_PACKET: load af_packet"),
        Some(libc::ENOSPC) if fanout => Some("the fanout group is full: fewer --workers"),
        Some(libc::EINVAL) if fanout => {
            Some("before Linux 6.13 a link must be up: ip link set DEV up")
        }
        _ => None,
    };
    let error = SetupError::new(call, subject, error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_errors_have_a_hint() {
        let say = |call, errno| {
            let error = io::Error::from_raw_os_error(errno);
            with_hint(call, "eth0", error).to_string()
        };
        assert!(say("socket(AF_PACKET)", libc::EPERM).contains("CAP_NET_RAW"));
        assert!(say("setsockopt(PACKET_RX_RING)", libc::ENOMEM).contains("--ring-mib"));
        assert!(say("setsockopt(PACKET_FANOUT)", libc::ENOSPC).contains("--workers"));
        let plain = "bind failed for eth0: Invalid argument";
        assert_eq!(say("bind", libc::EINVAL), plain);
    }
}
