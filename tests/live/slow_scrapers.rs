//! A thousand clients of the metrics that are slow on purpose, while packets come.
//!
//! `SYNLEDGER_FUZZ=full` keeps them for 60 s, then measures in pairs of 5 s what a worker reads of a flood without and with
//! them, and the CPU time it takes, which decides nothing.

use super::sensor::{METRICS, Sensor, metrics};
use super::service::thread_of;
use super::traffic::{Sender, flow, frame, with_trickle};
use crate::common::netns::{Veth, ip, with_veth};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const CLIENTS: usize = 1_000;
/// Threads that hold them.
const HOLDERS: usize = 10;
/// More than 32 connections take: 64 KiB each, and an answer of 32 KiB for each.
const MEMORY_MIB: u64 = 8;

fn is_full() -> bool {
    std::env::var("SYNLEDGER_FUZZ").as_deref() == Ok("full")
}

/// Each sends a byte of its request now and then, and comes again when it is closed; returns how often that was.
fn hold(clients: usize, stop: &AtomicBool, closed: &AtomicU64) {
    let request = b"GET /metrics HTTP/1.1\r\nHost: slow.example\r\nX-Slow: ";
    let mut open: Vec<Option<(TcpStream, usize)>> = (0..clients).map(|_| None).collect();
    while !stop.load(Ordering::Relaxed) {
        for client in &mut open {
            let Some((stream, sent)) = client else {
                *client = TcpStream::connect(METRICS).ok().map(|stream| (stream, 0));
                continue;
            };
            let byte = request.get(*sent).copied().unwrap_or(b'x');
            match stream.write_all(&[byte]) {
                Ok(()) => *sent += 1,
                Err(_) => {
                    closed.fetch_add(1, Ordering::Relaxed);
                    *client = None;
                }
            }
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Runs `during` beside a thousand slow clients. Returns how often one was closed.
fn beside_slow_clients<T>(during: impl FnOnce() -> T) -> (T, u64) {
    let (stop, closed) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = thread::scope(|scope| {
        for _ in 0..HOLDERS {
            scope.spawn(|| hold(CLIENTS / HOLDERS, &stop, &closed));
        }
        let result = during();
        stop.store(true, Ordering::Relaxed);
        result
    });
    (result, closed.load(Ordering::Relaxed))
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

fn counter(name: &str) -> u64 {
    let metrics = metrics();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// This process holds all of them.
fn raise_limit_of_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
}

#[test]
fn a_thousand_slow_scrapers_cost_little_memory_and_no_frame_and_are_counted() {
    with_veth(|veth| {
        ip("link set lo up");
        let sensor = Sensor::start(&["--workers", "1", "--metrics", METRICS]);
        raise_limit_of_descriptors();
        let time = Duration::from_secs(if is_full() { 60 } else { 8 });
        sensor.wait_for("metrics", || counter("synledger_books_closed ") == 1);
        let before = resident_kib(sensor.pid());
        let (most, closed) = with_trickle(veth, Duration::from_micros(500), || {
            beside_slow_clients(|| {
                let (start, mut most) = (Instant::now(), 0);
                while start.elapsed() < time {
                    most = most.max(resident_kib(sensor.pid()));
                    thread::sleep(Duration::from_millis(100));
                }
                // A scrape is answered all the same.
                assert_eq!(counter("synledger_books_closed "), 1);
                most
            })
        });
        let grown = most.saturating_sub(before);
        let unanswered = counter("synledger_metrics_clients_unanswered_total ");
        eprintln!(
            "{CLIENTS} slow clients for {time:?}: {closed} closed, {unanswered} counted, resident memory {before} KiB and \
             up to {grown} more"
        );
        assert!(grown < MEMORY_MIB << 10, "{grown} KiB more than {before}");
        assert!(
            unanswered >= CLIENTS as u64 && closed >= CLIENTS as u64,
            "{unanswered}"
        );
        sensor.wait_for_stderr("of the metrics closed without an answer");
        sensor.wait_for_event("metrics_unanswered");
        if is_full() {
            measure(veth, sensor.pid());
        }
        let ended = sensor.stop(Signal::SIGINT);
        if !is_full() {
            ended.assert_exact();
        }
    });
}

/// What a worker took for a flood.
struct Flood {
    sent: u64,
    read: u64,
    /// CPU time of the worker, ns.
    cpu_ns: u64,
}

impl Flood {
    fn cpu_ns_per_frame(&self) -> f64 {
        self.cpu_ns as f64 / self.read as f64
    }
}

/// CPU time of a thread, ns: the first number of schedstat, see sched-stats.rst of the kernel.
fn cpu_ns(pid: u32, thread: Pid) -> u64 {
    let times = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"));
    let times = times.expect("it runs");
    let first = times.split(' ').next().and_then(|word| word.parse().ok());
    first.expect("a number")
}

/// Prints in pairs, without and with slow clients, how many frames of a flood the worker read and what CPU time it took for
/// each. Clients and sender share what CPU time the worker leaves: fewer frames are sent, too.
fn measure(veth: Veth, pid: u32) {
    let worker = thread_of(pid, "worker-0");
    let time = Duration::from_secs(5);
    let flood = || {
        let sender = Sender::new(veth);
        let (read, cpu) = (counter("synledger_frames_total "), cpu_ns(pid, worker));
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < time {
            (0..64).for_each(|each| sender.send(&frame(flow(sent + each, 1024, 9, 443), sent)));
            sent += 64;
        }
        // Two rounds of the copies that workers publish.
        thread::sleep(Duration::from_secs(2));
        Flood {
            sent: sent.into(),
            read: counter("synledger_frames_total ") - read,
            cpu_ns: cpu_ns(pid, worker) - cpu,
        }
    };
    let mut shares: Vec<f64> = (0..5)
        .map(|_| {
            let (without, (with, _)) = (flood(), beside_slow_clients(flood));
            for (name, flood) in [("without", &without), ("with", &with)] {
                let Flood { sent, read, .. } = flood;
                let cpu_ns = flood.cpu_ns_per_frame();
                eprintln!("{name} slow clients: {sent} frames in {time:?}, {read} read, {cpu_ns:.0} ns each");
            }
            without.cpu_ns_per_frame() / with.cpu_ns_per_frame()
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    eprintln!(
        "frames for a second of the worker's CPU with slow clients, of those without: median {:.3} of {} pairs, {:.3} to {:.3}",
        shares[shares.len() / 2],
        shares.len(),
        shares[0],
        shares[shares.len() - 1]
    );
}
