//! Processes of this program that the sensor starts, with one end of a socket pair as their standard input.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts `program` with these arguments; returns it and the sensor's end of the pair.
///
/// It is in the calling thread's network namespace.
///
/// # Errors
///
/// Those of `socketpair`, `fork` and `execve`.
pub fn start(program: &Path, arguments: &[String]) -> io::Result<(Child, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    let child = Command::new(program)
        .arg0("synledger")
        .args(arguments)
        .env_clear()
        .current_dir("/")
        // So the terminal's Ctrl-C does not reach it.
        .process_group(0)
        .stdin(theirs)
        .stdout(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// Blocks the signals of a terminal and of a service manager: a helper ends with the sensor.
pub fn ignore_stop_signals() {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        signals.add(signal);
    }
    let _ = signals.thread_block();
}

/// Closes every descriptor but the three standard ones.
pub fn close_other_descriptors() {
    let listed = std::fs::read_dir("/proc/self/fd");
    let numbers: Vec<RawFd> = listed
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&number| number > 2)
        .collect();
    for number in numbers {
        // The one of the list itself is closed already.
        let _ = nix::unistd::close(number);
    }
}
