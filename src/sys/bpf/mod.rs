//! bpf(2): maps, programs, links, and an assembler for programs.
//!
//! Sizes are checked before each call, so that the kernel reads and writes nothing but the buffers that it is given.
//!
//! Source: `linux/bpf.h`.

pub(crate) mod asm;
mod link;
mod map;
mod program;

pub(crate) use link::Link;
pub(crate) use map::{Layout, Map};
pub(crate) use program::{Kind, Program, Rejected};

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const OBJ_PIN: u32 = 6;
const OBJ_GET: u32 = 7;
const OBJ_GET_INFO_BY_FD: u32 = 15;

/// `union bpf_attr`: fields by their offset. What is not set is zero.
struct Attributes([u64; 16]);

impl Attributes {
    fn new() -> Self {
        Self([0; 16])
    }

    fn bytes(mut self, at: usize, value: &[u8]) -> Self {
        for (at, byte) in (at..).zip(value) {
            let mut word = self.0[at / 8].to_ne_bytes();
            word[at % 8] = *byte;
            self.0[at / 8] = u64::from_ne_bytes(word);
        }
        self
    }

    fn u32(self, at: usize, value: u32) -> Self {
        self.bytes(at, &value.to_ne_bytes())
    }

    fn u64(self, at: usize, value: u64) -> Self {
        self.bytes(at, &value.to_ne_bytes())
    }

    fn descriptor(self, at: usize, fd: &OwnedFd) -> Self {
        self.u32(at, fd.as_raw_fd().cast_unsigned())
    }

    /// The address of the first of these bytes, which the kernel reads.
    fn input(self, at: usize, bytes: &[u8]) -> Self {
        self.u64(at, bytes.as_ptr().expose_provenance() as u64)
    }

    /// The address of the first of these bytes, which the kernel writes.
    fn output(self, at: usize, bytes: &mut [u8]) -> Self {
        self.u64(at, bytes.as_mut_ptr().expose_provenance() as u64)
    }

    /// A field that the kernel may have written.
    fn u32_at(&self, at: usize) -> u32 {
        let word = self.0[at / 8].to_ne_bytes();
        let field = word[at % 8..].first_chunk();
        u32::from_ne_bytes(*field.expect("fields of four bytes are aligned"))
    }
}

/// # Safety
///
/// Every address among the attributes is that of live memory, as much as the command reads or writes.
unsafe fn call(command: u32, attributes: &mut Attributes) -> io::Result<i32> {
    let bytes = size_of_val(&attributes.0);
    let first = attributes.0.as_mut_ptr();
    // SAFETY: the attributes are live and so long; the rest is this function's contract.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, first, bytes) };
    match done {
        0.. => i32::try_from(done).map_err(io::Error::other),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same, for a command that returns a descriptor.
///
/// # Safety
///
/// As for [`call`].
unsafe fn open(command: u32, attributes: &mut Attributes) -> io::Result<OwnedFd> {
    // SAFETY: this function's contract.
    let fd = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel has just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn path_bytes(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Gives an object a name in a file system of type bpf, which keeps it while no process has it.
fn pin(fd: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = path_bytes(path)?;
    let mut attributes = Attributes::new()
        .input(0, path.as_bytes_with_nul())
        .descriptor(8, fd);
    // SAFETY: the path is live and ends with a zero.
    unsafe { call(OBJ_PIN, &mut attributes) }.map(drop)
}

/// Opens the object of this name. `kind`: the end of what /proc shows of it.
///
/// # Errors
///
/// Those of bpf(2); InvalidData for an object of another kind.
fn open_pinned(path: &Path, kind: &str) -> io::Result<OwnedFd> {
    let path = path_bytes(path)?;
    let mut attributes = Attributes::new().input(0, path.as_bytes_with_nul());
    // SAFETY: the path is live and ends with a zero.
    let fd = unsafe { open(OBJ_GET, &mut attributes) }?;
    let shown = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    // Kernels differ in the sign between the words.
    let shown = shown.to_string_lossy().replace('_', "-");
    match shown.ends_with(kind) {
        true => Ok(fd),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// What the kernel says of an object, as much of it as fits.
fn info(fd: &OwnedFd, info: &mut [u8]) -> io::Result<()> {
    let length = u32::try_from(info.len()).map_err(io::Error::other)?;
    let mut attributes = Attributes::new()
        .descriptor(0, fd)
        .u32(4, length)
        .output(8, info);
    // SAFETY: the kernel writes at most `length` bytes to `info`.
    unsafe { call(OBJ_GET_INFO_BY_FD, &mut attributes) }.map(drop)
}

/// The 32-bit integer at `at` of an answer.
fn word(bytes: &[u8], at: usize) -> u32 {
    let field = bytes[at..].first_chunk();
    u32::from_ne_bytes(*field.expect("within the answer"))
}
