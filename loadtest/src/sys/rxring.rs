//! TPACKET_V3 receive rings whose frames are only counted: the least work of a reader.

use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use super::map::Map;
use super::{check, set_option, socklen};

/// Size of one ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxSize {
    /// The ring, a multiple of `block_bytes`.
    pub bytes: u32,
    /// One block.
    pub block_bytes: u32,
}

/// One ring on its socket. It takes no frame before [`RxRing::open_gate`].
#[derive(Debug)]
pub struct RxRing {
    fd: OwnedFd,
    map: Map,
    size: RxSize,
    next: u32,
}

/// Frames that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxCounts {
    /// Frames.
    pub frames: u64,
    /// Their lengths on the wire.
    pub bytes: u64,
}

/// PACKET_STATISTICS; reading it clears it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxStatistics {
    /// Frames offered, drops included.
    pub tp_packets: u32,
    /// Frames for which there was no room.
    pub tp_drops: u32,
}

impl RxRing {
    /// A ring at this interface of the calling thread's namespace, its gate closed. The kernel hands over a
    /// part-filled block after `timeout_ms`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it: no `CAP_NET_RAW`, no such interface, no memory.
    pub fn new(interface: u32, size: RxSize, timeout_ms: u32) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: just opened, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let version = libc::tpacket_versions::TPACKET_V3 as i32;
        // SAFETY: an integer.
        unsafe { set_option(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, &version) }?;
        let request = libc::tpacket_req3 {
            tp_block_size: size.block_bytes,
            tp_block_nr: size.bytes / size.block_bytes,
            // Version 3 does not use it; the kernel checks that it fits the block.
            tp_frame_size: 2048,
            tp_frame_nr: size.bytes / 2048,
            tp_retire_blk_tov: timeout_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        // SAFETY: seven integers of 32 bits, without padding.
        unsafe { set_option(fd.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request) }?;
        let len = usize::try_from(size.bytes).expect("64 bits");
        let map = Map::new(Some(fd.as_fd()), len, 0)?;
        let ring = Self {
            fd,
            map,
            size,
            next: 0,
        };
        ring.filter(0)?;
        ring.bind(interface)?;
        Ok(ring)
    }

    fn bind(&self, interface: u32) -> io::Result<()> {
        // SAFETY: zeroes are a valid sockaddr_ll, which has only integers.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = u16::try_from(libc::AF_PACKET).expect("17");
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).expect("3").to_be();
        address.sll_ifindex = i32::try_from(interface).map_err(io::Error::other)?;
        let address: *const libc::sockaddr_ll = &raw const address;
        let len = socklen(size_of::<libc::sockaddr_ll>());
        // SAFETY: the pointer is to a live address of that length.
        check(unsafe { libc::bind(self.fd.as_raw_fd(), address.cast(), len) }).map(drop)
    }

    /// Keeps `snaplen` bytes of each frame; 0 takes none.
    fn filter(&self, snaplen: u32) -> io::Result<()> {
        self.attach(
            &[insn(libc::BPF_RET | libc::BPF_K, 0, 0, snaplen)],
            |fd, program| {
                // SAFETY: the program's instructions live until the call returns; the kernel copies them.
                unsafe {
                    set_option(
                        fd.as_fd(),
                        libc::SOL_SOCKET,
                        libc::SO_ATTACH_FILTER,
                        program,
                    )
                }
            },
        )
    }

    fn attach(
        &self,
        insns: &[libc::sock_filter],
        call: impl Fn(&OwnedFd, &libc::sock_fprog) -> io::Result<()>,
    ) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(insns.len()).map_err(io::Error::other)?,
            // The kernel only reads it.
            filter: insns.as_ptr().cast_mut(),
        };
        call(&self.fd, &program)
    }

    /// Joins a fanout group. Its members are numbered in the order in which they join.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn join(&self, group: u16) -> io::Result<()> {
        let kind = libc::PACKET_FANOUT_CBPF | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;
        let value = u32::from(group) | kind << 16;
        // SAFETY: an integer.
        unsafe {
            set_option(
                self.fd.as_fd(),
                libc::SOL_PACKET,
                libc::PACKET_FANOUT,
                &value,
            )
        }
    }

    /// Sets the fanout program of this ring's group. It chooses the ring by class: 0 data, 1 control, 2 open.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn choose_by_class(&self) -> io::Result<()> {
        self.attach(&BY_CLASS, |fd, program| {
            // SAFETY: the program's instructions live until the call is over; the kernel copies them.
            unsafe {
                set_option(
                    fd.as_fd(),
                    libc::SOL_PACKET,
                    libc::PACKET_FANOUT_DATA,
                    program,
                )
            }
        })
    }

    /// Takes frames from now on, `snaplen` bytes of each.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn open_gate(&self, snaplen: u32) -> io::Result<()> {
        self.filter(snaplen)
    }

    /// Takes no more frames.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn close_gate(&self) -> io::Result<()> {
        self.filter(0)
    }

    /// The descriptor, for poll(2).
    #[must_use]
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Counts the frames of the next block and gives the block back; `None` if the kernel has not handed it over.
    pub fn read_block(&mut self) -> Option<RxCounts> {
        let base = usize::try_from(self.next * self.size.block_bytes).expect("64 bits");
        // Acquire pairs with the barrier before the kernel sets the status (prb_close_block): this load sees the
        // frames if it sees the status.
        if self.status(base).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let mut counts = RxCounts::default();
        let mut at =
            base + self.word(base + HEAD + offset_of!(libc::tpacket_hdr_v1, offset_to_first_pkt));
        let frames = self.word(base + HEAD + offset_of!(libc::tpacket_hdr_v1, num_pkts));
        for _ in 0..frames {
            counts.frames += 1;
            counts.bytes += self.word(at + offset_of!(libc::tpacket3_hdr, tp_len)) as u64;
            at += self.word(at + offset_of!(libc::tpacket3_hdr, tp_next_offset));
        }
        // Release: the last read of a frame comes before the kernel may write there again.
        self.status(base)
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % (self.size.bytes / self.size.block_bytes);
        Some(counts)
    }

    fn status(&self, base: usize) -> &AtomicU32 {
        let at = base + HEAD + offset_of!(libc::tpacket_hdr_v1, block_status);
        let word = self.map.at(at, size_of::<u32>()).cast();
        // SAFETY: mapped and aligned for as long as `self`; both sides use it as one 32-bit word, and this
        // side by atomic operations only.
        unsafe { AtomicU32::from_ptr(word.as_ptr()) }
    }

    /// A 32-bit word of a block that the kernel has handed over.
    fn word(&self, at: usize) -> usize {
        let word = self.map.at(at, size_of::<u32>()).cast::<u32>();
        // SAFETY: inside the mapping; the kernel wrote it before it handed the block over, and does not write
        // before the block is given back.
        let word = unsafe { word.read_unaligned() };
        usize::try_from(word).expect("64 bits")
    }

    /// Reads the kernel's counters, which clears them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses it.
    pub fn statistics(&self) -> io::Result<RxStatistics> {
        let mut statistics = libc::tpacket_stats_v3 {
            tp_packets: 0,
            tp_drops: 0,
            tp_freeze_q_cnt: 0,
        };
        let mut len = socklen(size_of::<libc::tpacket_stats_v3>());
        let to: *mut libc::tpacket_stats_v3 = &raw mut statistics;
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        // SAFETY: both pointers are to live values, and `len` is the first one's length.
        check(unsafe {
            libc::getsockopt(self.fd.as_raw_fd(), level, option, to.cast(), &raw mut len)
        })?;
        Ok(RxStatistics {
            tp_packets: statistics.tp_packets,
            tp_drops: statistics.tp_drops,
        })
    }
}

/// Offset of the header of version 1 in a block.
const HEAD: usize = offset_of!(libc::tpacket_block_desc, hdr);

const fn insn(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    #[allow(clippy::cast_possible_truncation, reason = "all codes are below 256")]
    let code = code as u16;
    libc::sock_filter { code, jt, jf, k }
}

const LD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LD_BYTE_X: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
const LDX_IHL: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
const LDX_IMM: u32 = libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM;
const JEQ: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const JA: u32 = libc::BPF_JMP | libc::BPF_JA;
const JSET: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RET: u32 = libc::BPF_RET | libc::BPF_K;
/// `SKF_AD_OFF` + `SKF_AD_PROTOCOL` of linux/filter.h.
const PROTOCOL: u32 = 0xffff_f000;

/// The fanout program: the class of a received frame, whose network header is at 0. Not the sensor's program: it was
/// written from the rule of the classes, and has no hash, because there is one reader.
const BY_CLASS: [libc::sock_filter; 20] = [
    insn(LD_WORD, 0, 0, PROTOCOL),
    insn(JEQ, 2, 0, 0x0800),
    insn(JEQ, 7, 0, 0x86dd),
    insn(RET, 0, 0, 0),
    // IPv4: TCP, and no later fragment.
    insn(LD_BYTE, 0, 0, 9),
    insn(JEQ, 0, 13, 6),
    insn(LD_HALF, 0, 0, 6),
    insn(JSET, 11, 0, 0x1fff),
    insn(LDX_IHL, 0, 0, 0),
    insn(JA, 0, 0, 3),
    // IPv6: TCP behind the header.
    insn(LD_BYTE, 0, 0, 6),
    insn(JEQ, 0, 7, 6),
    insn(LDX_IMM, 0, 0, 40),
    // The flags. With ACK: FIN, SYN and RST are control, others data. Without ACK: RST is control, others open.
    insn(LD_BYTE_X, 0, 0, 13),
    insn(JSET, 0, 1, 0x10),
    insn(JSET, 1, 3, 0x07),
    insn(JSET, 0, 1, 0x04),
    insn(RET, 0, 0, 1),
    insn(RET, 0, 0, 2),
    insn(RET, 0, 0, 0),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Class, FRAME_LEN_MAX, Load, Name};

    /// Interprets the program as the kernel does, on a received frame.
    fn class(frame: &[u8]) -> u32 {
        let (protocol, net) = (
            u32::from(u16::from_be_bytes([frame[12], frame[13]])),
            &frame[14..],
        );
        let load = |at: u32, len: u32| {
            let at = usize::try_from(at).ok()?;
            let bytes = net.get(at..at + usize::try_from(len).ok()?)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |value, &byte| value << 8 | u32::from(byte)),
            )
        };
        let (mut a, mut x, mut pc) = (0, 0, 0);
        loop {
            let insn = BY_CLASS[pc];
            pc += 1;
            let jump = |taken: bool| usize::from(if taken { insn.jt } else { insn.jf });
            let loaded = match u32::from(insn.code) {
                LD_WORD if insn.k == PROTOCOL => Some(protocol),
                LD_BYTE => load(insn.k, 1),
                LD_HALF => load(insn.k, 2),
                LD_BYTE_X => load(x + insn.k, 1),
                LDX_IHL => load(insn.k, 1)
                    .inspect(|byte| x = (byte & 15) * 4)
                    .map(|_| a),
                LDX_IMM => {
                    x = insn.k;
                    Some(a)
                }
                JA => {
                    pc += usize::try_from(insn.k).expect("short");
                    Some(a)
                }
                JEQ => {
                    pc += jump(a == insn.k);
                    Some(a)
                }
                JSET => {
                    pc += jump(a & insn.k != 0);
                    Some(a)
                }
                RET => return insn.k,
                other => panic!("code {other:#x}"),
            };
            match loaded {
                Some(value) => a = value,
                // A load beyond the frame ends the program with 0.
                None => return 0,
            }
        }
    }

    #[test]
    fn the_program_chooses_the_ring_of_the_frames_class() {
        let mut out = [0; FRAME_LEN_MAX];
        let mut seen = [0; 3];
        // Without fragments and malformed frames: this program may choose another ring for them than the sensor's.
        // They are few, and the counts of all rings are added.
        for name in [
            Name::Syn,
            Name::Syn6,
            Name::Short,
            Name::Bulk64,
            Name::Busy,
            Name::Rst,
            Name::Ack,
            Name::Udp,
        ] {
            let load = Load::new(name, 3);
            for index in 0..2000 {
                let (len, frame) = load.write(index, &mut out);
                let asked = match frame.class {
                    Class::Open => 2,
                    Class::Control => 1,
                    Class::Data | Class::Unreadable => 0,
                };
                assert_eq!(class(&out[..len]), asked, "{name}, frame {index}");
                seen[asked as usize] += 1;
            }
        }
        assert!(seen.iter().all(|&frames| frames > 100), "{seen:?}");
    }
}
