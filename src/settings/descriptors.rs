//! Descriptors that a run needs, and their limit (RLIMIT_NOFILE).

use crate::capture::mode::FanoutMode;
use crate::observe::status::CONNECTIONS_MAX;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Standard streams, inherited ones, netlink, 32 clients of the metrics, and files that are open for a moment.
const BESIDE_INTERFACES: u64 = 64;
/// Of one `--metrics`: a name may have an IPv4 and an IPv6 address; a folder is locked, and its file is written.
const OF_METRICS: u64 = 2;
/// Of a worker while it hands over: memory for its state, and who writes that.
const OF_HAND_OVER: u64 = 2;
/// The status socket: its clients, it itself, the socket of the helper of `--block`.
const OF_STATUS: u64 = CONNECTIONS_MAX as u64 + 8;

/// The parts of a run that have descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Users {
    /// Worker threads.
    pub workers: usize,
    /// `--fanout`: determines the number of rings.
    pub fanout: FanoutMode,
    /// Frames that data rings filter are counted: by class, and the kernel allows the program.
    pub counts_filtered: bool,
    /// There is a `--witness`.
    pub witness: bool,
    /// `--output`.
    pub outputs: usize,
    /// `--metrics`.
    pub metrics: usize,
    /// There is a status socket.
    pub status: bool,
}

impl Users {
    /// Descriptors of one interface: a socket for each ring; map and program that count filtered packets; the witness's
    /// socket.
    pub fn per_interface(&self) -> u64 {
        let workers = self.workers as u64;
        let rings = match self.fanout {
            FanoutMode::Class => 3 * workers,
            _ => workers,
        };
        rings + 2 * u64::from(self.counts_filtered) + u64::from(self.witness)
    }

    /// Descriptors with so many interfaces, and one more: a re-created one is open twice for a moment.
    pub fn needed(&self, interfaces: usize) -> u64 {
        let status = if self.status { OF_STATUS } else { 0 };
        (interfaces as u64 + 1) * self.per_interface()
            + self.outputs as u64
            + OF_METRICS * self.metrics as u64
            + OF_HAND_OVER * self.workers as u64
            + BESIDE_INTERFACES
            + status
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
/// The hard limit is lower, too: names both numbers, and what to do.
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

/// The error about a hard limit that is too low.
pub fn too_few(hard: u64, needed: u64) -> String {
    format!("{hard} open files allowed at most, {needed} needed")
}

/// What to do about it.
pub fn way_out(needed: u64) -> String {
    format!(
        "ulimit -n {needed} as root (systemd: LimitNOFILE={needed}), fewer interfaces, or lower --workers"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_worker_and_target_of_metrics_adds_its_own() {
        let one = Users {
            workers: 1,
            fanout: FanoutMode::Class,
            counts_filtered: true,
            witness: true,
            outputs: 1,
            metrics: 0,
            status: false,
        };
        let more = |users: Users, interfaces| users.needed(interfaces) - one.needed(1);
        assert_eq!(more(one, 2), 6);
        assert_eq!(more(Users { metrics: 3, ..one }, 1), 6);
        assert_eq!(more(Users { outputs: 3, ..one }, 1), 2);
        // Three rings on one interface and one that is made anew, and what it hands over.
        assert_eq!(more(Users { workers: 2, ..one }, 1), 2 * 3 + 2);
        let status = Users {
            status: true,
            ..one
        };
        assert_eq!(more(status, 1), OF_STATUS);
    }
}
