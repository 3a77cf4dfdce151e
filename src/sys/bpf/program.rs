//! Programs.

use super::asm::Insn;
#[cfg(test)]
use super::call;
use super::{Attributes, open};
use std::io;
use std::os::fd::OwnedFd;

const PROG_LOAD: u32 = 5;
#[cfg(test)]
const PROG_TEST_RUN: u32 = 10;
/// Room for the verifier's log.
const LOG_BYTES: usize = 1 << 20;

/// What kind of program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `BPF_PROG_TYPE_*`.
    pub number: u32,
    /// `BPF_*` of `enum bpf_attach_type`.
    pub attach: u32,
    /// `BPF_F_*`.
    pub flags: u32,
}

/// Why a program was not loaded.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub error: io::Error,
    /// What the verifier says; may be empty.
    pub log: String,
}

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Program(pub(super) OwnedFd);

impl Program {
    /// Loads it.
    ///
    /// # Errors
    ///
    /// Those of bpf(2), with the verifier's log.
    pub fn load(kind: Kind, code: &[Insn], name: &str) -> Result<Self, Rejected> {
        let mut log = Vec::new();
        let bare = |error| Rejected {
            error,
            log: String::new(),
        };
        match Self::try_load(kind, code, name, &mut log) {
            Ok(program) => return Ok(program),
            // Only the verifier has a log.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(bare(error)),
            Err(_) => {}
        }
        log.resize(LOG_BYTES, 0);
        let Err(error) = Self::try_load(kind, code, name, &mut log) else {
            let changed = "the program was refused and taken a moment later";
            return Err(bare(io::Error::other(changed)));
        };
        let end = log.iter().position(|&byte| byte == 0);
        log.truncate(end.unwrap_or(log.len()));
        let log = String::from_utf8_lossy(&log).into_owned();
        Err(Rejected { error, log })
    }

    fn try_load(kind: Kind, code: &[Insn], name: &str, log: &mut [u8]) -> io::Result<Self> {
        let code = code.concat();
        let number = u32::try_from(code.len() / size_of::<Insn>()).map_err(io::Error::other)?;
        let mut attributes = Attributes::new()
            .u32(0, kind.number)
            .u32(4, number)
            .input(8, &code)
            .input(16, c"MIT".to_bytes_with_nul())
            .u32(44, kind.flags)
            .bytes(48, &name.as_bytes()[..name.len().min(15)])
            .u32(68, kind.attach);
        if !log.is_empty() {
            let length = u32::try_from(log.len()).map_err(io::Error::other)?;
            attributes = attributes.u32(24, 1).u32(28, length).output(32, log);
        }
        // SAFETY: instructions, licence and log are live and as long as the kernel is told; the licence ends with a
        // zero.
        unsafe { open(PROG_LOAD, &mut attributes) }.map(Self)
    }

    /// Runs it once on a copy of `frame`; returns what it returns.
    ///
    /// # Errors
    ///
    /// Those of bpf(2): EINVAL for a frame that is too short or too long.
    #[cfg(test)]
    pub fn try_on(&self, frame: &[u8]) -> io::Result<u32> {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let mut attributes = Attributes::new()
            .descriptor(0, &self.0)
            .u32(8, length)
            .input(16, frame)
            .u32(32, 1);
        // SAFETY: the frame is live and as long as the kernel is told; no copy of it is asked for.
        unsafe { call(PROG_TEST_RUN, &mut attributes) }?;
        Ok(attributes.u32_at(4))
    }
}
