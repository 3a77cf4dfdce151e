//! `harm`: the cost of a sensor to a web server on its host.
//!
//! nginx, the kernel's half of its traffic and the sensor share one CPU; wrk loads nginx from the other CPU. That is
//! the worst case: on a larger host the sensor has a CPU of its own. A pair is one load without the sensor and one with
//! it, directly one after the other, so that a disturbance of the machine affects both. The order alternates.
//!
//! wrk keeps every connection busy and waits for answers. Its latencies are those of a server under full load: compare
//! them within a pair only.

mod server;

use anyhow::{Context, Result};
use clap::Args;

use crate::experiments::common::{Common, LabArgs};
use crate::flags::{decimal, whole};
use crate::judge::{Findings, Require, Target};
use crate::lab::{Lab, SENDER_CPU, Scratch};
use crate::receivers::Receiver;
use crate::receivers::bare::{Bare, Rings};
use crate::receivers::peers::{self, LivePeer, Peer, SURICATA, TCPDUMP};
use crate::report::record::{Point, Record};
use crate::report::stats::{PAIRS_MIN, lower_bound, mean_ratio};
use crate::say;
use crate::send::pin;
use server::{Goodput, Server};

/// Flags.
#[derive(Clone, Debug, Args)]
pub struct HarmArgs {
    #[command(flatten)]
    pub(crate) require: Require,
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    common: Common,
    /// Pairs of loads of each subject, 1 to 1000.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = whole::<u32>(1, 1000))]
    pairs: u32,
    /// Seconds of each load, 1 to 3600.
    #[arg(long, value_name = "S", default_value = "3", value_parser = decimal(1.0, 3600.0))]
    seconds: f64,
    /// Bytes of the page, 1 to 104857600.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = whole::<u32>(1, 104_857_600))]
    bytes: u32,
    /// Connections at a time, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<u32>(1, 10_000))]
    connections: u32,
    /// Open a new connection for each request.
    #[arg(long)]
    close: bool,
    /// Measure only this; repeatable. Default: all. bare-one-ring is a reader with one ring that only counts,
    /// bare-closed opens packet sockets that take no frame, nothing is no program, block-MODE is headers with
    /// --block MODE and 10,000 blocked addresses.
    #[arg(long, value_name = "NAME", value_parser = ALL)]
    subject: Vec<String>,
    /// Ring memory of every subject in MiB, 4 to 1024.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = whole::<u32>(4, 1024))]
    ring_mib: u32,
}

/// Capture depths of the sensor, and the least bound wanted of each.
const DEPTHS: [(&str, Option<f64>); 3] = [
    ("control", Some(0.99)),
    ("headers", Some(0.97)),
    ("full", None),
];

/// Values of `--block`, and how many addresses are blocked. The depth is headers.
const BLOCKING: [&str; 2] = ["nft", "xdp"];
const BLOCKED: u32 = 10_000;

/// Names of all subjects.
const ALL: [&str; 10] = [
    "synledger:control",
    "synledger:headers",
    "synledger:full",
    "synledger:block-nft",
    "synledger:block-xdp",
    "bare-one-ring",
    "bare-closed",
    NOTHING,
    "suricata",
    "tcpdump",
];

/// Name of the subject without a receiver.
const NOTHING: &str = "nothing";

const PEERS: [&dyn Peer; 2] = [&SURICATA, &TCPDUMP];

struct Subject {
    /// Its name in `--subject`.
    name: String,
    /// `None`: both loads of a pair run without a receiver, which shows the noise.
    receiver: Option<Box<dyn Receiver>>,
    setting: String,
    wanted: Option<f64>,
    goodput: Vec<f64>,
    p99: Vec<f64>,
}

impl HarmArgs {
    /// Measures; the wanted bounds are targets.
    ///
    /// # Errors
    ///
    /// When the server, the load or a subject fails.
    pub fn run(&self) -> Result<Findings> {
        for program in ["nginx", "wrk"] {
            if !peers::is_installed(program) {
                say!("skipped: {program} is not installed");
                return Ok(Findings::default());
            }
        }
        let mut subjects = self.subjects()?;
        let mut record = self.common.record("harm")?;
        let (lab, scratch) = (self.lab.make()?, Scratch::new()?);
        pin(SENDER_CPU)?;
        let server = Server::start(&lab, scratch.path(), self.bytes)?;
        for run in 1..=self.pairs {
            for subject in &mut subjects {
                self.pair(&lab, &server, subject, run, &mut record)?;
            }
        }
        let mut findings = Findings::default();
        for subject in &subjects {
            subject.report(&mut findings);
        }
        Ok(findings)
    }

    fn all(&self) -> Result<Vec<Subject>> {
        let mut subjects = Vec::new();
        let mut add =
            |name: String, receiver: Option<Box<dyn Receiver>>, setting: String, wanted| {
                subjects.push(Subject {
                    name,
                    receiver,
                    setting,
                    wanted,
                    goodput: Vec::new(),
                    p99: Vec::new(),
                });
            };
        let ring_mib = self.ring_mib;
        for (depth, wanted) in DEPTHS {
            let sensor = self.common.sensor(depth)?;
            let sensor = sensor.with(&["--ring-mib", &ring_mib.to_string()]);
            let name = format!("synledger:{depth}");
            add(name, Some(Box::new(sensor)), depth.to_owned(), wanted);
        }
        for mode in BLOCKING {
            let sensor = self.common.sensor("headers")?.blocking(mode, BLOCKED);
            let sensor = sensor.with(&["--ring-mib", &ring_mib.to_string()]);
            let name = format!("synledger:block-{mode}");
            add(name, Some(Box::new(sensor)), format!("block-{mode}"), None);
        }
        for closed in [false, true] {
            let bare = self.bare(closed)?;
            let name = bare.name().to_owned();
            add(name, Some(Box::new(bare)), String::new(), None);
        }
        add(NOTHING.to_owned(), None, String::new(), None);
        for peer in PEERS {
            let name = peer.name().to_owned();
            let receiver = Box::new(LivePeer { peer, ring_mib });
            add(name, Some(receiver), peers::version(peer), None);
        }
        Ok(subjects)
    }

    /// The subjects that are asked for and installed.
    fn subjects(&self) -> Result<Vec<Subject>> {
        let mut subjects = self.all()?;
        let wanted = |name: &String| self.subject.is_empty() || self.subject.contains(name);
        subjects.retain(|subject| wanted(&subject.name));
        for peer in PEERS {
            if !peers::is_installed(peer.program()) {
                let before = subjects.len();
                subjects.retain(|subject| subject.name != peer.name());
                if subjects.len() < before {
                    say!("skipped: {} is not installed", peer.program());
                }
            }
        }
        Ok(subjects)
    }

    fn bare(&self, closed: bool) -> Result<Bare> {
        Ok(Bare {
            program: std::env::current_exe().context("this program")?,
            // One ring takes both directions, as the sensor does; rings by class take received frames only.
            rings: Rings::One,
            ring_mib: self.ring_mib,
            closed,
        })
    }

    fn pair(
        &self,
        lab: &Lab,
        server: &Server,
        subject: &mut Subject,
        run: u32,
        record: &mut Record,
    ) -> Result<()> {
        let load = || server.load(lab, self.seconds, self.connections, self.close);
        let with = || -> Result<Goodput> {
            let scratch = Scratch::new()?;
            let Some(receiver) = &subject.receiver else {
                return load();
            };
            let session = receiver.start(lab, scratch.path())?;
            let goodput = load();
            session.stop()?;
            goodput
        };
        let (without, with) = if run.is_multiple_of(2) {
            let with = with()?;
            (load()?, with)
        } else {
            (load()?, with()?)
        };
        let goodput = with.bytes_per_s / without.bytes_per_s;
        let p99 = with.p99_us / without.p99_us;
        say!(
            "{}, pair {run}: {:.1} and {:.1} MB/s, ratio {goodput:.3}; p99 {:.0} and {:.0} us",
            subject.name,
            without.bytes_per_s / 1e6,
            with.bytes_per_s / 1e6,
            without.p99_us,
            with.p99_us
        );
        let point = Point {
            subject: subject
                .receiver
                .as_ref()
                .map_or(NOTHING, |it| it.name())
                .to_owned(),
            load: format!(
                "http {} bytes{}",
                self.bytes,
                if self.close { ", close" } else { "" }
            ),
            depth: subject.setting.clone(),
            rate_pps: None,
            run,
        };
        for (metric, value, unit) in [
            ("goodput_without", without.bytes_per_s, "bytes/s"),
            ("goodput_with", with.bytes_per_s, "bytes/s"),
            ("goodput_ratio", goodput, "ratio"),
            ("requests_without", without.requests_per_s, "requests/s"),
            ("p99_without", without.p99_us, "us"),
            ("p99_with", with.p99_us, "us"),
            ("p99_ratio", p99, "ratio"),
        ] {
            record.add(&point, metric, value, unit)?;
        }
        subject.goodput.push(goodput);
        subject.p99.push(p99);
        Ok(())
    }
}

impl Subject {
    /// Prints its result; a bound that is wanted is a target.
    fn report(&self, findings: &mut Findings) {
        let (mean, p99) = (mean_ratio(&self.goodput), mean_ratio(&self.p99));
        let Some(bound) = lower_bound(&self.goodput) else {
            say!(
                "{}: with / without: goodput {mean:.3}, p99 {p99:.2}; a bound needs {PAIRS_MIN} pairs",
                self.name
            );
            return;
        };
        say!(
            "{}: with / without: goodput {mean:.3}, with 95 % confidence at least {bound:.3}; p99 {p99:.2}",
            self.name
        );
        if let Some(wanted) = self.wanted {
            let what = format!(
                "{}: goodput, with 95 % confidence: {bound:.3}, at least {wanted} wanted",
                self.name
            );
            findings.target(Target::of(what, bound >= wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: HarmArgs,
    }

    #[test]
    fn a_bound_below_the_wanted_one_misses_its_target() {
        let judged = |wanted, ratio| {
            let subject = Subject {
                name: "synledger:headers".to_owned(),
                receiver: None,
                setting: String::new(),
                wanted,
                goodput: vec![ratio; 30],
                p99: vec![1.0; 30],
            };
            let mut findings = Findings::default();
            subject.report(&mut findings);
            findings
        };
        assert_eq!(judged(None, 0.5), Findings::default());
        let met = judged(Some(0.97), 0.98);
        assert!(matches!(met.targets(), [Target::Met(_)]), "{met:?}");
        let missed = judged(Some(0.97), 0.96);
        assert!(missed.failures().is_empty());
        let [Target::Missed(what)] = missed.targets() else {
            panic!("{missed:?}");
        };
        assert!(what.ends_with("0.960, at least 0.97 wanted"), "{what}");
    }

    #[test]
    fn subject_names_of_the_flag_are_those_of_the_subjects() {
        let cli = Cli::try_parse_from(["harm"]).expect("no flag is needed");
        let all = cli.args.all().expect("subjects");
        let names: Vec<&str> = all.iter().map(|subject| subject.name.as_str()).collect();
        assert_eq!(names, ALL);
        let error = Cli::try_parse_from(["harm", "--subject", "bare"]).expect_err("no such name");
        assert!(error.to_string().contains("bare-one-ring"), "{error}");
    }
}
