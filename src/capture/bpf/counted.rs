//! A filter that counts rejected frames; the kernel has no such counter.
//!
//! A classic program is translated to eBPF with a counter: up for each frame, down again for each accepted one. So a
//! load beyond the frame, which ends the program, counts as a rejection too.
#![allow(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use crate::capture::socket::GATE;
use crate::snapshot::misfit;
use crate::sys::bpf::asm::{Insn, insn};
use libc::{c_int, c_long, sock_filter};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A socket filter that counts rejected frames.
///
/// For data rings, under load and under `--capture control`. Needs CAP_BPF with CAP_NET_ADMIN, or CAP_SYS_ADMIN.
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
const BPF_OBJ_GET_INFO_BY_FD: c_int = 15;
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

/// `bpf_attr` of `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct ObjectInfo {
    fd: u32,
    info_len: u32,
    info: u64,
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

impl RejectCounter {
    /// Whether the kernel allows one to this process: makes one and closes it again.
    #[must_use]
    pub fn is_allowed() -> bool {
        Self::new(&GATE).is_ok()
    }

    /// Creates the counter and loads `classic`, translated.
    ///
    /// # Errors
    ///
    /// As `bpf(2)`: EPERM without the capability, ENOSYS without the system call. EINVAL for a program that reads more
    /// than the frame's bytes.
    pub fn new(classic: &[sock_filter]) -> io::Result<Self> {
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
        // SAFETY: the call above made it, and nothing else owns it.
        let map = unsafe { OwnedFd::from_raw_fd(map) };
        let code = translate(classic, map.as_raw_fd())
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let attr = ProgLoad {
            prog_type: BPF_PROG_TYPE_SOCKET_FILTER,
            insn_cnt: u32::try_from(code.len()).map_err(io::Error::other)?,
            insns: code.as_ptr().expose_provenance() as u64,
            license: c"MIT".as_ptr().expose_provenance() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
        };
        // SAFETY: instructions and licence live through the call and have the stated lengths.
        let program = unsafe { bpf(BPF_PROG_LOAD, &attr) }?;
        // SAFETY: the call above made it, and nothing else owns it.
        let program = unsafe { OwnedFd::from_raw_fd(program) };
        Ok(Self {
            map,
            program,
            processors,
        })
    }

    /// The counter of another process: its map and its program.
    ///
    /// # Errors
    ///
    /// The list of possible processors cannot be read, or the first is no such map.
    pub fn adopt([map, program]: [OwnedFd; 2]) -> io::Result<Self> {
        let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
        let processors = count_list(&possible)
            .ok_or_else(|| io::Error::other("cannot read the list of possible processors"))?;
        if MapInfo::of(map.as_fd())? != MapInfo::COUNTER {
            return Err(misfit("it is no map of one count for each processor"));
        }
        Ok(Self {
            map,
            program,
            processors,
        })
    }

    /// Its map and its program, for another process.
    pub fn fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.map.as_fd(), self.program.as_fd()]
    }

    /// The program, for `SO_ATTACH_BPF`.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
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
        Ok(values.into_iter().fold(0, u64::wrapping_add))
    }
}

/// `bpf_map_info`, as far as it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
struct MapInfo {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

impl MapInfo {
    /// That of [`RejectCounter::new`], of which [`RejectCounter::count`] knows how much the kernel writes.
    const COUNTER: Self = Self {
        map_type: BPF_MAP_TYPE_PERCPU_ARRAY,
        id: 0,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
    };

    /// What the kernel knows of a map, without its number.
    fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let mut info = Self::default();
        let attr = ObjectInfo {
            fd: u32::try_from(map.as_raw_fd()).map_err(io::Error::other)?,
            info_len: u32::try_from(size_of::<Self>()).map_err(io::Error::other)?,
            info: (&raw mut info).expose_provenance() as u64,
        };
        // SAFETY: the kernel writes `info_len` bytes at most to `info`, which lives through the call.
        unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &attr) }?;
        Ok(Self { id: 0, ..info })
    }
}

/// eBPF registers of the classic machine. Loads from the frame return in A and expect the context in register 6.
const A: u8 = 0;
const CONTEXT: u8 = 6;
const X: u8 = 7;
const COUNT: u8 = 8;
const STACK: u8 = 10;

/// Counts the frame, and sets up the classic machine.
fn prologue(map: c_int) -> Vec<Insn> {
    const PSEUDO_MAP_FD: u8 = 1;
    const MAP_LOOKUP_ELEM: i32 = 1;
    vec![
        insn(0xbf, CONTEXT, 1, 0, 0),         // context = r1
        insn(0x62, STACK, 0, -4, 0),          // *(u32 *)(r10 - 4) = 0
        insn(0xbf, 2, STACK, 0, 0),           // r2 = r10
        insn(0x07, 2, 0, 0, -4),              // r2 -= 4
        insn(0x18, 1, PSEUDO_MAP_FD, 0, map), // r1 = map
        insn(0x00, 0, 0, 0, 0),               //   (its upper half)
        insn(0x85, 0, 0, 0, MAP_LOOKUP_ELEM), // r0 = bpf_map_lookup_elem(r1, r2)
        insn(0x55, 0, 0, 1, 0),               // if r0 != 0 skip 1
        insn(0x95, 0, 0, 0, 0),               // exit: never
        insn(0xbf, COUNT, 0, 0, 0),           // count = r0
        insn(0xb7, 1, 0, 0, 1),               // r1 = 1
        insn(0xdb, COUNT, 1, 0, 0),           // lock *(u64 *)count += r1
        insn(0xb4, A, 0, 0, 0),               // A = 0
        insn(0xb4, X, 0, 0, 0),               // X = 0
    ]
}

/// The classic program as eBPF with the counter; `None` if it reads more than the bytes of the frame, or compares
/// with a constant above 31 bits.
fn translate(classic: &[sock_filter], map: c_int) -> Option<Vec<Insn>> {
    let mut code = prologue(map);
    let mut starts = Vec::with_capacity(classic.len());
    let mut jumps = Vec::new();
    for (at, one) in classic.iter().enumerate() {
        starts.push(code.len());
        let (op, target) = (u8::try_from(one.code).ok()?, at + 1);
        let k = i32::from_ne_bytes(one.k.to_ne_bytes());
        // One of 16 words of M, below the key.
        let word = || (one.k < 16).then(|| -72 + 4 * i16::try_from(one.k).expect("below 16"));
        match op {
            0x00 => code.push(insn(0xb4, A, 0, 0, k)),
            0x01 => code.push(insn(0xb4, X, 0, 0, k)),
            // Loads from the frame; negative offsets are ancillary.
            0x20 | 0x28 | 0x30 if k >= 0 => code.push(insn(op, 0, 0, 0, k)),
            0x40 | 0x48 | 0x50 if k >= 0 => code.push(insn(op, 0, X, 0, k)),
            // The frame's length is the context's first word.
            0x80 => code.push(insn(0x61, A, CONTEXT, 0, 0)),
            0x60 => code.push(insn(0x61, A, STACK, word()?, 0)),
            0x61 => code.push(insn(0x61, X, STACK, word()?, 0)),
            0x02 => code.push(insn(0x63, STACK, A, word()?, 0)),
            0x03 => code.push(insn(0x63, STACK, X, word()?, 0)),
            0x07 => code.push(insn(0xbc, X, A, 0, 0)),
            0x87 => code.push(insn(0xbc, A, X, 0, 0)),
            // Arithmetic, on 32 bits in both.
            _ if op & 7 == 4 => code.push(insn(op, A, if op & 8 == 0 { 0 } else { X }, 0, k)),
            0x05 => {
                jumps.push((code.len(), target.checked_add(one.k as usize)?));
                code.push(insn(0x05, 0, 0, 0, 0));
            }
            _ if op & 7 == 5 && (op & 8 != 0 || k >= 0) => {
                for (op, skip) in [(op, one.jt), (0x05, one.jf)] {
                    jumps.push((code.len(), target + usize::from(skip)));
                    let (x, k) = match op {
                        _ if op & 8 != 0 => (X, 0),
                        0x05 => (0, 0),
                        _ => (0, k),
                    };
                    code.push(insn(op, A, x, 0, k));
                }
            }
            0x06 => {
                if one.k > 0 {
                    code.push(insn(0xb7, 1, 0, 0, -1));
                    code.push(insn(0xdb, COUNT, 1, 0, 0));
                }
                code.push(insn(0xb4, A, 0, 0, k));
                code.push(insn(0x95, 0, 0, 0, 0));
            }
            _ => return None,
        }
    }
    for (from, target) in jumps {
        let skip = i16::try_from(starts.get(target)? - (from + 1)).ok()?;
        let [low, high] = skip.to_ne_bytes();
        (code[from][2], code[from][3]) = (low, high);
    }
    Some(code)
}

/// # Safety
///
/// What `attr` points to is valid for what `command` does with it.
unsafe fn bpf<T>(command: c_int, attr: &T) -> io::Result<c_int> {
    let attr_ptr = std::ptr::from_ref(attr);
    // SAFETY: `attr` has the stated length; the rest is this function's contract.
    let rc: c_long = unsafe { libc::syscall(libc::SYS_bpf, command, attr_ptr, size_of::<T>()) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    c_int::try_from(rc).map_err(io::Error::other)
}

/// The count of numbers in a list such as `0-3,8`.
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
    use super::*;
    use crate::capture::bpf::depth::{control_only, without_bulk};
    use crate::capture::frame::LinkType;
    use crate::capture::socket::{GATE, accept};
    use crate::capture::tunnels::Tunnels;

    #[test]
    fn programs_that_ask_for_the_frame_alone_are_written_anew() {
        for link in [LinkType::Ethernet, LinkType::RawIp] {
            let classic = without_bulk(link, 192, &Tunnels::NONE);
            let code = translate(&classic, 3).expect("nothing but the frame");
            assert!(
                code.len() > classic.len() && code.len() < 4096,
                "{}",
                code.len()
            );
        }
        assert!(translate(&GATE, 3).is_some() && translate(&accept(96), 3).is_some());
        // The device's type is no byte of the frame.
        assert_eq!(translate(&control_only(96), 3), None);
        let beyond = sock_filter {
            code: 0x05,
            jt: 0,
            jf: 0,
            k: 1,
        };
        assert_eq!(translate(&[beyond], 3), None);
    }

    #[test]
    fn only_a_map_of_one_count_for_each_processor_is_adopted() {
        let file = || OwnedFd::from(tempfile::tempfile().expect("a file"));
        assert!(RejectCounter::adopt([file(), file()]).is_err(), "no map");
        // Where the kernel allows none, none comes from another process.
        let Ok(counter) = RejectCounter::new(&GATE) else {
            return;
        };
        let fds = || {
            counter
                .fds()
                .map(|fd| fd.try_clone_to_owned().expect("a descriptor"))
        };
        let adopted = RejectCounter::adopt(fds()).expect("such a map");
        assert_eq!(adopted.count().expect("read"), 0);
        let [map, program] = fds();
        assert!(RejectCounter::adopt([program, map]).is_err(), "a program");
        let wide = MapCreate {
            map_type: BPF_MAP_TYPE_PERCPU_ARRAY,
            key_size: 4,
            value_size: 4096,
            max_entries: 1,
            map_flags: 0,
        };
        // SAFETY: the attribute holds no pointers.
        let wide = unsafe { bpf(BPF_MAP_CREATE, &wide) }.expect("a map");
        // SAFETY: the call above made it, and nothing else owns it.
        let wide = unsafe { OwnedFd::from_raw_fd(wide) };
        let error = RejectCounter::adopt([wide, file()]).expect_err("wide counts");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_processor_list_is_counted() {
        let counts = ["0", "0-1\n", "0-3,8", "0,2,4-7", "x", ""].map(count_list);
        assert_eq!(counts, [Some(1), Some(2), Some(5), Some(6), None, None]);
    }
}
