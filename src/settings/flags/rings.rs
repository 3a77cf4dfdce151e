//! Flags of the rings.

use super::{CAPTURE, RESOURCES};
use crate::capture::mode::FanoutMode;
use crate::words::{either, whole};
use clap::Args;
use clap::builder::{PossibleValue, TypedValueParser};
use std::ffi::OsStr;

/// The upper end of `--ring-mib`.
pub const RING_MIB_MAX: u32 = 4096;

/// The rings, in `run` and `check`.
#[derive(Debug, Clone, Args)]
pub struct RingArgs {
    /// How the kernel picks a worker.
    ///
    /// PACKET_FANOUT. `class`: a worker has one ring for packets that open a connection, one for those that answer
    /// or end one, one for data. `hash`: one ring, by the kernel's hash of addresses and ports. `cpu` and `qm`: one
    /// ring, by the CPU or the queue that received; only for ports that do not send (mirror ports), and only if
    /// `check --fanout MODE` proves that their receive hashing is symmetric. With `hash`, `cpu` and `qm` only the
    /// counts of frames and the decisions on scans are guaranteed: both directions of a connection may meet
    /// different workers.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "class",
        value_parser = FanoutParser,
        hide_possible_values = true,
        help_heading = CAPTURE
    )]
    pub fanout: FanoutMode,
    /// Ring memory of each worker, in MiB.
    ///
    /// 4 to 4096 (tp_block_size x tp_block_nr), shared equally by the interfaces. Of an interface's share a quarter
    /// is for opening packets, an eighth for control packets, the rest for data; outside `--fanout class` there is
    /// one ring. A share is at least 1 MiB (512 KiB outside `class`): more interfaces need more. A full ring drops
    /// frames, which the books count. `run --dry-run` prints each ring and the sum over all workers and interfaces. It
    /// is kernel memory, outside the process and its cgroup.
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 64,
        value_parser = whole::<u32>(4..=RING_MIB_MAX),
        help_heading = RESOURCES
    )]
    pub ring_mib: u32,
    /// Give each interface all of --ring-mib.
    ///
    /// Without it they share --ring-mib. With it, 10 interfaces take ten times the memory.
    #[arg(long, help_heading = RESOURCES)]
    pub ring_per_interface: bool,
}

/// `--fanout`: refuses the kernel's other modes with the reason.
#[derive(Clone)]
struct FanoutParser;

impl TypedValueParser for FanoutParser {
    type Value = FanoutMode;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<FanoutMode, clap::Error> {
        fanout_mode.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let all = FanoutMode::ALL.into_iter();
        Some(Box::new(all.map(|mode| PossibleValue::new(mode.word()))))
    }
}

fn fanout_mode(value: &str) -> Result<FanoutMode, String> {
    let modes = either(&FanoutMode::ALL.map(FanoutMode::word));
    value.parse().map_err(|()| match value {
        "lb" | "rnd" | "rollover" => format!(
            "`{value}` splits connections (their packets reach different workers); \
             use {modes}"
        ),
        _ => format!("must be {modes}"),
    })
}
