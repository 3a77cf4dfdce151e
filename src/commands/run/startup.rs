//! What `run` checks and says before it opens anything.

use crate::capture::nic;
use crate::commands::{Failure, logging};
use crate::config::RunConfig;

/// Refuses rings and tables that do not fit into memory: they would push everything else out of it.
///
/// # Errors
///
/// Says what was asked for and what there is.
pub fn check_memory(config: &RunConfig, interfaces: usize) -> Result<(), Failure> {
    let (tables, rings) = (config.memory_bytes(), config.ring_memory_bytes(interfaces));
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = field
        .and_then(|field| field.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib * 1024);
    match available {
        Some(available) if tables + rings > available => Err(Failure::Usage(format!(
            "--ring-mib and --memory-mib ask for {} MiB of rings and {} MiB of tables, {} MiB are available; \
             lower them or --workers",
            rings >> 20,
            tables >> 20,
            available >> 20
        ))),
        _ => Ok(()),
    }
}

/// What runs and what it takes, in a few lines for a person.
pub fn announce(config: &RunConfig, nics: &[nic::Interface]) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let outputs: Vec<String> = config.common.outputs.iter().map(logging::name).collect();
    let names: Vec<&str> = nics.iter().map(|nic| nic.name.as_str()).collect();
    let blocks = |class: usize| config.ring_bytes[class] / u64::from(config.block_bytes[class]);
    let trickle_s =
        |class: usize| (blocks(class) * u64::from(config.block_timeout_ms)) as f64 / 1000.0;
    // 10 GbE with the smallest frames: 14.88 M/s, 144 bytes in a ring each.
    let line_ms = |class: usize| config.ring_bytes[class] as f64 / (14_880.0 * 144.0);
    format!(
        "interfaces: {}\nworkers: {}, CPUs {:?}\nmemory: {} MiB tables and queues, {} MiB rings (the kernel's)\n\
         each worker's rings absorb: open {:.0} ms of 10 GbE line rate or a trickle of {:.1} s; control {:.0} ms or \
         {:.1} s; data {:.0} ms or {:.1} s\ncapture: {:?}, fanout {:?}\noutputs: {}\n",
        names.join(", "),
        config.common.workers,
        config.common.cores,
        mib(config.memory_bytes()),
        mib(config.ring_memory_bytes(nics.len())),
        line_ms(2),
        trickle_s(2),
        line_ms(1),
        trickle_s(1),
        line_ms(0),
        trickle_s(0),
        config.capture,
        config.fanout,
        outputs.join(", "),
    )
}
