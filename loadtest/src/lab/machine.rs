//! The machine that measures: hardware, kernel, CPU time.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

/// Facts about the machine, recorded beside every figure.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPU model, from /proc/cpuinfo.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cores: usize,
    /// Frequency governor of CPU 0; empty if there is none (virtual machines).
    pub governor: String,
    /// Kernel release.
    pub kernel: String,
    /// Commit of the source tree; `+` behind it if the tree has changes.
    pub commit: String,
    at_start: CpuTimes,
}

impl Machine {
    /// Reads the facts of this machine. A fact that cannot be read is empty.
    #[must_use]
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches(['\t', ' ', ':']).to_owned());
        let trimmed = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.trim().to_owned()
        };
        Self {
            cpu: cpu.unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            governor: trimmed("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            kernel: trimmed("/proc/sys/kernel/osrelease"),
            commit: commit(),
            at_start: CpuTimes::now().unwrap_or_default(),
        }
    }

    /// One line: model, cores, governor, and the steal time since [`Self::here`].
    #[must_use]
    pub fn describe(&self) -> String {
        let governor = match self.governor.as_str() {
            "" => "none shown",
            word => word,
        };
        let steal = CpuTimes::now()
            .unwrap_or_default()
            .since(&self.at_start)
            .steal_share();
        format!(
            "{}, {} cores, governor {governor}, steal {:.1} %",
            self.cpu,
            self.cores,
            steal * 100.0
        )
    }
}

fn commit() -> String {
    let git = |words: &[&str]| {
        // Root measures in a tree that belongs to another user.
        let mut command = Command::new("git");
        let output = command.args(["-c", "safe.directory=*"]).args(words);
        let output = output.output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return String::new();
    };
    match git(&["status", "--porcelain", "--untracked-files=no"]).as_deref() {
        Some("") => head,
        _ => head + "+",
    }
}

/// Seconds of all CPUs together, since boot or between two readings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTimes {
    /// Programs.
    pub user: f64,
    /// Kernel, without interrupts.
    pub system: f64,
    /// Hard and soft interrupts.
    pub irq: f64,
    /// Idle, or waiting for a disk.
    pub idle: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
}

impl CpuTimes {
    /// Reads /proc/stat.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::parse(&text).context("/proc/stat has no line of all CPUs")
    }

    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0.0))
            .collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
        Some(Self {
            user: at(0) + at(1),
            system: at(2),
            irq: at(5) + at(6),
            idle: at(3) + at(4),
            steal: at(7),
        })
    }

    /// The difference to an `earlier` reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            user: self.user - earlier.user,
            system: self.system - earlier.system,
            irq: self.irq - earlier.irq,
            idle: self.idle - earlier.idle,
            steal: self.steal - earlier.steal,
        }
    }

    /// CPU seconds of programs, kernel and interrupts.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.user + self.system + self.irq
    }

    /// Share of the time that the hypervisor took.
    #[must_use]
    pub fn steal_share(&self) -> f64 {
        let all = self.busy() + self.idle + self.steal;
        if all > 0.0 { self.steal / all } else { 0.0 }
    }
}

/// /proc counts in `USER_HZ`, which is 100 on all architectures that Rust has (proc(5)).
pub(crate) const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_parsed_and_subtracted() {
        let text = |user| format!("cpu  {user} 100 300 4000 0 10 20 50 0 0\ncpu0 1 2 3 4\n");
        let earlier = CpuTimes::parse(&text(1000)).expect("a line");
        let later = CpuTimes::parse(&text(1200)).expect("a line");
        assert!((earlier.user - 11.0).abs() < 1e-9);
        assert!((earlier.irq - 0.3).abs() < 1e-9);
        let passed = later.since(&earlier);
        assert!((passed.busy() - 2.0).abs() < 1e-9, "{passed:?}");
        assert_eq!(passed.steal_share(), 0.0);
        assert_eq!(CpuTimes::parse("intr 1 2"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here();
        assert!(
            machine.cores >= 1 && !machine.kernel.is_empty(),
            "{machine:?}"
        );
        let cores = format!(", {} cores, ", machine.cores);
        assert!(machine.describe().contains(&cores));
    }
}
