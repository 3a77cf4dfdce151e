//! Live, in the lab: the rate without loss, the loss above it, the CPU time of a frame. That of a program counts from
//! the first frame: its start is subtracted, its end is not.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::targets::Targets;
use super::{CompareArgs, cpu};
use crate::judge::Findings;
use crate::lab::{Counters, Lab, RECEIVER_CPU, Scratch};
use crate::receivers::bare::{Bare, Rings};
use crate::receivers::peers::{
    self, LivePeer, NFPCAPD, Peer, SOFTFLOWD, SURICATA, TCPDUMP, TCPDUMP_HEADERS,
};
use crate::receivers::{Receiver, ReceiverCounts};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::send::{Schedule, Transmission, flood_in, settle};
use crate::traffic::{Load, Name};

/// Least ratio of frames that the sensor reads to frames that the bare reader reads.
fn wanted(load: Name) -> Option<f64> {
    match load {
        Name::Bulk64 | Name::Bulk1500 => Some(0.95),
        Name::Syn => Some(0.90),
        _ => None,
    }
}

/// A program that is compared.
struct Subject {
    receiver: Box<dyn Receiver>,
    /// The sensor's depth, or a peer's version.
    setting: String,
    /// Its highest rate without loss; 0 if none was found.
    rate_pps: f64,
}

/// Measurements of one flood.
struct FloodResult {
    sent: Transmission,
    kernel: Counters,
    received: ReceiverCounts,
    /// CPU seconds from the start of the flood to the end of the subject: of the subject, and of its whole CPU.
    process_s: f64,
    receiver_s: f64,
}

/// The rate of a flood.
#[derive(Clone, Copy)]
enum FloodRate {
    /// A multiple of the subject's rate without loss, and the suffix of its metrics.
    Times(f64, &'static str),
    /// The same rate for all subjects: the lowest of their rates without loss.
    Same(f64),
    /// The sender's highest rate.
    Max,
}

impl CompareArgs {
    /// Measures all live loads; a subject without a rate without loss is a failure.
    pub(super) fn live(
        &self,
        lab: &Lab,
        record: &mut Record,
        targets: &mut Targets,
    ) -> Result<Findings> {
        let (mut subjects, mut findings) = (self.subjects()?, Findings::default());
        for &name in &self.load {
            let load = Load::new(name, self.search.common.seed);
            self.search(lab, &load, &mut subjects, record)?;
            let rates = subjects.iter().map(|subject| subject.rate_pps);
            let same = rates
                .filter(|rate| *rate > 0.0)
                .fold(f64::INFINITY, f64::min);
            for subject in subjects.iter().filter(|subject| subject.rate_pps <= 0.0) {
                let name = subject.receiver.name();
                findings.fail(format!("{name}, {}: no rate without loss", load.name));
            }
            for run in 1..=self.runs {
                let load = Load::new(name, self.search.common.seed + u64::from(run));
                for rate in [
                    FloodRate::Times(1.0, "1x"),
                    FloodRate::Times(2.0, "2x"),
                    FloodRate::Times(4.0, "4x"),
                    FloodRate::Same(same),
                    FloodRate::Max,
                ] {
                    self.round(lab, &load, &subjects, (rate, run), record, targets)?;
                }
            }
        }
        Ok(findings)
    }

    /// All subjects that are asked for and installed, the bare readers first.
    fn subjects(&self) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        let mut add = |receiver: Box<dyn Receiver>, setting: String| {
            if self.wants(receiver.name()) {
                let rate_pps = 0.0;
                subjects.push(Subject {
                    receiver,
                    setting,
                    rate_pps,
                });
            }
        };
        let ring_mib = self.ring_mib;
        for rings in [Rings::Class, Rings::One] {
            let program = std::env::current_exe()?;
            let bare = Bare {
                program,
                rings,
                ring_mib,
                closed: false,
            };
            add(Box::new(bare), String::new());
        }
        let sensor = self.search.common.sensor(&self.depth)?;
        let ring = ring_mib.to_string();
        add(
            Box::new(sensor.with(&["--ring-mib", &ring])),
            self.depth.clone(),
        );
        let peers: [&'static dyn Peer; 5] =
            [&TCPDUMP, &TCPDUMP_HEADERS, &SURICATA, &NFPCAPD, &SOFTFLOWD];
        for peer in peers {
            if self.has(peer) {
                add(Box::new(LivePeer { peer, ring_mib }), peers::version(peer));
            }
        }
        Ok(subjects)
    }

    fn search(
        &self,
        lab: &Lab,
        load: &Load,
        subjects: &mut [Subject],
        record: &mut Record,
    ) -> Result<()> {
        for run in 1..=self.searches {
            for subject in &mut *subjects {
                let receiver = subject.receiver.as_ref();
                let found = match self.search.highest_rate(lab, receiver, load) {
                    Ok(found) => found,
                    // The other subjects are still measured; the exit code reports the failure.
                    Err(error) => {
                        say!("NOT MEASURED: {error:#}");
                        subject.rate_pps = 0.0;
                        continue;
                    }
                };
                say!(
                    "{}, {}: {:.0} packets/s without loss",
                    receiver.name(),
                    load.name,
                    found.rate_pps
                );
                found.record(record, &subject.point(load, None, run))?;
                // The lowest result of several searches counts: above it the subject lost frames in one of them.
                let known = if run == 1 {
                    f64::INFINITY
                } else {
                    subject.rate_pps
                };
                subject.rate_pps = known.min(found.rate_pps);
            }
        }
        Ok(())
    }

    fn round(
        &self,
        lab: &Lab,
        load: &Load,
        subjects: &[Subject],
        (rate, run): (FloodRate, u32),
        record: &mut Record,
        targets: &mut Targets,
    ) -> Result<()> {
        let mut floor = None;
        for subject in subjects.iter().filter(|subject| subject.rate_pps > 0.0) {
            let rate_pps = match rate {
                FloodRate::Times(times, _) => Some(subject.rate_pps * times),
                FloodRate::Same(same) => Some(same),
                FloodRate::Max => None,
            };
            let schedule = Schedule::for_seconds(rate_pps, self.seconds);
            let measured = self
                .flood(lab, load, subject.receiver.as_ref(), &schedule)
                .with_context(|| subject.receiver.name().to_owned())?;
            say!(
                "{}, {}, round {run}: {:.0} packets/s, {} of {} frames read",
                subject.receiver.name(),
                load.name,
                measured.sent.pps(),
                measured.received.frames,
                measured.sent.tally.frames
            );
            let point = subject.point(load, rate_pps, run);
            let arrived = measured.arrived_pps();
            if subject.receiver.name() == "bare" {
                floor = Some(arrived);
            }
            for (metric, value, unit) in measured.metrics(rate, floor) {
                record.add(&point, &metric, value, unit)?;
                let is_sensor =
                    subject.receiver.name() == "synledger" && metric == "arrived_of_bare";
                if let Some(wanted) = wanted(load.name).filter(|_| is_sensor) {
                    let what = format!("frames read / bare's, {}", load.name);
                    targets.add(&what, wanted, value);
                }
            }
        }
        Ok(())
    }

    fn flood(
        &self,
        lab: &Lab,
        load: &Load,
        receiver: &dyn Receiver,
        schedule: &Schedule,
    ) -> Result<FloodResult> {
        let scratch = Scratch::new()?;
        let before = lab.counters()?;
        let session = receiver.start(lab, scratch.path())?;
        let process_before = cpu::process(session.pid())?;
        let receiver_before = cpu::busy(RECEIVER_CPU)?;
        let sent = flood_in(
            lab,
            load,
            self.search.common.sender,
            schedule,
            &AtomicBool::new(false),
        )?;
        let kernel = settle(lab, &before, &sent)?;
        // The kernel hands over the last block by a timer.
        thread::sleep(Duration::from_millis(100));
        let received = session.stop()?;
        let process_all = received.usage.cpu_s();
        Ok(FloodResult {
            sent,
            kernel,
            received,
            process_s: process_all - process_before,
            receiver_s: cpu::busy(RECEIVER_CPU)? - receiver_before,
        })
    }
}

impl Subject {
    fn point(&self, load: &Load, rate_pps: Option<f64>, run: u32) -> Point {
        Point {
            subject: self.receiver.name().to_owned(),
            load: load.name.to_string(),
            depth: self.setting.clone(),
            rate_pps,
            run,
        }
    }
}

impl FloodResult {
    /// Frames read per second of flood.
    fn arrived_pps(&self) -> f64 {
        float(self.received.frames) / self.sent.elapsed_s.max(f64::MIN_POSITIVE)
    }

    fn loss(&self) -> f64 {
        let sent = self.sent.tally.frames;
        float(sent.saturating_sub(self.received.frames)) / float(sent.max(1))
    }

    fn metrics(&self, rate: FloodRate, floor: Option<f64>) -> Vec<(String, f64, &'static str)> {
        let (sent, received) = (&self.sent, &self.received);
        let million = float(sent.tally.frames) / 1e6;
        let mut metrics = Vec::new();
        let mut add = |metric: &str, value, unit| metrics.push((metric.to_owned(), value, unit));
        match rate {
            FloodRate::Times(_, times) => {
                add(&format!("loss_{times}"), self.loss(), "ratio");
                add(&format!("rate_{times}"), sent.pps(), "packets/s");
            }
            FloodRate::Same(_) => {
                add("cpu_process", self.process_s / million, "s/Mpackets");
                add("cpu_receiver", self.receiver_s / million, "s/Mpackets");
                if let Some(connections) = received.connections {
                    let truth = float(sent.tally.attempts.max(1));
                    add("connections_of_truth", float(connections) / truth, "ratio");
                }
            }
            FloodRate::Max => {
                add("loss_max", self.loss(), "ratio");
                add("rate_max", sent.pps(), "packets/s");
                add("arrived", self.arrived_pps(), "packets/s");
                if let Some(floor) = floor.filter(|floor| *floor > 0.0) {
                    add("arrived_of_bare", self.arrived_pps() / floor, "ratio");
                }
                let before =
                    sent.lost_at_interface(self.kernel.tx_dropped) + self.kernel.softnet_dropped;
                add("dropped_before", float(before), "frames");
                add("dropped_said", float(received.dropped), "frames");
                add(
                    "memory_peak",
                    float(received.usage.memory_peak_bytes),
                    "bytes",
                );
            }
        }
        metrics
    }
}
