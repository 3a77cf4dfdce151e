//! Metrics as a file, for the textfile collector of node_exporter.
//!
//! The file is replaced as a whole by rename(2). It is not flushed to the disk: after a power cut no sensor runs, and what
//! the file says is old in any case. It is removed when the run ends: a file that stays would say for ever that all is
//! well. After kill -9 it stays, and `node_textfile_mtime_seconds` says since when.

use super::metrics::{Exposition, render_own};
use crate::host::sandbox::Pass;
use crate::words::shown;
use nix::unistd::{AccessFlags, eaccess};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// Its name: the collector reads files that end in `.prom`.
pub(crate) const FILE: &str = "synledger.prom";
/// The collector reads no such name.
const NEW_FILE: &str = "synledger.prom.new";
/// The collector runs as another user, whatever the umask of this one.
const MODE: u32 = 0o644;
/// Between two versions.
const INTERVAL: Duration = Duration::from_secs(5);
/// Before the first version: then the first counters are there.
const FIRST: Duration = Duration::from_millis(1_500);
/// For the last act of a thread on a disk that hangs.
const PATIENCE: Duration = Duration::from_secs(2);

/// A folder that this sensor alone writes to.
#[derive(Debug)]
pub(crate) struct Textfile {
    folder: PathBuf,
    /// Locked against other sensors.
    _lock: File,
}

/// The thread that writes the file. It removes the file and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.take();
        let _ = self.ended.recv_timeout(PATIENCE);
    }
}

impl Textfile {
    /// Locks the folder; writes nothing yet.
    ///
    /// # Errors
    ///
    /// One sentence with the folder and what to do.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        Self::would_write(folder)?;
        let about = |what: &dyn Display| about(folder, what);
        let lock = File::open(folder).map_err(|error| about(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                folder: folder.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(about(
                &"another sensor writes there: end it, or name another folder",
            )),
            Err(TryLockError::Error(error)) => Err(about(&error)),
        }
    }

    /// Whether this user could write there; changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(crate) fn would_write(folder: &Path) -> Result<(), String> {
        let about = |what: &dyn Display| about(folder, what);
        if !fs::metadata(folder)
            .map_err(|error| about(&error))?
            .is_dir()
        {
            return Err(about(
                &"it is no folder: name that of node_exporter's --collector.textfile.directory",
            ));
        }
        eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| {
            let error = io::Error::from(errno);
            about(&format_args!("this user may not write there ({error})"))
        })?;
        let file = folder.join(FILE);
        match fs::symlink_metadata(&file).is_ok_and(|known| !known.is_file()) {
            true => Err(about(&format_args!(
                "{} is no file: remove it",
                shown(&file)
            ))),
            false => Ok(()),
        }
    }

    /// Writes the newest snapshot every five seconds, on a thread of its own. `report` gets a sentence when that fails
    /// and when it succeeds again.
    ///
    /// # Errors
    ///
    /// The system has no thread to give.
    pub(crate) fn serve(
        self,
        exposition: Exposition,
        pass: Pass,
        report: impl Fn(&'static str, String) + Send + 'static,
    ) -> io::Result<Writer> {
        let (stop, stopped) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let work = move || {
            pass.enter();
            self.run(&exposition, &stopped, report);
            // Unlocks the folder.
            drop(self);
            drop(end);
        };
        let name = "textfile".to_owned();
        std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Writer {
            stop: Some(stop),
            ended,
        })
    }

    fn run(
        &self,
        exposition: &Exposition,
        stopped: &Receiver<()>,
        report: impl Fn(&'static str, String),
    ) {
        let mut wait = FIRST;
        let mut fails = false;
        while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = INTERVAL;
            let written = self.write(exposition);
            let folder = shown(&self.folder);
            match &written {
                Err(error) if !fails => report(
                    "metrics_failed",
                    format!(
                        "--metrics textfile:{folder}: {error}; {FILE} is old until that changes"
                    ),
                ),
                Ok(()) if fails => report(
                    "metrics_back",
                    format!("--metrics textfile:{folder}: {FILE} is written again"),
                ),
                _ => {}
            }
            fails = written.is_err();
        }
        let _ = fs::remove_file(self.folder.join(NEW_FILE));
        let _ = fs::remove_file(self.folder.join(FILE));
    }

    fn write(&self, exposition: &Exposition) -> io::Result<()> {
        let text = render_own(exposition.clone()).map_err(io::Error::other)?;
        let new = self.folder.join(NEW_FILE);
        // Of a sensor that was killed; or another's link, which must not be followed.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(MODE).open(&new)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, self.folder.join(FILE))
    }
}

fn about(folder: &Path, what: &dyn Display) -> String {
    format!("--metrics textfile:{}: {what}", shown(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sandbox::{Sandbox, Thread};
    use crate::observe::snapshot::Snapshot;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    fn until(what: &str, mut happened: impl FnMut() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(20);
        while !happened() {
            assert!(Instant::now() < give_up, "no {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_file_is_whole_readable_for_all_and_removed_at_the_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let outside = tempfile::NamedTempFile::new().expect("a file");
        // A link of somebody else's must not be followed.
        std::os::unix::fs::symlink(outside.path(), dir.path().join(NEW_FILE)).expect("a link");
        let file = dir.path().join(FILE);
        let textfile = Textfile::open(dir.path()).expect("a folder of ours");
        let error = Textfile::open(dir.path()).expect_err("locked");
        assert!(error.contains("another sensor writes there"), "{error}");
        let reports = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reports);
        let exposition = Exposition::starting_now(Arc::new(Snapshot::default));
        let pass = Sandbox::off().pass(Thread::Textfile);
        let report = move |_: &'static str, _: String| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let writer = textfile.serve(exposition, pass, report).expect("a thread");
        until("file", || file.exists());
        let text = fs::read_to_string(&file).expect("a file");
        // Those of a process would be node_exporter's own, too, which it refuses.
        let own = |line: &str| line.starts_with("synledger_") || line.starts_with("# ");
        assert!(
            text.lines().all(own) && !text.contains("process_"),
            "{text}"
        );
        assert!(text.ends_with('\n') && text.contains("synledger_books_closed 1\n"));
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(fs::read(outside.path()).expect("a file"), b"");
        drop(writer);
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
        assert_eq!(reports.load(Ordering::Relaxed), 0);
        // A process that another test starts has the lock until it executes its program.
        until("free folder", || Textfile::open(dir.path()).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("a file");
        for (path, words) in [
            (
                file.as_path(),
                "it is no folder: name that of node_exporter",
            ),
            (&dir.path().join("none"), "No such file or directory"),
        ] {
            let error = Textfile::open(path).expect_err("no folder");
            let start = format!("--metrics textfile:{}: ", path.display());
            assert!(
                error.starts_with(&start) && error.contains(words),
                "{error}"
            );
        }
        fs::create_dir(dir.path().join(FILE)).expect("a folder");
        let error = Textfile::open(dir.path()).expect_err("a folder is in the way");
        assert!(
            error.ends_with("synledger.prom is no file: remove it"),
            "{error}"
        );
    }
}
