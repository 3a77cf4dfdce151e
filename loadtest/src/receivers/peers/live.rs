//! A peer that captures in the lab.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Artifacts, Collector, Peer, Place, find};
use crate::lab::process::{Running, quote};
use crate::lab::{End, Lab, RECEIVER_CPU};
use crate::receivers::{Receiver, ReceiverCounts, Session};

/// Long: Suricata writes the flow records of a long flood at its end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes read from the end of an output: the last lines count, and the rest may be long.
const END_BYTES: u64 = 64 << 10;

/// A peer with the sensor's ring memory.
#[derive(Clone, Copy)]
pub struct LivePeer {
    /// The peer.
    pub peer: &'static dyn Peer,
    /// Ring memory in MiB.
    pub ring_mib: u32,
}

struct LiveSession {
    peer: &'static dyn Peer,
    running: Running,
    folder: PathBuf,
    collector: Option<Collector>,
}

impl Receiver for LivePeer {
    fn name(&self) -> &'static str {
        self.peer.name()
    }

    fn start(&self, lab: &Lab, folder: &Path) -> Result<Box<dyn Session>> {
        let peer = self.peer;
        let program =
            find(peer.program()).with_context(|| format!("{} is not installed", peer.program()))?;
        let collector = match peer.exports_flows() {
            true => Some(lab.inside(End::Receiver, Collector::new)?),
            false => None,
        };
        let place = Place {
            folder,
            device: lab.device(End::Receiver),
            ring_mib: self.ring_mib,
            collector: collector.as_ref().map(Collector::port),
        };
        peer.prepare(&place)?;
        let words = peer.live_args(&place);
        let words =
            words.with_context(|| format!("{} is compared from files only", peer.name()))?;
        let program = program.to_str().context("a path in UTF-8")?;
        let mut command = lab.command(End::Receiver, Some(RECEIVER_CPU), program);
        command.args(words);
        let mut running = Running::start(command, peer.name(), folder)?;
        running.wait_until("it listens", PATIENCE, |_| {
            last_output(folder, peer.name()).contains(peer.ready_message())
        })?;
        Ok(Box::new(LiveSession {
            peer,
            running,
            folder: folder.to_owned(),
            collector,
        }))
    }
}

/// The ends of standard output and of standard error of the program `name`, from their files in `folder`.
#[must_use]
pub fn last_output(folder: &Path, name: &str) -> String {
    let ends = ["out", "err"].map(|ending| end(&folder.join(format!("{name}.{ending}"))));
    let bytes: Vec<u8> = ends.into_iter().flatten().flatten().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn end(path: &Path) -> std::io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (File::open(path)?, Vec::new());
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(END_BYTES)))?;
    file.take(END_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Session for LiveSession {
    fn pid(&self) -> u32 {
        self.running.pid()
    }

    fn stop(self: Box<Self>) -> Result<ReceiverCounts> {
        let Self {
            peer,
            running,
            folder,
            collector,
        } = *self;
        thread::sleep(peer.block_timeout());
        let place = Place {
            folder: &folder,
            device: "",
            ring_mib: 0,
            collector: None,
        };
        let answer = peer.stop(&place)?;
        if answer.is_none() {
            let pid = Pid::from_raw(i32::try_from(running.pid())?);
            kill(pid, Signal::SIGINT).with_context(|| peer.name())?;
        }
        let (ended, usage) = running.finish(PATIENCE)?;
        let mut output = last_output(&folder, peer.name());
        if ended.signal.is_some() {
            bail!("{} {ended}. {}", peer.name(), quote(&output));
        }
        output.extend(answer);
        let artifacts = Artifacts {
            folder: &folder,
            output: &output,
            collected: collector.map(Collector::finish).transpose()?,
        };
        let counts = peer.counts(&artifacts)?;
        Ok(ReceiverCounts {
            frames: counts.frames.with_context(|| {
                format!("{}: prints no number of frames: {output}", peer.name())
            })?,
            dropped: counts.dropped.unwrap_or(0),
            connections: counts.connections,
            usage,
        })
    }
}
