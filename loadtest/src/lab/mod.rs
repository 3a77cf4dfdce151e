//! The laboratory: two network namespaces with a veth pair between them.
//!
//! ```text
//! namespace …-a            namespace …-b
//! sender (CPU 0) ── veth ──▶ receiver (CPU 1)
//! ```
//!
//! Names have the process id of their maker, so that [`clean`] knows which ones a crash left behind.

mod counters;
pub mod machine;
mod names;
pub mod process;
mod scratch;
pub mod stop;
pub mod throttle;

use std::fs::{self, File};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use counters::Counters;
use names::{PREFIX, is_left_behind, is_own};
pub use scratch::Scratch;

const NETNS_FOLDER: &str = "/run/netns";
const PATIENCE: Duration = Duration::from_secs(10);

/// CPU of the sender.
pub const SENDER_CPU: usize = 0;
/// CPU of the receiver; in [`SetUp::Fair`] also of the kernel's receiving.
pub const RECEIVER_CPU: usize = 1;

/// An end of the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Sends frames.
    Sender,
    /// The sensor captures here.
    Receiver,
}

/// Which CPU does the kernel's receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SetUp {
    /// The receiver's, by threaded NAPI, as behind a NIC
    Fair,
    /// The sender's, as with any veth pair: no frame can be lost before the ring
    Default,
}

/// Two namespaces and the veth pair between them; removed on drop.
#[derive(Debug)]
pub struct Lab {
    name: String,
    sender: String,
    receiver: String,
}

impl Lab {
    /// Makes both namespaces and the pair, and waits until it carries frames.
    ///
    /// # Errors
    ///
    /// Without root, `ip` or `ethtool`; for [`SetUp::Fair`] with fewer than two CPUs.
    pub fn new(set_up: SetUp) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            bail!("needs root: it makes network namespaces");
        }
        let cores = thread::available_parallelism().map_or(1, Into::into);
        if cores <= RECEIVER_CPU {
            bail!("needs two CPUs, one each for sender and receiver; this process may use {cores}");
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // At most 15 bytes. The NAPI thread's name begins with the interface's.
        let device = |end: char| format!("{end}{pid:x}n{number:x}");
        let lab = Self {
            name: format!("{PREFIX}{pid}-{number}"),
            sender: device('s'),
            receiver: device('r'),
        };
        lab.make()?;
        if set_up == SetUp::Fair {
            lab.thread_napi()?;
        }
        Ok(lab)
    }

    fn make(&self) -> Result<()> {
        let (a, b) = (self.namespace(End::Sender), self.namespace(End::Receiver));
        let (sender, receiver) = (&self.sender, &self.receiver);
        for name in [&a, &b] {
            {
                let _defer = stop::defer();
                run("ip", &["netns", "add", name])?;
            }
            self.disable_ipv6(name)?;
            run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        }
        run(
            "ip",
            &[
                "link", "add", sender, "netns", &a, "type", "veth", "peer", "name", receiver,
                "netns", &b,
            ],
        )?;
        for (name, device) in [(&a, sender), (&b, receiver)] {
            run("ip", &["-n", name, "link", "set", device, "up"])?;
        }
        self.wait_until_up()
    }

    /// Turns IPv6 off, because an interface with IPv6 sends frames by itself. A kernel without IPv6 has no such
    /// file.
    fn disable_ipv6(&self, namespace: &str) -> Result<()> {
        in_namespace(namespace, || {
            for scope in ["all", "default"] {
                let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1");
            }
            Ok(())
        })
    }

    fn wait_until_up(&self) -> Result<()> {
        for end in [End::Sender, End::Receiver] {
            let (namespace, device) = (self.namespace(end), self.device(end));
            wait_for(&format!("{device}: state UP"), || {
                let words = ["-n", &namespace, "-o", "link", "show", device];
                Ok(run("ip", &words)?.contains("state UP"))
            })?;
        }
        Ok(())
    }

    /// Turns threaded NAPI on, on the receiver's CPU (KERNEL.md, section 6). Without GRO a veth pair has no NAPI.
    /// With TSO at the sender, the sender's CPU would still receive raw frames.
    fn thread_napi(&self) -> Result<()> {
        let (receiver, sender) = (self.device(End::Receiver), self.device(End::Sender));
        self.run(End::Receiver, "ethtool", &["-K", receiver, "gro", "on"])?;
        self.run(End::Sender, "ethtool", &["-K", sender, "tso", "off"])?;
        // GRO must not merge two frames into one.
        let whole = ["link", "set", receiver, "gro_max_size", "1"];
        self.run(End::Receiver, "ip", &whole)?;
        let file = format!("/sys/class/net/{receiver}/threaded");
        self.run(End::Receiver, "sh", &["-c", &format!("echo 1 > {file}")])?;
        let prefix = format!("napi/{receiver}-");
        let mut found = Vec::new();
        wait_for(&format!("kernel thread {prefix}*"), || {
            found = kernel_threads(&prefix);
            Ok(!found.is_empty())
        })?;
        for pid in found {
            run(
                "taskset",
                &["-pc", &RECEIVER_CPU.to_string(), &pid.to_string()],
            )?;
        }
        Ok(())
    }

    /// Name of the namespace at `end`.
    #[must_use]
    pub fn namespace(&self, end: End) -> String {
        let letter = match end {
            End::Sender => 'a',
            End::Receiver => 'b',
        };
        format!("{}-{letter}", self.name)
    }

    /// Name of the interface at `end`.
    #[must_use]
    pub fn device(&self, end: End) -> &str {
        match end {
            End::Sender => &self.sender,
            End::Receiver => &self.receiver,
        }
    }

    /// A command that runs `program` at `end`, on `cpu` if one is given. The child's process id is the program's: `ip`
    /// and `taskset` exec it.
    #[must_use]
    pub fn command(&self, end: End, cpu: Option<usize>, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(end)]);
        if let Some(cpu) = cpu {
            command.args(["taskset", "-c", &cpu.to_string()]);
        }
        command.arg(program);
        command
    }

    /// Runs a program at `end` and gives what it printed.
    ///
    /// # Errors
    ///
    /// When it cannot be run, or fails; the error has its standard error.
    pub fn run(&self, end: End, program: &str, words: &[&str]) -> Result<String> {
        let mut command = self.command(end, None, program);
        command.args(words);
        output(command)
    }

    /// Runs `work` in a thread in the namespace of `end`, where its sockets belong then.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered, or `work` fails.
    pub fn inside<T: Send>(&self, end: End, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        in_namespace(&self.namespace(end), work)
    }

    /// Reads the kernel's counters.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub fn counters(&self) -> Result<Counters> {
        let link = |end| -> Result<serde_json::Value> {
            let namespace = self.namespace(end);
            let words = [
                "-n",
                &namespace,
                "-j",
                "-s",
                "link",
                "show",
                self.device(end),
            ];
            let text = run("ip", &words)?;
            let all: serde_json::Value = serde_json::from_str(&text).context("ip -j link")?;
            Ok(all[0]["stats64"].clone())
        };
        let (sender, receiver) = (link(End::Sender)?, link(End::Receiver)?);
        let number = |value: &serde_json::Value| value.as_u64().context("a counter of ip -j link");
        let softnet = fs::read_to_string("/proc/net/softnet_stat").context("softnet_stat")?;
        Ok(Counters {
            tx_packets: number(&sender["tx"]["packets"])?,
            tx_dropped: number(&sender["tx"]["dropped"])?,
            rx_packets: number(&receiver["rx"]["packets"])?,
            softnet_dropped: softnet_column(&softnet, 1),
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for end in [End::Sender, End::Receiver] {
            let _ = run("ip", &["netns", "del", &self.namespace(end)]);
        }
    }
}

/// Sum over the CPUs of a column of /proc/net/softnet_stat, which is hexadecimal.
fn softnet_column(text: &str, column: usize) -> u64 {
    text.lines()
        .filter_map(|line| line.split_whitespace().nth(column))
        .filter_map(|word| u64::from_str_radix(word, 16).ok())
        .sum()
}

/// Removes the namespaces of ended processes and kills the programs in them; gives their names.
///
/// # Errors
///
/// When one cannot be removed.
pub fn clean() -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in namespaces().filter(|name| is_left_behind(name)) {
        remove(&name)?;
        removed.push(name);
    }
    Ok(removed)
}

/// Removes the namespaces of this process before it ends; gives the names of those removed.
#[must_use]
pub fn clean_own() -> Vec<String> {
    let own = namespaces().filter(|name| is_own(name));
    own.filter(|name| remove(name).is_ok()).collect()
}

/// Names of network namespaces; none if their folder is missing.
fn namespaces() -> impl Iterator<Item = String> {
    let entries = fs::read_dir(NETNS_FOLDER).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn remove(name: &str) -> Result<()> {
    for pid in run("ip", &["netns", "pids", name])?.split_whitespace() {
        let pid: u32 = pid.parse()?;
        // Not this process: it may have a thread there. An error: that process has ended by itself.
        if pid != std::process::id() {
            let _ = kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL);
        }
    }
    run("ip", &["netns", "del", name]).map(drop)
}

fn in_namespace<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("{NETNS_FOLDER}/{name}");
    let file = File::open(&path).with_context(|| path.clone())?;
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            setns(&file, CloneFlags::CLONE_NEWNET).with_context(|| format!("setns {path}"))?;
            work()
        });
        match inside.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn kernel_threads(prefix: &str) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.starts_with(prefix))
        })
        .collect()
}

fn wait_for(what: &str, mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let give_up = Instant::now() + PATIENCE;
    while !happened()? {
        if Instant::now() > give_up {
            bail!("{what}: not in {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn run(program: &str, words: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(words);
    output(command)
}

fn output(mut command: Command) -> Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let output = command
        .output()
        .with_context(|| format!("{line}: cannot be run"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("{line}: {}: {}", output.status, error.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests;
