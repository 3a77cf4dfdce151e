//! Sends a load by a schedule.
//!
//! The loop is open: the sender never waits for the receiver. A frame that the kernel has no room for is counted as
//! refused and not sent again, so the frames handed over are always the first ones of the load.

mod command;
mod live;
mod replay;

use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use command::FloodArgs;
pub use replay::remove_capture;

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::lab::{Counters, End, Lab, SENDER_CPU};
use crate::sys::{BURST_MAX, Burst, Plain, TxRing, Xdp};
use crate::traffic::{Load, Tally};

/// Longest wait for the kernel to pass on all frames.
const SETTLE: Duration = Duration::from_secs(5);

/// How frames are sent, fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Sender {
    /// BPF live frames, which the kernel makes; load syn only
    Bpf,
    /// AF_XDP, copy mode
    Xdp,
    /// sendmmsg, 64 frames in a call
    Sendmmsg,
    /// A TPACKET_V2 transmit ring
    Txring,
    /// The afpacket crate, one write for each frame
    Afpacket,
    /// tcpreplay, from a capture of the same frames
    Tcpreplay,
}

impl Sender {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Bpf,
        Self::Xdp,
        Self::Sendmmsg,
        Self::Txring,
        Self::Afpacket,
        Self::Tcpreplay,
    ];

    /// The word of `--sender`.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["bpf", "xdp", "sendmmsg", "txring", "afpacket", "tcpreplay"][self as usize]
    }
}

/// The rate, and the end: the first limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Packets per second; `None` is the highest rate.
    pub rate_pps: Option<f64>,
    /// Most frames.
    pub frames_max: u64,
    /// Most seconds.
    pub seconds_max: f64,
}

impl Schedule {
    /// This rate for `seconds_max` seconds.
    #[must_use]
    pub fn for_seconds(rate_pps: Option<f64>, seconds_max: f64) -> Self {
        Self {
            rate_pps,
            frames_max: u64::MAX,
            seconds_max,
        }
    }

    /// Frames due after `elapsed`.
    fn due(&self, elapsed: Duration) -> u64 {
        let Some(rate) = self.rate_pps else {
            return self.frames_max;
        };
        let due = (elapsed.as_secs_f64().min(self.seconds_max) * rate).ceil();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and below 2^53: at most 3600 s at 1e8 packets/s"
        )]
        let due = due as u64;
        due.min(self.frames_max)
    }
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transmission {
    /// Frames handed to the kernel: the first ones of the load.
    pub tally: Tally,
    /// Of those, frames that the kernel refused for lack of room.
    pub refused: u64,
    /// Duration in seconds.
    pub elapsed_s: f64,
    /// The largest delay behind the schedule, in seconds.
    pub behind_s: f64,
    /// Whether the kernel sends a dropped frame again, as from a transmit ring (tpacket_snd in
    /// net/packet/af_packet.c). The interface's drops are then delays, not losses.
    pub drops_are_retried: bool,
}

impl Transmission {
    /// The rate that was reached.
    #[must_use]
    pub fn pps(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        let frames = self.tally.frames as f64;
        if self.elapsed_s > 0.0 {
            frames / self.elapsed_s
        } else {
            0.0
        }
    }

    /// Frames lost at an interface that counted `tx_dropped` drops.
    #[must_use]
    pub fn lost_at_interface(&self, tx_dropped: u64) -> u64 {
        if self.drops_are_retried {
            0
        } else {
            tx_dropped
        }
    }

    /// The report of `flood`. Load, seed and number of frames give every frame and every attempt again.
    #[must_use]
    pub fn json(&self, load: &Load, sender: Sender, schedule: &Schedule) -> Value {
        json!({
            "load": load.name.word(), "seed": load.seed, "sender": sender.word(),
            "rate_asked_pps": schedule.rate_pps, "rate_pps": self.pps(),
            "elapsed_s": self.elapsed_s, "behind_s": self.behind_s, "refused": self.refused,
            "sent": self.tally.json(),
        })
    }
}

enum Transmit {
    Bpf(live::BpfSender),
    Xdp(Xdp),
    Burst(Burst),
    Ring(TxRing),
    Plain(Plain),
}

impl Transmit {
    fn new(sender: Sender, load: &Load, interface: u32) -> std::io::Result<Self> {
        Ok(match sender {
            Sender::Bpf => Self::Bpf(live::BpfSender::new(load, interface)?),
            Sender::Xdp => Self::Xdp(Xdp::new(interface)?),
            Sender::Sendmmsg => Self::Burst(Burst::new(interface)?),
            Sender::Txring => Self::Ring(TxRing::new(interface)?),
            Sender::Afpacket => Self::Plain(Plain::new(interface)?),
            Sender::Tcpreplay => unreachable!("`flood` runs tcpreplay before"),
        })
    }

    /// Most frames of one call.
    fn batch(&self) -> u64 {
        match self {
            Self::Bpf(_) => live::CALL_MAX.into(),
            _ => BURST_MAX as u64,
        }
    }

    /// Hands over up to `count` frames; gives how many, and how many of them the kernel refused.
    fn send(
        &mut self,
        load: &Load,
        first: u64,
        count: u64,
        tally: &mut Tally,
    ) -> std::io::Result<(u64, u64)> {
        let count = count.min(self.batch());
        let few = usize::try_from(count).expect("a batch");
        let write = |index, slot: &mut [u8]| {
            let (len, frame) = load.write(index, slot);
            tally.add(&frame, len);
            len
        };
        Ok(match self {
            Self::Bpf(live) => {
                let count = u32::try_from(count).expect("a batch");
                (live.send(load, first, count, tally)?.into(), 0)
            }
            Self::Xdp(xdp) => (xdp.send(first, few, write)? as u64, 0),
            Self::Ring(ring) => (ring.send(first, few, write)? as u64, 0),
            Self::Burst(burst) => (count, burst.send(first, few, write)?),
            Self::Plain(plain) => (count, plain.send(first, few, write)?),
        })
    }

    fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Xdp(xdp) => xdp.finish(),
            Self::Ring(ring) => ring.finish(),
            _ => Ok(()),
        }
    }
}

/// Sends `load` from the interface `device` of the calling thread's namespace, until the schedule ends or
/// `stop` is set.
///
/// # Errors
///
/// When the sender cannot be opened, or fails for another reason than lack of room.
pub fn flood(
    device: &str,
    load: &Load,
    sender: Sender,
    schedule: &Schedule,
    stop: &AtomicBool,
) -> Result<Transmission> {
    if schedule.frames_max == u64::MAX && !schedule.seconds_max.is_finite() {
        bail!("a flood without end: limit its seconds or its frames");
    }
    if sender == Sender::Tcpreplay {
        return replay::tcpreplay(device, load, schedule);
    }
    let interface = nix::net::if_::if_nametoindex(device).with_context(|| device.to_owned())?;
    let context = || format!("sender {} at {device}", sender.word());
    let mut transmit = Transmit::new(sender, load, interface).with_context(context)?;
    let mut sent = Transmission {
        drops_are_retried: sender == Sender::Txring,
        ..Transmission::default()
    };
    let started = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let elapsed = started.elapsed();
        let (next, due) = (sent.tally.frames, schedule.due(elapsed));
        let over = elapsed.as_secs_f64() >= schedule.seconds_max;
        if next >= schedule.frames_max || (over && (schedule.rate_pps.is_none() || next >= due)) {
            break;
        }
        // A sender slower than the schedule stops soon after its time; it does not send the rest.
        if elapsed.as_secs_f64() > schedule.seconds_max * 1.1 + 0.05 {
            break;
        }
        if due <= next {
            pause(next, schedule, elapsed);
            continue;
        }
        if let Some(rate) = schedule.rate_pps {
            #[allow(clippy::cast_precision_loss, reason = "a delay")]
            let late = (due - next) as f64 / rate;
            sent.behind_s = sent.behind_s.max(late);
        }
        let (_, refused) = transmit
            .send(load, next, due - next, &mut sent.tally)
            .with_context(context)?;
        sent.refused += refused;
    }
    transmit.finish().with_context(context)?;
    sent.elapsed_s = started.elapsed().as_secs_f64();
    Ok(sent)
}

/// Frames of a group: between groups the sender sleeps, and other threads get the CPU.
const GROUP_FRAMES: f64 = 32.0;
/// Above this rate frames are sent in groups.
const FAST_PPS: f64 = 100_000.0;

/// Waits until the next frame is due: sleeps if that is long, else spins.
fn pause(next: u64, schedule: &Schedule, elapsed: Duration) {
    let Some(rate) = schedule.rate_pps else {
        return;
    };
    let group = if rate > FAST_PPS { GROUP_FRAMES } else { 0.0 };
    #[allow(clippy::cast_precision_loss, reason = "a time")]
    let wait = (next as f64 + group) / rate - elapsed.as_secs_f64();
    if wait > 0.000_05 {
        std::thread::sleep(Duration::from_secs_f64(wait.min(0.01)));
    } else {
        std::hint::spin_loop();
    }
}

/// Pins the calling thread to a CPU.
///
/// # Errors
///
/// When there is no such CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("CPU {cpu}"))
}

/// [`flood`] in a lab, from the sender's end and CPU.
///
/// # Errors
///
/// See [`flood`].
pub fn flood_in(
    lab: &Lab,
    load: &Load,
    sender: Sender,
    schedule: &Schedule,
    stop: &AtomicBool,
) -> Result<Transmission> {
    lab.inside(End::Sender, || {
        pin(SENDER_CPU)?;
        flood(lab.device(End::Sender), load, sender, schedule, stop)
    })
}

/// Waits until the kernel has passed on or dropped all frames sent; gives its counters since `before`.
///
/// # Errors
///
/// When the counters cannot be read.
pub fn settle(lab: &Lab, before: &Counters, sent: &Transmission) -> Result<Counters> {
    settle_by(|| lab.counters(), before, sent)
}

fn settle_by(
    mut counters: impl FnMut() -> Result<Counters>,
    before: &Counters,
    sent: &Transmission,
) -> Result<Counters> {
    let give_up = Instant::now() + SETTLE;
    loop {
        let passed = counters()?.since(before);
        if passed.rx_packets + sent.lost_at_interface(passed.tx_dropped) >= sent.tally.frames
            || Instant::now() > give_up
        {
            // Both ends are read one after the other, and frames may pass in between. Now none is on its way.
            return Ok(counters()?.since(before));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes the first `frames` frames of `load` as a capture.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_capture(path: &Path, load: &Load, frames: u64, pps: u64) -> Result<Transmission> {
    let mut tally = Tally::default();
    let mut out = [0; crate::traffic::FRAME_LEN_MAX];
    for index in 0..frames {
        let (len, frame) = load.write(index, &mut out);
        tally.add(&frame, len);
    }
    std::fs::write(path, load.capture(frames, pps)).with_context(|| path.display().to_string())?;
    Ok(Transmission {
        tally,
        ..Transmission::default()
    })
}

/// Writes a CSV with a line for each attempt of the first `frames` frames: ends, initial sequence number, packets.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_attempts(path: &Path, load: &Load, frames: u64) -> Result<()> {
    let context = || path.display().to_string();
    let mut counts = std::collections::BTreeMap::<u32, [u64; 2]>::new();
    for index in 0..frames {
        if let Some((number, from_client)) = load.frame(index).connection {
            counts.entry(number).or_default()[usize::from(!from_client)] += 1;
        }
    }
    let file = std::fs::File::create(path).with_context(context)?;
    let mut out = std::io::BufWriter::new(file);
    writeln!(
        out,
        "src_ip,src_port,dest_ip,dest_port,isn,pkts_toserver,pkts_toclient"
    )?;
    for (number, [to_server, to_client]) in counts {
        let attempt = load.attempt(number);
        let ends = attempt.ends;
        let (src, dst) = (ends.address(ends.src), ends.address(ends.dst));
        let (from, to, isn) = (ends.src_port, ends.dst_port, attempt.isn);
        writeln!(out, "{src},{from},{dst},{to},{isn},{to_server},{to_client}")?;
    }
    out.flush().with_context(context)
}

#[cfg(test)]
mod tests;
