//! `overload`: gives the sensor too little CPU and checks that it loses data before attempts.

use std::collections::HashMap;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use super::common::Common;
use super::reconcile::{Flood, Outcome, reconcile_with, report};
use crate::flags::{Rate, decimal, rate, seconds, whole};
use crate::judge::Findings;
use crate::lab::throttle::Throttle;
use crate::lab::{Lab, SetUp};
use crate::receivers::sensor::Sensor;
use crate::report::record::{Point, Record, float};
use crate::say;
use crate::send::Schedule;
use crate::traffic::{Kind, Load, Name};

/// The load that exceeds the sensor's CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Overload {
    /// Bulk data in full frames, with some new and refused connections
    Data,
    /// A spoofed flood of SYNs, with some established connections
    Syn,
}

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct OverloadArgs {
    /// The load that exceeds the sensor's CPU.
    #[arg(value_enum)]
    kind: Overload,
    #[command(flatten)]
    common: Common,
    /// Packets per second, 1 to 100000000, or max.
    #[arg(long, value_name = "PPS", default_value = "max", value_parser = rate)]
    rate: Rate,
    /// Share of a CPU that the sensor gets, 0.002 to 1; halved until the sensor is overloaded.
    #[arg(long, default_value_t = 0.1, value_parser = decimal(0.002, 1.0))]
    share: f64,
    /// Seconds of each flood, 0.05 to 3600.
    #[arg(long, value_name = "S", default_value = "5", value_parser = seconds)]
    seconds: f64,
    /// Floods, 1 to 1000.
    #[arg(long, default_value_t = 5, value_parser = whole::<u32>(1, 1000))]
    runs: u32,
}

/// Least ratio of frames sent to frames read that is an overload.
const OVERLOAD_MIN: f64 = 2.0;
const HALVINGS: u32 = 5;

impl OverloadArgs {
    /// Overloads the sensor and records; whatever it lost and may not lose is a failure.
    ///
    /// # Errors
    ///
    /// When the sensor or the sender fails, or the sensor was not overloaded.
    pub fn run(&self) -> Result<Findings> {
        // In this set-up no frame is lost before the rings, where its class is unknown.
        let lab = Lab::new(SetUp::Default)?;
        let mut record = self.common.record("overload")?;
        let (mut findings, mut share) = (Findings::default(), self.share);
        for run in 1..=self.runs {
            let attempt = |share| match self.kind {
                Overload::Data => self.data(&lab, &mut record, run, share),
                Overload::Syn => self.syn(&lab, &mut record, run, share),
            };
            let (done, last) = until_overloaded(share, attempt)?;
            findings.join(done);
            share = last;
        }
        Ok(findings)
    }

    fn flood(
        &self,
        lab: &Lab,
        sensor: &Sensor,
        name: Name,
        (run, share): (u32, f64),
    ) -> Result<Outcome> {
        let flood = Flood {
            load: Load::new(name, self.common.seed + u64::from(run)),
            sender: self.common.sender,
            schedule: Schedule::for_seconds(self.rate.0, self.seconds),
        };
        let outcome = reconcile_with(lab, sensor, &flood, |pid| Throttle::new(pid, share))?;
        if outcome.lost_before > 0 {
            let lost = outcome.lost_before;
            bail!("{lost} frames were lost before the rings: lower --rate");
        }
        Ok(outcome)
    }

    fn data(
        &self,
        lab: &Lab,
        record: &mut Record,
        run: u32,
        share: f64,
    ) -> Result<Option<Findings>> {
        let mut findings = Findings::default();
        for fanout in ["class", "hash"] {
            let sensor = self.common.sensor("full")?.with(&["--fanout", fanout]);
            let outcome = self.flood(lab, &sensor, Name::Busy, (run, share))?;
            let rings = |count| outcome.books.all_rings(count);
            let read = rings(|ring| ring.frames_read);
            let dropped = rings(|ring| ring.tp_drops + ring.shed_data);
            let times = float(outcome.sent.tally.frames) / float(read.max(1));
            let refusals = outcome.sent.tally.kinds[Kind::Rst as usize];
            let refused = outcome.books.count("refused_connections");
            if fanout == "class" && times < OVERLOAD_MIN {
                return Ok(None);
            }
            let attempts_lost = outcome.attempts_lost;
            let refusals_lost = refusals.saturating_sub(refused);
            say!(
                "--fanout {fanout}: {times:.1} times as many frames as it read; {dropped} frames dropped or shed, of them {} \
                 open, {} control; lost: {attempts_lost} of {} attempts, {refusals_lost} of {refusals} refusals",
                outcome
                    .books
                    .class("open", |ring| ring.tp_drops + ring.shed_data),
                outcome
                    .books
                    .class("control", |ring| ring.tp_drops + ring.shed_data),
                outcome.sent.tally.attempts
            );
            let point = Point {
                subject: format!("synledger --fanout {fanout}"),
                load: Name::Busy.to_string(),
                depth: "full".to_owned(),
                rate_pps: self.rate.0,
                run,
            };
            outcome.record(record, &point)?;
            record.add(&point, "overload", times, "ratio")?;
            record.add(&point, "refusals_lost", float(refusals_lost), "refusals")?;
            findings.join(report(&outcome));
            if fanout == "class" {
                findings.join(judge_class(attempts_lost, refusals_lost, dropped));
            }
        }
        Ok(Some(findings))
    }

    fn syn(
        &self,
        lab: &Lab,
        record: &mut Record,
        run: u32,
        share: f64,
    ) -> Result<Option<Findings>> {
        let sensor = self.common.sensor("headers")?;
        let outcome = self.flood(lab, &sensor, Name::Storm, (run, share))?;
        let logged = outcome.books.logged();
        // A folded attempt is not lost: a worker that folds keeps up.
        if outcome.attempts_lost + logged.dropped == 0 {
            return Ok(None);
        }
        let load = Load::new(Name::Storm, self.common.seed + u64::from(run));
        let flows = Flows::new(&load, &outcome);
        say!(
            "{} attempts: {} written, {} folded, {} lost; {} established connections: {} without a record, \
             {} packets recorded and not sent, {} packets not recorded, {} lost by rings",
            outcome.sent.tally.attempts,
            logged.written,
            logged.folded,
            outcome.attempts_lost + logged.dropped,
            flows.sent,
            flows.missing,
            flows.excess,
            flows.unrecorded,
            flows.lost
        );
        let point = Point {
            subject: "synledger".to_owned(),
            load: Name::Storm.to_string(),
            depth: "headers".to_owned(),
            rate_pps: self.rate.0,
            run,
        };
        outcome.record(record, &point)?;
        record.add(&point, "flows_missing", float(flows.missing), "flows")?;
        record.add(
            &point,
            "flow_packets_untold",
            float(flows.unrecorded),
            "packets",
        )?;
        record.add(&point, "flow_packets_lost", float(flows.lost), "packets")?;
        let mut findings = report(&outcome);
        findings.join(flows.judge());
        Ok(Some(findings))
    }
}

/// Failures of an overload with data. What is shed first is no figure of the machine: it is the same on each.
fn judge_class(attempts_lost: u64, refusals_lost: u64, dropped: u64) -> Findings {
    let mut findings = Findings::default();
    for (count, what) in [(attempts_lost, "attempts"), (refusals_lost, "refusals")] {
        if count > 0 {
            findings.fail(format!("--fanout class: {what} lost: {count}, 0 allowed"));
        }
    }
    if dropped == 0 {
        findings.fail("--fanout class: frames dropped or shed: 0, at least 1 expected".to_owned());
    }
    findings
}

/// Halves the share until the sensor is overloaded; gives the result of `attempt` and that share.
fn until_overloaded(
    mut share: f64,
    mut attempt: impl FnMut(f64) -> Result<Option<Findings>>,
) -> Result<(Findings, f64)> {
    for _ in 0..HALVINGS {
        if let Some(findings) = attempt(share)? {
            return Ok((findings, share));
        }
        share /= 2.0;
        say!("the sensor was not overloaded: again with {share} of a CPU");
    }
    bail!("the sensor was not overloaded: raise --rate or --seconds, or lower --share")
}

/// Established connections: packets sent compared with flow records.
#[derive(Clone, Copy, Debug, Default)]
struct Flows {
    sent: u64,
    missing: u64,
    excess: u64,
    /// Packets sent that no flow record counts.
    unrecorded: u64,
    /// Frames that the rings lost.
    lost: u64,
}

impl Flows {
    fn new(load: &Load, outcome: &Outcome) -> Self {
        let mut packets = HashMap::<u32, u64>::new();
        for index in 0..outcome.sent.tally.frames {
            let frame = load.frame(index);
            if let Some((number, _)) = frame.connection
                && load.is_bulk(number)
            {
                *packets.entry(number).or_default() += 1;
            }
        }
        let mut flows = Self {
            sent: packets.len() as u64,
            ..Self::default()
        };
        for (number, sent) in packets {
            let ends = load.attempt(number).ends;
            let recorded = outcome.log.flows.get(&ends).map(|(to, from)| to + from);
            flows.missing += u64::from(recorded.is_none());
            let recorded = recorded.unwrap_or(0);
            flows.excess += recorded.saturating_sub(sent);
            flows.unrecorded += sent.saturating_sub(recorded);
        }
        // All frames of these connections but the SYN and the SYN+ACK are data. The flood has no other data.
        let rings = &outcome.books;
        flows.lost = rings.all_rings(|ring| {
            if ring.class == "open" {
                0
            } else {
                ring.tp_drops + ring.shed_data
            }
        });
        flows
    }

    /// Failures: records and losses do not explain what was sent.
    fn judge(&self) -> Findings {
        let mut findings = Findings::default();
        if self.sent == 0 {
            findings.fail("established connections sent: 0, at least 1 expected".to_owned());
        }
        for (count, what) in [
            (self.missing, "established connections without a record"),
            (self.excess, "packets recorded and not sent"),
        ] {
            if count > 0 {
                findings.fail(format!("{what}: {count}, 0 allowed"));
            }
        }
        if self.unrecorded != self.lost {
            let (unrecorded, lost) = (self.unrecorded, self.lost);
            findings.fail(format!(
                "packets not recorded: {unrecorded}, expected the {lost} that rings lost"
            ));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_is_named() {
        assert!(judge_class(0, 0, 9).are_clean());
        assert_eq!(
            judge_class(3, 0, 0).failures(),
            [
                "--fanout class: attempts lost: 3, 0 allowed",
                "--fanout class: frames dropped or shed: 0, at least 1 expected"
            ]
        );
        let mut flows = Flows {
            sent: 2,
            unrecorded: 4,
            lost: 4,
            ..Flows::default()
        };
        assert!(flows.judge().are_clean());
        (flows.missing, flows.lost) = (1, 3);
        assert_eq!(flows.judge().failures().len(), 2);
    }
}
