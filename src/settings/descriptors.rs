//! How many descriptors a run has open at most, and the limit of the process (RLIMIT_NOFILE).

use crate::capture::mode::FanoutMode;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Standard streams and what was inherited, netlink, the runtime, listener and 32 clients of the metrics, and
/// files that are read for a moment.
const BESIDE_INTERFACES: u64 = 64;

/// What has descriptors of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Worker threads.
    pub workers: usize,
    /// `--fanout`: it says how many rings a worker has on an interface.
    pub fanout: FanoutMode,
    /// There is a `--witness`.
    pub witness: bool,
    /// `--output`.
    pub outputs: usize,
}

impl Users {
    /// Descriptors of one interface: a socket for each ring; by class also the map and the program that count
    /// what is refused; the witness's socket.
    fn per_interface(&self) -> u64 {
        let workers = self.workers as u64;
        let rings = match self.fanout {
            FanoutMode::Class => 3 * workers + 2,
            _ => workers,
        };
        rings + u64::from(self.witness)
    }

    /// Descriptors on so many interfaces. One interface more: one that is re-created is open twice for a moment.
    pub fn needed(&self, interfaces: usize) -> u64 {
        (interfaces as u64 + 1) * self.per_interface() + self.outputs as u64 + BESIDE_INTERFACES
    }
}

/// RLIMIT_NOFILE of this process: soft, hard.
pub fn limits() -> Option<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// Raises the soft limit to `needed` where it is lower.
///
/// # Errors
///
/// The hard limit is lower, too: says by how much, and what helps.
pub fn provide(needed: u64) -> Result<(), String> {
    match limits() {
        Some((soft, hard)) if soft < needed && needed <= hard => {
            setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
                .map_err(|errno| format!("setrlimit(RLIMIT_NOFILE) to {needed}: {errno}"))
        }
        Some((_, hard)) if hard < needed => {
            Err(format!("{}; {}", too_few(hard, needed), way_out(needed)))
        }
        _ => Ok(()),
    }
}

/// What is wrong where the hard limit is too low.
pub fn too_few(hard: u64, needed: u64) -> String {
    format!("{hard} open files allowed at most, {needed} needed")
}

/// What to do then.
pub fn way_out(needed: u64) -> String {
    format!(
        "ulimit -n {needed} as root (systemd: LimitNOFILE={needed}), fewer interfaces, or lower --workers"
    )
}
