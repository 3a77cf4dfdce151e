//! Limits a process to a share of one CPU, by a control group of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::names::PREFIX;

/// The kernel's smallest quota. The kernel's longest period is one second (kernel/sched/core.c).
const QUOTA_US: u32 = 1000;
const V2: &str = "/sys/fs/cgroup";
const V1: &str = "/sys/fs/cgroup/cpu";

/// A control group. On drop its process moves to the parent group, and it is removed.
#[derive(Debug)]
pub struct Throttle {
    group: PathBuf,
    parent: PathBuf,
    pid: u32,
}

impl Throttle {
    /// Limits `pid` to this share of a CPU, from 0.002 to 1.
    ///
    /// # Errors
    ///
    /// When the share is out of range, or there is no writable control group for CPU time.
    pub fn new(pid: u32, share: f64) -> Result<Self> {
        if !(0.002..=1.0).contains(&share) {
            bail!("a share of {share} of a CPU: must be from 0.002 to 1");
        }
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        let period_us = (f64::from(QUOTA_US) / share) as u32;
        let (parent, limits) = if Path::new(V2).join("cgroup.controllers").is_file() {
            let _ = fs::write(Path::new(V2).join("cgroup.subtree_control"), "+cpu");
            (V2, vec![("cpu.max", format!("{QUOTA_US} {period_us}"))])
        } else if Path::new(V1).join("cpu.cfs_quota_us").is_file() {
            let period = ("cpu.cfs_period_us", period_us.to_string());
            (V1, vec![period, ("cpu.cfs_quota_us", QUOTA_US.to_string())])
        } else {
            bail!("no control group for CPU time at {V2}");
        };
        let parent = PathBuf::from(parent);
        let group = parent.join(format!("{PREFIX}{pid}"));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let throttle = Self { group, parent, pid };
        for (file, value) in limits {
            write(&throttle.group, file, &value)?;
        }
        write(&throttle.group, "cgroup.procs", &pid.to_string())?;
        Ok(throttle)
    }
}

fn write(group: &Path, file: &str, value: &str) -> Result<()> {
    let path = group.join(file);
    fs::write(&path, value).with_context(|| format!("{}: {value}", path.display()))
}

/// Removes the groups whose processes have ended; gives their names.
#[must_use]
pub fn clean() -> Vec<String> {
    let folders = [V2, V1]
        .into_iter()
        .filter_map(|parent| fs::read_dir(parent).ok());
    folders
        .flatten()
        .filter_map(|entry| Some((entry.as_ref().ok()?.path(), entry.ok()?.file_name())))
        .filter_map(|(path, name)| Some((path, name.into_string().ok()?)))
        .filter(|(path, name)| name.starts_with(PREFIX) && fs::remove_dir(path).is_ok())
        .map(|(_, name)| format!("control group {name}"))
        .collect()
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let _ = write(&self.parent, "cgroup.procs", &self.pid.to_string());
        remove(&self.group);
    }
}

/// Removes a group; gives whether that worked. Retries for a second: a process may still be in the group.
fn remove(group: &Path) -> bool {
    for _ in 0..50 {
        if fs::remove_dir(group).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Removes the group of an ended process; gives whether it had one.
#[must_use]
pub fn clean_of(pid: i32) -> bool {
    let places = [V2, V1].map(|parent| Path::new(parent).join(format!("{PREFIX}{pid}")));
    places.iter().any(|group| group.is_dir() && remove(group))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::process::Running;
    use nix::sys::signal::Signal;
    use std::process::Command;

    #[test]
    fn a_throttled_process_is_limited_and_its_group_removed() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: needs root for a control group");
            return;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        let spinner = Running::start(command, "sh", folder.path()).expect("sh starts");
        let throttle = match Throttle::new(spinner.pid(), 0.1) {
            Ok(throttle) => throttle,
            Err(error) => {
                eprintln!("skipped: {error:#}");
                return;
            }
        };
        let group = throttle.group.clone();
        assert!(Throttle::new(spinner.pid(), 0.001).is_err());
        thread::sleep(Duration::from_millis(600));
        drop(throttle);
        assert!(!group.exists(), "{}", group.display());
        let patience = Duration::from_secs(10);
        let (_, usage) = spinner.stop(Signal::SIGTERM, patience).expect("it ends");
        assert!(
            usage.user_s + usage.system_s < usage.elapsed_s * 0.5,
            "{usage:?}"
        );
    }
}
