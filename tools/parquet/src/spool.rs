//! The spool: a folder in which a sensor writes segments, and from which they are removed once they are delivered.
//!
//! The sensor writes `NUMBER.open` and renames it to `NUMBER.rows` when it is closed. A segment with something that
//! cannot be read becomes `NUMBER.bad` once its good rows are delivered.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Ending of closed segments.
pub const CLOSED: &str = "rows";
/// Ending of segments that were set aside.
pub const BAD: &str = "bad";
/// One program works on a spool at a time.
const LOCK: &str = ".delivering";

/// A spool, locked against other programs of this kind.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    _lock: Option<File>,
}

impl Spool {
    /// Opens a spool and waits until no other program delivers it.
    ///
    /// # Errors
    ///
    /// The folder is missing, or may not be written.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let lock = File::create(folder.join(LOCK))?;
        lock.lock()?;
        let folder = folder.to_owned();
        let _lock = Some(lock);
        Ok(Self { folder, _lock })
    }

    /// The same without a lock: to look only.
    pub fn look(folder: &Path) -> Self {
        let (folder, _lock) = (folder.to_owned(), None);
        Self { folder, _lock }
    }

    /// Closed segments, the oldest first.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn closed(&self) -> io::Result<Vec<PathBuf>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let is_closed = path.extension().is_some_and(|end| end == CLOSED);
            if let Some(number) = number.filter(|_| is_closed) {
                all.push((number, path));
            }
        }
        all.sort_unstable();
        Ok(all.into_iter().map(|(_, path)| path).collect())
    }

    /// Removes a segment that is delivered.
    ///
    /// # Errors
    ///
    /// It is there still.
    pub fn remove(&self, segment: &Path) -> io::Result<()> {
        match fs::remove_file(segment) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Sets a segment aside, for a person.
    ///
    /// # Errors
    ///
    /// It keeps its name.
    pub fn set_aside(&self, segment: &Path) -> io::Result<()> {
        fs::rename(segment, segment.with_extension(BAD))
    }
}
