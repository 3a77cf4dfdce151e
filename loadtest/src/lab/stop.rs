//! SIGINT, SIGTERM and SIGHUP: a run that a signal ends leaves nothing behind.
//!
//! The signals have handlers and are not blocked: a child process would inherit a blocked signal and not be stopped
//! by it.

use std::collections::BTreeSet;
use std::fs;
use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::iterator::Signals;

use crate::say;
use crate::say::counted;

/// Locked while a namespace, a folder or a process is made. The signal thread locks it before it removes them, and
/// never unlocks it.
static MAKING: Mutex<()> = Mutex::new(());

/// Most rounds of finding and killing child processes: a process that does not die is given up.
const ROUNDS_MAX: u32 = 100;
const ROUND: Duration = Duration::from_millis(20);

/// What was removed after a signal: the result of the function that [`on_signals`] is given.
#[derive(Clone, Copy, Debug)]
pub struct Cleanup {
    /// Network namespaces.
    pub namespaces: usize,
    /// Folders, control groups included.
    pub folders: usize,
}

/// Defers the end by a signal until the guard is dropped. Held while a namespace, a folder or a process is made, so
/// that the signal thread misses none. After a signal this call blocks for ever.
pub fn defer() -> MutexGuard<'static, ()> {
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread that waits for the signals. On the first one it kills all programs of this process, calls
/// `remove` with their process ids, and ends this process with 128 and the signal's number.
///
/// # Errors
///
/// When a handler cannot be installed, or the thread not started.
pub fn on_signals(remove: fn(&BTreeSet<i32>) -> Cleanup) -> Result<()> {
    let mut wanted = vec![Signal::SIGINT as i32, Signal::SIGTERM as i32];
    // nohup ignores SIGHUP; it stays ignored.
    if !is_ignored(Signal::SIGHUP) {
        wanted.push(Signal::SIGHUP as i32);
    }
    let mut signals = Signals::new(wanted).context("signal handlers")?;
    let waiting = move || {
        if let Some(number) = signals.forever().next() {
            end(number, remove);
        }
    };
    let named = thread::Builder::new().name("signals".to_owned());
    named.spawn(waiting).context("a thread")?;
    Ok(())
}

fn end(number: i32, remove: fn(&BTreeSet<i32>) -> Cleanup) -> ! {
    let _never_dropped = defer();
    let ended = end_programs();
    let removed = remove(&ended);
    let signal = Signal::try_from(number).map_or("a signal", Signal::as_str);
    say!(
        "loadtest: stopped by {signal}: ended {}, removed {} and {}",
        counted(ended.len() as u64, "program"),
        counted(removed.namespaces as u64, "namespace"),
        counted(removed.folders as u64, "folder")
    );
    process::exit(128 + number);
}

/// Kills every process that descends from this one; gives their process ids.
fn end_programs() -> BTreeSet<i32> {
    let mut ended = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let running = descendants(process::id());
        if running.is_empty() {
            break;
        }
        for pid in running {
            // An error: it has ended by itself.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            ended.insert(pid);
        }
        thread::sleep(ROUND);
    }
    ended
}

/// Running processes that descend from `root`.
fn descendants(root: u32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let all: Vec<(i32, i32)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: i32| {
            let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, running_parent(&text)?))
        })
        .collect();
    let mut found = Vec::new();
    let mut parents = vec![i32::try_from(root).unwrap_or(i32::MAX)];
    while let Some(above) = parents.pop() {
        let children = all.iter().filter(|(_, parent)| *parent == above);
        for (pid, _) in children {
            found.push(*pid);
            parents.push(*pid);
        }
    }
    found
}

/// The parent, from the text of /proc/PID/stat; `None` for a zombie.
fn running_parent(stat: &str) -> Option<i32> {
    // The name may have any bytes; it ends with the last parenthesis.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(parent)
}

fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores(&status, signal)
}

fn ignores(status: &str, signal: Signal) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|word| u64::from_str_radix(word.trim(), 16).ok());
    mask.unwrap_or(0) >> (signal as i32 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_running_child_and_its_child_are_descendants() {
        let mut command = Command::new("sh");
        command
            .args(["-c", "sleep 600 & wait"])
            .stdout(Stdio::null());
        let mut child = command.spawn().expect("sh starts");
        let started = std::time::Instant::now();
        while descendants(child.id()).is_empty() && started.elapsed().as_secs() < 20 {
            thread::sleep(ROUND);
        }
        let (ours, below) = (descendants(process::id()), descendants(child.id()));
        let pid = i32::try_from(child.id()).expect("a process id");
        assert!(below.len() == 1 && ours.contains(&pid) && ours.contains(&below[0]));
        kill(Pid::from_raw(below[0]), Signal::SIGKILL).expect("sleep runs");
        child.wait().expect("sh ends");
    }

    #[test]
    fn parent_and_ignored_signals_are_parsed() {
        assert_eq!(running_parent("7 (a) b) S 3 7 7 0"), Some(3));
        assert_eq!(running_parent("7 (a) Z 3 7 7 0"), None);
        assert_eq!(running_parent("7"), None);
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, Signal::SIGHUP) && !ignores(status, Signal::SIGINT));
        assert!(!ignores("", Signal::SIGHUP));
    }
}
