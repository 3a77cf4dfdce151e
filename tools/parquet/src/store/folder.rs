//! Files in a folder: written beside their name, synced, then renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A folder that takes files.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// With this path; it is made with its first file.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Puts a file there.
    ///
    /// # Errors
    ///
    /// The path, and the system's error.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<(), String> {
        let whole = self.root.join(path);
        let put = self.write(&whole, bytes);
        put.map_err(|error| format!("{}: {error}", whole.display()))
    }

    fn write(&self, whole: &Path, bytes: &[u8]) -> io::Result<()> {
        let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.make(folder)?;
        // Readers skip names with a dot. A retry takes the same name, so nothing is left of a writer that was killed.
        let part = folder.join(format!(".{}.part", name.display()));
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, whole)?;
        sync(folder)
    }

    /// Makes a folder below the root, and those above it, so that they are there after a power cut too.
    fn make(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent().filter(|_| folder != self.root) {
            self.make(above)?;
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => folder.parent().map_or(Ok(()), sync),
        }
    }
}

/// Makes changed names of a folder last.
fn sync(folder: &Path) -> io::Result<()> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    File::open(folder)?.sync_all()
}
