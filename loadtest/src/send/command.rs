//! `flood`: sends a load by a schedule, or writes it to a capture, and prints a report.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use nix::net::if_::if_nametoindex;

use super::{Schedule, Sender, flood, pin, write_attempts, write_capture};
use crate::flags::{Rate, SEED_MAX, has_folder, rate, seconds, whole};
use crate::judge::Findings;
use crate::say::print;
use crate::traffic::{Load, Name};

/// Flags.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("to").required(true).args(["interface", "write"]))]
pub struct FloodArgs {
    /// The load.
    #[arg(long, value_enum)]
    load: Name,
    /// Seed of the load, 0 to 4294967295: the same seed gives the same bytes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(0, SEED_MAX))]
    seed: u64,
    /// The interface to send from.
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,
    /// How frames are sent.
    #[arg(long, value_enum, default_value = "sendmmsg")]
    sender: Sender,
    /// Packets per second, 1 to 100000000, or max.
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Seconds to send, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Frames to send, 1 to 10000000000. With --write: frames to write, at most 10000000, default 10000.
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1, 10_000_000_000))]
    frames: Option<u64>,
    /// Send from this CPU, 0 to 1023.
    #[arg(long, value_name = "CPU", value_parser = whole::<usize>(0, 1023))]
    cpu: Option<usize>,
    /// Write the frames to a capture (pcap) and send none.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Write a CSV of the connections sent, with initial sequence number and packets.
    #[arg(long, value_name = "FILE")]
    attempts: Option<PathBuf>,
}

impl FloodArgs {
    /// Checks the flags before the first frame, and pins this thread to the CPU.
    fn check(&self) -> Result<()> {
        let files = [("--write", &self.write), ("--attempts", &self.attempts)];
        for (flag, file) in files {
            if let Some(file) = file {
                has_folder(flag, file)?;
            }
        }
        if let Some(name) = &self.interface
            && if_nametoindex(name.as_str()).is_err()
        {
            bail!(
                "--interface {name}: no such interface in this network namespace: ip link lists them"
            );
        }
        if let Some(cpu) = self.cpu
            && pin(cpu).is_err()
        {
            let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
            let online = online.unwrap_or_default();
            bail!(
                "--cpu {cpu}: this process may not use it; the CPUs of this machine are {}",
                online.trim()
            );
        }
        Ok(())
    }

    /// Sends or writes, and prints the report as JSON.
    ///
    /// # Errors
    ///
    /// When it cannot send or write.
    pub fn run(&self) -> Result<Findings> {
        self.check()?;
        let load = Load::new(self.load, self.seed);
        let schedule = Schedule {
            rate_pps: self.rate.0,
            frames_max: self.frames.unwrap_or(u64::MAX),
            seconds_max: self.seconds,
        };
        let sent = match (&self.write, &self.interface) {
            (Some(path), _) => {
                let frames = self.frames.unwrap_or(10_000);
                if frames > 10_000_000 {
                    bail!("--frames {frames}: a capture holds at most 10000000");
                }
                write_capture(path, &load, frames, 1_000_000).context("--write")?
            }
            (None, Some(device)) => flood(
                device,
                &load,
                self.sender,
                &schedule,
                &AtomicBool::new(false),
            )?,
            (None, None) => bail!("--interface or --write"),
        };
        if let Some(path) = &self.attempts {
            write_attempts(path, &load, sent.tally.frames).context("--attempts")?;
        }
        let report = sent.json(&load, self.sender, &schedule);
        print(format_args!("{report:#}")).context("standard output")?;
        Ok(Findings::default())
    }
}
