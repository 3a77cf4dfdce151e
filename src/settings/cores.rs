//! Workers and their CPUs.

use super::flags::SizeArgs;
use crate::error::ConfigError;
use crate::host::cpus;
use crate::words::many;

impl SizeArgs {
    /// `--workers`, or a quarter of the allowed CPUs, 1 to 4.
    pub fn workers(&self, allowed: usize) -> usize {
        let default = (allowed / 4).clamp(1, 4);
        self.workers.map_or(default, usize::from)
    }
}

/// The CPU of each worker: of `--cores`, or the last of `pin_to`.
///
/// # Errors
///
/// [`ConfigError`] names what of `asked` cannot be.
pub fn of(
    asked: Option<&str>,
    workers: usize,
    selectable: &[usize],
    pin_to: Vec<usize>,
) -> Result<Vec<usize>, ConfigError> {
    let Some(asked) = asked else {
        // The last CPUs: the first ones usually serve interrupts.
        return Ok(pin_to.into_iter().rev().cycle().take(workers).collect());
    };
    let cores = cpus::parse_cores(asked, selectable).map_err(ConfigError)?;
    if cores.len() < workers {
        return Err(ConfigError(format!(
            "--cores {asked}: {} for {}; name one a worker or lower --workers",
            many(cores.len(), "CPU"),
            many(workers, "worker")
        )));
    }
    Ok(cores.into_iter().take(workers).collect())
}
