//! `--state`: the last moment watched, in a file, so that the next start names the time that nothing was.
//!
//! The file has one record, replaced at each tick by one write(2) in place: after kill -9 it is the old record or the
//! new one. It is not flushed to the disk each time. So after a power cut the record can be half a minute old, and the
//! gap is then called longer than it was, never shorter.

mod gap;
mod record;

use super::messenger::Messenger;
use crate::error::{Failure, without_number};
use crate::host::sandbox::Identity;
use crate::log::sinks::descriptor::refuses_files;
use crate::log::sinks::spec;
use crate::settings::state::StateFolder;
use crate::time::clock::{boot_ns, wall_clock_ns};
use crate::words::shown;
use gap::{Gap, Moment};
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, eaccess, geteuid};
use record::{RECORD_LEN, Record, Unreadable};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the file in the folder of `--state`.
const FILE: &str = "last-watched";

/// The state file, locked against other sensors.
#[derive(Debug)]
pub(super) struct State {
    file: File,
    path: PathBuf,
    /// Of an earlier run.
    last: Result<Option<Record>, Unreadable>,
    boot_id: String,
    /// When this run began to watch; `None`: not yet.
    started_ns: Option<i64>,
    /// The last write failed.
    failing: bool,
    /// This run made the folder.
    made_folder: bool,
}

impl Drop for State {
    /// A start that failed leaves nothing behind.
    fn drop(&mut self) {
        let is_empty = self.file.metadata().is_ok_and(|about| about.len() == 0);
        if self.started_ns.is_some() || !is_empty {
            return;
        }
        let removed = fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent().filter(|_| self.made_folder) {
            let _ = removed.and_then(|()| fs::remove_dir(folder));
        }
    }
}

/// The state file, or why there is none though one was wanted.
#[derive(Debug, Default)]
pub(super) struct Kept {
    state: Option<State>,
    trouble: Option<String>,
    /// Seconds between an earlier run and this one; `None`: unknown.
    pub gap_s: Option<f64>,
    /// When the gates were closed; nanoseconds since the Unix epoch.
    pub until_ns: i64,
}

impl Kept {
    /// Opens the file of `--state`, and gives it to the user as whom the run goes on.
    ///
    /// # Errors
    ///
    /// It cannot be written, and the flag was given. If it is a preset's, the run starts without it.
    pub(super) fn open(
        folder: Option<&StateFolder>,
        identity: Option<&Identity>,
    ) -> Result<Self, Failure> {
        let Some(folder) = folder else {
            return Ok(Self::default());
        };
        match State::open(&folder.path, identity) {
            Ok(state) => Ok(Self {
                state: Some(state),
                ..Self::default()
            }),
            Err(why) if folder.is_asked => Err(Failure::Run(why)),
            Err(why) => Ok(Self {
                trouble: Some(format!(
                    "{why}; the next start cannot say what was not watched"
                )),
                ..Self::default()
            }),
        }
    }

    /// Reports the time since an earlier run. Call once frames are admitted. Returns seconds; `None`: unknown.
    pub(super) fn start(&mut self, messenger: &Messenger) -> Option<f64> {
        if let Some(why) = self.trouble.take() {
            messenger.report("state_failed", why);
        }
        let state = self.state.as_mut();
        self.gap_s = state.and_then(|state| state.start(messenger));
        self.gap_s
    }

    /// Goes on where another process was: nothing was not watched. Call once frames are admitted.
    pub(super) fn go_on(&mut self, messenger: &Messenger) {
        if let Some(why) = self.trouble.take() {
            messenger.report("state_failed", why);
        }
        if let Some(state) = &mut self.state {
            let now_ns = wall_clock_ns();
            state.started_ns = Some(now_ns);
            state.update(now_ns, messenger);
        }
    }

    /// Everything until `written_ns` by the wall clock is in the log. Call at each tick.
    pub(super) fn update(&mut self, written_ns: i64, messenger: &Messenger) {
        if let Some(state) = &mut self.state {
            state.update(written_ns, messenger);
        }
    }

    /// The run ended by itself, and its log is complete until `until_ns`.
    pub(super) fn finish(&mut self, until_ns: i64) {
        if let Some(state) = &mut self.state
            && state.started_ns.is_some()
        {
            // Nobody is left to be told; the next start then calls it killed.
            let written = state.write(until_ns, true);
            let _ = written.and_then(|()| state.file.sync_data());
        }
    }
}

impl State {
    fn open(folder: &Path, identity: Option<&Identity>) -> Result<Self, String> {
        let refused = |path: &Path, why: &str| format!("--state: {}: {why}", shown(path));
        let answer = |path: &Path, error: &io::Error| refused(path, &words(error));
        let path = folder.join(FILE);
        let made = DirBuilder::new().mode(0o750).create(folder);
        match &made {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(refused(
                    folder,
                    &format!("cannot be made: {}", words(error)),
                ));
            }
            _ => {}
        }
        let safe = OFlag::O_NOFOLLOW | OFlag::O_NOCTTY | OFlag::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .custom_flags(safe.bits())
            .open(&path)
            .map_err(|error| answer(&path, &error))?;
        let about = file.metadata().map_err(|error| answer(&path, &error))?;
        if !about.is_file() {
            return Err(refused(&path, "not a regular file: remove it"));
        }
        if let Some(identity) = identity {
            // A run that starts as that user opens them again. Where it cannot, it says so.
            let folder = made.is_ok().then(|| File::open(folder).ok()).flatten();
            let _ = folder.map(|folder| identity.give(folder));
            if about.uid() == geteuid().as_raw() && about.nlink() == 1 {
                let _ = identity.give(&file);
            }
        }
        let last = read(&file).map_err(|error| answer(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let who = match &last {
                    Ok(Some(record)) => format!("another sensor (process {})", record.process),
                    _ => "another sensor".to_owned(),
                };
                let why = format!("in use by {who}: name another folder, or stop that sensor");
                return Err(refused(&path, &why));
            }
            Err(TryLockError::Error(error)) => {
                let why = format!("cannot be locked against other sensors: {}", words(&error));
                return Err(refused(&path, &why));
            }
        }
        Ok(Self {
            // Again: who held the lock may have written.
            last: read(&file).map_err(|error| answer(&path, &error))?,
            file,
            path,
            boot_id: record::boot_id(),
            started_ns: None,
            failing: false,
            made_folder: made.is_ok(),
        })
    }

    fn start(&mut self, messenger: &Messenger) -> Option<f64> {
        let now = Moment {
            wall_ns: wall_clock_ns(),
            boot_ns: boot_ns(),
            boot_id: self.boot_id.clone(),
        };
        self.started_ns = Some(now.wall_ns);
        let gap_s = match &self.last {
            Ok(Some(last)) => {
                let gap = Gap::between(last, &now);
                messenger.line(&gap.text());
                messenger.record_at(now.wall_ns, "not_watched", gap.text(), gap.details());
                gap.seconds()
            }
            Ok(None) => None,
            Err(why) => {
                let path = shown(&self.path);
                let text = format!(
                    "--state: {path}: {why}; since when nothing was watched is unknown, and it is written anew"
                );
                messenger.report("state_unreadable", text);
                None
            }
        };
        self.update(now.wall_ns, messenger);
        gap_s
    }

    fn update(&mut self, written_ns: i64, messenger: &Messenger) {
        let Some(started_ns) = self.started_ns else {
            return;
        };
        let written = self.write(written_ns.max(started_ns), false);
        let failing = written.is_err();
        if failing != std::mem::replace(&mut self.failing, failing) {
            let path = shown(&self.path);
            match written {
                Err(error) => {
                    let why = words(&error);
                    let text = format!(
                        "--state: {path}: {why}; the next start will call what is watched from now on not watched"
                    );
                    messenger.report("state_failed", text);
                }
                Ok(()) => {
                    let text = format!("--state: {path} is written again");
                    messenger.report("state_written", text);
                }
            }
        }
    }

    /// Replaces the record. `watched_ns` in the future counts as now.
    fn write(&self, watched_ns: i64, stopped: bool) -> io::Result<()> {
        let now_ns = wall_clock_ns();
        let watched_ns = watched_ns.min(now_ns);
        let record = Record {
            watched_ns,
            boot_ns: boot_ns().saturating_sub(now_ns - watched_ns),
            boot_id: self.boot_id.clone(),
            process: std::process::id(),
            stopped,
        };
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::other(
                "the file was removed: start synledger again",
            ));
        }
        self.file.write_all_at(&record.line(), 0)?;
        // A longer file was another program's or version's.
        self.file.set_len(RECORD_LEN as u64)
    }
}

fn read(file: &File) -> io::Result<Result<Option<Record>, Unreadable>> {
    // One byte more, by which a longer file is noticed.
    let mut bytes = [0; RECORD_LEN + 1];
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(Record::parse(&bytes[..len]))
}

/// What the kernel said, without its number.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ELOOP) => "a symbolic link: name the folder of the file".to_owned(),
        Some(libc::EACCES) => format!(
            "{}: give it to the user of this run (chown), with its folder, or name another folder",
            without_number(error)
        ),
        _ => without_number(error),
    }
}

/// Why the file could not be written, if it could not and that would keep the run from starting; changes nothing.
pub(super) fn would_refuse(folder: Option<&StateFolder>) -> Option<String> {
    let folder = &folder.filter(|folder| folder.is_asked)?.path;
    let file = folder.join(FILE);
    let answer = |errno| io::Error::from_raw_os_error(errno);
    let refused = |path: &Path, what: &str, error: &io::Error| {
        Some(format!("--state: {}: {what}{}", shown(path), words(error)))
    };
    match (fs::metadata(folder), fs::symlink_metadata(&file)) {
        (Ok(about), _) if !about.is_dir() => refused(&file, "", &answer(libc::ENOTDIR)),
        (Ok(_), Ok(about)) if about.is_symlink() => refused(&file, "", &answer(libc::ELOOP)),
        (Ok(_), Ok(_)) => {
            let access = eaccess(&file, AccessFlags::R_OK | AccessFlags::W_OK);
            refused(&file, "", &access.err()?.into())
        }
        (Ok(_), Err(_)) => refused(&file, "", &takes_no_entry(folder)?),
        (Err(error), _) if error.kind() == ErrorKind::NotFound => {
            let error = takes_no_entry(spec::folder(folder))?;
            refused(folder, "cannot be made: ", &error)
        }
        (Err(error), _) => refused(folder, "cannot be made: ", &error),
    }
}

/// Why nothing can be made in this folder.
fn takes_no_entry(folder: &Path) -> Option<io::Error> {
    let access = eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK);
    let denied = access.err().map(io::Error::from);
    denied.or_else(|| refuses_files(folder))
}

#[cfg(test)]
mod tests;
