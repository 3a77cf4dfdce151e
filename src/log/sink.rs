//! Lines to a file descriptor: opened safely, buffered, counted only once write(2) took them.
//!
//! A file that takes no more (full disk, I/O error) is tried again once a second. Until then up to
//! [`BUFFER_MAX`] bytes wait; further lines are dropped and counted by kind and cause. A line of which a
//! part was written is completed first, so lines never mix.

use super::notice::{EventKind, KINDS};
use super::spec::Target;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{AccessFlags, eaccess};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A buffer this full is written.
const FLUSH_AT: usize = 64 << 10;
/// What a sink holds while its file takes nothing.
pub const BUFFER_MAX: usize = 256 << 10;
const RETRY_NS: u64 = 1_000_000_000;

/// Why a line was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    /// No space, or over quota.
    DiskFull = 0,
    /// Any other answer of write(2).
    Io = 1,
    /// Standard output has no reader any more.
    Closed = 2,
    /// The queue to the logger was full (live only).
    QueueFull = 3,
}

/// How many causes there are.
pub const CAUSES: usize = 4;

impl Cause {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::Io => "io",
            Self::Closed => "closed",
            Self::QueueFull => "queue_full",
        }
    }
}

/// What was lost while a file took nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When the first write failed, by the logger's clock.
    pub since_ns: i64,
    /// What the last failure was.
    pub cause: Cause,
    /// Lines lost, by kind.
    pub lost: [u64; KINDS],
}

/// An output that cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    path: String,
    hint: &'static str,
    source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "open failed for output {}{}: {}",
            self.path, self.hint, self.source
        )
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

struct Trouble {
    recovery: Recovery,
    tried_ns: i64,
}

#[derive(Clone, Copy)]
struct Line {
    /// Where in the buffer it ends.
    end: usize,
    kind: EventKind,
}

/// A destination for whole lines.
pub struct Sink {
    target: Target,
    file: File,
    buffer: Vec<u8>,
    lines: Vec<Line>,
    /// The first byte of the buffer continues a line that is partly in the file.
    mid_line: bool,
    trouble: Option<Trouble>,
    recovered: Option<Recovery>,
    closed: bool,
    written: [u64; KINDS],
    dropped: [[u64; KINDS]; CAUSES],
}

impl Sink {
    /// Opens a target. Files are created with mode 0640 and appended to; a last line without its
    /// newline, as a full disk leaves it, is ended first.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for symbolic links, directories, block devices, and whatever open(2) refuses.
    pub fn open(target: &Target) -> Result<Self, OpenError> {
        let (file, torn) = match target {
            Target::Stdout => {
                let fd = io::stdout().as_fd().try_clone_to_owned();
                let fd = fd.map_err(|source| OpenError {
                    path: "-".into(),
                    hint: "",
                    source,
                })?;
                (File::from(fd), false)
            }
            Target::Path(path) => open_path(path)?,
        };
        Ok(Self::new(target.clone(), file, torn))
    }

    /// A sink that writes to an open descriptor and treats it as standard output.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::new(Target::Stdout, File::from(fd), false)
    }

    fn new(target: Target, file: File, torn: bool) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER_MAX);
        if torn {
            buffer.push(b'\n');
        }
        Self {
            target,
            file,
            buffer,
            lines: Vec::with_capacity(BUFFER_MAX / 64),
            mid_line: false,
            trouble: None,
            recovered: None,
            closed: false,
            written: [0; KINDS],
            dropped: [[0; KINDS]; CAUSES],
        }
    }

    /// Where to append a line of this kind; `None` if it is dropped (and counted).
    pub fn admit(&mut self, kind: EventKind, now_ns: i64) -> Option<&mut Vec<u8>> {
        if self.buffer.len() >= BUFFER_MAX {
            self.flush(now_ns);
        }
        if self.closed {
            self.drop_line(kind, Cause::Closed);
            return None;
        }
        match &self.trouble {
            Some(trouble) if self.buffer.len() >= BUFFER_MAX => {
                let cause = trouble.recovery.cause;
                self.drop_line(kind, cause);
                None
            }
            _ => Some(&mut self.buffer),
        }
    }

    /// Says that what was appended since [`Sink::admit`] is one line of this kind.
    pub fn commit(&mut self, kind: EventKind, now_ns: i64) {
        let end = self.buffer.len();
        self.lines.push(Line { end, kind });
        if end >= FLUSH_AT && self.trouble.is_none() {
            self.flush(now_ns);
        }
    }

    /// Writes what waits, unless a failure is less than a second ago.
    pub fn flush(&mut self, now_ns: i64) {
        let wait = self.trouble.as_ref();
        if wait.is_none_or(|trouble| now_ns.abs_diff(trouble.tried_ns) >= RETRY_NS) {
            self.write_out(now_ns);
        }
    }

    /// Writes what waits; what cannot be written now is dropped.
    pub fn finish(&mut self, now_ns: i64) {
        self.write_out(now_ns);
        let cause = self.cause();
        self.drop_waiting(usize::MAX, cause);
    }

    /// Opens the path anew (after a rotation); the old file gets what waits first. Standard output stays.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`]; the old file stays in use.
    pub fn reopen(&mut self, now_ns: i64) -> Result<(), OpenError> {
        let Target::Path(path) = self.target.clone() else {
            return Ok(());
        };
        self.write_out(now_ns);
        let (file, torn) = open_path(&path)?;
        if self.mid_line {
            let cause = self.cause();
            self.drop_waiting(1, cause);
        }
        self.file = file;
        if torn {
            self.buffer.insert(0, b'\n');
            self.lines.iter_mut().for_each(|line| line.end += 1);
        }
        self.write_out(now_ns);
        Ok(())
    }

    /// What was lost, once after a file took lines again.
    pub fn take_recovery(&mut self) -> Option<Recovery> {
        self.recovered.take()
    }

    /// Standard output has lost its reader.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Lines wait to be written.
    pub fn is_waiting(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Lines written, by kind.
    pub fn written(&self) -> [u64; KINDS] {
        self.written
    }

    /// Lines dropped, by cause and kind.
    pub fn dropped(&self) -> [[u64; KINDS]; CAUSES] {
        self.dropped
    }

    /// Lines that wait, by kind.
    pub fn pending(&self) -> [u64; KINDS] {
        let mut count = [0; KINDS];
        self.lines
            .iter()
            .for_each(|line| count[line.kind as usize] += 1);
        count
    }

    fn cause(&self) -> Cause {
        let trouble = self.trouble.as_ref();
        trouble.map_or(Cause::Closed, |trouble| trouble.recovery.cause)
    }

    fn drop_line(&mut self, kind: EventKind, cause: Cause) {
        self.dropped[cause as usize][kind as usize] += 1;
        if let Some(trouble) = &mut self.trouble {
            trouble.recovery.lost[kind as usize] += 1;
        }
    }

    /// Drops the first `count` lines that wait.
    fn drop_waiting(&mut self, count: usize, cause: Cause) {
        let count = count.min(self.lines.len());
        for i in 0..count {
            self.drop_line(self.lines[i].kind, cause);
        }
        let bytes = if count == self.lines.len() {
            self.buffer.len()
        } else {
            self.lines[count - 1].end
        };
        self.lines.drain(..count);
        self.shift(bytes);
        self.mid_line = false;
    }

    fn shift(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.lines.iter_mut().for_each(|line| line.end -= bytes);
    }

    fn write_out(&mut self, now_ns: i64) {
        if self.closed || self.buffer.is_empty() {
            return;
        }
        let (done, result) = self.write_bytes();
        let whole = self.lines.partition_point(|line| line.end <= done);
        let start = if whole > 0 {
            self.lines[whole - 1].end
        } else {
            0
        };
        self.mid_line = done > start || (whole == 0 && self.mid_line);
        for line in self.lines.drain(..whole) {
            self.written[line.kind as usize] += 1;
        }
        self.shift(done);
        match result {
            Ok(()) => {
                self.mid_line = false;
                self.recovered = self.trouble.take().map(|trouble| trouble.recovery);
            }
            Err(error) => self.on_error(&error, now_ns),
        }
    }

    fn write_bytes(&mut self) -> (usize, io::Result<()>) {
        let mut done = 0;
        while done < self.buffer.len() {
            match self.file.write(&self.buffer[done..]) {
                Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.wait_for_room() => {}
                Err(error) => return (done, Err(error)),
            }
        }
        (done, Ok(()))
    }

    /// Standard output is waited for, as a blocking pipe would be; a named pipe for a second.
    fn wait_for_room(&self) -> bool {
        let timeout = match self.target {
            Target::Stdout => PollTimeout::NONE,
            Target::Path(_) => PollTimeout::from(1000u16),
        };
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, timeout) {
            Ok(ready) => ready > 0,
            Err(error) => error == nix::errno::Errno::EINTR,
        }
    }

    fn on_error(&mut self, error: &io::Error, now_ns: i64) {
        if error.kind() == ErrorKind::BrokenPipe && self.target == Target::Stdout {
            self.closed = true;
            return self.drop_waiting(usize::MAX, Cause::Closed);
        }
        let cause = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::DiskFull,
            _ => Cause::Io,
        };
        let trouble = self.trouble.get_or_insert(Trouble {
            recovery: Recovery {
                since_ns: now_ns,
                cause,
                lost: [0; KINDS],
            },
            tried_ns: now_ns,
        });
        trouble.recovery.cause = cause;
        trouble.tried_ns = now_ns;
    }
}

/// Opens a file; the second value says that its last line lacks its newline.
fn open_path(path: &Path) -> Result<(File, bool), OpenError> {
    let error = |hint, source| OpenError {
        path: path.display().to_string(),
        hint,
        source,
    };
    // Non-blocking: a named pipe without a reader is an error at once. Close-on-exec comes from std.
    let safe = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(safe);
    let file = options
        .open(path)
        .map_err(|source| error(hint(&source), source))?;
    let about = file.metadata().map_err(|source| error("", source))?;
    let kind = about.file_type();
    if !(kind.is_file() || kind.is_char_device() || kind.is_fifo()) {
        return Err(error(
            " (neither file, character device nor pipe)",
            ErrorKind::InvalidInput.into(),
        ));
    }
    let torn = kind.is_file() && about.len() > 0 && is_torn(path, about.ino(), safe, about.len());
    Ok((file, torn))
}

/// What helps when a path cannot be opened.
fn hint(why: &io::Error) -> &'static str {
    match why.raw_os_error() {
        Some(libc::ELOOP) => " (a symbolic link: name the file itself)",
        Some(libc::EISDIR) => " (a directory: name a file in it)",
        Some(libc::ENXIO) => {
            " (a socket, or a named pipe without a reader: start the reader first)"
        }
        Some(libc::ENOENT) => " (its directory is missing: create it)",
        _ => "",
    }
}

/// Whether [`Sink::open`] would succeed; nothing is created, opened or changed. A named pipe that has no
/// reader is not noticed: to look would end the reader that another program waits with.
///
/// # Errors
///
/// As [`Sink::open`].
pub fn would_open(target: &Target) -> Result<(), OpenError> {
    let Target::Path(path) = target else {
        return Ok(());
    };
    let refuse = |source: io::Error| OpenError {
        path: path.display().to_string(),
        hint: hint(&source),
        source,
    };
    let errno = |errno: nix::errno::Errno| refuse(errno.into());
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => Err(refuse(io::Error::from_raw_os_error(libc::ELOOP))),
        Ok(about) if about.is_dir() => Err(refuse(io::Error::from_raw_os_error(libc::EISDIR))),
        Ok(about) if about.file_type().is_socket() => {
            Err(refuse(io::Error::from_raw_os_error(libc::ENXIO)))
        }
        Ok(about) if about.file_type().is_block_device() => {
            Err(refuse(ErrorKind::InvalidInput.into()))
        }
        Ok(_) => eaccess(path, AccessFlags::W_OK).map_err(errno),
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(errno)
        }
        Err(other) => Err(refuse(other)),
    }
}

/// Whether the file's last byte is no newline; a file we may not read counts as whole.
fn is_torn(path: &Path, ino: u64, flags: i32, len: u64) -> bool {
    let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else {
        return false;
    };
    let mut last = [b'\n'];
    let same = file.metadata().is_ok_and(|about| about.ino() == ino);
    same && file.read_exact_at(&mut last, len - 1).is_ok() && last != [b'\n']
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
