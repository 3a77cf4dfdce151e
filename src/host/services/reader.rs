//! Reads the table of services anew, and remembers names: searches go through file systems only for new sockets.

use super::finder::Finder;
use super::listeners::{self, Socket};
use super::{Listener, Listeners, ServiceName, commands, units};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Names found so far; `None`: searched for, not found.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// By cgroup id.
    units: HashMap<u64, Option<ServiceName>>,
    /// By socket inode.
    commands: HashMap<u32, Option<ServiceName>>,
    /// Finds commands where the sensor itself may not look.
    finder: Option<Arc<Mutex<Finder>>>,
}

impl Reader {
    /// One whose commands are found by another process.
    pub(crate) fn with(finder: Option<Arc<Mutex<Finder>>>) -> Self {
        Self {
            finder,
            ..Self::default()
        }
    }

    /// The listeners of the calling thread's namespace now.
    ///
    /// # Errors
    ///
    /// Those of `NETLINK_SOCK_DIAG`.
    pub(crate) fn read(&mut self) -> io::Result<Listeners> {
        let sockets = listeners::sockets()?;
        let find_units = |wanted: &HashSet<u64>| match units::mount_point() {
            Some(root) => units::find(&root, wanted),
            None => HashMap::new(),
        };
        let finder = self.finder.clone();
        let find_commands = |wanted: &HashSet<u32>| match finder {
            Some(finder) => finder
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .find(wanted),
            None => commands::find(Path::new("/proc"), wanted),
        };
        Ok(self.name(&sockets, find_units, find_commands))
    }

    /// Names sockets, and forgets what none of them has.
    pub(super) fn name(
        &mut self,
        sockets: &[Socket],
        find_units: impl FnOnce(&HashSet<u64>) -> HashMap<u64, ServiceName>,
        find_commands: impl FnOnce(&HashSet<u32>) -> HashMap<u32, ServiceName>,
    ) -> Listeners {
        let cgroups = sockets.iter().filter_map(|socket| socket.cgroup);
        renew(&mut self.units, cgroups.collect(), find_units);
        let unit = |socket: &Socket| self.units.get(&socket.cgroup?)?.clone();
        let nameless = sockets.iter().filter(|socket| unit(socket).is_none());
        let inodes = nameless.map(|socket| socket.inode).filter(|&it| it != 0);
        renew(&mut self.commands, inodes.collect(), find_commands);
        let command = |socket: &Socket| self.commands.get(&socket.inode)?.clone();
        let listener = |socket: &Socket| {
            Some(Listener {
                proto: socket.proto,
                port: socket.port,
                bound: socket.bound,
                name: unit(socket).or_else(|| command(socket))?,
            })
        };
        Listeners::new(sockets.iter().filter_map(listener))
    }
}

/// Keeps exactly the names of `all`, and searches for those that are new.
fn renew<K: Copy + Eq + Hash>(
    known: &mut HashMap<K, Option<ServiceName>>,
    all: HashSet<K>,
    find: impl FnOnce(&HashSet<K>) -> HashMap<K, ServiceName>,
) {
    known.retain(|key, _| all.contains(key));
    let is_new = |key: &K| !known.contains_key(key);
    let wanted: HashSet<K> = all.into_iter().filter(is_new).collect();
    if wanted.is_empty() {
        return;
    }
    let mut found = find(&wanted);
    known.extend(wanted.into_iter().map(|key| (key, found.remove(&key))));
}
