//! What the service manager is told: sd_notify(3).

use super::sensor::{PATIENCE, Sensor};
use crate::common::netns::{SENSOR, with_veth};
use crate::common::{RUN, fails, synledger};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

/// A service manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
    _dir: tempfile::TempDir,
}

impl Manager {
    /// Starts a sensor that waits for no line of the log to tell that it watches, with this watchdog.
    fn start(watchdog_s: u32) -> (Self, Sensor) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bound");
        let mut command = synledger();
        command
            .args(RUN)
            .args(["-i", SENSOR, "--ring-mib", "8", "--memory-mib", "128"])
            .args(["--workers", "2"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", (watchdog_s * 1_000_000).to_string());
        let sensor = Sensor::start_command(&mut command);
        (Self { socket, _dir: dir }, sensor)
    }

    /// The next message within this time.
    fn next(&self, within: Duration) -> Option<String> {
        self.socket
            .set_read_timeout(Some(within))
            .expect("not zero");
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Messages until one begins with these words.
    fn until(&self, words: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Some(message) = self.next(PATIENCE)
                && message.starts_with(words)
            {
                return message;
            }
        }
        panic!("no {words} in {PATIENCE:?}");
    }
}

/// The thread of this process with this name.
pub fn thread_of(pid: u32, name: &str) -> Pid {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let is_it = |task: &Path| {
        fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    let mut tasks = tasks.map(|entry| entry.expect("an entry").path());
    let found = tasks.find(|task| is_it(task)).expect(name);
    let number = found
        .file_name()
        .and_then(|name| name.to_str()?.parse().ok());
    Pid::from_raw(number.expect("a number"))
}

/// Stops a thread alone, until the caller detaches.
pub fn halt(thread: Pid) {
    ptrace::seize(thread, ptrace::Options::empty()).expect("seized");
    ptrace::interrupt(thread).expect("interrupted");
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("stopped");
}

#[test]
fn the_manager_is_told_when_the_sensor_watches_reloads_and_stops() {
    with_veth(|_| {
        let (manager, sensor) = Manager::start(3_600);
        let ready = manager.next(PATIENCE).expect("a message");
        assert_eq!(ready, format!("READY=1\nSTATUS=watching {SENSOR}"));
        sensor.signal(Signal::SIGHUP);
        let reloading = manager.until("RELOADING=1\nMONOTONIC_USEC=");
        let since: u64 = reloading
            .rsplit('=')
            .next()
            .and_then(|us| us.parse().ok())
            .expect("a number");
        assert!(since > 0);
        assert_eq!(manager.next(PATIENCE).as_deref(), Some("READY=1"));
        let ended = sensor.stop(Signal::SIGTERM);
        manager.until("STOPPING=1");
        ended.assert_exact();
    });
}

/// Stops one thread alone, as a debugger does: the rest of the process goes on.
#[test]
fn a_thread_that_stands_still_ends_the_signs_of_life_and_one_that_goes_on_brings_them_back() {
    with_veth(|_| {
        let (manager, sensor) = Manager::start(3);
        for name in ["worker-1", "logger"] {
            // Idle: no packet comes, and yet all threads move.
            for _ in 0..2 {
                manager.until("WATCHDOG=1");
            }
            let thread = thread_of(sensor.pid(), name);
            halt(thread);
            // A sign that was due before the thread stopped.
            let _ = manager.next(Duration::from_millis(1_500));
            assert_eq!(
                manager.next(Duration::from_millis(2_500)),
                None,
                "{name} stands still"
            );
            sensor.wait_for_stderr(&format!("synledger: {name} made no progress for "));
            ptrace::detach(thread, None).expect("detached");
            manager.until("WATCHDOG=1");
        }
        sensor.stop(Signal::SIGTERM).assert_exact();
    });
}

#[test]
fn a_manager_that_cannot_be_reached_is_named() {
    let mut command = synledger();
    command.args(RUN).env("NOTIFY_SOCKET", "/nowhere/notify");
    fails(
        command,
        1,
        &["NOTIFY_SOCKET", "remove it from the environment"],
    );
}
