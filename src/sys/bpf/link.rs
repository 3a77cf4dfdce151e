//! Links: programs at their places, while somebody has the link.

use super::program::Program;
use super::{Attributes, call, info, open, open_pinned, pin, word};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;
/// `BPF_LINK_TYPE_XDP`.
const LINK_XDP: u32 = 6;
/// `BPF_XDP`.
pub(crate) const ATTACH_XDP: u32 = 37;

/// An XDP program at an interface.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl Link {
    /// Puts the program to the interface; `flags`: `XDP_FLAGS_*` of `linux/if_link.h`.
    ///
    /// # Errors
    ///
    /// Those of bpf(2): EBUSY and EEXIST if another program is there; EINVAL before Linux 5.9.
    pub fn xdp(program: &Program, ifindex: u32, flags: u32) -> io::Result<Self> {
        let mut attributes = Attributes::new()
            .descriptor(0, &program.0)
            .u32(4, ifindex)
            .u32(8, ATTACH_XDP)
            .u32(12, flags);
        // SAFETY: no addresses among them.
        unsafe { open(LINK_CREATE, &mut attributes) }.map(Self)
    }

    /// Opens one by its name in a file system of type bpf.
    ///
    /// # Errors
    ///
    /// Those of bpf(2); InvalidData for another kind of object or link.
    pub fn pinned(path: &Path) -> io::Result<Self> {
        let link = Self(open_pinned(path, ":bpf-link")?);
        link.ifindex()?;
        Ok(link)
    }

    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        pin(&self.0, path)
    }

    /// Puts another program into the place of the one that is there; no frame passes in between.
    ///
    /// # Errors
    ///
    /// Those of bpf(2): ENOLINK for a link that is at no interface any more.
    pub fn update(&self, program: &Program) -> io::Result<()> {
        let mut attributes = Attributes::new()
            .descriptor(0, &self.0)
            .descriptor(4, &program.0);
        // SAFETY: no addresses among them.
        unsafe { call(LINK_UPDATE, &mut attributes) }.map(drop)
    }

    /// Takes the program from the interface, before this returns: the last name of a link that goes does so a little later.
    ///
    /// # Errors
    ///
    /// Those of bpf(2): EINVAL before Linux 5.9.
    pub fn detach(&self) -> io::Result<()> {
        let mut attributes = Attributes::new().descriptor(0, &self.0);
        // SAFETY: no addresses among them.
        unsafe { call(LINK_DETACH, &mut attributes) }.map(drop)
    }

    /// The interface; 0: it is at none any more.
    ///
    /// # Errors
    ///
    /// Those of bpf(2); InvalidData for a link of another kind.
    pub fn ifindex(&self) -> io::Result<u32> {
        // `struct bpf_link_info`: type, id, prog_id, padding, and for XDP the interface.
        let mut about = [0; 24];
        info(&self.0, &mut about)?;
        match word(&about, 0) {
            LINK_XDP => Ok(word(&about, 16)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
