//! Why a capture could not be read, or not to its end.

use std::fmt;
use std::io;

/// The kind of a [`ReadError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReadErrorKind {
    /// No file of that name.
    NotFound,
    /// The file may not be read by this user.
    Permission,
    /// The path names a directory.
    IsDirectory,
    /// The file, or what it holds in compressed form, has no bytes.
    Empty,
    /// The first bytes belong to no capture format that is read.
    UnknownType,
    /// Bytes that cannot be right.
    Damaged,
    /// The capture ends in the middle of something.
    Truncated,
    /// The operating system could not open or read the file.
    Io,
    /// No error: a stream has given nothing for a while, or no whole frame yet. Call again.
    NotYet,
}

/// An error without the file's name. Travels as an `io::Error` through a decompressor or from another thread.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: ReadErrorKind,
    pub(super) what: String,
    pub(super) offset: Option<u64>,
    /// `record` or `block`, and its number.
    pub(super) number: Option<(&'static str, u64)>,
    pub(super) source: Option<io::Error>,
}

impl Fault {
    /// An error without a place in the file.
    pub(super) fn whole(kind: ReadErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            offset: None,
            number: None,
            source: None,
        }
    }

    /// An error at byte `offset` of the uncompressed data.
    pub(super) fn at(kind: ReadErrorKind, offset: u64, what: impl Into<String>) -> Self {
        Self {
            offset: Some(offset),
            ..Self::whole(kind, what)
        }
    }

    /// Wrong bytes in the record or block that starts at `offset`.
    pub(super) fn damaged(offset: u64, what: impl Into<String>) -> Self {
        Self::at(ReadErrorKind::Damaged, offset, what)
    }

    /// The end of the capture inside `part`, which starts at `offset`.
    pub(super) fn cut(offset: u64, part: &str, have: usize, want: usize) -> Self {
        let what = format!("ends in the middle of {part}: {have} of {want} bytes");
        Self::at(ReadErrorKind::Truncated, offset, what)
    }

    /// Adds the number of the record or block, unless it has one.
    pub(super) fn numbered(mut self, unit: &'static str, number: u64) -> Self {
        self.number.get_or_insert((unit, number));
        self
    }

    /// Adds the file's name.
    pub(super) fn of(self, file: &str) -> ReadError {
        ReadError(Box::new((file.to_owned(), self)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

/// A capture that could not be opened, or not be read to its end.
///
/// Its text is one sentence that names the file and, where there is one, the place of the damage:
/// `web.pcap: damaged at byte 4711, record 12: …`. Frames before that place were handed out.
#[derive(Debug)]
pub struct ReadError(Box<(String, Fault)>);

impl ReadError {
    /// The kind of error.
    pub fn kind(&self) -> ReadErrorKind {
        self.0.1.kind
    }

    /// Where the damaged record or block starts, in bytes of the uncompressed data.
    ///
    /// For damaged gzip or zstd data: the bytes unpacked before it. `None` for an error without a place.
    #[cfg(test)]
    pub fn offset(&self) -> Option<u64> {
        self.0.1.offset
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, fault) = &*self.0;
        write!(f, "{file}: ")?;
        if let Some(offset) = fault.offset {
            let verb = match fault.kind {
                ReadErrorKind::Truncated => "cut short",
                ReadErrorKind::Io => "unreadable",
                _ => "damaged",
            };
            write!(f, "{verb} at byte {offset}")?;
            match fault.number {
                Some((unit, number)) => write!(f, ", {unit} {number}: ")?,
                None => write!(f, ": ")?,
            }
        }
        write!(f, "{}", fault.what)?;
        match &fault.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.1.source.as_ref().map(|source| source as _)
    }
}
