//! `hidden-scan`: nmap scans inside a spoofed flood. Measures how soon the sensor reports each scan.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use super::common::{Common, LabArgs};
use crate::flags::{Rate, rate, whole};
use crate::judge::{Findings, Require, Target};
use crate::lab::process::{Running, quote};
use crate::lab::{End, Lab, SENDER_CPU, Scratch};
use crate::receivers::sensor::DEPTHS;
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::say::counted;
use crate::send::{Schedule, Transmission, flood_in};
use crate::traffic::{Load, Name};
use crate::truth::eve::{self, LogLine};
use crate::truth::follow::{Follower, now_ns};

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct HiddenArgs {
    #[command(flatten)]
    pub(crate) require: Require,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    common: Common,
    /// Packets per second of the flood, 1 to 100000000, or max.
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Scans, each by its own nmap from its own address, 1 to 1000.
    #[arg(long, default_value_t = 50, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
    /// Scans together in one flood, 1 to 100.
    #[arg(long, default_value_t = 10, value_parser = whole::<u32>(1, 100))]
    abreast: u32,
    /// Ports of each scan, one a second, 4 to 100.
    #[arg(long, default_value_t = 20, value_parser = whole::<u16>(4, 100))]
    ports: u16,
    /// Capture depth of the sensor.
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
}

const TARGET: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FIRST_PORT: u16 = 20_001;
/// Longest time from a scan's deciding packet to its alert.
const ALLOWED_NS: i64 = 1_000_000_000;
/// Interval at which the log is read.
const READ_INTERVAL: Duration = Duration::from_millis(2);
/// Allowed growth of resident memory: pages of code are mapped and dropped during a run.
const RSS_SLACK: u64 = 1 << 20;

fn scanner(number: u32) -> Ipv4Addr {
    let [.., high, low] = (0x0100 + number).to_be_bytes();
    Ipv4Addr::new(10, 9, high, low)
}

/// One flood with its scans.
struct Batch {
    sent: Transmission,
    /// Nanoseconds from the deciding packet to the log line, by scanner.
    delays: HashMap<IpAddr, i64>,
    /// Resident memory before and after the scans.
    rss: (u64, u64),
}

impl Batch {
    fn line(&self, scans: u32) -> String {
        let delays = self.delays.values();
        let delays = match (delays.clone().min(), delays.max()) {
            (Some(least), Some(most)) if least == most => {
                format!("reported after {}", milliseconds(*most))
            }
            (Some(least), Some(most)) => format!(
                "reported after {} to {}",
                milliseconds(*least),
                milliseconds(*most)
            ),
            _ => "none reported".to_owned(),
        };
        format!(
            "{} in a flood of {:.0} packets/s: {delays}; resident memory {:.1} MiB before, {:.1} after",
            counted(scans.into(), "scan"),
            self.sent.pps(),
            mib(self.rss.0),
            mib(self.rss.1)
        )
    }

    /// Growth of memory beside its target.
    fn growth(&self) -> Target {
        let (before, after) = self.rss;
        let (more, allowed) = (mib(after.saturating_sub(before)), mib(RSS_SLACK));
        Target::of(
            format!("resident memory grew by {more:.1} MiB, {allowed:.1} allowed"),
            after <= before + RSS_SLACK,
        )
    }
}

/// The delay of a scan's alert beside its target.
fn in_time_of(from: Ipv4Addr, delay: Option<i64>) -> Target {
    let Some(delay) = delay else {
        return Target::Missed(format!("the scan from {from} was not reported"));
    };
    let (after, allowed) = (milliseconds(delay), milliseconds(ALLOWED_NS));
    Target::of(
        format!("the scan from {from} was reported after {after}, {allowed} allowed"),
        delay <= ALLOWED_NS,
    )
}

#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
fn milliseconds(ns: i64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / f64::from(1 << 20)
}

impl HiddenArgs {
    /// Scans and records; that each scan is reported in time and memory does not grow are targets.
    ///
    /// # Errors
    ///
    /// When the sensor, the sender or nmap fails.
    pub fn run(&self) -> Result<Findings> {
        let lab = self.lab.make()?;
        let mut record = self.common.record("hidden-scan")?;
        addresses(&lab, self.abreast)?;
        let (mut findings, mut done, mut in_time) = (Findings::default(), 0, 0);
        while done < self.runs {
            let scans = self.abreast.min(self.runs - done);
            let (first, last) = (done + 1, done + scans);
            let scans_are = if first == last {
                format!("scan {first}")
            } else {
                format!("scans {first} to {last}")
            };
            let (runs, ports) = (self.runs, self.ports);
            say!("{scans_are} of {runs}: {ports} ports, one a second");
            let batch = self.batch(&lab, scans, done)?;
            in_time += self.judge(&batch, scans, done, &mut record, &mut findings)?;
            say!("{}", batch.line(scans));
            findings.target(batch.growth());
            done += scans;
        }
        say!("scans reported within 1 s of their deciding packet: {in_time} of {done}");
        Ok(findings)
    }

    fn judge(
        &self,
        batch: &Batch,
        scans: u32,
        done: u32,
        record: &mut Record,
        findings: &mut Findings,
    ) -> Result<u32> {
        let mut in_time = 0;
        for number in 0..scans {
            let point = Point {
                subject: "synledger".to_owned(),
                load: Name::Syn.to_string(),
                depth: self.depth.clone(),
                rate_pps: self.rate.0,
                run: done + number + 1,
            };
            let delay = batch.delays.get(&IpAddr::V4(scanner(number))).copied();
            let fits = delay.is_some_and(|delay| delay <= ALLOWED_NS);
            in_time += u32::from(fits);
            record.add(&point, "told_in_time", f64::from(u8::from(fits)), "yes")?;
            findings.target(in_time_of(scanner(number), delay));
            if let Some(delay) = delay {
                record.add(
                    &point,
                    "delay",
                    float(u64::try_from(delay).unwrap_or(0)),
                    "ns",
                )?;
            }
            record.add(&point, "rate_sent", batch.sent.pps(), "packets/s")?;
            record.add(&point, "rss_before", float(batch.rss.0), "bytes")?;
            record.add(&point, "rss_after", float(batch.rss.1), "bytes")?;
        }
        Ok(in_time)
    }

    fn batch(&self, lab: &Lab, scans: u32, done: u32) -> Result<Batch> {
        let scratch = Scratch::new()?;
        let alerts = scratch.path().join("alerts.json");
        let output = format!("eve:{},events=alert", alerts.display());
        // A line for every attempt is formatted and discarded: written, it would fill the disk.
        let lines = "text:/dev/null,events=connection";
        let sensor = self.common.sensor(&self.depth)?;
        let mut sensor = sensor.with(&["--output", &output, "--output", lines]);
        sensor.events = "stats+lifecycle".to_owned();
        let session = sensor.start_in(lab, scratch.path())?;
        let before = session.running.memory("VmRSS");
        let over = AtomicBool::new(false);
        let load = Load::new(Name::Syn, self.common.seed + u64::from(done));
        // nmap waits a second after each port, and then for the last answer.
        let longest = f64::from(self.ports) * 2.0 + 30.0;
        let schedule = Schedule::for_seconds(self.rate.0, longest);
        let (sent, delays, rss) = thread::scope(|scope| -> Result<_> {
            let flooding =
                scope.spawn(|| flood_in(lab, &load, self.common.sender, &schedule, &over));
            let following = scope.spawn(|| follow(&alerts, &over));
            let scanned = self.scan(lab, scans, scratch.path(), longest);
            let rss = session.running.memory("VmRSS");
            thread::sleep(Duration::from_millis(1500));
            over.store(true, Ordering::Relaxed);
            let panicked = |_| anyhow!("a thread panicked");
            let sent = flooding.join().map_err(panicked)??;
            let delays = following.join().map_err(panicked)??;
            scanned?;
            Ok((sent, delays, rss))
        })?;
        session.finish()?;
        Ok(Batch {
            sent,
            delays,
            rss: (before, rss),
        })
    }

    /// Runs all scanners and waits for them.
    fn scan(&self, lab: &Lab, scans: u32, folder: &Path, longest: f64) -> Result<()> {
        let device = lab.device(End::Sender);
        let ports = format!("{FIRST_PORT}-{}", FIRST_PORT + self.ports - 1);
        // The flood starts first.
        thread::sleep(Duration::from_millis(500));
        let mut running = Vec::new();
        for number in 0..scans {
            let mut command = lab.command(End::Sender, Some(SENDER_CPU), "nmap");
            let source = scanner(number).to_string();
            command.args(["-sS", "-Pn", "-n", "-r", "--send-ip", "--scan-delay", "1s"]);
            command.args([
                "-p",
                &ports,
                "-S",
                &source,
                "-e",
                device,
                &TARGET.to_string(),
            ]);
            running.push(Running::start(command, &format!("nmap{number}"), folder)?);
        }
        let give_up = Instant::now() + Duration::from_secs_f64(longest);
        for nmap in running {
            let stderr_path = nmap.stderr_path();
            let left = give_up.saturating_duration_since(Instant::now());
            let (ended, _) = nmap.finish(left)?;
            if ended.code != Some(0) {
                let stderr = std::fs::read_to_string(stderr_path).unwrap_or_default();
                bail!("nmap {ended}. {}", quote(&stderr));
            }
        }
        Ok(())
    }
}

/// Sets addresses and neighbour entries at both ends: in a flood ARP replies would be lost.
fn addresses(lab: &Lab, scanners: u32) -> Result<()> {
    let mac = |end| -> Result<String> {
        let path = format!("/sys/class/net/{}/address", lab.device(end));
        Ok(lab.run(end, "cat", &[&path])?.trim().to_owned())
    };
    let (sender, receiver) = (mac(End::Sender)?, mac(End::Receiver)?);
    let ip = |end, words: &[&str]| lab.run(end, "ip", words).map(drop);
    let (near, far) = (lab.device(End::Sender), lab.device(End::Receiver));
    ip(
        End::Receiver,
        &["addr", "add", &format!("{TARGET}/16"), "dev", far],
    )?;
    for number in 0..scanners {
        let address = scanner(number);
        ip(
            End::Sender,
            &["addr", "add", &format!("{address}/16"), "dev", near],
        )?;
        ip(
            End::Receiver,
            &[
                "neigh",
                "replace",
                &address.to_string(),
                "lladdr",
                &sender,
                "dev",
                far,
            ],
        )?;
    }
    ip(
        End::Sender,
        &[
            "neigh",
            "replace",
            &TARGET.to_string(),
            "lladdr",
            &receiver,
            "dev",
            near,
        ],
    )
}

/// Reads alerts as they are written; gives each scan's delay from its deciding packet to its alert.
fn follow(path: &Path, over: &AtomicBool) -> Result<HashMap<IpAddr, i64>> {
    let mut follower = Follower::new(path)?;
    let mut delays = HashMap::new();
    loop {
        let ending = over.load(Ordering::Relaxed);
        let more = follower.lines(now_ns, |line, now| {
            if let LogLine::Scan { src, ts_ns } = eve::parse(line).context("an alert")? {
                delays.entry(src).or_insert(now - ts_ns);
            }
            Ok(())
        })?;
        if !more && ending {
            return Ok(delays);
        }
        thread::sleep(READ_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_printed_in_milliseconds_and_mebibytes() {
        let mut batch = Batch {
            sent: Transmission::default(),
            delays: HashMap::new(),
            rss: (40 << 20, (40 << 20) + RSS_SLACK),
        };
        for (number, delay) in [(0, 1_500_000), (1, 20_000_000)] {
            batch.delays.insert(IpAddr::V4(scanner(number)), delay);
        }
        assert_eq!(
            batch.line(1),
            "1 scan in a flood of 0 packets/s: reported after 1.5 ms to 20.0 ms; resident memory 40.0 MiB before, \
             41.0 after"
        );
        assert!(matches!(batch.growth(), Target::Met(_)));
        batch.rss.1 += 1 << 20;
        let grown = "resident memory grew by 2.0 MiB, 1.0 allowed";
        assert_eq!(batch.growth(), Target::Missed(grown.to_owned()));
        batch.rss.1 = 0;
        assert!(matches!(batch.growth(), Target::Met(_)));
    }

    #[test]
    fn a_scan_that_is_late_or_not_reported_misses_its_target() {
        let of = |delay| in_time_of(scanner(0), delay);
        assert!(matches!(of(Some(ALLOWED_NS)), Target::Met(_)));
        assert!(matches!(of(Some(ALLOWED_NS + 1)), Target::Missed(_)));
        assert!(matches!(of(None), Target::Missed(_)));
    }
}
