//! Output descriptors that never block: a write that would block fails with `WouldBlock`.

use super::spec::{Target, folder};
use super::torn::{self, Tail};
use crate::words::shown;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, eaccess};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// A pipe with any room takes this much at once (`PIPE_BUF`).
const PIPE_BYTES: usize = 4096;

/// Non-blocking: a named pipe without a reader is an error at once. Close-on-exec comes from std.
const SAFE: i32 = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;

/// An output that cannot be opened.
#[derive(Debug)]
pub struct OpenError {
    path: String,
    hint: String,
    source: io::Error,
}

impl OpenError {
    /// With the hint for this errno, if there is one.
    pub(super) fn of(path: &Path, source: io::Error) -> Self {
        let hint = match source.raw_os_error() {
            Some(libc::ELOOP) => " (a symbolic link: name the file itself)".to_owned(),
            Some(libc::EISDIR) => " (a directory: name a file in it)".to_owned(),
            Some(libc::ENXIO) => {
                " (a socket, or a named pipe without a reader: start the reader first)".to_owned()
            }
            // In /sys nobody may.
            Some(libc::EACCES) if refuses_files(folder(path)).is_none() => {
                " (this user may not write there: name another place, or start as a user who may)"
                    .to_owned()
            }
            // A folder in /proc exists and yet answers ENOENT.
            Some(libc::ENOENT) if !folder(path).exists() => {
                let missing = shown(folder(path));
                format!(" (its directory {missing} is missing: create it)")
            }
            _ => String::new(),
        };
        let path = shown(path);
        Self { path, hint, source }
    }

    /// A collector whose name has no address.
    pub(super) fn of_collector(path: String, source: io::Error) -> Self {
        let hint = " (its name cannot be resolved now, and is looked up once, at the start: name an address)";
        let hint = hint.to_owned();
        Self { path, hint, source }
    }

    fn with_hint(self, hint: &str) -> Self {
        let hint = format!(" ({hint})");
        Self { hint, ..self }
    }

    pub(super) fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        error.source
    }
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

/// How a descriptor is written without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A regular file, or an open file description of our own with O_NONBLOCK.
    Plain,
    /// `MSG_DONTWAIT`.
    Socket,
    /// Other processes share the open file description, so O_NONBLOCK must not be set: poll(2), then a small write.
    Shared,
}

/// An open output.
#[derive(Debug)]
pub struct Descriptor {
    file: File,
    way: Way,
}

impl Descriptor {
    /// Standard output or standard error, called `name` in errors.
    ///
    /// # Errors
    ///
    /// The process may open no more files.
    pub fn inherited(name: &str, stream: impl AsFd) -> Result<Self, OpenError> {
        let fd = stream.as_fd().try_clone_to_owned();
        fd.map(Self::of).map_err(|source| OpenError {
            path: name.to_owned(),
            hint: String::new(),
            source,
        })
    }

    /// Whether `path` names this file.
    pub fn is_at(&self, path: &Path) -> bool {
        let identity = |about: fs::Metadata| (about.dev(), about.ino());
        let here = self.file.metadata().map(identity);
        let there = path.symlink_metadata().map(identity);
        matches!((here, there), (Ok(here), Ok(there)) if here == there)
    }

    /// Whether what is written from now on is lost: the file was removed, or another file has its name.
    ///
    /// A file that was renamed is not lost: whoever did that sends SIGHUP.
    pub fn is_replaced(&self, path: &Path) -> bool {
        let is_plain = self.file.metadata().is_ok_and(|about| about.is_file());
        match path.symlink_metadata() {
            Ok(there) if there.is_file() => is_plain && !self.is_at(path),
            _ => self.is_removed(),
        }
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.is_file())
    }

    /// Whether it is a regular file that has no name any more.
    pub fn is_removed(&self) -> bool {
        let about = self.file.metadata();
        about.is_ok_and(|about| about.is_file() && about.nlink() == 0)
    }

    /// Bytes of a regular file.
    pub fn size(&self) -> u64 {
        let about = self.file.metadata().ok();
        about.map_or(0, |about| if about.is_file() { about.len() } else { 0 })
    }

    /// When a regular file was made, ns since the Unix epoch; where the file system does not know, when it was written.
    pub fn made_ns(&self) -> Option<i64> {
        let about = self.file.metadata().ok()?;
        let made = about.created().or_else(|_| about.modified()).ok()?;
        let since = made.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_nanos()).ok()
    }

    pub fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    /// Takes over a descriptor that may be blocking and shared with other processes.
    pub fn of(fd: OwnedFd) -> Self {
        let file = File::from(fd);
        let way = match file.metadata().map(|about| about.file_type()) {
            Ok(kind) if kind.is_socket() => Way::Socket,
            Ok(kind) if !kind.is_fifo() && !kind.is_char_device() => Way::Plain,
            Ok(_) => {
                // O_NONBLOCK belongs to the open file description, which a shell and its other children share.
                // Opened through /proc, a pipe or terminal gets a description of its own.
                let mut options = OpenOptions::new();
                let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
                options.write(true).custom_flags(flags);
                let way = Way::Plain;
                match options.open(format!("/proc/self/fd/{}", file.as_raw_fd())) {
                    Ok(file) => return Self { file, way },
                    Err(_) => Way::Shared,
                }
            }
            Err(_) => Way::Shared,
        };
        Self { file, way }
    }

    /// Opens a file to append to, created with mode 0640 if it is missing, and locks it until it is closed. The second
    /// value: what became of its end.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for symbolic links, directories, block devices, a file that another process writes, and whatever
    /// open(2) refuses.
    pub fn open(path: &Path) -> Result<(Self, Tail), OpenError> {
        let error = |source| OpenError::of(path, source);
        let mut options = OpenOptions::new();
        options
            .append(true)
            .create(true)
            .mode(0o640)
            .custom_flags(SAFE);
        let file = options.open(path).map_err(error)?;
        let about = file.metadata().map_err(error)?;
        let kind = about.file_type();
        if !(kind.is_file() || kind.is_char_device() || kind.is_fifo()) {
            let refused = error(ErrorKind::InvalidInput.into());
            return Err(refused.with_hint("neither file, character device nor pipe"));
        }
        if kind.is_file() {
            lock_file(path, &file)?;
        }
        let tail = match kind.is_file() && about.len() > 0 {
            true => mend(path, &file, false),
            false => Tail::Whole,
        };
        let way = Way::Plain;
        Ok((Self { file, way }, tail))
    }

    /// Writes as much as fits.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing fits, or the error of write(2).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.way {
            Way::Plain => self.file.write(bytes),
            Way::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(self.file.as_raw_fd(), bytes, flags)?)
            }
            Way::Shared if self.has_room_within(Duration::ZERO) => {
                self.file.write(&bytes[..bytes.len().min(PIPE_BYTES)])
            }
            Way::Shared => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Waits at most `timeout` until a write would succeed or fail, not block.
    pub fn has_room_within(&self, timeout: Duration) -> bool {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }
}

/// The error of creating a file or folder in `/proc` or `/sys`, whose permissions look writable.
pub(crate) fn refuses_files(folder: &Path) -> Option<io::Error> {
    let kind = statfs(folder).ok()?.filesystem_type();
    let errno = match kind {
        PROC_SUPER_MAGIC => libc::ENOENT,
        SYSFS_MAGIC => libc::EACCES,
        _ => return None,
    };
    Some(io::Error::from_raw_os_error(errno))
}

/// Whether [`Descriptor::open`] would succeed; nothing is created, opened or changed. A named pipe without a reader
/// is not noticed: opening it would give a waiting reader an early end of file.
///
/// # Errors
///
/// As [`Descriptor::open`].
pub fn would_open(target: &Target) -> Result<(), OpenError> {
    let Target::Path(path) = target else {
        return Ok(());
    };
    let refuse = |source: io::Error| OpenError::of(path, source);
    let raw = |errno| Err(refuse(io::Error::from_raw_os_error(errno)));
    let errno = |errno: nix::errno::Errno| refuse(errno.into());
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => raw(libc::ELOOP),
        Ok(about) if about.is_dir() => raw(libc::EISDIR),
        Ok(about) if about.file_type().is_socket() => raw(libc::ENXIO),
        Ok(about) if about.file_type().is_block_device() => {
            Err(refuse(ErrorKind::InvalidInput.into()))
        }
        Ok(_) => eaccess(path, AccessFlags::W_OK).map_err(errno),
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            let folder = folder(path);
            eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(errno)?;
            refuses_files(folder).map_or(Ok(()), |source| Err(refuse(source)))
        }
        Err(other) => Err(refuse(other)),
    }
}

/// Whether a file can be rotated.
///
/// # Errors
///
/// It is there, and no regular file. Links and folders have errors of their own.
pub(super) fn is_plain_or_missing(path: &Path) -> Result<(), OpenError> {
    match path.symlink_metadata() {
        Ok(about) if !(about.is_file() || about.is_symlink() || about.is_dir()) => {
            let refused = OpenError::of(path, ErrorKind::InvalidInput.into());
            Err(refused.with_hint("rotate= takes a regular file: leave it out, or name a file"))
        }
        _ => Ok(()),
    }
}

/// Whether files can be created in this folder; nothing is created.
///
/// # Errors
///
/// It is missing, no folder, not readable, or we may not create files there.
pub(super) fn would_hold_files(folder: &Path) -> Result<(), OpenError> {
    let refuse = |source: io::Error| OpenError {
        hint: String::new(),
        ..OpenError::of(folder, source)
    };
    let about = fs::metadata(folder).map_err(|source| match source.kind() {
        ErrorKind::NotFound => refuse(source).with_hint("the folder is missing: create it"),
        _ => refuse(source),
    })?;
    if !about.is_dir() {
        let refused = refuse(io::Error::from_raw_os_error(libc::ENOTDIR));
        return Err(refused.with_hint("files go there: name a folder"));
    }
    let all = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    eaccess(folder, all).map_err(|errno| refuse(errno.into()))?;
    refuses_files(folder).map_or(Ok(()), |source| Err(refuse(source)))
}

/// Locks a folder against other sensors (flock(2), exclusive) until the descriptor is closed.
///
/// # Errors
///
/// Another process holds the lock, or the folder cannot be opened or locked.
pub(super) fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let refuse = |source| OpenError::of(folder, source);
    let opened = File::open(folder).map_err(refuse)?;
    let refused = match opened.try_lock() {
        Ok(()) => return Ok(opened),
        Err(TryLockError::WouldBlock) => refuse(ErrorKind::ResourceBusy.into()).with_hint(
            "locked by another sensor that writes there: name another folder, or stop that sensor",
        ),
        Err(TryLockError::Error(source)) => refuse(source).with_hint(
            "the folder cannot be locked against other sensors: name one on another file system",
        ),
    };
    Err(refused)
}

/// Locks a file against other processes that write it (flock(2), exclusive): each line would be there twice, and the one
/// would cut off what the other has half written. A file system that knows no locks is no error.
fn lock_file(path: &Path, file: &File) -> Result<(), OpenError> {
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let refused = OpenError::of(path, ErrorKind::ResourceBusy.into());
            Err(refused.with_hint(
                "locked by another process that writes there: name another file, or stop that process",
            ))
        }
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Mends the end of a file; `any`: whatever is there is a record. A file that we may not read counts as whole.
pub(super) fn mend(path: &Path, writing: &File, any: bool) -> Tail {
    let mut options = OpenOptions::new();
    let reading = options.read(true).custom_flags(SAFE).open(path);
    let (Ok(reading), Ok(about)) = (reading, writing.metadata()) else {
        return Tail::Whole;
    };
    let is_same = reading
        .metadata()
        .is_ok_and(|one| one.ino() == about.ino() && one.dev() == about.dev());
    match is_same {
        true => torn::mend(&reading, writing, about.len(), any).unwrap_or(Tail::Foreign),
        false => Tail::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// Writes until `WouldBlock`; returns the number of bytes.
    fn fill(mut to: Descriptor) -> usize {
        let bytes = [b'x'; 65_536];
        let mut taken = 0;
        loop {
            match to.write(&bytes) {
                Ok(count) => taken += count,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert!(!to.has_room_within(Duration::from_millis(1)));
                    return taken;
                }
            }
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_answers_instead_of_blocking_and_stays_blocking_for_others() {
        let (mut reader, writer) = io::pipe().expect("pipe");
        let mut others = writer.try_clone().expect("a second descriptor");
        let taken = fill(Descriptor::of(writer.into()));
        assert!(taken >= PIPE_BYTES);
        let blocked = std::thread::spawn(move || others.write_all(b"y"));
        let mut all = vec![0; taken + 1];
        reader
            .read_exact(&mut all)
            .expect("what both wrote, once there is room");
        assert_eq!(all.last(), Some(&b'y'));
        assert!(blocked.join().expect("no panic").is_ok());
    }

    #[test]
    fn a_shared_pipe_is_looked_at_first() {
        let (_reader, writer) = io::pipe().expect("pipe");
        let file = File::from(OwnedFd::from(writer));
        let way = Way::Shared;
        assert!(fill(Descriptor { file, way }) >= PIPE_BYTES);
    }

    #[test]
    fn a_socket_that_nobody_reads_answers_instead_of_blocking() {
        let (ours, _theirs) = UnixStream::pair().expect("sockets");
        let to = Descriptor::of(ours.into());
        assert_eq!(to.way, Way::Socket);
        assert!(fill(to) > 0);
    }

    #[test]
    fn a_file_is_written_at_its_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "one").expect("write");
        let append = OpenOptions::new().append(true).open(file.path());
        let mut to = Descriptor::of(append.expect("open").into());
        assert_eq!(to.write(b"two").expect("write"), 3);
        assert_eq!(
            std::fs::read_to_string(file.path()).expect("read"),
            "onetwo"
        );
    }
}
