//! A file that is replaced atomically: written to a temporary file in its folder, then renamed.

use crate::log::sinks::spec::folder;
use crate::words::shown;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

/// Readable by all: a firewall or proxy of another user loads it, and its content is no secret.
const MODE: u32 = 0o644;

#[derive(Debug)]
pub struct Replaced {
    path: PathBuf,
    /// In the same folder, hence in the same file system.
    beside: PathBuf,
}

impl Replaced {
    /// The file at `path`. A unique `number` names the temporary file.
    pub fn at(path: &Path, number: u64) -> Result<Self, String> {
        would_open(path)?;
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{number:016x}"));
        Ok(Self {
            path: path.to_owned(),
            beside: path.with_file_name(name),
        })
    }

    /// Replaces its content by what `fill` writes. After an error it is unchanged.
    pub fn replace(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let written = self.write_beside(fill);
        let done = written.and_then(|()| fs::rename(&self.beside, &self.path));
        if done.is_err() {
            let _ = fs::remove_file(&self.beside);
        }
        done
    }

    /// Creates and removes the temporary file.
    pub fn try_beside(&self) -> io::Result<()> {
        self.create()?;
        fs::remove_file(&self.beside)
    }

    fn write_beside(&self, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(64 << 10, self.create()?);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }

    /// Creates a new file: never opens an existing one, never follows a symbolic link.
    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(MODE)
            .custom_flags(libc::O_NOFOLLOW);
        match options.open(&self.beside) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Left over from an interrupted write, or planted to block ours.
                fs::remove_file(&self.beside)?;
                options.open(&self.beside)
            }
            other => other,
        }
    }
}

/// Whether a file at `path` could be replaced; changes nothing. The error is one sentence with the way out.
pub fn would_open(path: &Path) -> Result<(), String> {
    let refuse = |hint: &str, why: &dyn std::fmt::Display| {
        let path = shown(path);
        Err(format!("open failed for output {path}{hint}: {why}"))
    };
    match path.symlink_metadata() {
        Ok(about) if about.is_symlink() => {
            return refuse(
                " (a symbolic link: name the file itself)",
                &"it would be replaced, not what it names",
            );
        }
        Ok(about) if about.is_dir() => {
            return refuse(
                " (a directory: name a file in it)",
                &"it cannot be replaced",
            );
        }
        Ok(about) if !about.is_file() => {
            return refuse(" (no regular file)", &"it would be replaced by one");
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return refuse("", &error),
        _ => {}
    }
    let folder = folder(path);
    if !folder.exists() {
        let hint = format!(" (its directory {} is missing: create it)", shown(folder));
        return refuse(&hint, &io::Error::from_raw_os_error(libc::ENOENT));
    }
    match eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Ok(()),
        Err(errno) => {
            let hint = format!(
                " (a file is written beside it: its directory {} must be writable)",
                shown(folder)
            );
            refuse(&hint, &io::Error::from(errno))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_reader_sees_whole_files_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("list");
        let file = Replaced::at(&path, 1).expect("it can be");
        let write = |round: u32| {
            // Longer than what is written at once.
            file.replace(|out| (0..40_000).try_for_each(|_| writeln!(out, "{round:07}")))
        };
        write(0).expect("written");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let text = fs::read_to_string(&path).expect("always there");
                    assert_eq!(text.len(), 8 * 40_000);
                    let first = &text[..8];
                    assert!(
                        text.as_bytes()
                            .chunks(8)
                            .all(|line| line == first.as_bytes())
                    );
                    seen += 1;
                }
                seen
            });
            for round in 1..100 {
                write(round).expect("written");
            }
            done.store(true, Ordering::Relaxed);
            assert!(reader.join().expect("no panic") > 0);
        });
        assert_eq!(names(dir.path()), ["list"]);
        let mode = fs::metadata(&path).expect("a file").mode();
        assert_eq!(mode & 0o7777 & !0o644, 0, "{mode:o}");
    }

    #[test]
    fn what_fails_leaves_the_file_as_it_was_and_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("list");
        let file = Replaced::at(&path, 1).expect("it can be");
        file.replace(|out| out.write_all(b"old")).expect("written");
        let half = |out: &mut dyn Write| {
            out.write_all(&vec![b'x'; 1 << 20])?;
            Err(io::Error::from_raw_os_error(libc::ENOSPC))
        };
        let error = file.replace(half).expect_err("it fails");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(fs::read(&path).expect("a file"), b"old");
        assert_eq!(names(dir.path()), ["list"]);
    }

    #[test]
    fn links_are_neither_followed_nor_taken_for_the_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let [path, victim] = ["list", "victim"].map(|name| dir.path().join(name));
        fs::write(&victim, "precious").expect("written");
        symlink(&victim, &path).expect("a link");
        let error = Replaced::at(&path, 1).expect_err("a link");
        assert!(
            error.contains("(a symbolic link: name the file itself)"),
            "{error}"
        );
        fs::remove_file(&path).expect("removed");
        let file = Replaced::at(&path, 1).expect("it can be");
        // Put there later: in the place of the file, and of the one beside it.
        symlink(&victim, &path).expect("a link");
        symlink(&victim, dir.path().join(".list.0000000000000001")).expect("a link");
        file.replace(|out| out.write_all(b"new")).expect("written");
        assert_eq!(fs::read(&victim).expect("a file"), b"precious");
        assert_eq!(fs::read(&path).expect("a file"), b"new");
        assert!(!path.is_symlink());
        assert_eq!(names(dir.path()), ["list", "victim"]);
    }

    #[test]
    fn what_cannot_be_replaced_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let refused = |path: &Path| would_open(path).expect_err("refused");
        assert!(refused(dir.path()).contains("(a directory: name a file in it)"));
        assert!(refused(Path::new("/dev/null")).contains("(no regular file)"));
        let error = refused(&dir.path().join("missing/list"));
        assert!(error.contains("missing is missing: create it)"), "{error}");
        assert_eq!(would_open(&dir.path().join("list")), Ok(()));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn a_folder_that_goes_away_is_an_error_and_one_that_comes_back_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("run");
        fs::create_dir(&folder).expect("a folder");
        let file = Replaced::at(&folder.join("list"), 1).expect("it can be");
        fs::remove_dir(&folder).expect("removed");
        assert!(file.replace(|out| out.write_all(b"x")).is_err());
        fs::create_dir(&folder).expect("a folder");
        file.replace(|out| out.write_all(b"x")).expect("written");
        assert_eq!(names(&folder), ["list"]);
    }
}
