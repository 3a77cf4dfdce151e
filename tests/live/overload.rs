//! More than a worker can take: data are let go of first, and nothing is lost that opens or refuses.
//!
//! The worker is throttled from outside: the kernel gives it what a thread that spins on its CPU leaves idle,
//! which is about 3 ms a second.

use super::conversation::Conversation;
use super::sensor::{Sensor, attempts, of_type};
use super::traffic::{Sender, flow, frame};
use crate::common::netns::with_veth;
use craft::{ACK, FIN, PSH, RST, SYN};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The last CPU this test may use, where the sensor's only worker is pinned to.
fn last_cpu() -> usize {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("our own");
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
    (0..CpuSet::count()).rev().find(is_allowed).expect("one")
}

/// A worker that gets next to nothing of its CPU until this is dropped.
struct Throttle {
    over: Arc<AtomicBool>,
    spinner: Option<JoinHandle<()>>,
    thread: String,
}

impl Throttle {
    fn new(sensor: &Sensor, cpu: usize) -> Self {
        let tasks = format!("/proc/{}/task", sensor.pid());
        let tasks = std::fs::read_dir(tasks).expect("it runs");
        let is_worker = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "worker-0")
        };
        let mut paths = tasks.map(|task| task.expect("a thread").path());
        let path = paths.find(is_worker).expect("a worker");
        let thread = path.file_name().expect("a number").to_string_lossy();
        let over = Arc::new(AtomicBool::new(false));
        let spins = Arc::clone(&over);
        let spinner = thread::spawn(move || {
            let mut one = CpuSet::new();
            one.set(cpu).expect("a CPU");
            sched_setaffinity(Pid::from_raw(0), &one).expect("it is allowed");
            while !spins.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let throttle = Self {
            over,
            spinner: Some(spinner),
            thread: thread.into_owned(),
        };
        let mut chrt = Command::new("chrt");
        let output = chrt
            .args(["--idle", "--pid", "0", &throttle.thread])
            .output();
        assert!(output.is_ok_and(|output| output.status.success()), "chrt");
        throttle
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(spinner) = self.spinner.take() {
            let _ = spinner.join();
        }
    }
}

/// Totals of the last record of statistics.
fn totals(eve: &[Value]) -> Value {
    let last = of_type(eve, "stats").last().expect("the last books");
    assert_eq!(last["synledger"]["final"], true);
    last["synledger"]["totals"]["books"].clone()
}

fn of_rings(totals: &Value, class: &str, field: &str) -> u64 {
    let rings = totals["rings"].as_array().expect("rings").iter();
    let rings = rings.filter(|ring| ring["class"] == class);
    rings
        .map(|ring| ring[field].as_u64().expect("a count"))
        .sum()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no count"))
}

/// Steps of shedding in the log: level and direction.
fn steps(eve: &[Value]) -> Vec<(u64, String)> {
    of_type(eve, "lifecycle")
        .map(|record| &record["synledger"])
        .filter(|ours| ours["event"] == "degradation")
        .map(|ours| {
            let direction = ours["direction"].as_str().expect("a word");
            assert!(
                ours["reason"].is_string() && ours["open_ratio"].is_number(),
                "{ours}"
            );
            assert_eq!(ours["trouble"], Value::Null, "{ours}");
            (number(&ours["level"]), direction.to_owned())
        })
        .collect()
}

fn assert_steps_are_counted(eve: &[Value], totals: &Value) {
    let steps = steps(eve);
    let said = |wanted: &str| steps.iter().filter(|(_, way)| way == wanted).count() as u64;
    for way in ["up", "down"] {
        let counted = totals[format!("shed_{way}")]
            .as_object()
            .expect("levels")
            .values();
        assert_eq!(
            counted.map(number).sum::<u64>(),
            said(way),
            "{way}: {steps:?}"
        );
    }
}

/// Connections that are there before the load and end after it.
struct Held(Vec<Conversation>);

impl Held {
    fn begin(sender: &Sender, count: u16) -> Self {
        let talks = (0..count).map(|n| Conversation::new(flow(5, 20_000 + n, 1, 443)));
        let held = Self(talks.collect());
        held.0
            .iter()
            .flat_map(Conversation::handshake)
            .for_each(|frame| sender.send(&frame));
        held
    }

    fn end(&self, sender: &Sender, sent: u32) {
        for talk in &self.0 {
            sender.send(&talk.up(FIN | ACK, 1 + sent, 1, b""));
            sender.send(&talk.down(FIN | ACK, 1, 2 + sent, b""));
        }
    }

    /// Each has its record, by its control packets, and no more than was sent.
    fn assert_exact(&self, eve: &[Value], packets: u64) {
        let ours =
            |record: &&Value| number(&record["src_port"]) >= 20_000 && record["dest_port"] == 443;
        let flows: Vec<&Value> = of_type(eve, "flow").filter(ours).collect();
        assert_eq!(flows.len(), self.0.len());
        for flow in flows {
            let more = &flow["synledger"];
            assert_eq!(
                (&more["conn_state"], &more["basis"]),
                (&Value::from("SF"), &Value::from("handshake")),
                "{flow}"
            );
            assert!(number(&flow["flow"]["pkts_toserver"]) <= packets, "{flow}");
            assert!(
                number(&more["payload_bytes_toserver"]) <= packets * 1400,
                "{flow}"
            );
            assert_eq!(flow["flow"]["pkts_toclient"], 2, "{flow}");
        }
    }
}

const HELD: u16 = 40;

#[test]
fn data_overload_costs_neither_an_attempt_nor_a_refusal() {
    with_veth(|veth| {
        let cpu = last_cpu();
        let cores = cpu.to_string();
        let args = ["--workers", "1", "--cores", &cores, "--ring-mib", "64"];
        // Its open ring lasts for 256 block timeouts, its data ring for half a second.
        let depth = [
            "--capture",
            "full",
            "--block-kib",
            "64",
            "--block-timeout-ms",
            "100",
        ];
        let sensor = Sensor::start(&[&args[..], &depth].concat());
        let sender = Sender::new(veth);
        let held = Held::begin(&sender, HELD);
        let bulk: Vec<u8> = vec![b'.'; 1400];
        let throttle = Throttle::new(&sensor, cpu);
        let (start, mut opened, mut sent) = (Instant::now(), 0, 0_u32);
        while start.elapsed() < Duration::from_secs(4) && opened < 2000 {
            for talk in &held.0 {
                sender.send(&talk.up(PSH | ACK, 1 + sent * 1400, 1, &bulk));
            }
            sent += 1;
            // Every other millisecond, so that the open ring, a block a timeout, lasts.
            if start.elapsed().as_millis() > 2 * u128::from(opened) {
                let talk = Conversation::new(flow(1000 + opened, 1024, 2, 80));
                sender.send(&talk.up(SYN, 0, 0, b""));
                sender.send(&talk.down(RST | ACK, 0, 1, b""));
                opened += 1;
            }
        }
        held.end(&sender, sent * 1400);
        drop(throttle);
        sensor.wait_for_event("degradation");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.says);
        assert!(ended.says.contains("the books close"), "{}", ended.says);
        let totals = totals(&ended.eve);
        for class in ["open", "control"] {
            assert_eq!(of_rings(&totals, class, "tp_drops"), 0, "{}", ended.says);
        }
        let all = u64::from(opened) + u64::from(HELD);
        assert_eq!(number(&totals["new_connections"]), all, "{}", ended.says);
        assert_eq!(attempts(&ended.eve).len() as u64, all, "{}", ended.says);
        assert_eq!(number(&totals["refused_connections"]), u64::from(opened));
        let let_go = of_rings(&totals, "data", "tp_drops")
            + of_rings(&totals, "data", "shed_data")
            + totals["shed_in_kernel"].as_u64().unwrap_or(0);
        assert!(let_go > 0, "{}", ended.says);
        assert_eq!(steps(&ended.eve)[0], (1, "up".to_owned()), "{}", ended.says);
        assert_steps_are_counted(&ended.eve, &totals);
        assert!(
            ended.says.contains("sheds more, level 0 to 1"),
            "{}",
            ended.says
        );
        held.assert_exact(&ended.eve, 3 + u64::from(sent));
        let shed = of_type(&ended.eve, "flow").filter(|flow| flow["synledger"]["shed"] == true);
        assert!(shed.count() >= usize::from(HELD), "{}", ended.says);
        eprintln!(
            "{opened} attempts and refusals beside {} data packets, {let_go} let go of; {}",
            sent * u32::from(HELD),
            totals["shed_spent_seconds"]
        );
    });
}

/// The end says how many frames full rings dropped.
fn assert_loss_is_said(says: &str, lost: u64) {
    let line = |line: &&str| line.starts_with(&format!("missed: {lost} of "));
    let missed = says.lines().find(line).unwrap_or_default();
    let dropped = missed.contains(" frames (") && missed.contains("dropped by full rings");
    assert_eq!(dropped, lost > 0, "{says}");
}

#[test]
fn every_attempt_of_an_overload_is_written_folded_or_counted_as_lost() {
    with_veth(|veth| {
        const SYNS: u32 = 60_000;
        let cpu = last_cpu();
        let cores = cpu.to_string();
        let args = ["--workers", "1", "--cores", &cores, "--ring-mib", "4"];
        let sensor = Sensor::start(&[&args[..], &["--fold", "1000000"]].concat());
        let sender = Sender::new(veth);
        let held = Held::begin(&sender, HELD);
        let throttle = Throttle::new(&sensor, cpu);
        for from in 0..SYNS {
            sender.send(&frame(
                flow(1000 + from, 1024, (from % 200) as u8, 80),
                from,
            ));
        }
        held.end(&sender, 0);
        drop(throttle);
        sensor.wait_for_event("degradation");
        let ended = sensor.stop(Signal::SIGINT);
        assert_eq!(ended.code, Some(0), "{}", ended.says);
        assert!(ended.says.contains("the books close"), "{}", ended.says);
        let totals = totals(&ended.eve);
        let lost = of_rings(&totals, "open", "tp_drops");
        assert_eq!(
            of_rings(&totals, "control", "tp_drops"),
            0,
            "{}",
            ended.says
        );
        let output = &totals["outputs"][0];
        let of_output = |what: &str| number(&output[what]["connection"]);
        let dropped = output["dropped"].as_object().expect("causes").values();
        let dropped: u64 = dropped.map(|cause| number(&cause["connection"])).sum();
        let (written, folded) = (of_output("written"), of_output("folded"));
        let sent = u64::from(SYNS) + u64::from(HELD);
        assert_eq!(written + folded + dropped + lost, sent, "{}", ended.says);
        assert_loss_is_said(&ended.says, lost);
        let own = attempts(&ended.eve);
        assert_eq!(own.len() as u64, written);
        assert!(
            own.windows(2).all(|pair| pair[0] != pair[1]),
            "one line an attempt"
        );
        assert!(!steps(&ended.eve).is_empty());
        assert_steps_are_counted(&ended.eve, &totals);
        held.assert_exact(&ended.eve, 3);
        // Data are few here: they are kept, and with them the counts of what is established.
        let kept = of_type(&ended.eve, "lifecycle")
            .filter(|record| record["synledger"]["event"] == "degradation")
            .all(|record| record["synledger"]["data_kept"] == true);
        assert!(kept, "{}", ended.says);
        assert_eq!(totals["shed_in_kernel"].as_u64().unwrap_or(0), 0);
        let whole = of_type(&ended.eve, "flow").filter(|flow| flow["flow"]["pkts_toserver"] == 3);
        assert_eq!(whole.count(), usize::from(HELD), "{}", ended.says);
        eprintln!(
            "{sent} attempts: {written} written, {folded} folded, {dropped} dropped by the log, {lost} lost in class open; {}",
            totals["shed_spent_seconds"]
        );
    });
}
