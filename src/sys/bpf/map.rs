//! Maps by prefix: the value of the longest prefix that a key is in (`BPF_MAP_TYPE_LPM_TRIE`).
//!
//! Their keys begin with the length of the prefix in bits, in the machine's byte order. Other kinds are not opened: of
//! some, the kernel reads or writes more than a key and a value.

use super::{Attributes, call, info, open, open_pinned, pin, word};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

const MAP_CREATE: u32 = 0;
const LOOKUP: u32 = 1;
const UPDATE: u32 = 2;
const DELETE: u32 = 3;
const NEXT_KEY: u32 = 4;
const LOOKUP_BATCH: u32 = 24;
const UPDATE_BATCH: u32 = 26;
const DELETE_BATCH: u32 = 27;
const LPM_TRIE: u32 = 11;
/// `BPF_F_NO_PREALLOC`, without which the kernel makes no such map.
const NO_PREALLOC: u32 = 1;
/// Longest name.
const NAME_BYTES_MAX: usize = 15;

/// What a map holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Bytes of a key.
    pub key: usize,
    /// Bytes of a value.
    pub value: usize,
    /// Most elements.
    pub elements_max: u32,
}

/// A map.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    layout: Layout,
}

impl Map {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn new(layout: Layout, name: &str) -> io::Result<Self> {
        let bytes = |size: usize| u32::try_from(size).map_err(io::Error::other);
        let mut attributes = Attributes::new()
            .u32(0, LPM_TRIE)
            .u32(4, bytes(layout.key)?)
            .u32(8, bytes(layout.value)?)
            .u32(12, layout.elements_max)
            .u32(16, NO_PREALLOC)
            .bytes(28, &name.as_bytes()[..name.len().min(NAME_BYTES_MAX)]);
        // SAFETY: no addresses among them.
        let fd = unsafe { open(MAP_CREATE, &mut attributes) }?;
        Ok(Self { fd, layout })
    }

    /// Opens one by its name in a file system of type bpf.
    ///
    /// # Errors
    ///
    /// Those of bpf(2); InvalidData for another kind of object or map.
    pub fn pinned(path: &Path) -> io::Result<Self> {
        let fd = open_pinned(path, ":bpf-map")?;
        // `struct bpf_map_info`: type, id, key_size, value_size, max_entries, map_flags.
        let mut about = [0; 24];
        info(&fd, &mut about)?;
        if (word(&about, 0), word(&about, 20)) != (LPM_TRIE, NO_PREALLOC) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = |at| usize::try_from(word(&about, at)).map_err(io::Error::other);
        let layout = Layout {
            key: bytes(8)?,
            value: bytes(12)?,
            elements_max: word(&about, 16),
        };
        Ok(Self { fd, layout })
    }

    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        pin(&self.fd, path)
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// For programs.
    pub fn descriptor(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Refuses what has not the size of so many of the map's keys or values.
    fn check(all: usize, one: usize, count: usize) -> io::Result<()> {
        match one.checked_mul(count) == Some(all) {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn one(&self, key: &[u8]) -> io::Result<Attributes> {
        Self::check(key.len(), self.layout.key, 1)?;
        Ok(Attributes::new().descriptor(0, &self.fd).input(8, key))
    }

    /// Writes the value of the element with this key, if there is one.
    ///
    /// # Errors
    ///
    /// Those of bpf(2): ENOENT without such an element.
    pub fn lookup(&self, key: &[u8], value: &mut [u8]) -> io::Result<()> {
        Self::check(value.len(), self.layout.value, 1)?;
        let mut attributes = self.one(key)?.output(16, value);
        // SAFETY: key and value have the sizes of the map's.
        unsafe { call(LOOKUP, &mut attributes) }.map(drop)
    }

    /// Adds an element, or replaces it.
    ///
    /// # Errors
    ///
    /// Those of bpf(2): ENOSPC in a full map.
    pub fn update(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        Self::check(value.len(), self.layout.value, 1)?;
        let mut attributes = self.one(key)?.input(16, value);
        // SAFETY: key and value have the sizes of the map's.
        unsafe { call(UPDATE, &mut attributes) }.map(drop)
    }

    /// # Errors
    ///
    /// Those of bpf(2): ENOENT without such an element.
    pub fn delete(&self, key: &[u8]) -> io::Result<()> {
        let mut attributes = self.one(key)?;
        // SAFETY: the key has the size of the map's.
        unsafe { call(DELETE, &mut attributes) }.map(drop)
    }

    /// Writes the key behind `key`, or the first one. False: there is none.
    ///
    /// # Errors
    ///
    /// Those of bpf(2).
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> io::Result<bool> {
        Self::check(next.len(), self.layout.key, 1)?;
        let mut attributes = match key {
            Some(key) => self.one(key)?,
            None => Attributes::new().descriptor(0, &self.fd),
        };
        attributes = attributes.output(16, next);
        // SAFETY: both keys have the size of the map's; without the first one its address is null, which the
        // command allows.
        match unsafe { call(NEXT_KEY, &mut attributes) } {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads elements into `keys` and `values`, which have room for as many. `from`: where the last call ended;
    /// `to`: where this one does. Both have the size of a key. Returns how many were read, and whether those were the
    /// last.
    ///
    /// # Errors
    ///
    /// Those of bpf(2); before Linux 5.13 maps by prefix have no such command.
    pub fn lookup_batch(
        &self,
        (from, to): (Option<&[u8]>, &mut [u8]),
        keys: &mut [u8],
        values: &mut [u8],
    ) -> io::Result<(usize, bool)> {
        let count = keys.len() / self.layout.key.max(1);
        Self::check(keys.len(), self.layout.key, count)?;
        Self::check(values.len(), self.layout.value, count)?;
        Self::check(to.len(), self.layout.key, 1)?;
        let room = u32::try_from(count).map_err(io::Error::other)?;
        let mut attributes = Attributes::new()
            .output(8, to)
            .output(16, keys)
            .output(24, values)
            .u32(32, room)
            .descriptor(36, &self.fd);
        if let Some(from) = from {
            Self::check(from.len(), self.layout.key, 1)?;
            attributes = attributes.input(0, from);
        }
        // SAFETY: `from` and `to` have the size of a key (generic_map_lookup_batch copies one), keys and values room
        // for as many as the kernel is told.
        let done = unsafe { call(LOOKUP_BATCH, &mut attributes) };
        let read = usize::try_from(attributes.u32_at(32)).map_err(io::Error::other)?;
        match done {
            Ok(_) => Ok((read.min(count), false)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((read.min(count), true)),
            Err(error) => Err(error),
        }
    }

    /// Adds or replaces elements in their order until one is refused. Returns how many were taken, and why the next
    /// one was not.
    pub fn update_batch(&self, keys: &[u8], values: &[u8]) -> (usize, Option<io::Error>) {
        let count = keys.len() / self.layout.key.max(1);
        if let Err(error) = Self::check(values.len(), self.layout.value, count) {
            return (0, Some(error));
        }
        self.batch(UPDATE_BATCH, keys, |attributes| {
            attributes.input(24, values)
        })
    }

    /// Deletes elements in their order until one is refused. Returns how many are gone, and why the next one is not.
    pub fn delete_batch(&self, keys: &[u8]) -> (usize, Option<io::Error>) {
        self.batch(DELETE_BATCH, keys, |attributes| attributes)
    }

    fn batch(
        &self,
        command: u32,
        keys: &[u8],
        values: impl FnOnce(Attributes) -> Attributes,
    ) -> (usize, Option<io::Error>) {
        let count = keys.len() / self.layout.key.max(1);
        let given = Self::check(keys.len(), self.layout.key, count)
            .and_then(|()| u32::try_from(count).map_err(io::Error::other));
        let given = match given {
            Ok(given) => given,
            Err(error) => return (0, Some(error)),
        };
        let attributes = Attributes::new()
            .input(16, keys)
            .u32(32, given)
            .descriptor(36, &self.fd);
        let mut attributes = values(attributes);
        // SAFETY: there are as many keys as the kernel is told; so are values, where there are any, by the check of
        // the caller in this file.
        match unsafe { call(command, &mut attributes) } {
            Ok(_) => (count, None),
            Err(error) => {
                let done = usize::try_from(attributes.u32_at(32)).unwrap_or(0);
                // A kernel without the command leaves the number as it was.
                let done = if done < count { done } else { 0 };
                (done, Some(error))
            }
        }
    }
}
