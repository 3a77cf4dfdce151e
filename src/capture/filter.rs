//! Filters for single sockets: let through, close, sort out, count.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long, sock_filter, socklen_t};

use super::fanout::asm::Asm;
use super::fanout::{Keys, Mode, program};
use super::frame::LinkType;

/// Bytes of an Ethernet header without tags, which have 4 bytes each, and of an IPv6 header.
const ETHERNET: u32 = 14;
const TAGS_MAX: u32 = 2;
const IPV6: u32 = 40;
/// IPv6 headers that others may follow: hop-by-hop, routing, fragment, AH, destination, mobility, HIP, shim6.
const EXTENSIONS: [u32; 8] = [0, 43, 44, 51, 60, 135, 139, 140];

/// Every frame, cut to `snaplen` bytes; one with IPv6 extension headers, behind which a SYN may begin far from
/// its frame's start, to `deep` bytes.
#[must_use]
pub fn headers(link: LinkType, snaplen: u32, deep: u32) -> Vec<sock_filter> {
    let mut asm = Asm::default();
    let (v6, long, short) = (asm.label(), asm.label(), asm.label());
    let (ip, tags_max) = match link {
        LinkType::RawIp => (0, 0),
        _ => (ETHERNET, TAGS_MAX),
    };
    // A load beyond the frame would end the filter and refuse the frame.
    asm.ld_len();
    asm.jge(ip + 4 * tags_max + IPV6, None, short);
    if link == LinkType::RawIp {
        asm.ldx_imm(0);
        asm.ldb_ind(0);
        asm.rsh(4);
        asm.jeq(6, None, short);
    } else {
        for tags in 0..=tags_max {
            asm.ldx_imm(4 * tags);
            asm.ldh_ind(ETHERNET - 2);
            asm.jeq(0x86dd, v6, None);
            if tags < tags_max {
                let tagged = asm.label();
                asm.jeq(0x8100, tagged, None);
                asm.jeq(0x88a8, tagged, None);
                asm.jeq(0x9100, None, short);
                asm.bind(tagged);
            }
        }
        asm.ja(short);
    }
    asm.bind(v6);
    asm.ldb_ind(ip + 6);
    for extension in EXTENSIONS {
        asm.jeq(extension, long, None);
    }
    asm.bind(short);
    asm.ret(snaplen);
    asm.bind(long);
    asm.ret(deep);
    asm.finish()
}

/// Frames of the classes control and open, cut to `snaplen` bytes, for a group that is not
/// divided by class. The rule is [`super::fanout::demux`]'s; what it cannot read is data.
#[must_use]
pub fn control_only(snaplen: u32) -> Vec<sock_filter> {
    // The filter ends before the hash: which keys and how many workers plays no part.
    program(&Keys::from_seed(0), 1, Mode::Filter { snaplen })
}

/// A socket filter that rejects every frame and counts them.
///
/// It stands on data rings under `--capture control`: no kernel counter holds what a filter
/// rejects. Needs CAP_BPF with CAP_NET_ADMIN, or CAP_SYS_ADMIN.
#[derive(Debug)]
pub struct RejectCounter {
    map: OwnedFd,
    program: OwnedFd,
    /// Possible processors: the map has one count for each.
    processors: usize,
}

// linux/bpf.h
const BPF_MAP_CREATE: c_int = 0;
const BPF_MAP_LOOKUP_ELEM: c_int = 1;
const BPF_PROG_LOAD: c_int = 5;
const BPF_MAP_TYPE_PERCPU_ARRAY: u32 = 6;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;

/// `bpf_attr` of `BPF_MAP_CREATE`, as far as it is used.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

/// `bpf_attr` of `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct Lookup {
    map_fd: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `bpf_attr` of `BPF_PROG_LOAD`, as far as it is used.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// One eBPF instruction in the machine's byte order.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> [u8; 8] {
    let regs = if cfg!(target_endian = "little") {
        src << 4 | dst
    } else {
        dst << 4 | src
    };
    let (off, imm) = (off.to_ne_bytes(), imm.to_ne_bytes());
    [code, regs, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// `count[0] += 1; return 0`
fn counting(map: c_int) -> Vec<[u8; 8]> {
    const PSEUDO_MAP_FD: u8 = 1;
    const MAP_LOOKUP_ELEM: i32 = 1;
    vec![
        insn(0x62, 10, 0, -4, 0),             // *(u32 *)(r10 - 4) = 0
        insn(0xbf, 2, 10, 0, 0),              // r2 = r10
        insn(0x07, 2, 0, 0, -4),              // r2 -= 4
        insn(0x18, 1, PSEUDO_MAP_FD, 0, map), // r1 = map
        insn(0x00, 0, 0, 0, 0),               //   (its upper half)
        insn(0x85, 0, 0, 0, MAP_LOOKUP_ELEM), // r0 = bpf_map_lookup_elem(r1, r2)
        insn(0x15, 0, 0, 2, 0),               // if r0 == 0 skip 2
        insn(0xb7, 1, 0, 0, 1),               // r1 = 1
        insn(0xdb, 0, 1, 0, 0),               // lock *(u64 *)r0 += r1
        insn(0xb7, 0, 0, 0, 0),               // r0 = 0
        insn(0x95, 0, 0, 0, 0),               // exit
    ]
}

impl RejectCounter {
    /// Makes the count and loads the program.
    ///
    /// # Errors
    ///
    /// As `bpf(2)`: EPERM without the capability, ENOSYS without the system call.
    pub fn new() -> io::Result<Self> {
        let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
        let processors = count_list(&possible)
            .ok_or_else(|| io::Error::other("cannot read the list of possible processors"))?;
        let attr = MapCreate {
            map_type: BPF_MAP_TYPE_PERCPU_ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
            map_flags: 0,
        };
        // SAFETY: the attribute holds no pointers.
        let map = unsafe { bpf(BPF_MAP_CREATE, &attr) }?;
        // SAFETY: the call above made it, and nobody else has it.
        let map = unsafe { OwnedFd::from_raw_fd(map) };
        let code = counting(map.as_raw_fd());
        let attr = ProgLoad {
            prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
            insn_cnt: u32::try_from(code.len()).map_err(io::Error::other)?,
            insns: code.as_ptr().expose_provenance() as u64,
            license: c"MIT".as_ptr().expose_provenance() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
        };
        // SAFETY: instructions and licence live through the call, and are as long as said.
        let program = unsafe { bpf(BPF_PROG_LOAD, &attr) }?;
        // SAFETY: the call above made it, and nobody else has it.
        let program = unsafe { OwnedFd::from_raw_fd(program) };
        Ok(Self {
            map,
            program,
            processors,
        })
    }

    /// The program, for `SO_ATTACH_BPF`.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }

    /// Puts the filter on a socket, in place of the one it has.
    ///
    /// # Errors
    ///
    /// As `setsockopt(2)`.
    pub fn attach(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let fd: c_int = self.program.as_raw_fd();
        let size = socklen_t::try_from(size_of::<c_int>()).map_err(io::Error::other)?;
        // SAFETY: the value lives through the call and is as long as said.
        let rc = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_BPF,
                (&raw const fd).cast(),
                size,
            )
        };
        if rc < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Frames rejected so far, on all processors and all sockets it is attached to.
    ///
    /// # Errors
    ///
    /// As `bpf(2)`.
    pub fn count(&self) -> io::Result<u64> {
        let key = 0u32;
        let mut values = vec![0u64; self.processors];
        let attr = Lookup {
            map_fd: u32::try_from(self.map.as_raw_fd()).map_err(io::Error::other)?,
            unused: 0,
            key: (&raw const key).expose_provenance() as u64,
            value: values.as_mut_ptr().expose_provenance() as u64,
            flags: 0,
        };
        // SAFETY: the kernel reads 4 bytes at `key` and writes 8 for each possible processor
        // at `value` (bpf_percpu_array_copy); both live through the call.
        unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &attr) }?;
        Ok(values.iter().sum())
    }
}

/// # Safety
///
/// What `attr` points to is valid for what `command` does with it.
unsafe fn bpf<T>(command: c_int, attr: &T) -> io::Result<c_int> {
    let attr_ptr = std::ptr::from_ref(attr);
    // SAFETY: `attr` is as long as said; the rest is this function's contract.
    let rc: c_long = unsafe { libc::syscall(libc::SYS_bpf, command, attr_ptr, size_of::<T>()) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    c_int::try_from(rc).map_err(io::Error::other)
}

/// How many numbers a list such as `0-3,8` holds.
fn count_list(list: &str) -> Option<usize> {
    list.trim()
        .split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            (last + 1).checked_sub(first)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::super::fanout::interp::{Packet, run};
    use super::*;
    use craft::{Flow, Link};

    /// A SYN behind `extension` bytes of destination options.
    fn syn_behind(extension: usize) -> Vec<u8> {
        let flow = Flow::v6(
            [0xfd00, 0, 0, 0, 0, 0, 0, 1],
            1024,
            [0xfd00, 0, 0, 0, 0, 0, 0, 2],
            80,
        );
        let tcp = craft::Tcp::new(flow, craft::SYN, 1).bytes();
        if extension == 0 {
            return craft::Ip::new(flow.src, flow.dst, 6).bytes(&tcp);
        }
        let mut rest = vec![0; extension];
        rest[0] = 6;
        rest[1] = u8::try_from(extension / 8 - 1).expect("at most 2048");
        rest.extend(tcp);
        craft::Ip::new(flow.src, flow.dst, 60).bytes(&rest)
    }

    #[test]
    fn a_syn_far_behind_extension_headers_is_kept_whole_and_nothing_is_refused() {
        let kept = |link, data: &[u8]| {
            let packet = Packet {
                data,
                ..Packet::default()
            };
            run(&headers(link, 192, 2048), &packet)
        };
        let tagged = |link: Link, extension| link.frame(&syn_behind(extension));
        for link in [
            Link::ethernet(),
            Link::ethernet().vlan(5),
            Link::ethernet().qinq(5, 6),
        ] {
            assert_eq!(kept(LinkType::Ethernet, &tagged(link.clone(), 0)), 192);
            assert_eq!(kept(LinkType::Ethernet, &tagged(link, 256)), 2048);
        }
        assert_eq!(kept(LinkType::RawIp, &syn_behind(0)), 192);
        assert_eq!(kept(LinkType::RawIp, &syn_behind(256)), 2048);
        let whole = tagged(Link::ethernet().qinq(5, 6), 256);
        for length in 0..whole.len() {
            for link in [LinkType::Ethernet, LinkType::RawIp] {
                assert_ne!(kept(link, &whole[..length]), 0, "{length} bytes");
            }
        }
    }

    #[test]
    fn a_processor_list_is_counted() {
        let counts = ["0", "0-1\n", "0-3,8", "0,2,4-7", "x", ""].map(count_list);
        assert_eq!(counts, [Some(1), Some(2), Some(5), Some(6), None, None]);
    }
}
