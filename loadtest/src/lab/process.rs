//! Child processes: start, stop by a signal, resources used.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::machine::CpuTimes;
use super::stop;
use crate::sys;

/// Resources that a program used from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU seconds in user space, its children included.
    pub user_s: f64,
    /// CPU seconds in the kernel, without interrupts and kernel threads.
    pub system_s: f64,
    /// CPU seconds of the whole machine in that time: all programs, the kernel and interrupts.
    pub machine_s: f64,
    /// Peak resident memory, without packet rings.
    pub memory_peak_bytes: u64,
    /// Seconds that it ran.
    pub elapsed_s: f64,
}

impl Usage {
    /// CPU seconds of the program, in user space and in the kernel.
    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }
}

/// A running program; dropping this kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
    stderr_path: PathBuf,
    started: Instant,
    cpu_at_start: CpuTimes,
    reaped: bool,
}

impl Running {
    /// Starts `command` (see [`crate::lab::Lab::command`]). Its standard output goes to `NAME.out` in `folder`, its
    /// standard error to `NAME.err`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(mut command: Command, name: &str, folder: &Path) -> Result<Self> {
        let file = |ending: &str| {
            let path = folder.join(format!("{name}.{ending}"));
            let file = File::create(&path).with_context(|| path.display().to_string())?;
            anyhow::Ok((path, file))
        };
        let ((_, out), (stderr_path, err)) = (file("out")?, file("err")?);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let cpu_at_start = CpuTimes::now()?;
        let _defer = stop::defer();
        let child = command
            .spawn()
            .with_context(|| format!("{name}: {command:?} cannot be started"))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            stderr_path,
            started: Instant::now(),
            cpu_at_start,
            reaped: false,
        })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        let bytes = fs::read(&self.stderr_path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The file that holds its standard error.
    #[must_use]
    pub fn stderr_path(&self) -> PathBuf {
        self.stderr_path.clone()
    }

    /// A field of /proc/PID/status that is in kB, in bytes; 0 if it is missing.
    #[must_use]
    pub fn memory(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        memory_field(&text, field)
    }

    /// Waits until `happened` gives true, for `patience` at most.
    ///
    /// # Errors
    ///
    /// When it ends first, or `patience` is over; the error has its standard error.
    pub fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        mut happened: impl FnMut(&Self) -> bool,
    ) -> Result<()> {
        let give_up = Instant::now() + patience;
        while !happened(self) {
            if let Some(ended) = self.try_wait()? {
                let stderr = quote(&self.stderr());
                bail!("{} {ended} before {what}. {stderr}", self.name);
            }
            if Instant::now() > give_up {
                let (name, stderr) = (&self.name, quote(&self.stderr()));
                bail!("{name} was started, but {patience:?} passed before {what}. {stderr}");
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn try_wait(&mut self) -> Result<Option<sys::ChildExit>> {
        let ended = sys::wait(self.pid()).with_context(|| format!("{}: wait", self.name))?;
        self.reaped |= ended.is_some();
        Ok(ended)
    }

    /// Sends `signal` and waits for the end.
    ///
    /// # Errors
    ///
    /// When it has ended already, or does not end within `patience`.
    pub fn stop(self, signal: Signal, patience: Duration) -> Result<(sys::ChildExit, Usage)> {
        kill(self.unix_pid()?, signal).with_context(|| format!("{}: {signal}", self.name))?;
        self.finish(patience)
    }

    /// Waits for the end without a signal.
    ///
    /// # Errors
    ///
    /// When it does not end within `patience`.
    pub fn finish(mut self, patience: Duration) -> Result<(sys::ChildExit, Usage)> {
        let give_up = Instant::now() + patience;
        let mut memory_peak_bytes = 0;
        loop {
            // Read before it ends: an ended process has no VmHWM.
            memory_peak_bytes = memory_peak_bytes.max(self.memory("VmHWM"));
            if let Some(ended) = self.try_wait()? {
                let usage = Usage {
                    user_s: ended.user.as_secs_f64(),
                    system_s: ended.system.as_secs_f64(),
                    machine_s: CpuTimes::now()?.since(&self.cpu_at_start).busy(),
                    memory_peak_bytes,
                    elapsed_s: self.started.elapsed().as_secs_f64(),
                };
                return Ok((ended, usage));
            }
            if Instant::now() > give_up {
                let (name, stderr) = (&self.name, quote(&self.stderr()));
                bail!("{name} does not end within {patience:?}. {stderr}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn unix_pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.pid())?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The output of a program as a sentence, for an error.
#[must_use]
pub fn quote(output: &str) -> String {
    match output.trim() {
        "" => "It said nothing.".to_owned(),
        output => format!("It said: {output}"),
    }
}

fn memory_field(status: &str, field: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, folder: &Path) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Running::start(command, "sh", folder).expect("sh starts")
    }

    #[test]
    fn exit_code_and_resources_of_a_program_are_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let burn = sh(
            "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 3",
            folder.path(),
        );
        let (ended, usage) = burn.finish(Duration::from_secs(60)).expect("it ends");
        assert_eq!((ended.code, ended.signal), (Some(3), None));
        assert!(
            usage.user_s > 0.0 && usage.elapsed_s >= usage.user_s * 0.5,
            "{usage:?}"
        );
        assert!(usage.memory_peak_bytes > 0, "{usage:?}");
    }

    #[test]
    fn wait_until_sees_standard_error_and_an_early_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut sleeper = sh("echo ready >&2; exec sleep 60", folder.path());
        let patience = Duration::from_secs(20);
        let ready = |it: &Running| it.stderr().contains("ready");
        sleeper
            .wait_until("its word", patience, ready)
            .expect("ready");
        let (ended, _) = sleeper.stop(Signal::SIGTERM, patience).expect("it ends");
        assert_eq!(ended.signal, Some(libc::SIGTERM));
        let mut failing = sh("echo no such ring >&2; exit 4", folder.path());
        let error = failing
            .wait_until("its word", patience, ready)
            .expect_err("it ended");
        assert_eq!(
            error.to_string(),
            "sh ended with exit code 4 before its word. It said: no such ring"
        );
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t  12 kB\n";
        assert_eq!(memory_field(status, "VmHWM"), 1234 * 1024);
        assert_eq!(memory_field(status, "VmRSS"), 12 * 1024);
        assert_eq!(memory_field(status, "Threads"), 0);
    }
}
