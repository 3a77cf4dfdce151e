//! Names of maps and links in the file system for them: they are there as long as the name is, and the next worker finds
//! them by it.
//!
//! The folder is that of this version of the maps and of this network namespace: `netns-` and the namespace's cookie, which
//! no other one ever gets, or before Linux 5.14 `net-` and its inode, which is given again. It is locked while a worker uses
//! it.

use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount_at};
use nix::sys::socket::GetSockOpt;
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::unistd::geteuid;
use nix::{getsockopt_impl, sockopt_impl};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/bpf";
/// Ours, with the version of the maps' layout.
const OURS: [&str; 2] = ["synledger", "v1"];
/// Folders of network namespaces, by cookie and by inode.
const NAMESPACES: [&str; 2] = ["netns-", "net-"];
/// Tries to lock a folder that another worker is just removing.
const TRIES: u32 = 5;

/// Mounts the file system if nobody has. What then keeps names from being made is said by the worker.
pub fn mount() {
    if !is_mounted() {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let _ = mount_at(Some("bpf"), ROOT, Some("bpf"), flags, Some("mode=0700"));
    }
}

fn is_mounted() -> bool {
    statfs(ROOT).is_ok_and(|about| about.filesystem_type() == BPF_FS_MAGIC)
}

sockopt_impl!(
    /// The cookie of a socket's network namespace.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// Name of the folder of this network namespace.
fn own_name() -> io::Result<String> {
    let [by_cookie, by_inode] = NAMESPACES;
    match NetnsCookie.get(&UnixDatagram::unbound()?) {
        Ok(cookie) => Ok(format!("{by_cookie}{cookie}")),
        Err(Errno::ENOPROTOOPT) => {
            let inode = std::fs::metadata("/proc/self/ns/net")?.ino();
            Ok(format!("{by_inode}{inode}"))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Why there is no folder.
#[derive(Debug)]
pub enum NoPins {
    /// Another worker uses it.
    Locked,
    /// It belongs to somebody else; which one.
    Foreign(PathBuf),
    /// One sentence's part: nothing outlives a killed helper.
    Missing(String),
}

/// The folder of this network namespace, locked.
#[derive(Debug)]
pub struct Pins {
    folder: PathBuf,
    lock: File,
}

impl Pins {
    /// Opens the folder, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// [`NoPins`].
    pub fn open() -> Result<Self, NoPins> {
        if !is_mounted() {
            return Err(not_mounted());
        }
        let own = own_name().map_err(missing)?;
        for _ in 0..TRIES {
            if let Some(pins) = Self::lock(make(&own)?)? {
                return Ok(pins);
            }
        }
        Err(NoPins::Locked)
    }

    /// The folder as an earlier run left it; `None`: there is no folder. [`Self::share`] says whether a worker uses it.
    ///
    /// # Errors
    ///
    /// [`NoPins`].
    pub fn left() -> Result<Option<Self>, NoPins> {
        if !is_mounted() {
            return Err(not_mounted());
        }
        let folder = PathBuf::from_iter([ROOT, OURS[0], OURS[1], &own_name().map_err(missing)?]);
        match std::fs::symlink_metadata(&folder) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(missing(error)),
        }
        let mut parts = folder.ancestors().take(OURS.len() + 1);
        if let Some(foreign) = parts.find(|it| !is_ours(it)) {
            return Err(NoPins::Foreign(foreign.to_owned()));
        }
        let lock = File::open(&folder).map_err(missing)?;
        Ok(Some(Self { folder, lock }))
    }

    /// Whether no worker uses the folder; then none will while this is there. Others may share it.
    ///
    /// # Errors
    ///
    /// Those of flock(2).
    pub fn share(&self) -> io::Result<bool> {
        match self.lock.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Locks a folder that is there; `None`: it was removed meanwhile.
    fn lock(folder: PathBuf) -> Result<Option<Self>, NoPins> {
        let lock = File::open(&folder).map_err(missing)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NoPins::Locked),
            Err(TryLockError::Error(error)) => return Err(missing(error)),
        }
        let is_same =
            |there: std::fs::Metadata| lock.metadata().is_ok_and(|ours| ours.ino() == there.ino());
        let is_there = std::fs::symlink_metadata(&folder).is_ok_and(is_same);
        Ok(is_there.then_some(Self { folder, lock }))
    }

    /// Folders of other network namespaces that no worker uses; an error for one that is not ours or cannot be locked.
    pub fn others(&self) -> Vec<Result<Self, PathBuf>> {
        let above = self.folder.parent().into_iter();
        let entries = above.filter_map(|above| std::fs::read_dir(above).ok());
        let paths = entries
            .flatten()
            .filter_map(Result::ok)
            .map(|one| one.path());
        let is_other = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            *path != self.folder && NAMESPACES.iter().any(|start| name.starts_with(start))
        };
        let open = |path: PathBuf| match is_ours(&path) {
            true => match Self::lock(path.clone()) {
                Ok(pins) => pins.map(Ok),
                // A worker is there.
                Err(NoPins::Locked) => None,
                Err(_) => Some(Err(path)),
            },
            false => Some(Err(path)),
        };
        paths.filter(is_other).filter_map(open).collect()
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where an object of this name is or will be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// All names.
    ///
    /// # Errors
    ///
    /// Those of the file system; InvalidData for a name that is no text.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<std::fs::DirEntry>| {
            let name = entry?.file_name().into_string();
            name.map_err(|_| io::ErrorKind::InvalidData.into())
        };
        std::fs::read_dir(&self.folder)?.map(name).collect()
    }

    /// Removes a name; what is not there has been removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the folder and those above it that are ours, where they are empty.
    pub fn remove_folder(&self) {
        let folders = self.folder.ancestors().take(OURS.len() + 1);
        let _ = folders
            .take_while(|folder| std::fs::remove_dir(folder).is_ok())
            .count();
    }
}

fn not_mounted() -> NoPins {
    NoPins::Missing(format!("no bpf file system is mounted at {ROOT}"))
}

fn missing(error: io::Error) -> NoPins {
    NoPins::Missing(format!("{ROOT}: {error}"))
}

/// Makes the folders that are missing.
fn make(last: &str) -> Result<PathBuf, NoPins> {
    let mut folder = PathBuf::from(ROOT);
    for name in OURS.into_iter().chain([last]) {
        folder.push(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let text = format!("{}: {error}", folder.display());
                return Err(NoPins::Missing(text));
            }
            _ => {}
        }
        if !is_ours(&folder) {
            return Err(NoPins::Foreign(folder));
        }
    }
    Ok(folder)
}

/// Whether nobody else can put anything there.
fn is_ours(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|about| {
        about.is_dir() && about.uid() == geteuid().as_raw() && about.mode() & 0o022 == 0
    })
}
