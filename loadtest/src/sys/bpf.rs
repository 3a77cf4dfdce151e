//! XDP programs that the kernel runs on given frames (BPF_PROG_TEST_RUN), and their counter.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP: i64 = 1;
const MAP_UPDATE: i64 = 2;
const PROG_LOAD: i64 = 5;
const PROG_TEST_RUN: i64 = 10;
const MAP_TYPE_ARRAY: u32 = 2;
const PROG_TYPE_XDP: u32 = 6;
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames that the kernel makes together.
const BATCH: u32 = 64;

/// One instruction of linux/bpf.h.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    /// Operation.
    pub code: u8,
    /// Destination register, and source register in the high half.
    pub registers: u8,
    /// Offset.
    pub off: i16,
    /// Immediate value.
    pub imm: i32,
}

/// bpf(2) with the first `len` bytes of `union bpf_attr`, as 64-bit words.
///
/// # Safety
///
/// Every pointer among the words is to live memory, as much as the command uses.
unsafe fn call(command: i64, attributes: &mut [u64]) -> io::Result<i32> {
    let len = std::mem::size_of_val(attributes);
    // SAFETY: the words are live, and so is what they point to, by this function's contract.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), len) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(done).map_err(io::Error::other)
}

fn pair(low: u32, high: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn address<T>(place: *const T) -> u64 {
    place.addr() as u64
}

fn raw(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just given it, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A number that a program in the kernel increments: an array map of one element.
#[derive(Debug)]
pub struct Counter(OwnedFd);

impl Counter {
    /// A counter at 0.
    ///
    /// # Errors
    ///
    /// Without `CAP_BPF`.
    pub fn new() -> io::Result<Self> {
        // map_type, key_size, value_size, max_entries, map_flags, …
        let mut attributes = [pair(MAP_TYPE_ARRAY, 4), pair(8, 1), 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: no pointers among them.
        unsafe { call(MAP_CREATE, &mut attributes) }.map(|fd| Self(own(fd)))
    }

    /// Its descriptor, for a program.
    #[must_use]
    pub fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    fn access(&self, command: i64, value: &mut u64) -> io::Result<()> {
        let key = 0_u32;
        let fd = pair(raw(&self.0), 0);
        let mut attributes = [fd, address(&raw const key), address(&raw mut *value), 0];
        // SAFETY: key and value are live and have the sizes of the map's.
        unsafe { call(command, &mut attributes) }.map(drop)
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn get(&self) -> io::Result<u64> {
        let mut value = 0;
        self.access(MAP_LOOKUP, &mut value)?;
        Ok(value)
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn set(&self, mut value: u64) -> io::Result<()> {
        self.access(MAP_UPDATE, &mut value)
    }
}

/// A loaded XDP program.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Loads it.
    ///
    /// # Errors
    ///
    /// When the kernel's verifier rejects it; the error has the verifier's log.
    pub fn load(program: &[Insn]) -> io::Result<Self> {
        const LOG_LEN: usize = 256 << 10;
        let license = c"GPL";
        let mut log = vec![0_u8; LOG_LEN];
        let count = u32::try_from(program.len()).map_err(io::Error::other)?;
        let log_len = u32::try_from(LOG_LEN).expect("256 KiB");
        let mut attributes = [
            pair(PROG_TYPE_XDP, count),
            address(program.as_ptr()),
            address(license.as_ptr()),
            pair(1, log_len),
            address(log.as_mut_ptr()),
            0,
        ];
        // SAFETY: instructions, licence and log are live and have the lengths given.
        let done = unsafe { call(PROG_LOAD, &mut attributes) };
        done.map(|fd| Self(own(fd))).map_err(|error| {
            let text: Vec<u8> = log.into_iter().take_while(|byte| *byte != 0).collect();
            let text = String::from_utf8_lossy(&text).into_owned();
            io::Error::new(error.kind(), format!("{error}: {text}"))
        })
    }

    /// Runs it once on a copy of `frame`; gives the copy, changed by the program.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn try_on(&self, frame: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = vec![0_u8; frame.len()];
        let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut attributes = [0; 10];
        attributes[0] = pair(raw(&self.0), 0);
        attributes[1] = pair(len, len);
        attributes[2] = address(frame.as_ptr());
        attributes[3] = address(out.as_mut_ptr());
        attributes[4] = pair(1, 0);
        // SAFETY: both frames are live and `len` bytes long.
        unsafe { call(PROG_TEST_RUN, &mut attributes) }?;
        Ok(out)
    }

    /// Runs it on `count` copies of `frame` as live frames: the program decides where each goes.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn run_live(&self, frame: &[u8], interface: u32, count: u32) -> io::Result<()> {
        // data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let len = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let context = [0_u32, len, 0, interface, 0, 0];
        let context_len = u32::try_from(size_of::<[u32; 6]>()).expect("24");
        // prog_fd, retval, data_size_in, data_size_out, data_in, data_out, repeat, duration, ctx_size_in,
        // ctx_size_out, ctx_in, ctx_out, flags, cpu, batch_size
        let mut attributes = [
            pair(raw(&self.0), 0),
            pair(len, 0),
            address(frame.as_ptr()),
            0,
            pair(count, 0),
            pair(context_len, 0),
            address(context.as_ptr()),
            0,
            pair(LIVE_FRAMES, 0),
            pair(BATCH, 0),
        ];
        // SAFETY: frame and context are live and have the lengths given.
        unsafe { call(PROG_TEST_RUN, &mut attributes) }.map(drop)
    }
}
