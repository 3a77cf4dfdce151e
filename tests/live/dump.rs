//! tcpdump, the capture taken in one place.

use super::sensor::PATIENCE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

/// A running tcpdump; killed on drop.
pub struct Dump {
    child: Child,
    path: PathBuf,
    stderr: PathBuf,
}

impl Dump {
    /// Captures on this device into a file in `dir`; waits until tcpdump listens.
    pub fn start(device: &str, dir: &Path) -> Self {
        let path = dir.join(format!("{device}.pcap"));
        let stderr = dir.join(format!("{device}.stderr"));
        // Each frame goes to the file at once; root may write to a folder that tcpdump's own user may not. Cut to
        // its headers a frame takes little room: of whole ones tcpdump's buffer holds eight in immediate mode.
        let child = Command::new("tcpdump")
            .args(["-i", device, "-n", "-p", "-U", "--immediate-mode"])
            .args(["-s", "256", "-B", "32768", "-Z", "root", "-w"])
            .arg(&path)
            .stderr(File::create(&stderr).expect("a file"))
            .spawn();
        let dump = Self {
            child: child.expect("tcpdump starts"),
            path,
            stderr,
        };
        dump.wait_for("tcpdump listens", |dump| {
            dump.said().contains("listening on")
        });
        dump
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    fn wait_for(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + PATIENCE;
        while !happened(self) {
            assert!(Instant::now() < give_up, "{what}: {}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the file holds a frame with these bytes, and ends tcpdump, which must have lost nothing.
    pub fn end_after(mut self, last: &[u8]) -> PathBuf {
        self.wait_for("the last frame is captured", |dump| {
            let file = std::fs::read(&dump.path).unwrap_or_default();
            file.windows(last.len()).any(|bytes| bytes == last)
        });
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
        let status = self.child.wait().expect("a child");
        assert!(status.success(), "{}", self.said());
        assert!(
            self.said().contains("\n0 packets dropped by kernel"),
            "{}",
            self.said()
        );
        self.path.clone()
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
