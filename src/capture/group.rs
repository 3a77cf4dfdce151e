//! The sockets of one interface: one fanout group, opened and gated together.
//!
//! Number and order of the members map flows to workers, so no member ever leaves alone: a [`Group`] lends its
//! sockets and closes them together.

use super::ring::block::Origin;
use super::ring::{Ring, RingGeometry};
use super::socket::{Filter, GATE, RxSocket};
use crate::error::SetupError;
use crate::snapshot::misfit;
use libc::sock_filter;
use std::ffi::c_int;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// A larger group must state its number of members (`max_num_members`).
const MEMBERS_DEFAULT_MAX: usize = 256;
/// The kernel's own limit (PACKET_FANOUT_MAX).
const MEMBERS_MAX: usize = 1 << 16;

/// How the kernel picks the member for a frame.
#[derive(Clone, Copy, Debug)]
pub enum Fanout<'a> {
    /// A classic BPF program returns the member, taken modulo their number. Its frame starts at the IP header
    /// on the way in and at the link header on the way out: [`crate::capture::bpf::fanout::program`] asks which.
    Cbpf(&'a [sock_filter]),
    /// The kernel's symmetric hash over the flow.
    Hash,
    /// The core on which the frame arrived.
    Cpu,
    /// The NIC's queue on which the frame arrived.
    Qm,
}

impl Fanout<'_> {
    fn kind(self) -> u32 {
        match self {
            Self::Cbpf(_) => libc::PACKET_FANOUT_CBPF,
            Self::Hash => libc::PACKET_FANOUT_HASH,
            Self::Cpu => libc::PACKET_FANOUT_CPU,
            Self::Qm => libc::PACKET_FANOUT_QM,
        }
    }
}

/// Settings of a [`Group`].
#[derive(Clone, Debug)]
pub struct GroupConfig<'a> {
    /// The interface's index in the network namespace of the calling thread.
    pub ifindex: u32,
    /// Its name, for messages.
    pub name: &'a str,
    /// One ring each, in the order in which the fanout numbers them.
    pub members: Vec<RingGeometry>,
    /// How the kernel picks a member.
    pub fanout: Fanout<'a>,
    /// Ignore frames that this host sends: on `lo` each frame would be seen twice.
    pub ignore_outgoing: bool,
    /// Ask the NIC for frames to other hosts; ends with the group.
    pub promiscuous: bool,
    /// Interface and link type of all frames.
    pub origin: Origin,
}

/// The sockets of one fanout group, in the order in which they joined.
#[derive(Debug)]
pub struct Group {
    sockets: Vec<RxSocket>,
    /// They are another process's now.
    left: AtomicBool,
}

impl Group {
    /// Opens all members behind closed gates. Nothing enters a ring before a gate is opened.
    ///
    /// `place` is called with a member's number before its ring is allocated: a ring's memory comes from the NUMA
    /// node of the core on which the calling thread runs.
    ///
    /// # Errors
    ///
    /// The call that the kernel refused, with a hint.
    pub fn open(
        config: &GroupConfig<'_>,
        mut place: impl FnMut(usize),
    ) -> Result<(Self, Vec<Ring>), SetupError> {
        let members = config.members.len();
        assert!((1..=MEMBERS_MAX).contains(&members), "{members} members");
        let (mut sockets, mut rings) = (Vec::new(), Vec::new());
        // Sockets are created in the order in which they join: after a link went down and up, the kernel joins
        // them again in the order of creation. Rings come before joining: setting one later changes the order.
        for (index, &geometry) in config.members.iter().enumerate() {
            place(index);
            let (socket, ring) = RxSocket::open(config.name, geometry, config.origin)?;
            sockets.push(socket);
            rings.push(ring);
        }
        for socket in &sockets {
            socket.bind(config.ifindex)?;
        }
        join(&sockets, config)?;
        if let Fanout::Cbpf(program) = config.fanout {
            sockets[0].set_fanout_program(program)?;
        }
        if config.promiscuous {
            set_promiscuous(&sockets[0], config.ifindex)?;
        }
        let group = Self {
            sockets,
            left: AtomicBool::new(false),
        };
        for socket in &group.sockets {
            let call = "getsockopt(PACKET_STATISTICS)";
            let cleared = socket.statistics();
            cleared.map_err(|e| SetupError::new(call, config.name, e))?;
        }
        Ok((group, rings))
    }

    /// The sockets of another process's group, in their order. Its filters stay as they are.
    ///
    /// # Errors
    ///
    /// The first that is no packet socket with such a ring.
    ///
    /// Whoever gave them must have left their rings: of two readers each would give back what the other reads.
    pub fn adopt(
        config: &GroupConfig<'_>,
        sockets: Vec<OwnedFd>,
    ) -> Result<(Self, Vec<Ring>), SetupError> {
        if sockets.len() != config.members.len() {
            let error = misfit("another number of sockets");
            return Err(SetupError::new("taking over", config.name, error));
        }
        let (mut adopted, mut rings) = (Vec::new(), Vec::new());
        for (fd, &geometry) in sockets.into_iter().zip(&config.members) {
            // SAFETY: the process that gave them reads no ring any more, or the two of them agree on nothing.
            let (socket, ring) =
                unsafe { RxSocket::adopt(fd, config.name, geometry, config.origin)? };
            adopted.push(socket);
            rings.push(ring);
        }
        Ok((
            Self {
                sockets: adopted,
                left: AtomicBool::new(false),
            },
            rings,
        ))
    }

    /// Leaves the sockets to another process, which has them: they are closed here with their filters as they are.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Attaches `filter(i)` to member `i`: frames enter.
    ///
    /// # Errors
    ///
    /// The kernel refuses a filter; some gates may be open then.
    pub fn open_gate<'a>(&self, filter: impl Fn(usize) -> Filter<'a>) -> Result<(), SetupError> {
        for (index, socket) in self.sockets.iter().enumerate() {
            socket.attach(filter(index))?;
        }
        Ok(())
    }

    /// Attaches the gate to all members. After two block timeouts and a drain the statistics are final.
    ///
    /// # Errors
    ///
    /// The kernel lacks the memory for a filter of one instruction.
    pub fn close_gate(&self) -> Result<(), SetupError> {
        self.open_gate(|_| Filter::Classic(&GATE))
    }

    /// The members, in the order in which they joined.
    pub fn sockets(&self) -> &[RxSocket] {
        &self.sockets
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.left.load(Ordering::Relaxed) {
            return;
        }
        // Members close one by one, and each close changes the map: no frame may see that.
        let _ = self.close_gate();
    }
}

/// Joins all sockets in order. The kernel picks the group's number, so no group of another process is joined.
fn join(sockets: &[RxSocket], config: &GroupConfig<'_>) -> Result<(), SetupError> {
    let flags = match config.ignore_outgoing {
        // The socket option of that name has no effect in a group.
        true => libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING,
        false => 0,
    };
    let kind = config.fanout.kind() | flags;
    let (first, others) = sockets.split_first().expect("at least one member");
    let members = sockets.len();
    join_one(
        first,
        (kind | libc::PACKET_FANOUT_FLAG_UNIQUEID) << 16,
        members,
    )?;
    let id = first.get("getsockopt(PACKET_FANOUT)", libc::PACKET_FANOUT)? & 0xffff;
    for socket in others {
        join_one(socket, kind << 16 | id, members)?;
    }
    Ok(())
}

fn join_one(socket: &RxSocket, value: u32, members: usize) -> Result<(), SetupError> {
    let (call, option) = ("setsockopt(PACKET_FANOUT)", libc::PACKET_FANOUT);
    if members <= MEMBERS_DEFAULT_MAX {
        return socket.set(call, option, &value);
    }
    // struct fanout_args: the short form, then max_num_members.
    let members = u32::try_from(members).expect("at most 65,536");
    socket.set(call, option, &[value, members])
}

/// The kernel undoes it on close, unlike the interface's flag.
fn set_promiscuous(socket: &RxSocket, ifindex: u32) -> Result<(), SetupError> {
    let request = libc::packet_mreq {
        mr_ifindex: c_int::try_from(ifindex).expect("the kernel's indices are positive ints"),
        mr_type: u16::try_from(libc::PACKET_MR_PROMISC).expect("1"),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    let call = "setsockopt(PACKET_ADD_MEMBERSHIP)";
    socket.set(call, libc::PACKET_ADD_MEMBERSHIP, &request)
}
