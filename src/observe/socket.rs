//! Unix sockets of the sensor: bound where nobody listens, removed at the end.

use crate::words::shown;
use nix::unistd::{AccessFlags, Gid, Uid, chown, eaccess};
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Its owner and group may connect.
const MODE: u32 = 0o660;

/// Where a flag wants a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// With the dashes, and what stands before the path, for errors.
    pub flag: &'a str,
    pub path: &'a Path,
    /// The directory is made if it is missing.
    pub makes_directory: bool,
}

/// A bound socket, whose file is removed with this.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl SocketFile {
    /// Gives it to this user and group.
    ///
    /// # Errors
    ///
    /// As chown(2).
    pub(crate) fn give(&self, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
        Ok(chown(&self.path, uid, gid)?)
    }
}

impl Place<'_> {
    /// Binds the socket, and gives it to this group. A socket there that nobody serves is replaced.
    ///
    /// # Errors
    ///
    /// One sentence with the path and what to do.
    pub(crate) fn bind(&self, gid: Option<Gid>) -> Result<(UnixListener, SocketFile), String> {
        self.would_bind()?;
        let about = |error: io::Error| self.about(&error.to_string());
        if let Some(folder) = self.path.parent().filter(|_| self.makes_directory)
            && !folder.exists()
        {
            let made = DirBuilder::new().mode(0o755).create(folder);
            made.map_err(about)?;
        }
        if fs::symlink_metadata(self.path).is_ok() {
            // Nobody listens there any more: `would_bind` has tried.
            fs::remove_file(self.path).map_err(about)?;
        }
        let listener = UnixListener::bind(self.path).map_err(about)?;
        let file = SocketFile {
            path: self.path.to_owned(),
        };
        if gid.is_some() {
            file.give(None, gid).map_err(about)?;
        }
        fs::set_permissions(self.path, Permissions::from_mode(MODE)).map_err(about)?;
        Ok((listener, file))
    }

    /// Whether it could be bound; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::bind`].
    pub(crate) fn would_bind(&self) -> Result<(), String> {
        let path = self.path;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let written = match (folder.is_dir(), self.makes_directory) {
            (true, _) => folder,
            (false, true) => folder.parent().unwrap_or(folder),
            (false, false) => {
                let missing = format!("its directory {} is missing: create it", shown(folder));
                return Err(self.about(&missing));
            }
        };
        if let Err(errno) = eaccess(written, AccessFlags::W_OK | AccessFlags::X_OK) {
            let (shown, error) = (shown(written), io::Error::from(errno));
            let closed =
                format!("{shown} takes no socket of this user ({error}): name another path");
            return Err(self.about(&closed));
        }
        let about = |what: &str| Err(self.about(what));
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => about(&error.to_string()),
            Ok(known) if !known.file_type().is_socket() => {
                about("a file that is no socket is there: name another path")
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => about("another sensor answers there: end it, or name another path"),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
                Err(error) => about(&error.to_string()),
            },
        }
    }

    /// Whether somebody answers there.
    pub(crate) fn is_served(&self) -> bool {
        UnixStream::connect(self.path).is_ok()
    }

    fn about(&self, what: &str) -> String {
        format!("{}{}: {what}", self.flag, shown(self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path, makes_directory: bool) -> Place<'_> {
        Place {
            flag: "--status-socket ",
            path,
            makes_directory,
        }
    }

    #[test]
    fn a_socket_that_nobody_serves_is_replaced_and_one_that_is_served_is_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("made/synledger.sock");
        let error = at(&path, false).bind(None).expect_err("no folder");
        assert!(error.starts_with("--status-socket /"), "{error}");
        assert!(error.contains("is missing: create it"), "{error}");
        let (listener, file) = at(&path, true).bind(None).expect("bound");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let error = at(&path, true).would_bind().expect_err("served");
        assert!(error.contains("another sensor answers"), "{error}");
        drop(listener);
        std::mem::forget(file);
        assert!(path.exists());
        let (listener, file) = at(&path, false).bind(None).expect("nobody serves it");
        drop((listener, file));
        assert!(!path.exists(), "removed at the end");
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("file");
        fs::write(&path, "mine").expect("a file");
        let error = at(&path, false).bind(None).expect_err("no socket");
        assert!(error.contains("no socket is there"), "{error}");
        assert_eq!(fs::read(&path).expect("there"), b"mine");
    }
}
