//! `bare`: a reader that only counts, on rings like the sensor's: the least work of a reader.
//!
//! It has three rings by class, like the sensor, or one ring of the same memory. Frames are cut to the sensor's
//! snaplen. It reads each frame's header.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::{Deserialize, Serialize};

use super::{Receiver, ReceiverCounts, Session};
use crate::flags::whole;
use crate::judge::Findings;
use crate::lab::process::{Running, quote};
use crate::lab::{End, Lab, RECEIVER_CPU};
use crate::say;
use crate::sys::{RxCounts, RxRing, RxSize};

const PATIENCE: Duration = Duration::from_secs(30);
const BLOCK_TIMEOUT_MS: u16 = 20;
const READY: &str = "counting";
/// Bytes that the sensor's default depth keeps of a frame.
const SNAPLEN: u32 = 192;

/// How the memory is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rings {
    /// One ring each for data, control and open frames, chosen by a program in the kernel
    Class,
    /// One ring
    One,
}

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct BareArgs {
    /// The interface.
    #[arg(short, long, value_name = "NAME")]
    interface: String,
    /// How the ring memory is divided.
    #[arg(long, value_enum, default_value = "class")]
    rings: Rings,
    /// Ring memory in MiB, 4 to 1024.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = whole::<u32>(4, 1024))]
    ring_mib: u32,
    /// Bytes kept of each frame, 64 to 262144.
    #[arg(long, value_name = "BYTES", default_value_t = SNAPLEN, value_parser = whole::<u32>(64, 262_144))]
    snaplen: u32,
    /// Take no frame: measures the cost of open packet sockets.
    #[arg(long)]
    closed: bool,
}

/// Printed when it is stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    frames: u64,
    bytes: u64,
    tp_packets: u64,
    tp_drops: u64,
}

/// Sizes of the rings, in the order in which they join the group: data, control, open.
fn sizes(rings: Rings, mib: u32) -> Vec<RxSize> {
    let size = |eighths: u32, block_kib: u32| {
        let (bytes, mut block_bytes) = ((mib << 20) / 8 * eighths, block_kib << 10);
        // Small rings have small blocks, as in the sensor.
        while bytes / block_bytes < 16 {
            block_bytes /= 2;
        }
        RxSize {
            bytes: bytes - bytes % block_bytes,
            block_bytes,
        }
    };
    match rings {
        Rings::Class => vec![size(5, 256), size(1, 64), size(2, 64)],
        Rings::One => vec![size(8, 256)],
    }
}

impl BareArgs {
    /// Counts until SIGINT or SIGTERM; prints the counts as JSON.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the rings, or its counters differ from the frames read.
    pub fn run(&self) -> Result<Findings> {
        let stop = stop_signals()?;
        let mut rings = self.open()?;
        say!("{READY}");
        let mut report = Report::default();
        while stop.read_signal().context("signalfd")?.is_none() {
            if !read(&mut rings, &mut report) {
                wait(&rings, &stop)?;
            }
        }
        for ring in &rings {
            ring.close_gate().context("SO_ATTACH_FILTER")?;
        }
        // The kernel hands over part-filled blocks by a timer.
        thread::sleep(Duration::from_millis(u64::from(BLOCK_TIMEOUT_MS) * 2));
        while read(&mut rings, &mut report) {}
        for ring in &rings {
            let statistics = ring.statistics().context("PACKET_STATISTICS")?;
            report.tp_packets += u64::from(statistics.tp_packets);
            report.tp_drops += u64::from(statistics.tp_drops);
        }
        let text = serde_json::to_string(&report)?;
        writeln!(std::io::stdout().lock(), "{text}").context("standard output")?;
        if report.tp_packets != report.frames + report.tp_drops {
            bail!("tp_packets is not frames + tp_drops: {text}");
        }
        Ok(Findings::default())
    }

    /// Opens the rings and their gates; several rings join a fanout group.
    fn open(&self) -> Result<Vec<RxRing>> {
        let name = self.interface.as_str();
        let interface = nix::net::if_::if_nametoindex(name).with_context(|| name.to_owned())?;
        let rings = sizes(self.rings, self.ring_mib)
            .into_iter()
            .map(|size| {
                let ring = RxRing::new(interface, size, BLOCK_TIMEOUT_MS.into());
                ring.with_context(|| format!("a ring of {} bytes on {name}", size.bytes))
            })
            .collect::<Result<Vec<_>>>()?;
        if rings.len() > 1 {
            // Group numbers are per namespace; this one is the low half of the process id.
            let group = std::process::id() & 0xffff;
            for ring in &rings {
                ring.join(u16::try_from(group).expect("masked"))
                    .context("PACKET_FANOUT")?;
            }
            rings[0].choose_by_class().context("PACKET_FANOUT_DATA")?;
        }
        for ring in rings.iter().filter(|_| !self.closed) {
            ring.open_gate(self.snaplen).context("SO_ATTACH_FILTER")?;
        }
        Ok(rings)
    }
}

fn stop_signals() -> Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("sigprocmask")?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("signalfd")
}

/// Reads one block of each ring, if the kernel has handed one over; gives whether there was any.
fn read(rings: &mut [RxRing], report: &mut Report) -> bool {
    let mut any = false;
    for ring in rings {
        if let Some(RxCounts { frames, bytes }) = ring.read_block() {
            report.frames += frames;
            report.bytes += bytes;
            any = true;
        }
    }
    any
}

fn wait(rings: &[RxRing], stop: &SignalFd) -> Result<()> {
    let mut fds: Vec<PollFd<'_>> = rings
        .iter()
        .map(|ring| PollFd::new(ring.fd().as_fd(), PollFlags::POLLIN))
        .collect();
    fds.push(PollFd::new(stop.as_fd(), PollFlags::POLLIN));
    match poll(&mut fds, PollTimeout::from(BLOCK_TIMEOUT_MS)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
}

/// `bare` as a receiver: a child process of this program.
#[derive(Clone, Debug)]
pub struct Bare {
    /// This program.
    pub program: PathBuf,
    /// How the memory is divided.
    pub rings: Rings,
    /// Ring memory in MiB.
    pub ring_mib: u32,
    /// Whether it takes no frame.
    pub closed: bool,
}

struct BareSession {
    running: Running,
    out: PathBuf,
}

impl Receiver for Bare {
    fn name(&self) -> &'static str {
        match self.rings {
            _ if self.closed => "bare-closed",
            Rings::Class => "bare",
            Rings::One => "bare-one-ring",
        }
    }

    fn start(&self, lab: &Lab, folder: &Path) -> Result<Box<dyn Session>> {
        let program = self.program.to_str().context("a path in UTF-8")?;
        let mut command = lab.command(End::Receiver, Some(RECEIVER_CPU), program);
        let rings = match self.rings {
            Rings::Class => "class",
            Rings::One => "one",
        };
        command.args(["bare", "-i", lab.device(End::Receiver), "--rings", rings]);
        command.args(["--ring-mib", &self.ring_mib.to_string()]);
        if self.closed {
            command.arg("--closed");
        }
        let mut running = Running::start(command, "bare", folder)?;
        running.wait_until("it counts", PATIENCE, |it| it.stderr().contains(READY))?;
        Ok(Box::new(BareSession {
            running,
            out: folder.join("bare.out"),
        }))
    }
}

impl Session for BareSession {
    fn pid(&self) -> u32 {
        self.running.pid()
    }

    fn stop(self: Box<Self>) -> Result<ReceiverCounts> {
        let stderr_path = self.running.stderr_path();
        let (ended, usage) = self.running.stop(Signal::SIGINT, PATIENCE)?;
        if ended.code != Some(0) {
            let stderr = std::fs::read_to_string(stderr_path).unwrap_or_default();
            bail!("bare {ended}. {}", quote(&stderr));
        }
        let text = std::fs::read_to_string(&self.out).context("bare.out")?;
        let report: Report = serde_json::from_str(&text).context("the report of bare")?;
        Ok(ReceiverCounts {
            frames: report.frames,
            dropped: report.tp_drops,
            connections: None,
            usage,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_have_the_asked_memory_in_whole_blocks() {
        for mib in [4, 5, 64, 100, 1024] {
            for rings in [Rings::Class, Rings::One] {
                let sizes = sizes(rings, mib);
                let sum: u32 = sizes.iter().map(|size| size.bytes).sum();
                let asked = mib << 20;
                assert!(sum <= asked && asked - sum < 256 << 10, "{rings:?}: {sum}");
                for size in sizes {
                    assert!(size.bytes >= 16 * size.block_bytes, "{size:?}");
                    assert_eq!(size.bytes % size.block_bytes, 0, "{size:?}");
                }
            }
        }
    }
}
