//! CPU time of a running process, and of one CPU.

use std::fs;

use anyhow::{Context, Result};

use crate::lab::machine::TICKS_PER_SECOND;

/// CPU seconds of a process so far, in user space and in the kernel.
///
/// # Errors
///
/// When there is no such process.
pub fn process(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name may have any bytes; it ends with the last parenthesis.
    let fields = text.rsplit_once(')').map(|(_, rest)| rest);
    let ticks =
        |index: usize| -> Option<f64> { fields?.split_whitespace().nth(index)?.parse().ok() };
    let (user, system) = (ticks(11).context(path.clone())?, ticks(12).context(path)?);
    Ok((user + system) / TICKS_PER_SECOND)
}

/// Busy seconds of a CPU since boot: programs, kernel and interrupts.
///
/// # Errors
///
/// When there is no such CPU.
pub fn busy(cpu: usize) -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    busy_in(&text, cpu).with_context(|| format!("/proc/stat has no CPU {cpu}"))
}

fn busy_in(text: &str, cpu: usize) -> Option<f64> {
    let name = format!("cpu{cpu} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name))?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0);
    Some([0, 1, 2, 5, 6].map(at).iter().sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_all_but_idle_iowait_and_steal() {
        let text =
            "cpu  9 9 9 9 9 9 9\ncpu0 100 0 0 7 7 0 0 50\ncpu1 10 20 30 4000 5000 60 70 80\n";
        assert_eq!(busy_in(text, 0), Some(1.0));
        assert_eq!(busy_in(text, 1), Some(1.9));
        assert_eq!(busy_in(text, 2), None);
    }

    #[test]
    fn cpu_time_of_this_process_grows() {
        let before = process(std::process::id()).expect("we run");
        let mut sum = 0_u64;
        while process(std::process::id()).expect("we run") < before + 0.02 {
            sum = sum.wrapping_add((0..100_000).sum::<u64>());
        }
        assert!(std::hint::black_box(sum) > 0);
        assert!(process(u32::MAX).is_err());
    }
}
