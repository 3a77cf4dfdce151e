//! `latency`: the time from a packet's time stamp to its line in the log.
//!
//! The sender keeps its schedule, whatever the sensor does, and every line counts: a stall of the sensor delays every
//! packet that arrives meanwhile. Attempts without a line are counted separately.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use hdrhistogram::Histogram;

use super::search::SearchFlags;
use crate::flags::{packets_per_second, seconds, whole};
use crate::judge::{Findings, Require, Target};
use crate::lab::{Lab, SENDER_CPU, Scratch};
use crate::receivers::sensor::{DEPTHS, Sensor};
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::say::counted;
use crate::send::{Schedule, flood_in, pin, settle};
use crate::traffic::{Load, Name};
use crate::truth::books::Books;
use crate::truth::eve::timestamp_ns;
use crate::truth::follow::{Follower, now_ns};

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    pub(crate) require: Require,
    #[command(flatten)]
    search: SearchFlags,
    /// The load.
    #[arg(long, value_enum, default_value = "mix")]
    load: Name,
    /// Capture depth of the sensor.
    #[arg(long, default_value = "headers", value_parser = DEPTHS)]
    depth: String,
    /// The rate without loss, in packets per second, 1 to 100000000. Default: search for it.
    #[arg(long, value_name = "PPS", value_parser = packets_per_second)]
    rate: Option<f64>,
    /// The sensor's --block-timeout-ms, 1 to 1000. Allowed latency (p99): twice that plus 5 ms.
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = whole::<u32>(1, 1000))]
    block_timeout_ms: u32,
    /// Seconds of each measurement, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "10", value_parser = seconds)]
    seconds: f64,
    /// Measurements, idle and at half the rate, 1 to 1000.
    #[arg(long, default_value_t = 5, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
}

/// Packets per second of an idle link.
const IDLE_PPS: f64 = 200.0;
/// Interval at which the log is read: the largest error of a latency.
const READ_INTERVAL: Duration = Duration::from_micros(200);
const ALLOWANCE_MS: u32 = 5;

/// Latencies in microseconds.
#[derive(Debug)]
struct Latencies {
    histogram: Histogram<u64>,
    sent: u64,
    lines: u64,
}

impl LatencyArgs {
    /// Measures idle and at half the rate without loss; the p99 allowed is the target of each.
    ///
    /// # Errors
    ///
    /// When the sensor or the sender fails.
    pub fn run(&self) -> Result<Findings> {
        let lab = self.search.lab.make()?;
        let timeout = self.block_timeout_ms.to_string();
        let sensor = self.search.common.sensor(&self.depth)?;
        let sensor = sensor.with(&["--block-timeout-ms", &timeout]);
        let mut record = self.search.common.record("latency")?;
        let load = Load::new(self.load, self.search.common.seed);
        let full = match self.rate {
            Some(rate) => rate,
            None => self.search.highest_rate(&lab, &sensor, &load)?.rate_pps,
        };
        let mut findings = Findings::default();
        for run in 1..=self.runs {
            // Idle, SYNs only: each packet has a line.
            let idle = Load::new(Name::Syn, self.search.common.seed + u64::from(run));
            let half = Load::new(self.load, self.search.common.seed + u64::from(run));
            findings.join(self.measure(
                &lab,
                &sensor,
                &idle,
                ("idle", IDLE_PPS, run),
                &mut record,
            )?);
            findings.join(self.measure(
                &lab,
                &sensor,
                &half,
                ("half", full / 2.0, run),
                &mut record,
            )?);
        }
        Ok(findings)
    }

    fn measure(
        &self,
        lab: &Lab,
        sensor: &Sensor,
        load: &Load,
        (state, rate_pps, run): (&str, f64, u32),
        record: &mut Record,
    ) -> Result<Findings> {
        let schedule = Schedule::for_seconds(Some(rate_pps), self.seconds);
        let measured = self.once(lab, sensor, load, &schedule)?;
        let allowed_us = f64::from(2 * self.block_timeout_ms + ALLOWANCE_MS) * 1000.0;
        let at = |quantile| float(measured.histogram.value_at_quantile(quantile));
        let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
        say!(
            "{state}, {} at {rate_pps:.0} packets/s: p50 {:.1} ms, p99 {:.1} ms ({:.0} allowed), p99.9 {:.1} ms, \
             largest {:.1} ms ({} of {})",
            load.name,
            p50 / 1000.0,
            p99 / 1000.0,
            allowed_us / 1000.0,
            p999 / 1000.0,
            float(measured.histogram.max()) / 1000.0,
            counted(measured.lines, "line"),
            counted(measured.sent, "attempt")
        );
        let point = Point {
            subject: format!("synledger {state}"),
            load: load.name.to_string(),
            depth: self.depth.clone(),
            rate_pps: Some(rate_pps),
            run,
        };
        for (metric, value) in [
            ("latency_p50", p50),
            ("latency_p99", p99),
            ("latency_p99.9", p999),
            ("latency_max", float(measured.histogram.max())),
            ("latency_allowed", allowed_us),
        ] {
            record.add(&point, metric, value, "us")?;
        }
        record.add(&point, "attempts_sent", float(measured.sent), "attempts")?;
        record.add(&point, "lines", float(measured.lines), "lines")?;
        let name = format!("{state}, {}", load.name);
        Ok(judge(&name, &measured, p99, allowed_us))
    }

    fn once(
        &self,
        lab: &Lab,
        sensor: &Sensor,
        load: &Load,
        schedule: &Schedule,
    ) -> Result<Latencies> {
        let scratch = Scratch::new()?;
        let log = scratch.path().join("connections.json");
        let output = format!("eve:{},events=connection", log.display());
        // No folding: it would leave lines for the first attempts of each second only, which are no fair sample.
        let mut sensor = sensor.clone().with(&["--output", &output, "--fold", "0"]);
        sensor.events = "stats+lifecycle".to_owned();
        let session = sensor.start_in(lab, scratch.path())?;
        let before = lab.counters()?;
        let over = AtomicBool::new(false);
        let (histogram, sent, finished) = thread::scope(|scope| -> Result<_> {
            let following = scope.spawn(|| follow(&log, &over));
            let flooded = (|| {
                let never = AtomicBool::new(false);
                let sent = flood_in(lab, load, self.search.common.sender, schedule, &never)?;
                settle(lab, &before, &sent)?;
                anyhow::Ok((sent, session.finish()?))
            })();
            over.store(true, Ordering::Relaxed);
            let histogram = following
                .join()
                .map_err(|_| anyhow!("the log's reader panicked"))??;
            let (sent, finished) = flooded?;
            Ok((histogram, sent, finished))
        })?;
        let books = Books::read(&finished.log)?;
        let lost = sent
            .tally
            .attempts
            .saturating_sub(books.count("new_connections"));
        if lost > 0 {
            let lost = counted(lost, "attempt");
            say!("lost before the log, not measured: {lost}");
        }
        Ok(Latencies {
            sent: sent.tally.attempts,
            lines: histogram.len(),
            histogram,
        })
    }
}

/// p99 beside its target; a log without lines is a failure.
fn judge(name: &str, measured: &Latencies, p99_us: f64, allowed_us: f64) -> Findings {
    let mut findings = Findings::default();
    if measured.lines == 0 {
        let sent = measured.sent;
        findings.fail(format!(
            "{name}: no line in the log, {sent} attempts were sent"
        ));
        return findings;
    }
    let (p99, allowed) = (p99_us / 1000.0, allowed_us / 1000.0);
    findings.target(Target::of(
        format!("{name}: p99 {p99:.1} ms, {allowed:.1} allowed"),
        p99_us <= allowed_us,
    ));
    findings
}

/// Reads the log as it grows, until `over`, then to its end; gives latencies in microseconds.
fn follow(path: &Path, over: &AtomicBool) -> Result<Histogram<u64>> {
    pin(SENDER_CPU)?;
    // One microsecond to ten minutes, three significant digits.
    let mut histogram = Histogram::new_with_bounds(1, 600_000_000, 3).context("a histogram")?;
    let mut follower = Follower::new(path)?;
    loop {
        let ending = over.load(Ordering::Relaxed);
        let more = follower.lines(now_ns, |line, now| {
            let stamp = timestamp_ns(line).context("a line without a time stamp")?;
            let us = u64::try_from((now - stamp) / 1000).unwrap_or(0);
            histogram.saturating_record(us.max(1));
            Ok(())
        })?;
        if !more {
            if ending {
                return Ok(histogram);
            }
            thread::sleep(READ_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_lines_miss_the_target_and_a_log_without_lines_fails() {
        let mut measured = Latencies {
            histogram: Histogram::new(3).expect("a histogram"),
            sent: 7,
            lines: 5,
        };
        assert!(judge("idle", &measured, 45_000.0, 45_000.0).are_clean());
        let late = judge("idle", &measured, 52_100.0, 45_000.0);
        let missed = Target::Missed("idle: p99 52.1 ms, 45.0 allowed".to_owned());
        assert_eq!(late.targets(), [missed]);
        assert!(late.failures().is_empty());
        measured.lines = 0;
        let none = judge("idle", &measured, 0.0, 45_000.0);
        let lacks = "idle: no line in the log, 7 attempts were sent";
        assert_eq!(none.failures(), [lacks]);
    }
}
