//! The programs that deliver segments, one for each such output: started beside the sensor, where they are installed.
//!
//! A program ends after the sensor does, with an empty spool: the end of its standard input tells it. What it has not
//! delivered when it is killed waits in the spool for the next.

use crate::host::sandbox::Identity;
use crate::log::sinks::spec::OutputSpec;
use crate::log::sinks::spool::Spool;
use crate::observe::terminal::print_to_stderr;
use crate::words::shown;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

/// The program's name; it lies beside the sensor's own.
const PROGRAM: &str = "synledger-parquet";
/// How often a wait looks whether a program has ended.
const LOOK: Duration = Duration::from_millis(50);

/// The programs of a run.
#[derive(Debug, Default)]
pub struct Deliveries(Vec<Child>);

impl Deliveries {
    /// Starts a program for each output that has a spool, as this user. Says so where there is none to start.
    ///
    /// Call it when the outputs are open, and before the sandbox is closed.
    pub fn start(outputs: &[OutputSpec], identity: Option<&Identity>) -> Self {
        let mut all = Self::default();
        for spool in outputs.iter().filter_map(|output| output.spool.as_ref()) {
            let started = program().and_then(|program| spawn(&program, spool, identity));
            match started {
                Ok(child) => all.0.push(child),
                Err(error) => print_to_stderr(&format!(
                    "synledger: --output parquet:{}: {PROGRAM} does not start: {error}; segments wait in {} until it does: \
                     {PROGRAM} --spool {} --to {}\n",
                    spool.to,
                    shown(&spool.folder()),
                    shown(&spool.folder()),
                    spool.to
                )),
            }
        }
        all
    }

    /// Waits until all is delivered, or until `stop`: then what is not waits in the spool.
    pub fn finish(self, stop: &AtomicBool) {
        let mut asked = false;
        for mut child in self.0 {
            drop(child.stdin.take());
            while matches!(child.try_wait(), Ok(None)) {
                if stop.load(Ordering::Relaxed) && !asked {
                    asked = true;
                    let pid = i32::try_from(child.id()).map(Pid::from_raw);
                    // One that has ended meanwhile is as good.
                    let _ = pid.map(|pid| kill(pid, Signal::SIGTERM));
                }
                sleep(LOOK);
            }
            asked = false;
        }
    }
}

/// The program beside this one.
fn program() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    match program.is_file() {
        true => Ok(program),
        false => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("{} is missing", shown(&program)),
        )),
    }
}

fn spawn(program: &Path, spool: &Spool, identity: Option<&Identity>) -> io::Result<Child> {
    let mut command = Command::new(program);
    command
        .arg("--spool")
        .arg(spool.folder())
        .args(["--to", &spool.to, "--sensor", spool.sensor_name()])
        .args(["--period", &(spool.age_ns / 1_000_000_000).to_string()])
        .arg("--until-eof")
        .env_remove("NOTIFY_SOCKET")
        // The terminal's Ctrl-C does not reach it: it ends after the sensor.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    if let Some((user, group)) = identity.and_then(Identity::other) {
        command.uid(user.as_raw()).gid(group.as_raw());
    }
    command.spawn()
}
