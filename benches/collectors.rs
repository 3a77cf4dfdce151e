//! Times outputs to collectors, from event to the kernel, and what a collector that stands still costs another output.
//!
//! A figure is the median of five runs, with least and greatest, in CPU time of the sending thread, system calls
//! included. Each run asserts its result.

#[path = "loads/ended.rs"]
mod ended;
#[allow(dead_code, reason = "their traffic is enough")]
mod loads;

use ended::ended;
use nix::time::{ClockId, clock_gettime};
use std::io::Read as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use synledger::books::output::OutputCounts;
use synledger::books::record_kind::EventKind;
use synledger::log::event::Event;
use synledger::log::formats::context::Context;
use synledger::log::formats::interfaces::Interfaces;
use synledger::log::outputs::Outputs;
use synledger::log::reached::LogTime;
use synledger::log::sinks::lines::Patience;

const RUNS: usize = 5;
const RECORDS: u32 = 400_000;
const FLOW: usize = EventKind::Flow as usize;

/// CPU time of this thread in nanoseconds.
fn cpu_ns() -> u128 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
    std::time::Duration::from(time).as_nanos()
}

fn figure(what: &str, mut work: impl FnMut() -> u128) {
    let mut each: Vec<f64> = (0..RUNS)
        .map(|_| work() as f64 / f64::from(RECORDS))
        .collect();
    each.sort_by(f64::total_cmp);
    let (low, median, high) = (each[0], each[RUNS / 2], each[RUNS - 1]);
    let rate = 1e3 / median;
    eprintln!("{what}: {median:.1} ns ({low:.1} to {high:.1}), {rate:.2} M/s, {RECORDS} each run");
}

/// Writes all events to these outputs; CPU time, and their counts.
fn write(events: &[Event], specs: &[String], patience: &Patience) -> (u128, Vec<OutputCounts>) {
    let context = Context {
        host: "bench".into(),
        interfaces: Interfaces::new(vec!["eth0".into()]),
        direction: Arc::new(|_, _| "unknown"),
        services: None,
        frames: false,
    };
    let specs: Vec<_> = specs
        .iter()
        .map(|spec| format!("{spec},events=flow").parse().expect("a spec"))
        .collect();
    let mut outputs = Outputs::open(&specs, &context).expect("outputs");
    outputs.set_patience(patience);
    outputs.flush(1);
    let begin = cpu_ns();
    for (number, event) in (0_i64..).zip(events) {
        // The logger looks at the clock once in 1024 events.
        let now_ns = number / 1024 * 1000;
        outputs.write(event, LogTime::packet(event.step.due_ns()), now_ns);
    }
    let took = cpu_ns() - begin;
    outputs.finish(i64::MAX / 2);
    (took, outputs.counts())
}

/// A collector that reads all that one connection sends.
fn reader(listener: TcpListener) -> JoinHandle<usize> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut bytes, mut sum) = (vec![0; 1 << 20], 0);
        while let Ok(count @ 1..) = stream.read(&mut bytes) {
            sum += count;
        }
        sum
    })
}

fn time_udp(events: &[Event], format: &str) {
    figure(&format!("{format} over UDP"), || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        let (took, counts) = write(
            events,
            &[format!("{format}:udp://{address}")],
            &Patience::Live,
        );
        assert_eq!(counts[0].written[FLOW], u64::from(RECORDS));
        took
    });
}

fn time_tcp(events: &[Event], format: &str) {
    figure(&format!("{format} over TCP"), || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let reading = reader(listener);
        let patience = Patience::UntilTaken(Arc::default());
        let (took, counts) = write(events, &[format!("{format}:tcp://{address}")], &patience);
        assert_eq!(counts[0].written[FLOW], u64::from(RECORDS));
        assert!(reading.join().expect("no panic") > 100 * RECORDS as usize);
        took
    });
}

/// What a collector that stands still costs the output beside it.
fn time_beside(events: &[Event], format: &str) {
    let eve = "eve:/dev/null".to_owned();
    figure("EVE alone", || {
        let (took, counts) = write(events, std::slice::from_ref(&eve), &Patience::Live);
        assert_eq!(counts[0].written[FLOW], u64::from(RECORDS));
        took
    });
    figure(
        &format!("EVE beside {format} to a collector that stands still"),
        || {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("bound");
            let specs = [eve.clone(), format!("{format}:tcp://{address}")];
            let accepting =
                thread::spawn(move || -> TcpStream { listener.accept().expect("one").0 });
            let (took, counts) = write(events, &specs, &Patience::Live);
            drop(accepting.join());
            assert_eq!(counts[0].written[FLOW], u64::from(RECORDS));
            assert_eq!(
                counts[1].written[FLOW] + lost(&counts[1]),
                u64::from(RECORDS)
            );
            assert!(lost(&counts[1]) > 0);
            took
        },
    );
}

fn lost(counts: &OutputCounts) -> u64 {
    counts.dropped.iter().map(|cause| cause[FLOW]).sum()
}

fn main() {
    let events: Vec<Event> = (0..RECORDS).map(ended).collect();
    time_udp(&events, "ipfix");
    time_udp(&events, "netflow9");
    time_tcp(&events, "ipfix");
    time_udp(&events, "syslog");
    time_tcp(&events, "syslog");
    time_tcp(&events, "cef");
    time_beside(&events, "syslog");
}
